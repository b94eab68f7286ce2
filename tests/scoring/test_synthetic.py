"""The made-up market keeps its promises: canonical, repeatable, and true to the story that it tells."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from scoring import tables
from scoring.engine import DuckEngine
from scoring.synthetic.clock import Clock, seconds
from scoring.synthetic.market import Market, market, markets

UNTIL = datetime.fromisoformat("2026-11-20 06:30:15")


@pytest.fixture(scope="module")
def made() -> Market:
    return market(2000, 7, UNTIL)


@pytest.fixture(scope="module")
def engine(made: Market) -> DuckEngine:
    extra: Mapping[str, pa.Table] = {"truth": made.truth.contacts, "behind": made.truth.events}
    return DuckEngine.in_memory({**made.tables, **extra})


def number(engine: DuckEngine, query: str) -> float:
    return float(engine.fetch(query).column(0)[0].as_py())


def labels(made: Market, at: datetime, days: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities and outcomes of the contacts that are open at an instant."""
    engine = DuckEngine.in_memory({**made.tables, "chance": made.truth.probability(at, days)})
    window = f"d.closed_at > timestamp '{at}' and d.closed_at <= timestamp '{at + timedelta(days=days)}'"
    rows = engine.fetch(
        f"select c.probability, coalesce(max(case when d.is_won and {window} then 1 else 0 end), 0) as won "
        "from chance c left join deal_contacts using (contact_id) left join deals d using (deal_id) "
        "group by c.contact_id, c.probability"
    )
    return rows["probability"].to_numpy(), rows["won"].to_numpy()


def test_tables_have_the_canonical_columns_and_every_property_its_typed_column(made: Market) -> None:
    assert set(made.tables) == set(tables.TABLES)
    defined = made.tables["property_definitions"].to_pylist()
    for name, table in made.tables.items():
        kind = {"contacts": "contact", "companies": "company"}.get(name)
        fields = list(tables.schema(name))
        for row in defined:
            if row["object"] == kind:
                sql = tables.PROPERTY_SQL_TYPES.get(row["type"], "VARCHAR")
                fields.append(pa.field(row["column_name"], tables.Column("value", sql).arrow))
        assert table.schema.equals(pa.schema(fields)), name


def test_the_same_seed_gives_the_same_market_and_another_seed_another(made: Market) -> None:
    again, other = market(2000, 7, UNTIL), market(2000, 8, UNTIL)
    assert all(again.tables[name].equals(table) for name, table in made.tables.items())
    assert again.truth.contacts.equals(made.truth.contacts)
    assert not other.tables["events"].equals(made.tables["events"])


def test_a_later_end_moves_the_whole_market() -> None:
    early, late = market(100, 1, UNTIL), market(100, 1, UNTIL + timedelta(days=700))
    assert early.tables["contacts"]["email"].equals(late.tables["contacts"]["email"])
    moved = pc.subtract(late.tables["contacts"]["created_at"], early.tables["contacts"]["created_at"])
    assert pc.unique(moved).to_pylist() == [timedelta(days=700)]


def test_a_market_in_parts_has_everybody_once_and_the_same_mailings() -> None:
    parts = list(markets(250, 3, UNTIL, at_a_time=100))
    assert [part.tables["contacts"].num_rows for part in parts] == [100, 100, 50]
    for name, column in (("contacts", "contact_id"), ("events", "event_id"), ("companies", "domain")):
        ids = pa.concat_tables([part.tables[name] for part in parts])[column]
        assert len(ids.unique()) == len(ids) > 0
    assert parts[1].tables["campaigns"].equals(parts[0].tables["campaigns"])
    assert not parts[1].tables["contacts"]["created_at"].equals(parts[0].tables["contacts"]["created_at"])
    assert parts[0].tables["events"].equals(market(100, 3, UNTIL).tables["events"])


@pytest.mark.parametrize("contacts", [1, 2, 12])
def test_a_tiny_market_is_a_market_too(contacts: int) -> None:
    tiny = market(contacts, 4, UNTIL, shuffled_outcomes=contacts == 2)
    assert tiny.tables["contacts"].num_rows == contacts
    assert tiny.truth.probability(UNTIL).num_rows <= contacts


def test_ids_are_unique_numbers_from_their_bases(engine: DuckEngine) -> None:
    bases = (("contacts", "contact_id", 1001), ("companies", "company_id", 5001), ("deals", "deal_id", 9001))
    for table, column, base in (*bases, ("events", "event_id", 100000001), ("campaigns", "campaign_id", 700001)):
        row = engine.fetch(
            f"select count(*) as n, count(distinct {column}) as k, min(cast({column} as bigint)) as low, "
            f"max(cast({column} as bigint)) as high from {table}"
        ).to_pylist()[0]
        assert row["n"] == row["k"] > 0
        assert (row["low"], row["high"]) == (base, base + row["n"] - 1)


def test_nothing_happens_at_or_after_the_end_nor_before_a_contact_is_there(engine: DuckEngine) -> None:
    for table, column in (
        ("events", "occurred_at"),
        ("contacts", "updated_at"),
        ("deals", "closed_at"),
        ("deals", "created_at"),
        ("property_history", "changed_at"),
        ("consents", "since"),
        ("campaigns", "sent_at"),
    ):
        assert engine.fetch(f"select max({column}) as at from {table}")["at"][0].as_py() < UNTIL, (table, column)
    age = "secs_between(c.created_at, occurred_at)"
    early = f"select count(*) from events join contacts c using (contact_id) where {age} < "
    assert number(engine, f"{early} -3600") == 0
    assert number(engine, f"{early} 0 and kind <> 'page_view'") == 0


def test_every_reference_leads_somewhere(engine: DuckEngine) -> None:
    for table, column, target in (
        ("events", "contact_id", "contacts"),
        ("events", "campaign_id", "campaigns"),
        ("contacts", "company_id", "companies"),
        ("deal_contacts", "deal_id", "deals"),
        ("deal_contacts", "contact_id", "contacts"),
        ("consents", "contact_id", "contacts"),
        ("contact_addresses", "contact_id", "contacts"),
    ):
        lost = f"{column} is not null and {column} not in (select {column} from {target})"
        assert number(engine, f"select count(*) from {table} where {lost}") == 0, (table, column)


def test_events_stay_within_what_a_demo_can_pull(engine: DuckEngine) -> None:
    assert 55 <= number(engine, "select count(*) / 2000.0 from events") <= 80
    mail = "kind like 'email%' and kind <> 'email_reply'"
    assert number(engine, f"select count(*) / 2000.0 from events where {mail}") <= 50
    assert number(engine, "select count(*) / 2000.0 from events where kind = 'page_view'") <= 13
    active = "kind in ('email_click', 'email_reply', 'page_view', 'form_submit') and origin = 'person'"
    counts = f"select contact_id, count(*) as n from events join behind using (event_id) where {active} group by 1"
    assert number(engine, f"select count(*) from ({counts}) c where n >= 30") >= 200


def test_true_probabilities_are_calibrated_and_tell_winners_apart(made: Market) -> None:
    for back in (90, 180, 270, 360):
        chance, won = labels(made, UNTIL - timedelta(days=back))
        assert len(won) > 500
        assert won.mean() >= 0.15
        error = np.sqrt((chance * (1 - chance)).sum()) / len(won)
        assert abs(chance.mean() - won.mean()) < 4 * error
        assert roc_auc_score(won, chance) >= 0.85


def test_true_probabilities_hold_in_every_fifth(made: Market) -> None:
    chance, won = (np.concatenate(part) for part in zip(*(
        labels(market(4000, seed, UNTIL), UNTIL - timedelta(days=120)) for seed in (1, 2)
    ), strict=True))  # fmt: skip
    for fifth in np.array_split(np.argsort(chance), 5):
        expected = chance[fifth].mean()
        assert abs(won[fifth].mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(fifth)) + 0.01


def test_latest_values_are_the_last_of_their_history(engine: DuckEngine) -> None:
    for column, name in (("p_lead_status", "lead_status"), ("lifecycle_stage", "lifecyclestage"),
                         ("p_customer_tier", "customer_tier"), ("p_job_seniority", "job_seniority")):  # fmt: skip
        differ = number(
            engine,
            f"""
            with ranked as (select object_id, value, row_number() over (
                    partition by object_id order by changed_at desc) as age
                from property_history where object = 'contact' and property = '{name}')
            select count(*) from contacts c left join ranked r on r.object_id = c.contact_id and r.age = 1
            where c.{column} is distinct from r.value""",
        )
        assert differ == 0, name
        changes = f"select count(*) from property_history where property = '{name}'"
        assert number(engine, changes) > 500


def test_lifecycle_stages_only_move_forward(engine: DuckEngine) -> None:
    order = "case value when 'subscriber' then 0 when 'lead' then 1 when 'marketingqualifiedlead' then 2 " \
        "when 'salesqualifiedlead' then 3 when 'opportunity' then 4 when 'customer' then 5 end"  # fmt: skip
    back = number(
        engine,
        f"""
        with steps as (select {order} as place, lag({order}) over (
                partition by object_id order by changed_at) as before
            from property_history where property = 'lifecyclestage')
        select count(*) from steps where place is null or place <= before""",
    )
    assert back == 0


def test_leaky_fields_are_filled_after_the_win_but_for_a_few_mistakes(made: Market, engine: DuckEngine) -> None:
    for name in made.truth.leaky:
        rows = engine.fetch(f"""
            with firsts as (select object_id as contact_id, min(changed_at) as filled_at from property_history
                where property = '{name}' group by 1),
            wins as (select contact_id, min(closed_at) as won_at from deal_contacts
                join deals using (deal_id) where is_won group by 1)
            select count(f.contact_id) as filled, count(won_at) as winners,
                count(case when filled_at > won_at then 1 end) as late
            from firsts f left join wins w on w.contact_id = f.contact_id""").to_pylist()[0]
        filled = number(engine, f"select count(*) from contacts where p_{name} is not null")
        assert rows["filled"] == filled > 500, name
        assert rows["late"] > 0.95 * rows["winners"]
        assert 0 < rows["filled"] - rows["winners"] < 0.03 * 2000


def test_honest_fields_tell_of_wins_and_null_fields_do_not(made: Market, engine: DuckEngine) -> None:
    def tells(name: str) -> float:
        """How unlikely the differences of win rates between the values are by chance (chi-square test)."""
        rows = engine.fetch(f"""
            select count(*) as n, avg(case when c.lifecycle_stage = 'customer' then 1.0e0 else 0 end) as rate
            from contacts c where p_{name} is not null group by p_{name}""")
        n, rate = rows["n"].to_numpy(), rows["rate"].to_numpy()
        base = (n * rate).sum() / n.sum()
        return float(chi2.sf((n * (rate - base) ** 2).sum() / (base * (1 - base)), len(n) - 1))

    assert all(tells(name) < 1e-9 for name in made.truth.honest)
    assert all(tells(name) > 1e-3 for name in made.truth.null)


def test_mail_leaves_at_nine_and_raw_opens_mislead(made: Market, engine: DuckEngine) -> None:
    hour = "hour(local_ts(sent_at, 'Europe/London'))"
    nine = number(engine, f"select avg(case when {hour} = 9 then 1.0e0 else 0 end) from campaigns")
    assert 0.55 <= nine <= 0.85

    def near(kinds: str) -> float:
        """Share of busy contacts whose most frequent local hour is within one of the true best hour."""
        return number(
            engine,
            f"""
            with hours as (select e.contact_id, hour(local_ts(occurred_at, t.zone)) as h, count(*) as n
                from events e join truth t using (contact_id) where kind in ({kinds}) group by 1, 2),
            peaks as (select contact_id, h, sum(n) over (partition by contact_id) as total,
                row_number() over (partition by contact_id order by n desc, h) as place from hours)
            select avg(case when abs(mod(h - best_hour + 36, 24) - 12) <= 1 then 1.0e0 else 0 end)
            from peaks join truth using (contact_id) where place = 1 and total >= 20""",
        )

    assert near("'email_open'") < 0.3
    assert near("'page_view'") > near("'email_open'") + 0.25


def test_people_answer_mail_that_comes_at_their_hour(engine: DuckEngine) -> None:
    rates = engine.fetch("""
        with mail as (select e.contact_id, e.campaign_id, abs(mod(
                hour(local_ts(occurred_at, t.zone)) - best_hour + 36, 24) - 12) <= 1 as fits
            from events e join truth t using (contact_id) where kind = 'email_delivered'),
        clicks as (select distinct contact_id, campaign_id from events join behind using (event_id)
            where kind = 'email_click' and origin = 'person')
        select fits, avg(case when k.contact_id is null then 0 else 1.0e0 end) as rate
        from mail left join clicks k using (contact_id, campaign_id) group by fits order by fits""")
    apart, close = rates["rate"].to_pylist()
    assert close > 2 * apart


def test_scanners_click_in_bursts_and_proxies_open_near_delivery(engine: DuckEngine) -> None:
    burst = engine.fetch("""
        select avg(n) as links, max(secs_between(first, last)) as seconds from (
            select contact_id, campaign_id, count(*) as n, min(occurred_at) as first, max(occurred_at) as last
            from events join behind using (event_id) where kind = 'email_click' and origin = 'scanner'
            group by 1, 2) b
        """).to_pylist()[0]
    assert burst["links"] == 4
    assert burst["seconds"] <= 12
    delays = engine.fetch("""
        select secs_between(d.occurred_at, o.occurred_at) as s, origin
        from events o join behind using (event_id) join events d
            on d.contact_id = o.contact_id and d.campaign_id = o.campaign_id and d.kind = 'email_delivered'
        where o.kind = 'email_open'""")
    for origin, share in (("proxy", 0.6), ("person", 0.2)):
        there = delays.filter(pc.equal(delays["origin"], origin))["s"].to_numpy()
        quick = (there < 120).mean()
        assert quick > share if origin == "proxy" else quick < share
        assert there.min() > 0


def answered(of: Market) -> pa.Table:
    """People's and machines' opens and clicks: origin, kind, seconds since delivery, clicks of the mail."""
    engine = DuckEngine.in_memory({**of.tables, "behind": of.truth.events})
    return engine.fetch("""
        select origin, e.kind, secs_between(d.occurred_at, e.occurred_at) as since,
            count(case when e.kind = 'email_click' then 1 end) over (
                partition by e.contact_id, e.campaign_id, origin) as clicks
        from events e join behind using (event_id) join events d
            on d.contact_id = e.contact_id and d.campaign_id = e.campaign_id and d.kind = 'email_delivered'
        where e.kind in ('email_open', 'email_click')""")


def test_some_people_open_within_seconds_and_some_click_several_links(made: Market) -> None:
    def share(of: Market, kind: str, test: pc.Expression) -> float:
        some = answered(of).filter((pc.field("origin") == "person") & (pc.field("kind") == kind))
        return some.filter(test).num_rows / some.num_rows

    quick, several = pc.field("since") <= 10, pc.field("clicks") >= 2
    assert 0.03 < share(made, "email_open", quick) < 0.08
    assert 0.1 < share(made, "email_click", several) < 0.25
    eager = market(2000, 7, UNTIL, in_inbox=0.4, several_links=0.4)
    assert share(eager, "email_open", quick) > 0.12
    assert share(eager, "email_click", several) > 0.5
    slow = market(2000, 7, UNTIL, in_inbox=0.0, several_links=0.0)
    assert share(slow, "email_open", pc.field("since") < 30) == 0
    assert share(slow, "email_click", several) == 0


def test_lone_gateways_click_one_link() -> None:
    some = answered(market(2000, 7, UNTIL, lone_scans=0.5)).filter(
        (pc.field("origin") == "scanner") & (pc.field("kind") == "email_click")
    )
    assert set(some["clicks"].to_pylist()) == {1, 4}
    assert 0.05 < pc.mean(pc.equal(some["clicks"], 1)).as_py() < 0.5


def test_the_platform_recognises_some_machines_and_no_person(engine: DuckEngine) -> None:
    rows = engine.fetch("""
        select origin in ('scanner', 'proxy') as machine, avg(case when human = 0 then 1.0e0 else 0 end) as marked,
            count(distinct human) as values from events join behind using (event_id) group by 1 order by 1""")
    people, machines = rows["marked"].to_pylist()
    assert people == 0
    assert 0.15 < machines < 0.45
    assert rows["values"].to_pylist() == [1, 2]


def test_a_form_is_seen_before_it_is_sent(engine: DuckEngine) -> None:
    assert number(engine, """
        select count(*) from events f where kind = 'form_submit' and not exists (
            select 1 from events v where v.kind = 'page_view' and v.contact_id = f.contact_id and v.url = f.url
            and secs_between(v.occurred_at, f.occurred_at) between 1 and 180)""") == 0  # fmt: skip


def test_who_opted_out_gets_no_more_mail(engine: DuckEngine) -> None:
    left = number(engine, "select count(*) from consents where purpose = 'marketing' and status = 'denied'")
    assert 80 <= left <= 200
    assert left == number(engine, "select count(*) from truth where opted_out")
    assert number(engine, """
        select count(*) from events e join consents c on c.contact_id = e.contact_id and c.status = 'denied'
            and c.purpose = 'marketing' where e.kind = 'email_sent' and e.occurred_at > c.since + interval 4 minute
        """) == 0  # fmt: skip
    assert number(engine, "select count(*) from consents where purpose = 'profiling'") == number(
        engine, "select count(*) from truth where profiling_denied"
    )


def test_money_is_in_the_home_currency_and_an_unknown_rate_is_null(engine: DuckEngine) -> None:
    rows = engine.fetch("""
        select currency, min(amount / amount_original) as low, max(amount / amount_original) as high,
            count(*) as n, count(amount) as known from deals group by 1""").to_pylist()
    found = {row["currency"]: row for row in rows}
    assert set(found) == {"EUR", "USD", "GBP", "CHF"}
    assert found["CHF"]["known"] == 0
    assert found["USD"]["known"] == found["USD"]["n"]
    assert found["GBP"]["low"] == pytest.approx(1.17, abs=1e-3)
    assert found["EUR"]["high"] == pytest.approx(1.0)


def test_drift_moves_the_base_rate() -> None:
    steady, drifting = market(4000, 3, UNTIL), market(4000, 3, UNTIL, drift=0.8)
    early, late = UNTIL - timedelta(days=360), UNTIL - timedelta(days=90)

    def change(of: Market) -> float:
        return float(labels(of, late)[1].mean() / labels(of, early)[1].mean())

    assert change(drifting) > 1.25 * change(steady)


def test_shuffled_outcomes_leave_nothing_to_learn() -> None:
    blind = market(3000, 5, UNTIL, shuffled_outcomes=True)
    chance, won = labels(blind, UNTIL - timedelta(days=90))
    assert np.ptp(chance) == 0
    assert won.mean() == pytest.approx(chance.mean(), abs=0.03)
    engine = DuckEngine.in_memory(blind.tables)
    rate = engine.fetch("""
        select p_job_seniority, avg(case when lifecycle_stage = 'customer' then 1.0e0 else 0 end) as r
        from contacts where p_job_seniority is not null group by 1""")["r"].to_numpy()
    assert np.ptp(rate) < 0.15


def test_local_hours_are_right_across_clock_changes_and_half_hour_zones() -> None:
    zones = ("America/New_York", "Asia/Kolkata", "Australia/Adelaide", "Europe/London")
    start, end = (seconds(datetime.fromisoformat(day)) for day in ("2026-03-01", "2026-11-20"))
    clock = Clock(zones, start, end)
    hours = np.arange(start, end - 86400, 3600)
    for index, name in enumerate(zones):
        zone = np.full(len(hours), index)
        offset = clock.offset(hours, zone)
        for at, found in list(zip(hours.tolist(), offset.tolist(), strict=True))[::17]:
            expected = datetime.fromtimestamp(at, ZoneInfo(name)).utcoffset()
            assert expected == timedelta(seconds=found)
        back = clock.utc(clock.local(hours, zone), zone)
        # once a year a wall-clock hour comes twice: then, and only then, the first or second may be meant
        assert (back != hours).sum() <= 3
