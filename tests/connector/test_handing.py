"""Commands while a service has the state: handed over, with its words and its ends; and where there is none."""

import json
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connector import handing
from connector.errors import BudgetSpent, Refused, StateHeld
from connector.handing import FILE, perform, settings_fingerprint
from connector.jobs.doctor import doctor
from connector.jobs.ended import Elsewhere, Ended, ended_by
from connector.jobs.stored import account_of
from connector.owner_lock import OwnerLock
from connector.settings import Settings, load
from tests.connector.inside import command
from tests.connector.serving import TOKEN, ended, standing

SYNCED: dict[str, Any] = {
    "run_id": "20261123T031500-1a2b3c4d",
    "pulled": {"contacts": 12},
    "scored": 12,
    "gates": {"lead_score": {"passed": True, "ran": True, "reasons": []}},
    "pushed": {"changed": 7, "unchanged": 5, "failed": 0, "skipped": 0, "values": 21},
    "streams_off": [],
    "api_calls": {"total": 9, "by_endpoint": {}},
    "seconds": 3.0,
    "dry_run": False,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leads.csv").write_text("id,y\n1,yes\n2,no\n", encoding="utf-8")
    (tmp_path / "mapping.toml").write_text('[contacts]\nfile = "leads.csv"\nid = "id"\n', encoding="utf-8")
    text = 'platform = "files"\nmapping = "mapping.toml"\nstate_dir = "state"\n'
    (tmp_path / "leadlight.toml").write_text(text, encoding="utf-8")
    return tmp_path


def settings(folder: Path) -> Settings:
    return load(folder / "leadlight.toml")


def state(folder: Path) -> Path:
    account = account_of(settings(folder))
    return folder / "state" / f"{account.platform}-{account.id}"


def run(folder: Path, *arguments: str, answers: str | None = None) -> tuple[int, dict[str, Any], str]:
    code, result, err = command([*arguments, "--json"], {}, folder, answers=answers)
    return code, result, " ".join(err.split())


def test_a_sync_is_handed_over_with_progress_and_result(folder: Path) -> None:
    with standing(state(folder)) as service:
        service.answers["sync"] = [
            {"waiting": "sync since 02:15"},
            {"waiting": "sync since 02:15"},
            b"\n",
            {"progress": ["Scoring lead score", 3, 12]},
            {"note": "The service's settings differ: restart it to take changes up."},
            ended(SYNCED, rejected=["leads.csv:3, age: no number"], exit_code=4),
        ]
        code, result, err = run(folder, "sync", "--limit", "7", "--as-of", "2026-11-22", "--out", "new.csv")
        seen: list[tuple[str, int, int | None]] = []
        perform(settings(folder), "sync", {}, progress=lambda *step: seen.append(step))
        assert seen == [("Scoring lead score", 3, 12)]
        assert stat.S_IMODE((state(folder) / FILE).stat().st_mode) == 0o600
    assert (code, result) == (4, SYNCED)
    assert f"Handed to the running service (process {os.getpid()})" in err
    assert err.count("sync since 02:15") == 1
    assert "settings differ" in err
    assert "7 contacts changed (21 values), 5 unchanged" in err
    assert "leads.csv:3, age: no number" in err
    body = service.taken[0]
    assert body["command"] == "sync"
    assert body["params"]["limit"] == 7
    assert body["params"]["as_of"] == "2026-11-22"
    assert body["params"]["out"] == str(folder / "new.csv")
    assert body["settings"] == service.taken[1]["settings"]


def test_a_refusal_is_the_commands_own(folder: Path) -> None:
    told = {"run_id": "r", "pushed": {"changed": 0}, "refused": "A cap was met."}
    with standing(state(folder)) as service:
        service.answers["push"] = [
            ended(told, status="refused", message="A cap was met.", kind="Refused", exit_code=3)
        ]
        code, result, err = run(folder, "push")
    assert (code, result) == (3, told)
    assert "Refused: A cap was met." in err


@pytest.mark.parametrize(
    ("kind", "exit_code", "message", "title"),
    [
        ("BadSetting", 2, "The goal's column is not there.", "Error"),
        ("PlatformRefused", 1, "POST /x answered 400.", "Error"),
        ("MissingScope", 2, "The token lacks the scope forms.", "Error"),
        ("UsageError", 2, "horizon_days is too long.", "Error"),
        ("unexpected", 1, "Unexpected KeyError at run.py:3. Please report this line.", "Bug"),
    ],
)
def test_a_failure_ends_as_it_would_here(
    folder: Path, kind: str, exit_code: int, message: str, title: str
) -> None:
    told = {"error": message, "kind": kind}
    with standing(state(folder)) as service:
        service.answers["train"] = [ended(told, status="failed", message=message, kind=kind, exit_code=exit_code)]
        code, result, err = run(folder, "train")
    assert (code, result) == (exit_code, told)
    assert f"{title}: {message}" in err


@pytest.mark.parametrize(
    "error",
    [
        Refused("no", {"run_id": "r"}),
        BudgetSpent("spent", datetime(2026, 11, 23, tzinfo=UTC), {"days": 3}),
        BudgetSpent("spent"),
        StateHeld("in use", Path("x"), {"pid": 3}),
        ValueError("jane@example.org"),
        KeyboardInterrupt(),
    ],
)
def test_an_error_is_the_same_after_its_way_through_json(error: BaseException) -> None:
    first = ended_by(error)
    back = Ended.from_json(json.loads(json.dumps(first.to_json())))
    assert "jane" not in json.dumps(first.to_json())
    with pytest.raises(Exception, match=r".") as raised:
        back.reraise()
    assert ended_by(raised.value) == first
    if isinstance(error, BudgetSpent):
        assert isinstance(raised.value, BudgetSpent)
        assert (raised.value.resume_at, raised.value.budget) == (error.resume_at, error.budget)


@pytest.mark.parametrize("status", [400, 409, 500, 503])
def test_a_service_that_does_not_take_it_says_so(folder: Path, status: int) -> None:
    with standing(state(folder)) as service:
        service.status = status
        code, result, _ = run(folder, "sync")
    assert code == (2 if status == 400 else 1)
    assert str(status) in result["error"]


def test_a_stream_that_is_cut_is_told(folder: Path) -> None:
    with standing(state(folder)) as service:
        service.answers = {"sync": [{"progress": ["Pulling", 1, None]}], "explain": []}
        code, result, _ = run(folder, "sync")
        looked = run(folder, "explain", "1")
    assert code == 1
    assert "next start" in result["error"]
    assert "leadlight runs" in result["error"]
    assert looked[0] == 1
    assert "run it again" in looked[1]["error"]


def test_what_the_next_start_does_not_take_up_is_to_be_given_again(folder: Path) -> None:
    with standing(state(folder)) as service:
        service.answers = {
            "push": [{"progress": ["Writing", 1, None]}],
            "sync": [{"waiting": "pull since 02:15"}],
        }
        pushed = run(folder, "push", "--limit", "7")
        waited = run(folder, "sync")
    assert pushed[0] == waited[0] == 1
    assert "give it again (leadlight push --limit 7)" in pushed[1]["error"]
    assert "give it again (leadlight sync)" in waited[1]["error"]
    assert "next start" not in pushed[1]["error"] + waited[1]["error"]


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", {"ended": {"status": "well"}}])
def test_words_of_another_version_are_told(folder: Path, line: Any) -> None:
    with standing(state(folder)) as service:
        service.answers["sync"] = [line]
        code, result, _ = run(folder, "sync")
    assert code == 1
    assert "restart it after an update" in result["error"]


def test_a_service_that_falls_silent_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "TIMEOUT", (5.0, 0.3))

    def slowly() -> Any:
        yield {"progress": ["Pulling", 1, None]}
        time.sleep(1.0)
        yield ended(SYNCED)

    with standing(state(folder)) as service:
        service.answers["sync"] = slowly()
        code, result, _ = run(folder, "sync")
    assert code == 1
    assert "has said nothing" in result["error"]


def test_a_wrong_token_is_told_and_never_shown(folder: Path) -> None:
    with standing(state(folder), token="another-token") as service:
        code, result, err = run(folder, "sync")
    assert code == 1
    assert "restarted" in result["error"]
    assert "another-token" not in err
    assert service.taken == []


def test_what_a_killed_service_left_is_not_believed(folder: Path) -> None:
    with standing(state(folder)) as service:
        path = state(folder) / FILE
        words = json.loads(path.read_text(encoding="utf-8"))
        for spoilt in (
            {**words, "pid": words["pid"] + 1},
            {**words, "url": "http://leadlight.example:8080"},
            {"pid": words["pid"]},
            [],
        ):
            path.write_text(json.dumps(spoilt), encoding="utf-8")
            code, result, _ = run(folder, "sync")
            assert (code, result["kind"]) == (2, "StateMismatch")
            assert f"in use by process {os.getpid()} (serve, since" in result["error"]
    assert service.headers == []


def test_nobody_at_the_address_is_the_same(folder: Path) -> None:
    home = state(folder)
    home.mkdir(parents=True)
    lock = OwnerLock(home, "serve")
    try:
        handing.announce(home, "http://127.0.0.1:9", TOKEN)
        code, result, _ = run(folder, "sync")
    finally:
        lock.release()
    assert (code, result["kind"]) == (2, "StateMismatch")
    assert "in use by process" in result["error"]


@pytest.mark.parametrize("arguments", [("sync",), ("evaluate",), ("rollback", "r1", "--yes")])
def test_a_command_needs_no_token_where_a_service_has_the_one_account(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    (folder / "leadlight.toml").write_text('platform = "hubspot"\nstate_dir = "state"\n', encoding="utf-8")
    code, result, _ = run(folder, *arguments)
    assert (code, result["kind"]) == (2, "BadSetting")
    with standing(folder / "state" / "hubspot-1") as service:
        service.answers[arguments[0]] = [ended({}, status="refused", message="No.", kind="Refused", exit_code=3)]
        assert run(folder, *arguments)[0] == 3
        with_token = settings(folder).model_copy(update={"hubspot_token": SecretStr("t")})
        assert service.taken[0]["settings"] == settings_fingerprint(with_token)
        (folder / "state" / "hubspot-2").mkdir()
        code, result, _ = run(folder, *arguments)
        assert (code, result["kind"]) == (2, "BadSetting")
        (folder / "state" / "hubspot-2").rmdir()
    code, result, _ = run(folder, *arguments)
    assert (code, result["kind"]) == (2, "BadSetting")
    assert "HubSpot needs a token" in result["error"]


def test_a_command_that_only_looks_is_answered(folder: Path) -> None:
    listed = {"runs": [], "plans": [], "audit": [{"at": "2026-11-23 03:15:00", "who": "ops", "command": "sync"}]}
    listed["audit"][0] |= {"subject": None, "run_id": "r1"}
    with standing(state(folder)) as service:
        service.answers["runs"] = [ended(listed)]
        code, result, err = run(folder, "runs", "--audit", "--limit", "3")
    assert (code, result) == (0, listed)
    assert "Handed" not in err
    assert "23 Nov 2026, 03:15:00" in err
    assert service.taken[0]["params"] == {"name": None, "limit": 3}


def test_a_large_answer_in_pieces_is_put_together(folder: Path) -> None:
    big = {"tables": {"events": [{"event_id": str(one)} for one in range(60_000)]}}
    text = json.dumps(ended(big)).encode() + b"\n"
    with standing(state(folder)) as service:
        service.answers["export"] = [text[start : start + 10_007] for start in range(0, len(text), 10_007)]
        code, result, _ = run(folder, "export", "1")
    assert (code, result) == (0, big)


def test_an_address_goes_in_the_body_alone(folder: Path) -> None:
    whom = {"contacts": 1, "addresses": 2, "resumed": False}
    with standing(state(folder)) as service:
        service.answers["erase-who"] = [ended(whom)]
        service.answers["erase"] = [
            ended(
                {
                    **{"removed": {}, "cleared": 0, "files": {"rows_removed": {}, "deleted": []}},
                    **{"companies_off": None, "companies_left": []},
                    "proof": {"traces": [], "columns": 1, "files": 1},
                }
            )
        ]
        code, _, err = command(
            ["erase", "--email", "-", "--yes", "--json"], {}, folder, answers="jane@example.org\n"
        )
    assert code == 0, err
    assert [body["command"] for body in service.taken] == ["erase"]
    assert service.taken[0]["params"]["email"] == "jane@example.org"
    assert "jane" not in " ".join([*service.urls, *map(str, service.headers), err])


def test_a_person_is_asked_here_before_the_service_does_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.cli.asking.at_terminal", lambda: True)
    target = {"of_run": "r1", "command": "sync", "values": 21, "contacts": 7, "companies": 0}
    done = {
        **{"run_id": "r2", "of_run": "r1", "dry_run": False, "restored": 7, "failed": 0, "barred": 0, "held": 0},
        **{"values": 21, "kept": [], "notes": [], "skipped": {"edited_since": 0, "gone": 0}},
        **{"companies": {"off": "No companies are known."}, "kept_of_companies": []},
    }
    with standing(state(folder)) as service:
        service.answers = {"rollback-target": [ended(target)], "rollback": [ended(done)]}
        code, result, err = run(folder, "rollback", "r1", answers="n\n")
        assert code == 3
        assert "21 values on 7 contacts" in err
        assert [body["command"] for body in service.taken] == ["rollback-target"]
        code, result, err = run(folder, "rollback", "r1", answers="y\n")
    assert code == 0, err
    assert result == done
    assert [body["command"] for body in service.taken[1:]] == ["rollback-target", "rollback"]


def test_breaking_off_leaves_the_job_with_the_service(folder: Path) -> None:
    def broken_off(*_: Any) -> None:
        raise KeyboardInterrupt

    with standing(state(folder)) as service:
        service.answers["sync"] = [{"progress": ["Pulling", 1, None]}, ended(SYNCED)]
        with pytest.raises(Elsewhere) as raised:
            perform(settings(folder), "sync", {}, progress=broken_off)
    assert raised.value.ended.exit_code == 1
    assert raised.value.ended.title == "Stopped"
    assert "goes on with it" in raised.value.ended.message


def test_doctor_asks_the_holder_about_the_data(folder: Path) -> None:
    api = settings(folder).model_copy(update={"platform": "hubspot", "mapping": None})
    home = folder / "state" / "hubspot-1"
    check = {"name": "contacts", "state": "ok", "detail": "12 live contacts.", "remedy": ""}
    with standing(home) as service:
        service.answers["doctor"] = [ended({"checks": [check], "figures": {"contacts": 12}, "lacks": {}})]
        given = api.model_copy(update={"hubspot_token": SecretStr("t")})
        found = doctor(given, offline=True, deputy=handing.deputy(given))
        alone = doctor(given, offline=True)
    assert found.data is not None
    assert found.data.figures == {"contacts": 12}
    assert [one.detail for one in found.checks if one.name == "contacts"] == ["12 live contacts."]
    assert any("in use by process" in one.detail for one in alone.checks)


def test_the_settings_print_holds_no_secret_and_no_folder_that_it_was_read_in(folder: Path) -> None:
    here = settings(folder)
    print_ = settings_fingerprint(here)
    assert print_ == settings_fingerprint(here.model_copy())
    assert print_ != settings_fingerprint(here.model_copy(update={"max_changes": 5}))
    one = here.model_copy(update={"hubspot_token": SecretStr("a")})
    other = here.model_copy(update={"hubspot_token": SecretStr("b")})
    assert settings_fingerprint(one) == settings_fingerprint(other) == print_
    before = Path.cwd()
    os.chdir(folder)
    try:
        relative = here.model_copy(update={"state_dir": Path("state"), "mapping": Path("mapping.toml")})
        assert settings_fingerprint(relative) == print_
    finally:
        os.chdir(before)


def test_without_a_service_it_is_done_here(folder: Path) -> None:
    code, result, err = run(folder, "pull")
    assert code == 0, err
    assert result["pulled"]["contacts"] == 2
    code, result, err = run(folder, "runs")
    assert [(one["command"], one["status"]) for one in result["runs"]] == [("pull", "done")]
