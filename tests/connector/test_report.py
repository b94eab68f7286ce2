"""`leadlight report` on files: honest verdicts, the same figures on page and in JSON, safe lists, nothing else."""

import csv
import json
import re
import shutil
from math import prod
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.jobs.report.calls import _safe
from connector.jobs.report.trust import sentence, verdict
from connector.pages import charts
from connector.pages.rendering import report_page
from connector.pages.rows import month_foretold, month_rates, times
from connector.pages.words import code, month, platform, weeks
from tests.made_up import write_leads

ROWS = 900


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("report")
    _owned(write_leads(folder, ROWS))
    assert _run(folder, "score", "--out", str(folder / "scores.csv"))[0] == 0
    _named(folder)
    code, told = _run(folder, "report", "--out", str(folder / "r.html"), "--calls", str(folder / "calls.csv"))
    assert code == 0
    return folder, told


def _owned(mapping: Path) -> None:
    """All leads belong to owner 7, and three to a company."""
    leads = mapping.parent / "leads.csv"
    head, *rows = leads.read_text(encoding="utf-8").splitlines()
    lines = [f"{head};owner;firm", *(f"{row};7;f{place // 3}" for place, row in enumerate(rows))]
    leads.write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = 'columns = { owner_id = "owner", company_id = "firm" }'
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace("drop =", f"{columns}\ndrop ="), encoding="utf-8")


def _named(folder: Path) -> None:
    """Files tell no names of owners: what HubSpot's pull would have left."""
    [path] = (folder / ".leadlight").glob("*/mirror.duckdb")
    with duckdb.connect(str(path)) as connection:
        names = json.dumps({"names": {"7": "Ada Lind"}})
        connection.execute("insert into store.cursors values ('owners', ?, null, now())", [names])


def _run(folder: Path, *arguments: str, state: Path | None = None) -> tuple[int, dict[str, Any]]:
    environment = {"LEADLIGHT_STATE_DIR": str((state or folder) / ".leadlight")}
    given = [*arguments, "--platform", "files", "--mapping", str(folder / "mapping.toml"), "--json"]
    done = CliRunner().invoke(app, given, env=environment)
    return done.exit_code, json.loads(done.stdout)


def test_without_a_state_it_says_what_to_do_first(tmp_path: Path) -> None:
    write_leads(tmp_path, 50)
    code, told = _run(tmp_path, "report", "--out", str(tmp_path / "r.html"))
    assert code == 2
    assert "leadlight pull" in told["error"]
    assert not (tmp_path / "r.html").exists()


def test_its_figures_are_those_of_the_scores(made: tuple[Path, dict[str, Any]]) -> None:
    folder, told = made
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["leadlight_score"]]
    who = told["who"][0]
    assert who["scored"] == len(rows) == sum(who["distribution"]["now"]) == sum(who["grades"]["now"].values())
    best = max(rows, key=lambda row: (float(row["leadlight_probability"]), [-ord(c) for c in row["contact_id"]]))
    assert who["top"][0]["probability"] == float(best["leadlight_probability"])
    assert [one["probability"] for one in who["top"]] == sorted(
        (float(row["leadlight_probability"]) for row in rows), reverse=True
    )[: len(who["top"])]
    # nothing was written, so nothing stood before
    assert (who["distribution"]["stood"], who["moved"], who["written_by"]) == (None, [], None)


def test_its_curves_agree_with_its_figures(made: tuple[Path, dict[str, Any]]) -> None:
    lead = next(one for one in made[1]["trust"] if one["key"] == "lead_score")
    gain = {one["contacts"]: one["outcomes"] for one in lead["curves"]["gain"]}
    assert gain[0.1] / 0.1 == pytest.approx(lead["evaluation"]["lift_top_decile"]["value"], abs=1e-3)
    points = lead["curves"]["calibration"]
    rows = sum(one["rows"] for one in points)
    off = sum(abs(one["promised"] - one["found"]) * one["rows"] for one in points) / rows
    assert off == pytest.approx(lead["evaluation"]["calibration_error"], abs=1e-3)
    assert made[1]["drivers"][0]["effects"][0]["weight"] > 0


def test_the_list_to_call_is_the_likeliest_of_grade_a_and_b(made: tuple[Path, dict[str, Any]]) -> None:
    folder, told = made
    assert (folder / "calls.csv").stat().st_mode & 0o077 == 0
    with (folder / "calls.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) <= 20
    assert {row["grade"] for row in rows} <= {"A", "B"}
    assert all(row["score"].isdigit() for row in rows)
    assert {(row["owner_id"], row["owner"]) for row in rows} == {("7", "Ada Lind")}
    assert "<summary>Ada Lind: " in (folder / "r.html").read_text(encoding="utf-8")
    assert [row["contact_id"] for row in rows] == [
        one["contact_id"] for one in told["who"][0]["owners"][0]["calls"]
    ]
    assert not any(row["reasons"].startswith("+") for row in rows)


def test_companies_are_as_likely_as_their_contacts_make_them(made: tuple[Path, dict[str, Any]]) -> None:
    folder, told = made
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        chance = {row["contact_id"]: float(row["leadlight_probability"]) for row in csv.DictReader(file)}
    by_company: dict[str, list[float]] = {}
    for contact, one in chance.items():
        by_company.setdefault(f"f{(int(contact) - 1) // 3}", []).append(one)
    expected = {key: min(0.99, 1 - prod(1 - one for one in ones)) for key, ones in by_company.items()}
    shown = told["who"][0]["companies"]
    assert len(shown) == 20
    assert [one["chance"] for one in shown] == pytest.approx(
        sorted(expected.values(), reverse=True)[:20], abs=1e-9
    )
    for one in shown:
        assert one["chance"] == pytest.approx(expected[one["company_id"]], abs=1e-9)
        assert [contact["probability"] for contact in one["best"]] == sorted(
            by_company[one["company_id"]], reverse=True
        )
    assert "The likeliest companies" in (folder / "r.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_and_escapes_everything(made: tuple[Path, dict[str, Any]]) -> None:
    folder, told = made
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert (folder / "r.html").stat().st_mode & 0o077 == 0
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#)', page) == []
    assert ' style="' not in page
    told["who"][0]["top"][0]["name"] = "<img src=x onerror=alert(1)>"
    told["who"][0]["top"][0]["company"] = '"><script>alert(2)</script>'
    hostile = report_page(told)
    assert "<img" not in hostile
    assert "<script" not in hostile
    assert "&lt;img src=x onerror=alert(1)&gt;" in hostile


@pytest.mark.parametrize("text", ["=1+1", "+ visited", "-2", "@SUM(A1)", "\tx", "\rx"])
def test_no_text_is_a_formula(text: str) -> None:
    assert _safe(text) == f"'{text}"
    assert _safe(-2.0) == -2.0


@pytest.mark.parametrize(
    ("passed", "publish", "words"),
    [
        ((True, True), "yes", "Yes, publish"),
        ((True, False), "partly", "Publish lead score only: send time did not pass."),
        ((True, None), "partly", "Publish lead score only: send time had no input."),
        ((False, None), "no", "Do not publish yet: lead score did not pass."),
        ((None, None), "nothing", "Nothing to publish yet"),
    ],
)
def test_the_verdict_in_one_line(passed: tuple[Any, ...], publish: str, words: str) -> None:
    titles = ("Lead score", "Send time")
    judged = [{"key": title, "title": title, "passed": one} for title, one in zip(titles, passed, strict=True)]
    said = verdict(judged)
    assert said["publish"] == publish
    assert said["headline"].startswith(words)


def test_charts_say_in_words_what_they_show() -> None:
    drawn = str(charts.bars([1, 5, 2], ["a", "<b>", "c"], title="Contacts", axis="kind"))
    assert 'aria-label="Contacts. Highest at &lt;b&gt;: 5."' in drawn
    assert drawn.count('<rect class="bar"') == 3
    heights = [float(one) for one in re.findall(r'height="([\d.]+)"><title>', drawn)]
    assert heights[1] == max(heights) == pytest.approx(5 * heights[0], rel=0.01)


def test_months_show_what_came_and_what_was_foretold() -> None:
    months = [
        {"month": "2026-03", "base_rate": 0.2, "tested": 0},
        {"month": "2026-06", "base_rate": 0.1, "tested": 90, "mean_probability": 0.12},
    ]
    assert (month_rates(months), month_foretold(months)) == ([20.0, 10.0], [None, 12.0])
    drawn = str(
        charts.bars([20.0, 10.0], ["2026-03", "2026-06"], title="T", axis="m", before=[None, 12.0], unit="%")
    )
    assert drawn.count('<line class="mark"') == 1
    assert "Highest at 2026-03: 20%." in drawn
    assert ">20%</text>" in drawn


def test_the_sentence_names_the_best_plain_rule() -> None:
    figures = {
        "lift_top_decile": {"value": 4.37, "low": 3.9, "high": 5.0},
        "baselines": {
            "base_rate": {"lift_top_decile": 1.0},
            "recency": {"lift_top_decile": 1.86},
            "logistic_regression": {"lift_top_decile": 4.4},
        },
        "goal": "a deal won within 90 days",
        "calibration_error": 0.0247,
        "tested": 939,
        "split": "time",
    }
    said = sentence("lead_score", {"passed": True, "reasons": []}, figures)
    assert "(95% sure: 3.9 to 5.0 times); calling whoever was active last comes to 1.9 times. Its" in said
    figures["baselines"] = {"base_rate": {"lift_top_decile": 1.0}}
    assert "3.9 to 5.0 times). Its" in sentence("lead_score", {"passed": True, "reasons": []}, figures)


def test_words_for_people() -> None:
    assert str(code("run `leadlight <pull>` <b>now")) == "run <code>leadlight &lt;pull&gt;</code> &lt;b&gt;now"
    assert (weeks(26), weeks(2778)) == ("26 weeks", "2,778 weeks (53 years)")
    assert (platform("hubspot"), platform("files")) == ("HubSpot", "Your files")
    assert times(0.40228) == "× 1.5"
    assert month("2026-03") == "Mar 2026"


@pytest.mark.parametrize(
    ("most", "top"), [(0, 1), (1, 1), (3, 4), (7, 8), (24, 30), (2710, 3000), (455, 500), (5001, 6000)]
)
def test_axes_end_at_round_numbers(most: float, top: float) -> None:
    assert charts._round_up(most) == top


@pytest.mark.parametrize(
    ("contacts", "most"), [(5_000, 3_000_000), pytest.param(1_000_000, 6_000_000, marks=pytest.mark.soak)]
)
def test_its_size_hardly_grows_with_the_account(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, contacts: int, most: int
) -> None:
    shutil.copytree(made[0] / ".leadlight", tmp_path / ".leadlight")
    _many(tmp_path, contacts)
    code, told = _run(made[0], "report", "--out", str(tmp_path / "r.html"), state=tmp_path)
    assert code == 0
    assert told["account"]["contacts"] == contacts
    assert told["who"][0]["scored"] > contacts / 2
    assert len(told["who"][0]["owners"]) == 20
    assert all(len(one["calls"]) == min(20, one["leads"]) > 0 for one in told["who"][0]["owners"])
    assert (tmp_path / "r.html").stat().st_size < most


def _many(folder: Path, contacts: int) -> None:
    """Repeat the contacts and what was computed for them, at forty owners."""
    [path] = (folder / ".leadlight").glob("*/mirror.duckdb")
    times = -(-contacts // ROWS)
    with duckdb.connect(str(path)) as connection:
        for table, more in (
            ("contacts", ", 'o' || (cast(t.contact_id as bigint) % 40) as owner_id"),
            ("predictions", ""),
        ):
            connection.execute(
                f"""create temp table kept as select t.* replace (t.contact_id || '-' || i as contact_id{more})
                    from store.{table} t, range({times}) copies(i)
                    order by cast(t.contact_id as bigint) + {ROWS} * i limit {contacts}"""
            )
            connection.execute(f"delete from store.{table}")
            connection.execute(f"insert into store.{table} select * from kept")
            connection.execute("drop table kept")
