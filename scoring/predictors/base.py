"""The contract of a predictor, and what it is given.

A predictor is one file in this folder, its rows in `manifests/properties.toml`, and one line in
`scoring/predictors/__init__.py`. It never sees a platform, a file or a clock.
"""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from scoring.context import Context, Options
from scoring.model import Evaluation, Model

__all__ = ["Context", "Evaluation", "Model", "Options", "Predictor"]


class Predictor(Protocol):
    """Learns one thing about contacts and says it as properties."""

    @property
    def name(self) -> str:
        """File name, and key in the JSON of `evaluate` and `sync`."""

    @property
    def properties(self) -> tuple[str, ...]:
        """Names in manifests/properties.toml, without prefix changes, that `score` may give."""

    def lacks(self, context: Context) -> list[str]:
        """What input is missing for this predictor to run at all, in words; empty when it can run."""

    def evaluate(self, context: Context) -> Evaluation:
        """Measure on held-out data. Leaves nothing behind but temporary tables."""

    def train(self, context: Context, previous: Model | None = None) -> Model:
        """Fit, with the evaluation in `meta["evaluation"]`. What must outlive retraining comes from `previous`."""

    def prepare(self, model: Model) -> Iterator[None]:
        """Do beforehand what makes scoring a few contacts again and again faster, a second or so at a time. Raises
        ModelMismatch."""

    def score(self, context: Context, model: Model, only: str | None = None) -> pa.Table:
        """One row per contact that gets a value: `contact_id` and the properties, sorted by contact_id.

        `only` names a table with a `contact_id` column that limits who is scored. A contact that cannot be
        scored has nulls (a cleared property) or no row. For one contact no more may be looked at than its own rows
        (of events not `properties`), its company, its deals, the contacts of the same company with what they did
        in the last `features.account.COMPANY_DAYS` days, and consents of the same person: a rescoring has no more
        (`connector.mirror.excerpt`), and gives the same values. Raises ModelMismatch when the model does not fit.
        """
