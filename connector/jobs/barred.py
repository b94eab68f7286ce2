"""Barred: who may hold no prediction, and who may be named by no company, as things stand, whatever was planned or
stood there before."""

from collections.abc import Collection

import pyarrow as pa

from connector.jobs import lists
from connector.jobs.run import Run
from connector.jobs.withhold import draws
from connector.mirror.sql import registered
from scoring.eligibility import objectors, present
from scoring.engine import literal
from scoring.holdout import HOLDOUT

#: Temporary table of the contacts that a company's reasons may name.
NAMEABLE = "nameable"


def barred(run: Run) -> set[str]:
    """Ids of contacts that object to profiling, or that the filters of `[write]` leave out, as the mirror knows
    them. While a list of `[write]` cannot be read that is everyone."""
    engine, options = run.engine(), run.options()
    if lists.unread(run, writing=True):
        return set(engine.fetch("select contact_id from contacts")["contact_id"].to_pylist())
    out = f"select contact_id from ({objectors(engine, options.consent)}) objecting"
    if options.write:
        out += f" union select c.contact_id from contacts c where not ({present(engine, options.write)})"
    return set(engine.fetch(f"select distinct contact_id from ({out}) barred")["contact_id"].to_pylist())


def find_nameable(run: Run, held_out: str | None = None) -> None:
    """Fill the temporary table NAMEABLE: live contacts that are neither barred nor in the lead score's holdout.
    Who was deleted, merged or erased is not among them. `held_out` is a query of the holdout, by default of those
    that were drawn before."""
    connection = run.mirror.connection
    given = pa.table({"contact_id": pa.array(sorted(barred(run)), pa.string())})
    with registered(connection, "_barred_given", given):
        connection.execute(
            f"""create or replace temp table {NAMEABLE} as
                select contact_id from store.contacts where deleted_at is null and merged_into is null
                    and contact_id not in (select contact_id from _barred_given)
                    and contact_id not in ({held_out or _held_out(run)})"""
        )


def unnameable(run: Run, contact_ids: Collection[str]) -> set[str]:
    """Those of the contacts that NAMEABLE lacks: that nothing we write may name."""
    if not contact_ids:
        return set()
    with registered(
        run.mirror.connection, "_named", pa.table({"contact_id": pa.array(sorted(contact_ids), pa.string())})
    ):
        rows = run.mirror.connection.execute(
            f"select contact_id from _named where contact_id not in (select contact_id from {NAMEABLE})"
        ).fetchall()
    return {row[0] for row in rows}


def _held_out(run: Run) -> str:
    main = run.goals()[0].name
    drawn = [
        draw.where
        for draw in draws(run)
        if draw.task.goal.name == main and draw.task.predictor.name == "lead_score"
    ]
    return (
        f"select contact_id from store.holdout where ended_at is null and arm = {literal(HOLDOUT)} "
        f"and ({' or '.join(drawn) or 'false'})"
    )
