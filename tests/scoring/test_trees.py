from typing import Any

import lightgbm.basic
import numpy as np
import pytest

from scoring.learning import glass_box, leakage, trees
from scoring.learning.ensemble import Sample
from tests.scoring.test_explanation import CODING, OUTCOME, VALUES


def test_every_call_into_lightgbm_has_the_same_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds are fitted side by side, and LightGBM keeps one count for the whole process: a prediction with all
    cores beside a fit with one crashed it now and then."""
    asked: list[str] = []
    plain = lightgbm.basic._param_dict_to_str

    def recorded(given: dict[str, Any] | None) -> str:
        asked.append(plain(given))
        return asked[-1]

    monkeypatch.setattr(lightgbm.basic, "_param_dict_to_str", recorded)
    glass_box.fit(VALUES, OUTCOME, CODING, 1)
    fitted = trees.fit(VALUES, OUTCOME, CODING, 1)
    fitted.margins(VALUES)
    fitted.contributions(VALUES[:10])
    sample = Sample(VALUES, OUTCOME, np.arange(len(OUTCOME)) % 5, np.zeros(len(OUTCOME), int))
    leakage._quick(sample, CODING, set(), 1)
    assert len(asked) > 10
    assert {one for one in asked if f"num_threads={trees.THREADS}" not in one.split()} == set()
