"""Features from purchases, deals, the company's other contacts, and how long a contact has been known."""

from collections.abc import Iterator, Sequence

from scoring.context import Context
from scoring.eligibility import objectors
from scoring.engine import literal, quoted
from scoring.features.behaviour import BY_A_PERSON, ENGAGED
from scoring.features.sql import DAY, Computed, Feature, Unit, select_list, whole_days

PURCHASES, DEALS, COMPANY = "leadlight_purchases", "leadlight_deals", "leadlight_company"

#: Days before an instant in which what colleagues did counts.
COMPANY_DAYS = 30


def prepare(context: Context, pairs: str, features: Sequence[Feature] | None) -> list[tuple[str, list[Computed]]]:
    """Make one table per source, with one row per pair and one column per feature."""
    found = []
    for table, rows, catalogue in (
        (PURCHASES, _purchase_rows(pairs), _purchases()),
        (DEALS, _deal_rows(context, pairs), _deals()),
        (COMPANY, _company_rows(context, pairs), _company()),
    ):
        computed = list(catalogue)
        if features is not None:
            names = {feature.name for feature in features}
            computed = [one for one in computed if one.feature.name in names]
        if computed:
            context.engine.run(
                f"create or replace temp table {table} as select contact_id, as_of, {select_list(computed)} "
                f"from ({rows}) t group by contact_id, as_of"
            )
        found.append((table, [Computed(one.feature, quoted(one.feature.name)) for one in computed]))
    return found


def _feature(
    name: str, group: str, label: str, unit: Unit, phrase: str, phrase_none: str | None = None
) -> Feature:
    return Feature(name, "number", group, None, label, unit, phrase, phrase_none)


def _purchase_rows(pairs: str) -> str:
    return f"""
        select p.contact_id, p.as_of, secs_between(b.purchased_at, p.as_of) as age,
            cast(floor(b.amount * 100.0e0 + 0.5e0) as bigint) as cents,
            case when b.purchased_at is not null and coalesce(b.amount, 0) >= 0 then 1 else 0 end as bought
        from {quoted(pairs)} p
        left join purchases b on b.contact_id = p.contact_id and b.purchased_at < p.as_of
    """


def _purchases() -> Iterator[Computed]:
    group = "purchases"
    for days in (30, 90, 365):
        when = f"in the last {days} days"
        feature = _feature(
            f"purchases_{days}d", group, f"Purchases, last {days} days", "count",
            f"bought {{value}} {when}", f"bought nothing {when}",
        )  # fmt: skip
        yield Computed(feature, f"sum(case when age <= {days * DAY} then bought else 0 end)")
    feature = _feature(
        "purchases_ever", group, "Purchases so far", "count", "bought {value} so far", "never bought"
    )
    yield Computed(feature, "sum(bought)")
    last, first = "min(case when bought = 1 then age end)", "max(case when bought = 1 then age end)"
    feature = _feature("purchase_days", group, "Days since the last purchase", "days", "last bought {value}")
    yield Computed(feature, whole_days(last))
    feature = _feature(
        "first_purchase_days", "tenure", "Days since the first purchase", "days", "first bought {value}"
    )
    yield Computed(feature, whole_days(first))
    yield from _spending()
    gap = f"safe_div({first} - {last}, (sum(bought) - 1) * {DAY}.0e0)"
    feature = _feature(
        "purchase_gap", "purchase rhythm", "Days between purchases", "span", "buys every {value} on average"
    )
    yield Computed(feature, gap)
    feature = _feature(
        "purchase_overdue", "purchase rhythm", "Time since the last purchase, in usual gaps", "number",
        "the last purchase is {value} times the usual gap ago",
    )  # fmt: skip
    yield Computed(feature, f"safe_div(safe_div({last}, {DAY}.0e0), {gap})")


def _spending() -> Iterator[Computed]:
    group = "money spent"
    for days in (90, 365):
        when = f"in the last {days} days"
        feature = _feature(
            f"spent_{days}d", group, f"Money spent, last {days} days", "money", f"spent {{value}} {when}",
            f"spent nothing {when}",
        )  # fmt: skip
        yield Computed(
            feature, f"safe_div(sum(case when age <= {days * DAY} then coalesce(cents, 0) else 0 end), 100)"
        )
    feature = _feature(
        "spent_ever", group, "Money spent so far", "money", "spent {value} so far", "never spent money"
    )
    yield Computed(feature, "safe_div(sum(coalesce(cents, 0)), 100)")
    feature = _feature("spent_mean", group, "Money spent per purchase", "money", "spends {value} per purchase")
    yield Computed(feature, "safe_div(sum(case when bought = 1 then cents end), 100 * sum(bought))")


def _deal_rows(context: Context, pairs: str) -> str:
    """Deals of the contact that existed at the instant, open or closed as they were then.

    The amount is today's for a static goal; at past instants it is the one in the deal's history then, brought
    to the home currency by the deal's own rate, else unknown: amounts are often filled in when a deal is won.
    """
    amount, joined = "d.amount", ""
    if context.goal.in_time:
        rate = "case when d.amount_original is null then 1 else safe_div(d.amount, d.amount_original) end"
        amount = f"try_cast(h.value as double) * ({rate})"
        joined = """
            left join (
                select object_id, value, changed_at, lead(changed_at) over (
                    partition by object_id order by changed_at, observed_at nulls first, source nulls first,
                    value nulls first
                ) as until
                from property_history where object = 'deal' and property = 'amount'
            ) h on h.object_id = d.deal_id and h.changed_at <= p.as_of and (h.until is null or h.until > p.as_of)
        """
    closed = "(coalesce(d.is_closed, false) or coalesce(d.is_won, false))"
    return f"""
        select p.contact_id, p.as_of, d.deal_id, secs_between(d.created_at, p.as_of) as age,
            d.deal_id is not null and (not {closed} or d.closed_at >= p.as_of) as is_open,
            {closed} and d.closed_at < p.as_of and not coalesce(d.is_won, false) as is_lost,
            {closed} and d.closed_at < p.as_of and coalesce(d.is_won, false) as is_won,
            cast(floor({amount} * 100.0e0 + 0.5e0) as bigint) as cents
        from {quoted(pairs)} p
        left join (select distinct deal_id, contact_id from deal_contacts) dc on dc.contact_id = p.contact_id
        left join deals d on d.deal_id = dc.deal_id and d.deleted_at is null and d.created_at < p.as_of
        {joined}
    """


def _deals() -> Iterator[Computed]:
    feature = _feature("open_deals", "open deals", "Open deals", "number", "open deals: {value}", "no open deal")
    yield Computed(feature, "sum(case when is_open then 1 else 0 end)")
    feature = _feature(
        "open_deal_amount", "open deals", "Amount of open deals", "money", "open deals are worth {value}"
    )
    yield Computed(feature, "safe_div(sum(case when is_open then cents end), 100)")
    for key, column, words in (("lost_deals", "is_lost", "lost"), ("won_deals", "is_won", "won")):
        feature = _feature(
            key,
            f"{words} deals",
            f"Deals {words}",
            "count",
            f"a deal was {words} {{value}}",
            f"no deal {words} so far",
        )
        yield Computed(feature, f"sum(case when {column} then 1 else 0 end)")
    feature = _feature("deal_days", "open deals", "Days since the last deal was opened", "days",
                       "the last deal was opened {value}")  # fmt: skip
    yield Computed(feature, whole_days("min(case when deal_id is not null then age end)"))


def _company_rows(context: Context, pairs: str) -> str:
    """What others at the contact's company did, objectors to profiling left out; null without a company."""
    kinds = ", ".join(literal(kind) for kind in ENGAGED)
    return f"""
        with companies_met as (
            select distinct c.company_id from {quoted(pairs)} p join contacts c on c.contact_id = p.contact_id
            where c.company_id is not null
        ),
        members as (
            select c.contact_id, c.company_id, c.created_at from contacts c
            join companies_met m on m.company_id = c.company_id
            left join (select distinct contact_id from ({objectors(context.engine, context.options.consent)}) x) o
                on o.contact_id = c.contact_id
            where c.deleted_at is null and c.merged_into is null and o.contact_id is null
        ),
        instants as (select distinct as_of from {quoted(pairs)}),
        done as (
            select m.company_id, e.contact_id, i.as_of,
                sum(cast(floor(coalesce(e.human, 1.0e0) * 1000.0e0 + 0.5e0) as bigint)) as weight
            from events e join members m on m.contact_id = e.contact_id
            join instants i on e.occurred_at < i.as_of
                and secs_between(e.occurred_at, i.as_of) <= {COMPANY_DAYS * DAY}
            where e.kind in ({kinds})
            group by m.company_id, e.contact_id, i.as_of
        ),
        totals as (
            select company_id, as_of, sum(weight) as weight,
                sum(case when weight >= {BY_A_PERSON} then 1 else 0 end) as people
            from done group by company_id, as_of
        ),
        sizes as (
            select m.company_id, i.as_of, count(*) as people
            from members m join instants i on m.created_at < i.as_of group by m.company_id, i.as_of
        )
        select p.contact_id, p.as_of, c.company_id, secs_between(c.created_at, p.as_of) as age,
            coalesce(t.weight, 0) - coalesce(o.weight, 0) as weight,
            coalesce(t.people, 0) - case when o.weight >= {BY_A_PERSON} then 1 else 0 end as people,
            coalesce(s.people, 0) - case when c.created_at < p.as_of and c.deleted_at is null
                and c.merged_into is null then 1 else 0 end as known
        from {quoted(pairs)} p join contacts c on c.contact_id = p.contact_id
        left join totals t on t.company_id = c.company_id and t.as_of = p.as_of
        left join sizes s on s.company_id = c.company_id and s.as_of = p.as_of
        left join done o on o.contact_id = p.contact_id and o.as_of = p.as_of
    """


def _company() -> Iterator[Computed]:
    feature = _feature(
        "tenure_days", "tenure", "Days since the contact became known", "days", "became known {value}"
    )
    yield Computed(feature, whole_days("min(case when age >= 0 then age end)"))
    group, when = "activity of colleagues", f"in the last {COMPANY_DAYS} days"
    for key, column, unit, label, phrase, none in (
        ("colleagues_known", "known", "number", "Colleagues known", "colleagues known: {value}", None),
        ("colleagues_active_30d", "people", "number", f"Colleagues active, last {COMPANY_DAYS} days",
         f"colleagues active {when}: {{value}}", f"no colleague active {when}"),
        ("company_engagement_30d", "weight", "count", f"Activity of colleagues, last {COMPANY_DAYS} days",
         f"colleagues were active {{value}} {when}", f"no activity of colleagues {when}"),
    ):  # fmt: skip
        value = f"max(case when company_id is not null then {column} end)"
        sql = f"safe_div({value}, 1000.0e0)" if column == "weight" else value
        yield Computed(_feature(key, group, label, unit, phrase, none), sql)  # type: ignore[arg-type]
