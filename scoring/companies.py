"""A company's chance, from those of its contacts."""

#: No company is more certain than this: contacts of one company decide together, so that the product below, which
#: takes them for independent, promises too much where they are many.
CAP = 0.99
#: A contact counts with less than certainty, so that the logarithm is finite.
_MOST = 0.9999


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
