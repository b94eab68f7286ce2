"""Companies: the likeliest, with the contacts that make them so."""

from typing import Any

from connector.jobs.companies import counting
from connector.jobs.report.names import NAME_SQL
from connector.jobs.run import Run, Task
from scoring.companies import REASONS, company_scores
from scoring.engine import quoted

#: Companies that are shown.
TOP = 20


def companies(run: Run, task: Task) -> list[dict[str, Any]]:
    """The likeliest companies of one goal: `company_id, name, score, chance, contacts, best`; `score` is what is
    written on the record. Expects `reported` and `kept_back`: contacts of a holdout count neither for a company
    nor as its reasons."""
    grade = quoted(f"now_{task.names(run.settings.prefix)['leadlight_grade']}")
    run.mirror.connection.execute(
        "create or replace temp table at_companies as " + counting(run, task, "select contact_id from kept_back")
    )
    rows = run.mirror.connection.sql(
        f"""
        with top as (select * from ({company_scores("from at_companies")})
                     order by chance desc, contacts, company_id limit {TOP}),
        best as (
            select a.* from at_companies a join top using (company_id) where a.probability is not null
            qualify row_number() over (partition by company_id order by a.probability desc, contact_id)
                    <= {REASONS}
        ),
        known as (
            select b.*, {NAME_SQL} as name, c.email, r.{grade} as grade
            from best b join store.contacts c using (contact_id) join reported r using (contact_id)
        )
        select t.company_id, o.name, t.score, t.chance, t.contacts,
               list({{'contact_id': k.contact_id, 'name': k.name, 'email': k.email, 'score': k.score,
                      'grade': k.grade, 'probability': k.probability}}
                    order by k.probability desc, k.contact_id) as best
        from top t join known k using (company_id) left join store.companies o using (company_id)
        group by all order by t.chance desc, t.contacts, t.company_id
        """
    ).to_arrow_table()
    found: list[dict[str, Any]] = rows.to_pylist()
    return found
