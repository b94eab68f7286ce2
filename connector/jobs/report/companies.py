"""Companies: the likeliest, with the contacts that make them so."""

from typing import Any

from connector.jobs.report.names import NAME_SQL
from connector.jobs.run import Run, Task
from scoring.companies import company_chances
from scoring.engine import quoted

#: Companies that are shown, and contacts by which each is explained.
TOP, CONTACTS = 20, 3


def companies(run: Run, task: Task) -> list[dict[str, Any]]:
    """The likeliest companies of one goal: `company_id, name, chance, contacts, best`. Expects `reported` and
    `kept_back`: contacts of a holdout count neither for a company nor as its reasons."""
    names = task.names(run.settings.prefix)
    probability, score, grade = (
        quoted(f"now_{names[f'leadlight_{short}']}") for short in ("probability", "score", "grade")
    )
    run.mirror.connection.execute(
        f"""create or replace temp table at_companies as
            select c.company_id, r.contact_id, {NAME_SQL} as name, c.email,
                   try_cast({probability} as double) as probability,
                   try_cast({score} as double) as score, {grade} as grade
            from reported r join store.contacts c using (contact_id)
            where r.contact_id not in (select contact_id from kept_back)"""
    )
    rows = run.mirror.connection.sql(
        f"""
        with top as (select * from ({company_chances("select * from at_companies")})
                     order by chance desc, contacts, company_id limit {TOP}),
        best as (
            select a.* from at_companies a join top using (company_id) where a.probability is not null
            qualify row_number() over (partition by company_id order by a.probability desc, contact_id)
                    <= {CONTACTS}
        )
        select t.company_id, o.name, t.chance, t.contacts,
               list({{'contact_id': b.contact_id, 'name': b.name, 'email': b.email, 'score': b.score,
                      'grade': b.grade, 'probability': b.probability}}
                    order by b.probability desc, b.contact_id) as best
        from top t join best b using (company_id) left join store.companies o using (company_id)
        group by all order by t.chance desc, t.contacts, t.company_id
        """
    ).to_arrow_table()
    found: list[dict[str, Any]] = rows.to_pylist()
    return found
