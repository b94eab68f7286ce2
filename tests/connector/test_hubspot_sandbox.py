"""The client against the sandbox: two readings of the same documentation have to agree."""

import json
import time
from collections.abc import Iterator

import pytest
import requests
from pydantic import SecretStr

import manifests
from connector.errors import BadCredentials, FixSetup, MissingScope
from connector.platform import PullRequest, Write
from connector.platforms.hubspot import HubSpot
from connector.sandbox import Sandbox, SandboxOptions
from connector.sandbox.options import Rate
from tests.connector.dict_known import DictKnown

CONTACTS = 210
LAG = 0.5
OURS = tuple(entry.name for entry in manifests.properties())
VALUES = {
    "leadlight_score": "87",
    "leadlight_grade": "A",
    "leadlight_probability": "0.1234",
    "leadlight_holdout": "false",
    "leadlight_scored_at": "2026-11-22T08:00:00Z",
}


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(contacts=CONTACTS, search_lag=LAG, rate=Rate(5000, 10.0))) as running:
        yield running


def connect(box: Sandbox) -> HubSpot:
    return HubSpot(SecretStr(box.token), base_url=box.base_url)


def pull(box: Sandbox, known: DictKnown) -> HubSpot:
    platform = connect(box)
    known.news.clear()
    known.echoes.clear()
    known.take(platform.pull(known, PullRequest(ours=OURS)))
    platform.close()
    return platform


def write(box: Sandbox, known: DictKnown, contact_ids: list[str]) -> None:
    platform = connect(box)
    for start in range(0, len(contact_ids), 100):
        for outcome in platform.write([Write(one, VALUES) for one in contact_ids[start : start + 100]]):
            assert outcome.state == "written"
            known.wrote(outcome.record_id, outcome.modified_at, **VALUES)
    platform.close()


def test_pull_write_and_the_quiet_pulls_after_it(box: Sandbox) -> None:
    known = DictKnown()
    platform = connect(box)
    assert {plan.action for plan in platform.install(manifests.properties(), dry_run=False)} == {"create"}
    first = pull(box, known)
    assert len(known.tables["contacts"]) == CONTACTS
    assert first.calls()["GET /crm/objects/2026-09/contacts"] <= 3 + 1
    assert {"email_click", "page_view", "form_submit"} <= {row["kind"] for row in known.tables["events"].values()}
    assert known.tables["deals"]
    assert known.off == []

    write(box, known, list(known.tables["contacts"]))
    # beyond the index's lag and the whole seconds of the Date header that cursors are taken from
    time.sleep(LAG + 1.7)
    second = pull(box, known)
    assert (known.news, len(known.echoes)) == ([], CONTACTS)
    assert sum(second.calls().values()) <= 2 + 30
    third = pull(box, known)
    assert (known.news, known.echoes) == ([], [])
    assert sum(third.calls().values()) <= 30


def test_a_persons_edit_right_after_our_write_is_news(box: Sandbox) -> None:
    known = DictKnown()
    connect(box).install(manifests.properties(), dry_run=False)
    pull(box, known)
    ids = sorted(known.tables["contacts"], key=int)
    write(box, known, ids)
    body = {"contact_id": ids[100], "properties": {"jobtitle": "Head of Testing"}}
    requests.post(f"{box.base_url}/_sandbox/edit", json=body, timeout=10).raise_for_status()
    time.sleep(LAG + 0.3)
    pull(box, known)
    assert known.news == [ids[100]]
    assert json.loads(known.tables["contacts"][ids[100]]["properties"])["jobtitle"] == "Head of Testing"


def test_archived_merged_and_erased_contacts_are_noticed_the_same_day(box: Sandbox) -> None:
    known = DictKnown()
    connect(box).install(manifests.properties(), dry_run=False)
    pull(box, known)
    ids = sorted(known.tables["contacts"], key=int)
    archived, loser, erased, winner = ids[20], ids[120], ids[200], ids[3]
    base, headers = f"{box.base_url}/crm/objects/2026-09/contacts", {"Authorization": f"Bearer {box.token}"}
    for path, body in (
        ("batch/archive", {"inputs": [{"id": archived}]}),
        ("merge", {"primaryObjectId": winner, "objectIdToMerge": loser}),
        ("gdpr-delete", {"objectId": erased}),
    ):
        requests.post(f"{base}/{path}", json=body, headers=headers, timeout=10).raise_for_status()
    time.sleep(LAG + 0.3)
    states = [o.state for o in connect(box).write([Write(one, VALUES) for one in (archived, loser, winner)])]
    assert states == ["gone", "gone", "written"]
    pull(box, known)
    gone = {row["object_id"]: row["merged_into"] for row in known.removals}
    assert {archived: None, erased: None}.items() <= gone.items()
    assert loser not in known.tables["contacts"]
    assert gone[loser] in known.tables["contacts"]


def test_a_bad_row_fails_alone_and_a_missing_property_is_the_set_up(box: Sandbox) -> None:
    known = DictKnown()
    pull(box, known)
    ids = sorted(known.tables["contacts"], key=int)
    with pytest.raises(FixSetup, match="leadlight install"):
        connect(box).write([Write(ids[0], VALUES)])
    platform = connect(box)
    platform.install(manifests.properties(), dry_run=False)
    batch = [Write(one, {"leadlight_grade": "Z" if one == ids[7] else "B"}) for one in ids[:20]]
    outcomes = platform.write(batch)
    assert [o.record_id for o in outcomes if o.state == "failed"] == [ids[7]]
    present = platform.read_ours(ids[6:9], ["leadlight_grade"])
    assert [one and one.values["leadlight_grade"] for one in present.values()] == ["B", None, "B"]


def test_a_pull_stopped_again_and_again_ends_the_same(box: Sandbox) -> None:
    whole, pieces = DictKnown(), DictKnown()
    pull(box, whole)
    stop = 5
    while True:
        platform = connect(box)
        taken = pieces.take(platform.pull(pieces, PullRequest(ours=OURS)), stop_after=stop)
        if taken < stop:
            break
        stop += 13
    for name, rows in whole.tables.items():
        kept = [
            {n: {c: v for c, v in row.items() if c != "ingested_at"} for n, row in table.items()}
            for table in (rows, pieces.tables[name])
        ]
        assert kept[0] == kept[1]
    assert sorted(map(str, whole.parts["deal_contacts"])) == sorted(map(str, pieces.parts["deal_contacts"]))


@pytest.mark.parametrize("scope", ["crm.objects.companies.read", "content"])
def test_an_optional_scope_turns_its_stream_off(scope: str) -> None:
    with Sandbox(SandboxOptions(contacts=40, faults=(("missing-scope", scope),))) as box:
        known = DictKnown()
        pull(box, known)
        assert len(known.tables["contacts"]) == 40
        assert [off.scope for off in known.off] == [scope]


def test_needed_scopes_and_tokens_are_named() -> None:
    with Sandbox(SandboxOptions(contacts=20, faults=(("missing-scope", "crm.objects.contacts.read"),))) as box:
        with pytest.raises(MissingScope, match=r"crm\.objects\.contacts\.read"):
            pull(box, DictKnown())
        with pytest.raises(BadCredentials) as bad:
            HubSpot(SecretStr("pat-na1-wrong"), base_url=box.base_url, sleep=lambda _: None).account()
        assert "pat-na1-wrong" not in str(bad.value)


def test_bad_days_change_nothing_but_the_time() -> None:
    faults = tuple(
        (name, "0.02") for name in ("423", "502", "503", "524", "reset", "truncate", "commit-then-timeout")
    )
    with Sandbox(SandboxOptions(contacts=40, search_lag=0, faults=faults, rate=Rate(5000, 10.0))) as box:
        platform = HubSpot(SecretStr(box.token), base_url=box.base_url, sleep=lambda _: time.sleep(0.01))
        platform.install(manifests.properties(), dry_run=False)
        known = DictKnown()
        known.take(platform.pull(known, PullRequest(ours=OURS)))
        outcomes = platform.write([Write(one, VALUES) for one in known.tables["contacts"]])
        assert {outcome.state for outcome in outcomes} == {"written"}
        assert len(known.tables["contacts"]) == 40
