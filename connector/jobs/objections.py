"""Objections: who objects to profiling loses every value of ours, first of all and whatever else a run may write:
no cap, no gate and no approval stands in the way of taking away."""

from dataclasses import replace

from connector.jobs.run import Run
from connector.jobs.sending import Pushed, send
from connector.mirror.sql import registered, texts
from connector.mirror.views import entries
from scoring.eligibility import objectors

#: Temporary table of the contacts that object.
OBJECTING = "objecting_now"
#: Why it was taken away, in the ledger.
REASON = "objects to profiling"


def find_objecting(run: Run) -> None:
    """Fill the temporary table OBJECTING, by what the mirror knows.

    Where consent is needed and nobody's is known, who says nothing is not among them: a property that is not
    filled yet, or values that are spelt another way, would clear the whole account past every cap.
    """
    engine, consent = run.engine(), run.options().consent
    found = engine.fetch(f"select distinct contact_id from ({objectors(engine, consent)}) objecting")
    if consent.opt_in and found.num_rows == engine.fetch("select count(*) as n from contacts")["n"][0].as_py():
        out = objectors(engine, replace(consent, opt_in=False))
        found = engine.fetch(f"select distinct contact_id from ({out}) objecting")
    with registered(run.mirror.connection, "_objecting", found):
        run.mirror.connection.execute(f"create or replace temp table {OBJECTING} as select * from _objecting")


def take_away(run: Run, left: list[str] | None = None) -> Pushed:
    """Clear what stands of ours on the contacts that object, of those that the run is about. Returns what became
    of them; nothing is called where nothing stands. What another job of this process means to write on them is
    taken out of its plan; whom it is writing just now is put into `left`, for another try.

    Raises BudgetSpent when the platform's calls are used up.
    """
    find_objecting(run)
    pushed = Pushed()
    connection, ledger = run.mirror.connection, run.mirror.ledger
    about = f"{run.contacts_sql} and contact_id in (select contact_id from {OBJECTING})"
    connection.execute(
        f"""create or replace temp table objecting_rows as
            select contact_id, entry.key as property, entry.value as value_before,
                   cast(null as varchar) as value_after, '{REASON}' as reason
            from (select contact_id, {entries("ours")} as entry from store.contacts
                  where contact_id in ({about}))"""
    )
    # somebody who holds nothing yet may be about to get a first value
    ids = [row[0] for row in connection.execute(about).fetchall()]
    under_way = ledger.supersede(run.id, ids, sorted(run.mirror.running)) if ids else []
    if left is not None:
        left += under_way
    beside = f"where contact_id not in ({texts(under_way)})" if under_way else ""
    rows = connection.sql(f"select * from objecting_rows {beside} order by contact_id, property").to_arrow_table()
    if rows.num_rows:
        start = ledger.next_place(run.id)
        ledger.plan_writes(run.id, rows)
        send(run, pushed, "Taking away what stands on who objects", start)
    return pushed
