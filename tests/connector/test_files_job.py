"""Files from end to end: values in a typed file, unknown outcomes scored, converted contacts not."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.connector.inside import command
from tests.connector.portal import leadlight
from tests.made_up import write_leads


def test_open_and_unknown_contacts_are_scored_in_numbers(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 1500, unknown=0.3)
    out = tmp_path / "scores.parquet"
    arguments = ["score", "--platform", "files", "--mapping", str(mapping), "--out", str(out), "--json"]
    code, result, err = leadlight(arguments, {}, tmp_path)
    assert code == 0, err
    with (tmp_path / "leads.csv").open(encoding="utf-8") as opened:
        outcomes = {str(number): row["y"] for number, row in enumerate(csv.DictReader(opened, delimiter=";"), 1)}
    table = pq.read_table(out)
    assert set(table["contact_id"].to_pylist()) == {key for key, outcome in outcomes.items() if outcome != "yes"}
    assert any(outcome == "" for outcome in outcomes.values())
    assert result["scored"] == table.num_rows
    assert table.schema.field("leadlight_score").type == pa.float64()
    probabilities = table["leadlight_probability"].to_pylist()
    assert 0 <= min(probabilities) < max(probabilities) <= 1


def test_a_second_sync_of_files_changes_nothing_and_results_stand_in_csv(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 1500)
    arguments = ["sync", "--platform", "files", "--mapping", str(mapping), "--json"]
    code, first, err = command(arguments, {}, tmp_path)
    assert code == 0, err
    assert first["pushed"]["changed"] == first["scored"] > 1000
    code, second, err = command(arguments, {}, tmp_path)
    assert code == 0, err
    assert second["pushed"]["changed"] == 0
    assert second["pulled"] == {}
    [results] = (tmp_path / ".leadlight").rglob("leadlight_results.csv")
    with results.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == first["pushed"]["changed"]
    assert all(0 <= float(row["leadlight_score"]) <= 100 for row in rows)


def test_a_cap_stops_before_the_first_write(tmp_path: Path) -> None:
    mapping = write_leads(tmp_path, 1500)
    arguments = ["sync", "--platform", "files", "--mapping", str(mapping), "--max-changes", "10", "--json"]
    code, result, err = command(arguments, {}, tmp_path)
    assert code == 3
    assert result["pushed"]["changed"] == 0
    assert "max_changes" in err
    assert not list((tmp_path / ".leadlight").rglob("leadlight_results.csv"))


def test_what_the_user_leaves_out_is_no_longer_scored_with(tmp_path: Path) -> None:
    """A model must not outlive the settings that it was fitted under."""
    mapping = write_leads(tmp_path, 1500)
    out = tmp_path / "scores.csv"
    arguments = ["score", "--platform", "files", "--mapping", str(mapping), "--out", str(out), "--json"]
    models = []
    for environment in ({}, {"LEADLIGHT_EXCLUDED": '["pricing_visits"]'}):
        code, result, err = command(arguments, environment, tmp_path)
        assert code == 0, err
        with out.open(encoding="utf-8") as opened:
            rows = list(csv.DictReader(opened))
        assert len(rows) == result["rows"] == result["scored"]
        models.append({row["leadlight_model"] for row in rows})
        assert any("Pricing visits" in row["leadlight_reasons"] for row in rows) == (not environment)
    assert models[0].isdisjoint(models[1])
