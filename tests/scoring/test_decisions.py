from datetime import datetime

import pyarrow as pa

from scoring.decisions import as_text, decide


def texts(values: list[object], kind: pa.DataType | None = None) -> list[str | None]:
    column = pa.chunked_array([pa.array(values, kind)])
    result: list[str | None] = as_text(column).to_pylist()
    return result


def test_numbers_have_no_trailing_zeros_and_four_places() -> None:
    assert texts([91.0, 0.12344999, 0.1, 0.0, None, 1234567.0]) == ["91", "0.1234", "0.1", "0", None, "1234567"]


def test_booleans_instants_and_empty_texts_are_canonical() -> None:
    assert texts([True, None, False]) == ["true", None, "false"]
    assert texts([datetime(2026, 1, 2, 3, 4, 5, 678)], pa.timestamp("us")) == ["2026-01-02T03:04:05Z"]
    assert texts(["", None, "A"]) == [None, None, "A"]


def test_outputs_are_joined_by_contact_and_renamed() -> None:
    score = pa.table({"contact_id": ["b", "a"], "leadlight_score": [7.0, 91.0]})
    segment = pa.table({"contact_id": ["c", "a"], "leadlight_segment": ["s1", "s2"]})
    decided = decide(
        {"lead_score:renewal": (score, {"leadlight_score": "leadlight_score_renewal"}), "segments": (segment, {})}
    )
    assert decided.to_pylist() == [
        {"contact_id": "a", "leadlight_score_renewal": "91", "leadlight_segment": "s2"},
        {"contact_id": "b", "leadlight_score_renewal": "7", "leadlight_segment": None},
        {"contact_id": "c", "leadlight_score_renewal": None, "leadlight_segment": "s1"},
    ]


def test_no_output_is_an_empty_table() -> None:
    assert decide({}).num_rows == 0
