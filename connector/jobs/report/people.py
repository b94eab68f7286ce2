"""Who: how scores are spread, what moved in the last run that wrote, the best leads, whom to call."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from connector.jobs.report.names import NAME_SQL
from connector.jobs.run import Run, Task
from connector.mirror.ledger import SETTLES
from connector.mirror.sql import first
from connector.mirror.views import texts
from connector.platform import OWNERS
from scoring.engine import literal, quoted

#: Leads and moves that are shown; leads an owner is to call, owners on the page.
TOP, MOVED, CALLS, OWNERS_SHOWN = 20, 12, 20, 20
#: Width of a bar of the distribution, in points.
BAR = 5
#: Grades that one acts on.
_ACT = ("A", "B")


@dataclass(frozen=True)
class Scores:
    """The temporary table `reported`: live contacts, what was computed, and what stands on the record.

    Columns `now_<name>` and `stood_<name>`, texts: the latest values, and those before `run_id` wrote.
    """

    names: tuple[str, ...]
    #: The last run that wrote values of ours, None when none did.
    run_id: str | None
    written_at: Any

    @classmethod
    def read(cls, run: Run) -> "Scores":
        """Make the table. Values of contacts in a holdout are what would stand."""
        connection = run.mirror.connection
        named = sorted({name for task in run.tasks() for name in task.names(run.settings.prefix).values()})
        last = first(
            connection,
            """select w.run_id, max(w.planned_at) from store.writes w join store.runs r using (run_id)
               where r.command in ('sync', 'push', 'approve') group by w.run_id order by 2 desc limit 1""",
        )
        run_id, at = last if last is not None else (None, None)
        now = "".join(f", c.parsed.{quoted(name)} as {quoted('now_' + name)}" for name in named)
        stood = "".join(
            f', case when map_contains(w."values", {literal(name)}) then w."values"[{literal(name)}] '
            f"else s.parsed.{quoted(name)} end as {quoted('stood_' + name)}"
            for name in named
        )
        connection.execute(
            f"""
            create or replace temp table reported as
            with computed as (select contact_id, from_json("values", {texts(named)}) as parsed
                              from store.predictions),
            standing as (select contact_id, from_json(ours, {texts(named)}) as parsed
                         from store.contacts where deleted_at is null and merged_into is null),
            before as (
                select contact_id, map_from_entries(list((property, value_before))) as "values"
                from (select w.object_id as contact_id, w.property,
                             first(w.value_before order by w.position) as value_before
                      from store.writes w join store.outcomes o on {SETTLES}
                      where w.run_id = {literal(run_id or "")} and w.object = 'contact' and o.state = 'written'
                      group by w.object_id, w.property)
                group by contact_id
            )
            select s.contact_id{now}{stood}
            from standing s left join computed c using (contact_id) left join before w using (contact_id)
            """
        )
        return cls(tuple(named), run_id, at)


def people(run: Run, scores: Scores, task: Task) -> dict[str, Any]:
    """One goal's lead scores. `before` is null before the first run that wrote."""
    names = task.names(run.settings.prefix)
    score, grade = names["leadlight_score"], names["leadlight_grade"]
    held = _held(run, task)
    return {
        "key": task.key,
        "goal": task.goal.words,
        "scored": _rows(run, f"select count({quoted('now_' + score)}) as n from reported")[0]["n"],
        "held_out": held,
        "written_by": scores.run_id,
        "written_at": None if scores.written_at is None else f"{scores.written_at:%Y-%m-%dT%H:%M:%SZ}",
        "distribution": {when: _distribution(run, f"{when}_{score}") for when in ("now", "stood")},
        "grades": {when: _counts(run, f"{when}_{grade}") for when in ("now", "stood")},
        "grade_moves": _grade_moves(run, grade),
        "top": _leads(run, names, f"order by probability desc, contact_id limit {TOP}"),
        "moved": _moved(run, names),
        "owners": _owners(run, names),
    }


def calls(run: Run, task: Task) -> list[dict[str, Any]]:
    """Every owner's leads to call, the likeliest first; expects `reported`."""
    names, named = task.names(run.settings.prefix), owner_names(run)
    rows = _leads(run, names, f"qualify place <= {CALLS} order by owner_id nulls last, place", acting=True)
    return [{**row, "owner": named.get(row["owner_id"])} for row in rows]


def _held(run: Run, task: Task) -> int:
    """Make `kept_back`: contacts of a holdout that runs, on which nobody acts; how many."""
    run.mirror.connection.execute(
        "create or replace temp table kept_back as select distinct contact_id from store.holdout "
        f"where goal = {literal(task.goal.name)} and predictor = {literal(task.predictor.name)} "
        "and arm = 'holdout' and ended_at is null"
    )
    return int(_rows(run, "select count(*) as n from kept_back")[0]["n"])


def _distribution(run: Run, column: str) -> list[int] | None:
    """Contacts by bar of BAR points, from 0; the last one takes 100 too. None where there is no score."""
    rows = _rows(
        run,
        f"""select least(floor(score / {BAR}), {100 // BAR - 1})::int as bar, count(*) as n
            from (select try_cast({quoted(column)} as double) as score from reported)
            where score is not null group by bar""",
    )
    bars = {row["bar"]: row["n"] for row in rows}
    return [bars.get(bar, 0) for bar in range(100 // BAR)] if bars else None


def _counts(run: Run, column: str) -> dict[str, int]:
    rows = _rows(
        run,
        f"select {quoted(column)} as value, count(*) as n from reported where {quoted(column)} is not null "
        "group by value order by value",
    )
    return {row["value"]: row["n"] for row in rows}


def _grade_moves(run: Run, grade: str) -> list[dict[str, Any]]:
    now, stood = quoted(f"now_{grade}"), quoted(f"stood_{grade}")
    return _rows(
        run,
        f"""select {stood} as "from", {now} as "to", count(*) as contacts from reported
            where {stood} is not null or {now} is not null group by 1, 2 order by 1 nulls last, 2 nulls last""",
    )


def _leads(run: Run, names: dict[str, str], which: str, *, acting: bool = False) -> list[dict[str, Any]]:
    """Leads outside the holdout, with what one needs to act on them."""
    value = {short: quoted(f"now_{names[f'leadlight_{short}']}") for short in ("score", "grade", "reasons")}
    probability = f"try_cast({quoted('now_' + names['leadlight_probability'])} as double)"
    hour = quoted(f"now_{run.settings.prefix}_send_hour")
    only = f"and {value['grade']} in ({', '.join(map(literal, _ACT))})" if acting else ""
    return _rows(
        run,
        f"""
        select r.contact_id, {NAME_SQL} as name, c.email, o.name as company, c.owner_id,
               try_cast({value["score"]} as double) as score, {value["grade"]} as grade,
               {probability} as probability, {value["reasons"]} as reasons,
               try_cast(try_cast({hour} as double) as integer) as send_hour,
               row_number() over (partition by c.owner_id order by {probability} desc, r.contact_id) as place
        from reported r join store.contacts c using (contact_id)
             left join store.companies o on o.company_id = c.company_id
        where {value["score"]} is not null {only} and r.contact_id not in (select contact_id from kept_back)
        {which}
        """,
    )


def _moved(run: Run, names: dict[str, str]) -> list[dict[str, Any]]:
    """Contacts whose score moved most in the last run that wrote, and which reasons came and went."""
    columns = ", ".join(
        f"{quoted(f'{when}_{names[full]}')} as {full.removeprefix('leadlight_')}_{when}"
        for full in ("leadlight_score", "leadlight_grade", "leadlight_reasons")
        for when in ("stood", "now")
    )
    rows = _rows(
        run,
        f"""
        select r.*, {NAME_SQL} as name, c.email, o.name as company
        from (select contact_id, {columns} from reported) r join store.contacts c using (contact_id)
             left join store.companies o on o.company_id = c.company_id
        where try_cast(score_now as double) <> try_cast(score_stood as double)
        order by abs(try_cast(score_now as double) - try_cast(score_stood as double)) desc, r.contact_id
        limit {MOVED}
        """,
    )
    return [
        {
            **{key: row[key] for key in ("contact_id", "name", "email", "company", "grade_stood", "grade_now")},
            "score_stood": float(row["score_stood"]),
            "score_now": float(row["score_now"]),
            **_news(row["reasons_stood"], row["reasons_now"]),
        }
        for row in rows
    ]


def _news(before: str | None, now: str | None) -> dict[str, list[str]]:
    was, are = _phrases(before), _phrases(now)
    return {"came": [one for one in are if one not in was], "went": [one for one in was if one not in are]}


def _phrases(reasons: str | None) -> list[str]:
    return [one for one in (reasons or "").split("; ") if one[:2] in ("+ ", "− ")]


def _owners(run: Run, names: dict[str, str]) -> list[dict[str, Any]]:
    """Owners by the conversions one can expect of their leads, with the leads to call."""
    listed: dict[str | None, list[dict[str, Any]]] = {}
    ranked = _leads(run, names, f"qualify place <= {CALLS} order by owner_id nulls last, place", acting=True)
    for row in ranked:
        listed.setdefault(row["owner_id"], []).append(row)
    grade = quoted(f"now_{names['leadlight_grade']}")
    totals = _rows(
        run,
        f"""
        select c.owner_id, count(*) as leads,
               sum(try_cast({quoted("now_" + names["leadlight_probability"])} as double)) as expected
        from reported r join store.contacts c using (contact_id)
        where {grade} in ({", ".join(map(literal, _ACT))})
              and r.contact_id not in (select contact_id from kept_back)
        group by c.owner_id order by expected desc, c.owner_id limit {OWNERS_SHOWN}
        """,
    )
    named = owner_names(run)
    return [
        {**row, "owner": named.get(row["owner_id"]), "calls": listed.get(row["owner_id"], [])} for row in totals
    ]


def owner_names(run: Run) -> dict[str, str]:
    """Owner id -> name, as far as the platform tells."""
    return dict((run.mirror.known.cursor(OWNERS) or {}).get("names", {}))


def _rows(run: Run, query: str) -> list[dict[str, Any]]:
    table: pa.Table = run.mirror.connection.sql(query).to_arrow_table()
    found: list[dict[str, Any]] = table.to_pylist()
    return found
