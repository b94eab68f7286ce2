"""A company's chance, from those of its contacts; its score and reasons, as they stand on its record."""

#: No company is more certain than this: contacts of one company decide together, so that the product below, which
#: takes them for independent, promises too much where they are many.
CAP = 0.99
#: A contact counts with less than certainty, so that the logarithm is finite.
_MOST = 0.9999

#: Contacts that a company's reasons name.
REASONS = 3
#: What stands before and after a contact's id in a company's reasons.
BEFORE, AFTER = "contact ", ": "
#: RE2 (and Python's): the contacts that a company's reasons name, by id, as group 1.
NAMED = f"{BEFORE}([^:,; ]+){AFTER}"


def company_chances(contacts: str) -> str:
    """A query of (company_id, chance, contacts) over a query of (company_id, contact_id, probability).

    `chance` is that at least one contact reaches the goal, 1 − ∏(1 − p), at most CAP; it orders companies and is
    not calibrated. Contacts without a company or a probability (who has reached the goal already, who may not be
    scored) do not count; `contacts` are those who do.
    """
    left = f"1e0 - least(greatest(probability, 0e0), {_MOST}e0)"
    return f"""
        select company_id, least(1e0 - exp(sum(ln({left}))), {CAP}e0) as chance, count(*) as contacts
        from ({contacts}) scored where company_id is not null and probability is not null
        group by company_id
    """


def company_scores(contacts: str) -> str:
    """A query of (company_id, score, reasons, chance, contacts) over a query of (company_id, contact_id,
    probability, score), the score of a contact being its lead score.

    `score` is the chance in percent, 0 to 99. `reasons` says how many contacts count and names the likeliest by
    id, as in `5 open contacts; contact 101: 91, contact 205: 64, contact 33: 40`.
    """
    return f"""
        with counted as (
            select company_id, contact_id, probability, score,
                   row_number() over (partition by company_id order by probability desc, contact_id) as place
            from ({contacts}) scored where company_id is not null and probability is not null
        ),
        named as (
            select company_id,
                   string_agg('{BEFORE}' || contact_id || '{AFTER}'
                              || coalesce(cast(score as bigint)::varchar, '?'), ', ' order by place) as named
            from counted where place <= {REASONS} group by company_id
        )
        select company_id, cast(round(100 * chance) as bigint) as score,
               contacts || case when contacts = 1 then ' open contact; ' else ' open contacts; ' end || named
                   as reasons,
               chance, contacts
        from ({company_chances("from counted")}) chances join named using (company_id)
    """
