"""Barred: who may hold no prediction as things stand, whatever was planned or stood there before."""

from connector.jobs import lists
from connector.jobs.run import Run
from scoring.eligibility import objectors, present


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
