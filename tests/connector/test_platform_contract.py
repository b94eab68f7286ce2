"""What every platform promises (`connector.platform`), checked on each.

A platform joins by one more function in `ACCOUNTS`: it makes an account with at least three live contacts, and
gives a way to connect to it afresh.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import SecretStr

from connector.mirror import Mirror
from connector.platform import (
    RECORD_TABLES,
    Asked,
    Page,
    Platform,
    PullRequest,
    Readable,
    StreamOff,
    Write,
    page_schema,
)
from connector.platforms.files.platform import FilesPlatform
from connector.platforms.hubspot.platform import HubSpot
from connector.platforms.salesforce import Salesforce
from connector.platforms.salesforce.client.auth import Credentials
from connector.sandbox import Rate, Sandbox, SandboxOptions
from connector.sandbox.salesforce.box import SalesforceSandbox
from manifests import properties
from scoring.tables import TABLES
from tests.connector.files_made import at, made

OURS = tuple(entry.name for entry in properties())
UNKNOWN_CONTACT = "999999999999"


@dataclass(frozen=True)
class OpenAccount:
    """An account of a platform, and how to connect to it."""

    connect: Callable[[], Platform]
    #: What a pull is asked for, beside the properties that we write.
    goal_columns: tuple[str, ...] = ()
    #: Contacts that live there; empty: any.
    contacts: frozenset[str] = field(default_factory=frozenset)

    def request(self, *, full: bool = False) -> PullRequest:
        return PullRequest(history=False, goal_columns=self.goal_columns, full=full, ours=OURS)


@contextmanager
def files(folder: Path) -> Iterator[OpenAccount]:
    """Leads, purchases and events, with a broken row in the middle of each."""
    mapping = made(
        folder,
        '[contacts]\nfile = "leads.csv"\nid = "id"\n[purchases]\nfile = "p.csv"\n[[events]]\nfile = "e.csv"\n'
        'columns = { kind = "=form_submit" }\n[goal]\ncolumn = "won"\nequals = "yes"\n',
        leads_csv='id;Größe;won\n1;1,5;yes\n2;"a ""b""";no\n3\n4;;\n5;x;no\n',
        p_csv="contact_id,purchased_at,amount\n1,2024-01-01,5\n2,soon,7\n9,2024-01-02,1\n",
        e_csv="contact_id,occurred_at,form\n1,2024-01-03,a\n,2024-01-03,a\n4,2024-01-04,b\n",
    )
    yield OpenAccount(
        lambda: FilesPlatform(mapping, results=folder / "results"),
        goal_columns=("won",),
        contacts=frozenset({"1", "2", "4", "5", "9"}),
    )


@contextmanager
def hubspot(folder: Path) -> Iterator[OpenAccount]:
    """A small made-up market behind a pretend HubSpot."""
    with Sandbox(SandboxOptions(contacts=60, seed=2, search_lag=0.0, rate=Rate(100_000, 10.0))) as box:
        connected = HubSpot(SecretStr(box.token), box.base_url)
        connected.install(properties(), dry_run=False)
        connected.close()
        yield OpenAccount(lambda: HubSpot(SecretStr(box.token), box.base_url))


@contextmanager
def salesforce(folder: Path) -> Iterator[OpenAccount]:
    """The same market behind a pretend Salesforce, some of its leads converted."""
    with SalesforceSandbox(SandboxOptions(platform="salesforce", contacts=60, seed=2)) as box:
        key = SecretStr(Path(str(box.ready()["private_key_file"])).read_text(encoding="utf-8"))
        credentials = Credentials(box.client_id, username=box.username, private_key=key)
        yield OpenAccount(lambda: Salesforce(credentials, box.base_url))


#: Platform -> an account of it.
ACCOUNTS = {"files": files, "hubspot": hubspot, "salesforce": salesforce}


#: Those that give single contacts by id.
READABLE = ("hubspot", "salesforce")


@pytest.fixture(params=sorted(ACCOUNTS))
def account(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenAccount]:
    with ACCOUNTS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def platform(account: OpenAccount) -> Iterator[Platform]:
    connected = account.connect()
    yield connected
    connected.close()


@pytest.fixture
def mirror(platform: Platform, tmp_path: Path) -> Iterator[Mirror]:
    with Mirror.open(tmp_path / "state", platform.account()) as opened:
        opened.begin_run("pull")
        yield opened


def pull(platform: Platform, mirror: Mirror, request: PullRequest, most: int | None = None) -> dict[str, int]:
    """Commit pages, at most so many; rows written by table."""
    written: dict[str, int] = {}
    pages = [] if most == 0 else platform.pull(mirror.known, request)
    for place, page in enumerate(pages, start=1):
        if isinstance(page, Page):
            for table, count in mirror.commit(page, run_id="r", observed_at=at("2026-01-01")).items():
                written[table] = written.get(table, 0) + count
        if place == most:
            break
    return written


def everything(mirror: Mirror) -> dict[str, pa.Table]:
    engine = mirror.engine()
    return {
        name: engine.fetch(
            f"select * {'exclude (ingested_at)' if name == 'events' else ''} from {name} order by all"
        )
        for name in TABLES
        if name not in ("property_history", "identities")
    }


def live(mirror: Mirror) -> list[str]:
    found = mirror.engine().fetch("select contact_id from contacts where deleted_at is null order by contact_id")
    return [str(contact_id) for contact_id in found["contact_id"].to_pylist()]


def test_an_account_has_a_name_for_a_folder_and_keeps_it(account: OpenAccount, platform: Platform) -> None:
    first = platform.account()
    other = account.connect()
    assert other.account() == first
    other.close()
    assert first.platform == platform.name
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", first.id)


def test_pages_hold_canonical_tables(account: OpenAccount, platform: Platform, mirror: Mirror) -> None:
    pages = [page for page in platform.pull(mirror.known, account.request()) if isinstance(page, Page)]
    assert pages
    for page in pages:
        assert set(page.whole) <= set(TABLES)
        assert page.cursor is None or json.loads(json.dumps(page.cursor)) == page.cursor
        for name, table in page.rows.items():
            assert table.schema.equals(page_schema(name)), name
        for name in RECORD_TABLES:
            ids = page.rows[name].column(0).to_pylist() if name in page.rows else []
            assert None not in ids
            assert len(set(ids)) == len(ids)


def test_record_texts_are_canonical(account: OpenAccount, platform: Platform, mirror: Mirror) -> None:
    texts = [
        text
        for page in platform.pull(mirror.known, account.request())
        if isinstance(page, Page)
        for name in RECORD_TABLES
        if name in page.rows
        for column in ("properties", "ours")
        for text in page.rows[name][column].to_pylist()
    ]
    assert len(texts) >= 3
    for text in texts:
        values = json.loads(text)
        assert text == json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert all(isinstance(value, str) and value for value in values.values())


def test_definitions_are_of_properties_that_records_hold(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    """A record may hold more: what has a canonical column of its own is kept so that a change to it is seen."""
    held: set[str] = set()
    defined: set[str] = set()
    for page in platform.pull(mirror.known, account.request()):
        if isinstance(page, StreamOff):
            continue
        for text in page.rows["contacts"]["properties"].to_pylist() if "contacts" in page.rows else []:
            held |= json.loads(text).keys()
        if "property_definitions" in page.rows:
            rows = page.rows["property_definitions"].filter(pc.field("object") == "contact")
            defined |= set(rows["property"].to_pylist())
    assert defined
    assert defined <= held
    assert set(account.goal_columns) <= held
    assert not held & set(OURS)


def test_a_second_pull_finds_no_news(account: OpenAccount, platform: Platform, mirror: Mirror) -> None:
    first = pull(platform, mirror, account.request())
    assert first["contacts"] >= 3
    before = everything(mirror)
    assert pull(platform, mirror, account.request()) == {}
    again = account.connect()
    assert pull(again, mirror, account.request()) == {}
    again.close()
    assert everything(mirror) == before
    if account.contacts:
        assert set(live(mirror)) == account.contacts


def test_reading_all_again_changes_nothing(account: OpenAccount, platform: Platform, mirror: Mirror) -> None:
    pull(platform, mirror, account.request())
    before = everything(mirror)
    written = pull(platform, mirror, account.request(full=True))
    assert {table: count for table, count in written.items() if table != "rejects"} == {}
    assert everything(mirror) == before


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_a_pull_that_was_stopped_goes_on(
    account: OpenAccount, platform: Platform, mirror: Mirror, tmp_path: Path, pages: int
) -> None:
    pull(platform, mirror, account.request(), most=pages)
    pull(account.connect(), mirror, account.request())
    with Mirror.open(tmp_path / "unstopped", platform.account()) as unstopped:
        pull(account.connect(), unstopped, account.request())
        assert everything(mirror) == everything(unstopped)


def test_install_tells_what_it_does_and_does_it_once(platform: Platform) -> None:
    planned = platform.install(properties(), dry_run=True)
    assert [plan.name for plan in planned] == list(OURS)
    assert platform.install(properties(), dry_run=True) == planned
    done = platform.install(properties(), dry_run=False)
    assert [plan.action for plan in done] == [plan.action for plan in planned]
    assert {plan.action for plan in platform.install(properties(), dry_run=False)} == {"none"}


def test_a_write_has_an_outcome_for_each_contact_and_can_be_read(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    pull(platform, mirror, account.request())
    platform.install(properties(), dry_run=False)
    one, two, three = live(mirror)[:3]
    values = {"leadlight_score": "57", "leadlight_reasons": 'visited “pricing”, 4 times\n"often"'}
    batch = [Write(one, values), Write(UNKNOWN_CONTACT, values), Write(three, {**values, "leadlight_score": "8"})]
    outcomes = platform.write(batch)
    assert [(outcome.record_id, outcome.state) for outcome in outcomes] == [
        (one, "written"),
        (UNKNOWN_CONTACT, "gone"),
        (three, "written"),
    ]
    read = platform.read_ours([three, UNKNOWN_CONTACT, two, one], ["leadlight_score", "leadlight_reasons"])
    assert set(read) == {one, two, three, UNKNOWN_CONTACT}
    assert read[UNKNOWN_CONTACT] is None
    assert [held and dict(held.values) for held in (read[one], read[two], read[three])] == [
        values,
        {"leadlight_score": None, "leadlight_reasons": None},
        {**values, "leadlight_score": "8"},
    ]


def test_writing_again_is_harmless_and_none_clears(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    pull(platform, mirror, account.request())
    platform.install(properties(), dry_run=False)
    one = live(mirror)[0]
    names = ["leadlight_score", "leadlight_grade"]
    for _ in range(2):
        assert (
            platform.write([Write(one, {"leadlight_score": "57", "leadlight_grade": "B"})])[0].state == "written"
        )
    assert platform.write([Write(one, {"leadlight_score": None})])[0].state == "written"
    held = platform.read_ours([one], names)[one]
    assert held is not None
    assert dict(held.values) == {"leadlight_score": None, "leadlight_grade": "B"}


def test_what_was_written_stays(account: OpenAccount, platform: Platform, mirror: Mirror) -> None:
    pull(platform, mirror, account.request())
    platform.install(properties(), dry_run=False)
    one = live(mirror)[0]
    platform.write([Write(one, {"leadlight_score": "57"})])
    platform.close()
    again = account.connect()
    held = again.read_ours([one], ["leadlight_score"])[one]
    assert held is not None
    assert dict(held.values) == {"leadlight_score": "57"}
    again.close()


def test_values_of_ours_are_pulled_apart_from_the_rest(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    pull(platform, mirror, account.request())
    platform.install(properties(), dry_run=False)
    one = live(mirror)[0]
    platform.write([Write(one, {"leadlight_score": "57", "leadlight_grade": "B"})])
    again = account.connect()
    pages = [page for page in again.pull(mirror.known, account.request(full=True)) if isinstance(page, Page)]
    again.close()
    ours = {
        row["contact_id"]: json.loads(row["ours"])
        for page in pages
        if "contacts" in page.rows
        for row in page.rows["contacts"].select(["contact_id", "ours"]).to_pylist()
    }
    assert {name: float(value) if name == "leadlight_score" else value for name, value in ours[one].items()} == {
        "leadlight_score": 57.0,
        "leadlight_grade": "B",
    }
    assert [value for contact_id, value in ours.items() if contact_id != one and value] == []


def test_calls_are_counted_and_closing_twice_is_fine(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    before = sum(platform.calls().values())
    pull(platform, mirror, account.request())
    calls = platform.calls()
    assert all(re.fullmatch(r"[A-Z]+ /\S*", name) and count > 0 for name, count in calls.items())
    assert sum(calls.values()) >= before
    platform.close()
    platform.close()


def test_batches_and_concurrency_are_sane(platform: Platform) -> None:
    assert platform.batch_size >= 1
    assert platform.batch_for(1) == platform.batch_size
    assert platform.batch_for(1_000_000) >= platform.batch_size
    assert platform.concurrency >= 1


def test_calls_left_today_are_none_or_a_number_that_calls_lower(platform: Platform) -> None:
    platform.read_ours(["1"], ["leadlight_score"])  # the platform has said by now what the plan allows
    before = platform.calls_left()
    platform.read_ours(["1"], ["leadlight_score"])
    after = platform.calls_left()
    assert (before is None) == (after is None)
    assert after is None or 0 <= after <= (before or 0)


def test_who_gives_single_contacts_is_known(platform: Platform) -> None:
    assert isinstance(platform, Readable) == (platform.name in READABLE)


@pytest.mark.parametrize("account", READABLE, indirect=True)
@pytest.mark.parametrize("associations", [False, True])
def test_single_contacts_read_again_are_what_the_pull_read(
    account: OpenAccount, platform: Platform, mirror: Mirror, *, associations: bool
) -> None:
    assert isinstance(platform, Readable)
    pull(platform, mirror, account.request())
    before = everything(mirror)
    ids = live(mirror)[:3]
    platform.write([Write(ids[0], {"leadlight_grade": "B"})])
    asked = [Asked(one, associations) for one in [*ids, UNKNOWN_CONTACT]]
    pages = list(platform.read(mirror.known, account.request(), asked))
    assert all(page.cursor is None for page in pages)
    removed = [row for page in pages if "removals" in page.rows for row in page.rows["removals"].to_pylist()]
    assert [(row["object_id"], row["merged_into"]) for row in removed] == [(UNKNOWN_CONTACT, None)]
    for page in pages:
        for table, rows in page.rows.items():
            assert rows.schema == page_schema(table)
        assert set(mirror.commit(page, run_id="r", observed_at=at("2026-01-01"))) <= {"contacts"}
    after = everything(mirror)
    assert {name: rows.num_rows for name, rows in after.items()} == {k: v.num_rows for k, v in before.items()}
    stamps = ["updated_at"]
    assert after["contacts"].drop_columns(stamps).equals(before["contacts"].drop_columns(stamps))


@pytest.mark.parametrize("account", READABLE, indirect=True)
def test_our_own_write_is_an_echo_when_it_is_read_again(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    assert isinstance(platform, Readable)
    pull(platform, mirror, account.request())
    one = live(mirror)[0]
    rows = {"contact_id": [one], "property": ["leadlight_grade"], "value": ["B"], "value_before": [None]}
    mirror.ledger.plan_writes("r", pa.table(rows))
    mirror.ledger.settle("r", platform.write([Write(one, {"leadlight_grade": "B"})]))
    mirror.engine()
    mirror.save_predictions(
        "r", at("2026-01-01"), {}, pa.table({"contact_id": pa.array([], pa.string())}), whole=True
    )
    (page,) = platform.read(mirror.known, account.request(), [Asked(one)])
    # a platform that does not tell when it wrote gives the record again: it says nothing new
    told = page.rows["contacts"] if page.echoes is None else page.echoes
    assert told["contact_id"].to_pylist() == [one]
    assert platform.name == "salesforce" or page.rows == {}
    mirror.commit(page, run_id="r", observed_at=at("2026-01-01"))
    assert mirror.news() == 0


@pytest.mark.parametrize("account", READABLE, indirect=True)
def test_a_contact_that_is_told_to_be_gone_takes_no_further_call(
    account: OpenAccount, platform: Platform, mirror: Mirror
) -> None:
    assert isinstance(platform, Readable)
    pull(platform, mirror, account.request())
    calls = sum(platform.calls().values())
    (page,) = platform.read(mirror.known, account.request(), [Asked(UNKNOWN_CONTACT, gone=True)])
    assert page.rows["removals"]["object_id"].to_pylist() == [UNKNOWN_CONTACT]
    assert sum(platform.calls().values()) - calls <= 1
