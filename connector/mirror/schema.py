"""The mirror's file: how it is opened, what tables it has, how it came to have them.

Storage tables are in the schema `store`; what `scoring` reads are temporary views under the canonical names
(`connector/mirror/views.py`). Migrations run in order, each in the transaction that records it. They are
frozen text: a released one is never edited, a change is a new one at the end.
"""

import os
from contextlib import suppress
from pathlib import Path

import duckdb

from connector.errors import StateMismatch
from connector.mirror.sql import first, now, transaction
from connector.platform import Account
from scoring import engine

FILE = "mirror.duckdb"
_REWRITTEN = "mirror.duckdb.rewritten"

#: Besides canonical columns and those of `platform.RECORD_COLUMNS`:
#: merged_into also for companies and deals; written_at: the modified date that our last write returned;
#: read_modified_at: the modified date that `properties` were read with; seen_at, removed_at: our clock when the
#: record last changed by reading, and when we learnt that it is gone.
_RECORD = """
    properties varchar not null default '{}', ours varchar not null default '{}', modified_at timestamp,
    written_at timestamp, read_modified_at timestamp, first_seen_at timestamp not null, seen_at timestamp not null,
    removed_at timestamp
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "create schema store",
        "create table store.account (platform varchar not null, account_id varchar not null, timezone varchar, "
        "currency varchar)",
        "create table store.cursors (stream varchar not null, cursor varchar not null, run_id varchar, "
        "committed_at timestamp)",
        f"""create table store.contacts (
            contact_id varchar not null, created_at timestamp, updated_at timestamp, email varchar,
            timezone varchar, country varchar, company_id varchar, owner_id varchar, lifecycle_stage varchar,
            deleted_at timestamp, merged_into varchar, row_order bigint, {_RECORD})""",
        f"""create table store.companies (
            company_id varchar not null, created_at timestamp, updated_at timestamp, name varchar, domain varchar,
            industry varchar, employees double, annual_revenue double, country varchar,
            deleted_at timestamp, merged_into varchar, {_RECORD})""",
        f"""create table store.deals (
            deal_id varchar not null, company_id varchar, created_at timestamp, updated_at timestamp,
            closed_at timestamp, amount double, amount_original double, currency varchar, stage varchar,
            pipeline varchar, is_closed boolean, is_won boolean,
            deleted_at timestamp, merged_into varchar, {_RECORD})""",
        "create table store.contact_addresses (contact_id varchar not null, email varchar, is_primary boolean)",
        "create table store.consents (contact_id varchar not null, channel varchar, purpose varchar, "
        "status varchar, since timestamp)",
        "create table store.property_history (object varchar not null, object_id varchar not null, "
        "property varchar not null, value varchar, changed_at timestamp not null, observed_at timestamp, "
        "source varchar)",
        "create table store.deal_contacts (deal_id varchar not null, contact_id varchar not null, role varchar, "
        "is_primary boolean)",
        """create table store.events (
            event_id varchar not null, contact_id varchar, company_id varchar, occurred_at timestamp not null,
            utc_offset_min integer, ingested_at timestamp, kind varchar, channel varchar, campaign_id varchar,
            url varchar, human double, source varchar, properties varchar)""",
        "create table store.purchases (purchase_id varchar not null, contact_id varchar, purchased_at timestamp, "
        "amount double, currency varchar)",
        "create table store.purchase_items (purchase_id varchar not null, product_id varchar, category varchar, "
        "quantity double, price double)",
        "create table store.campaigns (campaign_id varchar not null, channel varchar, name varchar, "
        "subject varchar, sent_at timestamp, cost double)",
        "create table store.identities (person_id varchar, platform varchar, account varchar, "
        "contact_id varchar not null, rule varchar)",
        # known_since: when the first page with this definition was committed
        "create table store.property_definitions (object varchar not null, property varchar not null, "
        "column_name varchar not null, label varchar, type varchar, options varchar, immutable boolean, "
        "known_since timestamp not null)",
        "create table store.rejects (run_id varchar, stream varchar, record varchar, field varchar, "
        "reason varchar, observed_at timestamp)",
        # sequence: of the commit that brought the news
        "create table store.news (contact_id varchar not null, sequence bigint not null)",
        "create table store.runs (run_id varchar not null, command varchar, as_of timestamp, "
        "started_at timestamp not null, finished_at timestamp, status varchar, result varchar)",
        'create table store.predictions (contact_id varchar not null, "values" varchar not null, model varchar, '
        "as_of timestamp, run_id varchar, scored_at timestamp)",
        "create table store.scorings (run_id varchar, as_of timestamp not null, models varchar, "
        "scored_at timestamp)",
        # position: the contact's place in the run's plan
        "create table store.writes (run_id varchar not null, position bigint not null, "
        "contact_id varchar not null, property varchar not null, value_before varchar, value_after varchar, "
        "predictor varchar, model varchar, reason varchar, planned_at timestamp)",
        "create table store.attempts (run_id varchar not null, contact_id varchar not null, "
        "attempted_at timestamp)",
        "create table store.outcomes (run_id varchar not null, contact_id varchar not null, "
        "state varchar not null, modified_at timestamp, request_id varchar, error varchar, settled_at timestamp)",
    ),
    (
        # Experiments. share: at which the contact was drawn; assigned_at: since when the arm takes effect;
        # ended_at: when the experiment did, null while it goes on; "values": what would have stood on the record.
        """create table store.holdout (contact_id varchar not null, goal varchar not null,
            predictor varchar not null, salt varchar not null, arm varchar not null, share double not null,
            assigned_at timestamp not null, ended_at timestamp, score double, grade varchar,
            "values" varchar not null)""",
        # since: when the contact would first have had this grade ('': a predictor without grades)
        """create table store.holdout_grades (contact_id varchar not null, goal varchar not null,
            predictor varchar not null, salt varchar not null, grade varchar not null,
            since timestamp not null)""",
        # contacts: after how many one look is fixed; null where no base rate was known
        """create table store.holdout_plans (goal varchar not null, predictor varchar not null,
            salt varchar not null, planned_at timestamp not null, contacts bigint, plan varchar not null)""",
        # Each contact's first value in shadow mode, and what the customer's own score was then.
        """create table store.shadow (contact_id varchar not null, goal varchar not null, since timestamp not null,
            probability double, score double, grade varchar, present double)""",
    ),
    (
        # who: the operating system's user. Rows are only ever added.
        'create table store.audit ("at" timestamp not null, who varchar, command varchar not null, '
        "subject varchar, run_id varchar)",
        # of_run: the run whose values were put back
        "create table store.rollbacks (run_id varchar not null, of_run varchar not null, started_at timestamp)",
        # what a rollback holds back: a predictor's values on a contact, as long as this model would write them
        "create table store.holds (contact_id varchar not null, predictor varchar not null, "
        "model varchar not null, run_id varchar not null, held_at timestamp)",
        # plans that await approval; status: open, done, void
        "create table store.plans (plan varchar not null, run_id varchar not null, planned_at timestamp not null, "
        "contacts bigint not null, value_count bigint not null, status varchar not null, carried_by varchar, "
        "settled_at timestamp)",
        "create table store.plan_writes (plan varchar not null, position bigint not null, "
        "contact_id varchar not null, property varchar not null, value_before varchar, value_after varchar, "
        "predictor varchar, model varchar, reason varchar)",
    ),
    # hash: keyed, of a contact's id or one of its addresses (`kind`)
    ("create table store.erased (hash varchar not null, kind varchar not null, erased_at timestamp)",),
    (
        # machine: the probability that no person made the event (scoring.machines), where there is cause for doubt
        "create table store.machine_made (event_id varchar not null, contact_id varchar, machine double not null)",
    ),
    (
        "create table store.list_members (list_id varchar not null, contact_id varchar not null, "
        "added_at timestamp)",
    ),
    (
        # position: of the writes that were attempted and settled; a run may write a contact more than once
        "alter table store.attempts add column position bigint",
        "alter table store.outcomes add column position bigint",
        *(
            f"""update store.{table} kept set position = w.position from (
                    select run_id, contact_id, max(position) as position from store.writes group by all) w
                where w.run_id = kept.run_id and w.contact_id = kept.contact_id"""
            for table in ("attempts", "outcomes")
        ),
    ),
    tuple(
        # object, object_id: of the record, which is a contact or a company; their ids may coincide
        statement
        for table in ("writes", "attempts", "outcomes", "holds")
        for statement in (
            f"alter table store.{table} rename column contact_id to object_id",
            f"alter table store.{table} add column object varchar default 'contact'",
        )
    ),
    (
        # a plan is of contacts or of companies: one of the two counts is 0
        "alter table store.plan_writes rename column contact_id to object_id",
        "alter table store.plan_writes add column object varchar default 'contact'",
        "alter table store.plans add column companies bigint default 0",
    ),
)

VERSION = len(MIGRATIONS)


def connect(
    folder: Path, account: Account, *, read_only: bool = False, memory_limit: str | None = None
) -> duckdb.DuckDBPyConnection:
    """Open the folder's mirror, bring it up to date, and check that it is this account's.

    Raises StateMismatch for another account's mirror, one of a newer program, or one that cannot be read.
    """
    path = folder / FILE
    if read_only and not path.exists():
        raise StateMismatch(f"There is no mirror in {folder} yet: run `leadlight pull` first.")
    try:
        connection = engine.connect(path, read_only=read_only, **_config(folder, memory_limit))
    except (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException) as error:
        raise StateMismatch(f"{path} cannot be opened: {str(error).splitlines()[0]}") from error
    try:
        path.chmod(0o600)
        migrate(connection, path, read_only=read_only)
        _check_account(connection, folder, account)
    except BaseException:
        connection.close()
        raise
    return connection


def rewrite(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Put a fresh copy in the place of the file, so that nothing of deleted rows stays readable in it, and close
    `connection`. Killed at any point it leaves the old file or the new one, whole.

    Deleted rows stay in a DuckDB file's blocks until those are used again, which may be never.
    """
    path, aside = folder / FILE, folder / _REWRITTEN
    for left in (aside, aside.with_name(f"{_REWRITTEN}.wal")):
        left.unlink(missing_ok=True)
    [(name,)] = connection.execute("select current_database()").fetchall()
    connection.execute("checkpoint")
    connection.execute(f"attach '{str(aside).replace(chr(39), chr(39) * 2)}' as rewritten")
    aside.chmod(0o600)
    connection.execute(f'copy from database "{name}" to rewritten')
    connection.execute("detach rewritten")
    connection.close()
    _swap(aside, path)


def _swap(aside: Path, path: Path) -> None:
    """Put one closed file in the place of another, on disk."""
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    aside.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _config(folder: Path, memory_limit: str | None) -> dict[str, str]:
    """No downloads at run time, and nothing of a customer's data outside the state folder, spills included."""
    config = {"autoload_known_extensions": "false", "temp_directory": str(folder / "spill")}
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    return config


def version(connection: duckdb.DuckDBPyConnection) -> int:
    """The schema version that the file has; 0 for an empty file."""
    there = "from duckdb_tables() where schema_name = 'main' and table_name = 'schema_version'"
    if first(connection, f"select 1 {there}") is None:
        return 0
    row = first(connection, "select coalesce(max(version), 0) from main.schema_version")
    return int(row[0]) if row else 0


def migrate(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool = False) -> None:
    """Run the migrations that the file lacks. Raises StateMismatch when it has some that this program lacks."""
    present = version(connection)
    if present > len(MIGRATIONS):
        raise StateMismatch(
            f"{path} was written by a newer Leadlight (state version {present}, this program knows "
            f"{len(MIGRATIONS)}): update Leadlight, or use another state_dir."
        )
    if present < len(MIGRATIONS) and read_only:
        raise StateMismatch(f"{path} has state version {present} of {len(MIGRATIONS)}: run `leadlight pull` once.")
    for number, statements in enumerate(MIGRATIONS[present:], start=present + 1):
        with transaction(connection):
            connection.execute(
                "create table if not exists main.schema_version (version integer not null, applied_at timestamp)"
            )
            for statement in statements:
                connection.execute(statement)
            connection.execute("insert into main.schema_version values (?, ?)", [number, now()])


def _check_account(connection: duckdb.DuckDBPyConnection, folder: Path, account: Account) -> None:
    found = first(connection, "select platform, account_id from store.account")
    if found is None:
        connection.execute(
            "insert into store.account values (?, ?, ?, ?)",
            [account.platform, account.id, account.timezone, account.currency],
        )
    elif found != (account.platform, account.id):
        raise StateMismatch(
            f"The state folder {folder} belongs to {found[0]} account {found[1]}, the credentials are for "
            f"{account.platform} account {account.id}: use another state_dir, or the other credentials."
        )
