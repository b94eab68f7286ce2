"""`leadlight report --fairness` from outside, on files."""

import csv
import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connector.cli import app


def test_groups_are_told_apart_in_json_and_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    with (tmp_path / "leads.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "gender", "visits", "y"])
        for at in range(900):
            visits = draw.randrange(10)
            rows.writerow([at, draw.choice("fm"), visits, "yes" if draw.random() < visits / 15 else "no"])
    (tmp_path / "mapping.toml").write_text(
        '[contacts]\nfile = "leads.csv"\nid = "id"\n[goal]\ncolumn = "y"\nequals = "yes"\n'
    )
    monkeypatch.chdir(tmp_path)
    files = ["--platform", "files", "--mapping", "mapping.toml", "--json"]
    assert CliRunner().invoke(app, ["pull", *files]).exit_code == 0
    before = sorted(path.name for path in tmp_path.iterdir())
    done = CliRunner().invoke(app, ["report", "--fairness", *files])
    assert done.exit_code == 0
    [audited] = json.loads(done.stdout)["fairness"]["lead_score"]["properties"]
    assert audited["topic"] == "gender"
    assert {one["group"] for one in audited["groups"]} == {"f", "m"}
    assert sum(one["people"] for one in audited["groups"]) == 900
    assert all(0.6 < one["auc"]["value"] < 0.95 for one in audited["groups"])
    assert "By group" in done.stderr
    for option in ("--out", "--calls"):
        refused = CliRunner().invoke(app, ["report", "--fairness", option, "there.html", *files])
        assert refused.exit_code == 2
        assert "--fairness writes no file" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before
