"""Features from what a contact did, and from what we sent: counts, recency, trend, hours, channels.

Counts are weighted by the probability that a person did it. 'Engaged' leaves opens out: privacy proxies and
scanners open mail too.

An event counts when it occurred before the instant, whenever it was pulled: a run pulls before it scores, so what
a model meets is as complete as what it was trained on.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scoring.context import Context
from scoring.engine import literal, quoted
from scoring.features.sql import DAY, Computed, Feature, select_list, whole_days
from scoring.tables import KINDS
from scoring.zones import zones

EVENTS, BEHAVIOUR = "leadlight_events", "leadlight_behaviour"

MAIL = ("email_click", "email_reply")
WEB = ("page_view", "form_submit", "product_view", "cart_add")
SALES = ("meeting", "call")
ELSEWHERE = ("sms_click", "push_open", "ad_click", "custom")
ENGAGED = (*MAIL, *WEB, *SALES, *ELSEWHERE)
#: Parts of an address, lower case, that tell a page about prices, and one where people ask for a conversation.
PRICING_PAGES = ("pricing", "/price", "/prices", "/plans", "/preise", "/tarif", "/precio", "/prezzi")
DEMO_PAGES = ("demo", "/trial", "free-trial", "contact-sales", "/book", "get-started", "/quote")
#: Local hours that count as working hours, Monday to Friday.
WORK_FROM, WORK_UNTIL = 9, 18
#: In thousandths: at least this likely to be a person's doing.
BY_A_PERSON = 500
#: Days after which an activity counts half in what is decayed.
HALF_LIFE = 30
DECAYED = ("engagement", "clicks", "views")


@dataclass(frozen=True)
class Activity:
    """Something that is counted over windows and dated."""

    key: str
    group: str
    #: "clicked in e-mails {value}", "no click in an e-mail", "last clicked in an e-mail {value}".
    did: str
    none: str | None
    last: str | None
    windows: tuple[int, ...]
    kinds: tuple[str, ...]
    #: A column of EVENTS that must hold besides the kind.
    where: str = "true"

    @property
    def mark(self) -> str:
        """The column of the marked rows that says whether a row is this activity."""
        return f"is_{self.key}"

    @property
    def is_it(self) -> str:
        """SQL over EVENTS: whether a row is this activity."""
        return _any_of(self.kinds) if self.where == "true" else f"{_any_of(self.kinds)} and {self.where}"


def _any_of(kinds: Sequence[str]) -> str:
    """SQL over EVENTS, where kinds are numbers: comparing texts a hundred times a row is slow."""
    return f"code in ({', '.join(str(KINDS.index(kind)) for kind in kinds)})"


_ALL = (7, 30, 90, 365)
ACTIVITIES = (
    Activity("engagement", "activity", "was active", "no activity", "was last active", _ALL, ENGAGED),
    Activity("opens", "e-mail opens", "opened e-mails", "no e-mail opened", "last opened an e-mail", _ALL,
             ("email_open",)),
    Activity("clicks", "e-mail clicks", "clicked in e-mails", "no click in an e-mail",
             "last clicked in an e-mail", _ALL, ("email_click",)),
    Activity("replies", "e-mail replies", "replied to e-mails", "no reply to an e-mail",
             "last replied to an e-mail", (30, 90, 365), ("email_reply",)),
    Activity("views", "page views", "viewed pages", "no page view", "last viewed a page", _ALL, ("page_view",)),
    Activity("pricing", "pricing page visits", "visited the pricing page", "no visit to the pricing page",
             "last visited the pricing page", _ALL, ("page_view",), "on_pricing"),
    Activity("demo", "demo page visits", "visited the demo page", "no visit to the demo page",
             "last visited the demo page", _ALL, ("page_view",), "on_demo"),
    Activity("forms", "form submissions", "submitted forms", "no form submitted", "last submitted a form", _ALL,
             ("form_submit",)),
    Activity("meetings", "meetings", "had meetings", "no meeting", "last had a meeting", (30, 90, 365),
             ("meeting",)),
    Activity("calls", "calls", "had calls", "no call", "last had a call", (30, 90, 365), ("call",)),
    Activity("texts", "text messages", "clicked in text messages", "no click in a text message",
             "last clicked in a text message", (30, 365), ("sms_click",)),
    Activity("pushes", "push notifications", "opened push notifications", "no push notification opened",
             "last opened a push notification", (30, 365), ("push_open",)),
    Activity("ads", "ad clicks", "clicked on ads", "no click on an ad", "last clicked on an ad", (30, 90, 365),
             ("ad_click",)),
    Activity("products", "product views", "viewed products", "no product viewed", "last viewed a product", _ALL,
             ("product_view",)),
    Activity("carts", "carts", "put things in the cart", "nothing put in the cart",
             "last put something in the cart", (7, 30, 90), ("cart_add",)),
    Activity("others", "other activity", "did something else of note", "nothing else of note",
             "last did something else of note", (30, 90, 365), ("custom",)),
    Activity("bounces", "e-mail bounces", "had e-mails bounce", None, None, (90, 365), ("email_bounce",)),
    Activity("optouts", "opt-outs", "unsubscribed or complained", None, None, (365,),
             ("email_unsubscribe", "email_spam")),
)  # fmt: skip
_CHANNELS = (
    ("mail", "by e-mail", MAIL),
    ("web", "on the web site", WEB),
    ("sales", "with the sales team", SALES),
    ("elsewhere", "elsewhere", ELSEWHERE),
)


def prepare(context: Context, pairs: str, features: Sequence[Feature] | None) -> list[Computed]:
    """Make BEHAVIOUR: one row per pair, one column per feature."""
    _events(context, pairs)
    computed = list(_catalogue())
    if features is None:
        seen = context.engine.fetch(f"select distinct code from {EVENTS}")["code"].to_pylist()
        computed = [
            one for one in computed if not one.kinds or {KINDS.index(kind) for kind in one.kinds} & {*seen}
        ]
    else:
        names = {feature.name for feature in features}
        computed = [one for one in computed if one.feature.name in names]
    if computed:
        columns = select_list(computed)
        used = {*re.findall(r"\w+", columns)}
        marks = "".join(f", {sql} as {name}" for name, sql in _marks().items() if name in used)
        context.engine.run(f"""
            create or replace temp table {BEHAVIOUR} as
            select contact_id, as_of, {columns}
            from (
                select t.*{marks}
                from (
                    select p.contact_id, p.as_of, e.code, e.weight, e.on_pricing, e.on_demo, e.at_work,
                        e.at_weekend, e.opens_day, e.delivered_so_far, e.sent_so_far,
                        secs_between(e.occurred_at, p.as_of) as age
                    from {quoted(pairs)} p
                    left join {EVENTS} e on e.contact_id = p.contact_id and e.occurred_at < p.as_of
                ) t
            ) m
            group by contact_id, as_of
        """)
    return [Computed(one.feature, quoted(one.feature.name)) for one in computed]


def _events(context: Context, pairs: str) -> None:
    """The events of these contacts before the last instant, with what needs the local clock or the order."""
    context.engine.run(f"""
        create or replace temp table {EVENTS} as
        with chosen as (select contact_id, max(as_of) as until from {quoted(pairs)} group by contact_id),
        own as (
            select e.contact_id, e.event_id, e.occurred_at, {_code()} as code,
                cast(floor(coalesce(e.human, 1.0e0) * 1000.0e0 + 0.5e0) as bigint) as weight,
                {_PATH} as path,
                case when e.utc_offset_min is not null then e.occurred_at + e.utc_offset_min * interval '1' minute
                    else local_ts(e.occurred_at, z.timezone)
                end as local_at
            from events e join chosen on chosen.contact_id = e.contact_id and e.occurred_at < chosen.until
            join ({zones(context.engine, context.options.timezone)}) z on z.contact_id = e.contact_id
        ),
        marked as (
            select o.*, {_on_page(PRICING_PAGES)} as on_pricing, {_on_page(DEMO_PAGES)} as on_demo,
                {_any_of(ENGAGED)} and weight >= {BY_A_PERSON} as active,
                cast(local_at as date) as local_day
            from own o
        )
        select contact_id, occurred_at, code, weight, on_pricing, on_demo,
            iso_dow(local_at) <= 5 and extract(hour from local_at) >= {WORK_FROM}
                and extract(hour from local_at) < {WORK_UNTIL} as at_work,
            iso_dow(local_at) >= 6 as at_weekend,
            active and row_number() over (
                partition by contact_id, active, local_day order by occurred_at, event_id
            ) = 1 as opens_day,
            {_so_far("email_delivered")} as delivered_so_far, {_so_far("email_sent")} as sent_so_far
        from marked
    """)


#: An event's address without host, query and fragment.
_PATH = "regexp_replace(regexp_replace(lower(coalesce(e.url, '')), '[?#].*$', ''), '^[a-z]+://[^/]*', '')"


def _on_page(parts: Sequence[str]) -> str:
    """Whether the path has one of these in it: a host or a campaign tag does not count."""
    return "(" + " or ".join(f"path like {literal(f'%{part}%')}" for part in parts) + ")"


def _code() -> str:
    return "case e.kind " + " ".join(f"when {literal(kind)} then {i}" for i, kind in enumerate(KINDS)) + " end"


def _so_far(kind: str) -> str:
    """How many of a kind there were up to the row's time: what a response at that time answers."""
    return (
        f"sum(case when {_any_of((kind,))} then 1 else 0 end) over (partition by contact_id "
        "order by occurred_at range between unbounded preceding and current row)"
    )


def _catalogue() -> Iterator[Computed]:
    for activity in ACTIVITIES:
        yield from _counted(activity)
    yield from _received()
    yield from _decayed()
    yield from _trends()
    yield from _active_days()
    yield from _hours()
    yield from _channels()


_WINDOWS = (7, 30, 60, 90, 365)


def _marks() -> dict[str, str]:
    """What features ask of a row, by name: found once a row, and planned once, however many ask."""
    marks = {activity.mark: activity.is_it for activity in ACTIVITIES}
    marks |= {f"by_{key}": _any_of(kinds) for key, _, kinds in _CHANNELS}
    fresh = f"power(0.5e0, age / {HALF_LIFE * DAY}.0e0)"
    marks["decayed"] = f"cast(floor(weight * {fresh} + 0.5e0) as bigint)"
    marks |= {"was_delivered": _any_of(("email_delivered",)), "was_sent": _any_of(("email_sent",))}
    for days in _WINDOWS:
        within = f"age <= {days * DAY}"
        marks[f"weight_{days}d"] = f"case when {within} then weight else 0 end"
        marks[f"row_{days}d"] = f"case when {within} then 1 else 0 end"
    return marks


def _weight(mark: str, days: int) -> str:
    """SQL for the weight, in thousandths, of the marked rows of a window."""
    return f"sum(case when {mark} then weight_{days}d else 0 end)"


def _within(mark: str, days: int) -> str:
    """SQL for the number of marked rows of a window."""
    return f"sum(case when {mark} then row_{days}d else 0 end)"


def _per_thousand(sql: str) -> str:
    return f"{sql} / 1000.0e0"


def _counted(activity: Activity) -> Iterator[Computed]:
    for days in activity.windows:
        when = f"in the last {days} days"
        none = None if activity.none is None else f"{activity.none} {when}"
        feature = Feature(
            f"{activity.key}_{days}d", "number", activity.group, None, f"{activity.group}, last {days} days",
            "count", f"{activity.did} {{value}} {when}", none,
        )  # fmt: skip
        yield Computed(feature, _per_thousand(_weight(activity.mark, days)), activity.kinds)
    if activity.last is not None:
        feature = Feature(
            f"{activity.key}_days", "number", activity.group, None, f"Days since {activity.group}", "days",
            f"{activity.last} {{value}}", None,
        )  # fmt: skip
        age = f"min(case when {activity.mark} and weight >= {BY_A_PERSON} then age end)"
        yield Computed(feature, whole_days(age), activity.kinds)


def _received_in(days: int) -> str:
    """Mails received; where the platform tells of one of sent and delivered only, that one counts."""
    return f"greatest({_within('was_delivered', days)}, {_within('was_sent', days)})"


def _received() -> Iterator[Computed]:
    group = "e-mails received"
    for days in (30, 90, 365):
        when = f"in the last {days} days"
        feature = Feature(
            f"received_{days}d", "number", group, None, f"E-mails received, last {days} days", "count",
            f"was sent e-mails {{value}} {when}", f"no e-mail received {when}",
        )  # fmt: skip
        yield Computed(feature, _received_in(days))
    feature = Feature(
        "unanswered", "number", "e-mails without response", None, "E-mails since the last response", "count",
        "was sent e-mails {value} since the last click or reply", None,
    )  # fmt: skip
    since = [
        f"sum(case when {mark} and age <= {36500 * DAY} then 1 else 0 end) "
        f"- coalesce(max(case when by_mail and weight >= {BY_A_PERSON} then {column} end), 0)"
        for mark, column in (("was_delivered", "delivered_so_far"), ("was_sent", "sent_so_far"))
    ]
    yield Computed(feature, f"greatest({', '.join(since)})")
    feature = Feature(
        "click_rate", "number", "e-mail clicks", None, "Clicks per e-mail", "share",
        "clicked in {value} of the e-mails of the last 365 days",
        "clicked in none of the e-mails of the last 365 days",
    )  # fmt: skip
    rate = f"safe_div({_weight('is_clicks', 365)}, 1000 * {_received_in(365)})"
    yield Computed(feature, f"case when {rate} > 1 then 1 else {rate} end")


def _decayed() -> Iterator[Computed]:
    for activity in ACTIVITIES:
        if activity.key in DECAYED:
            feature = Feature(
                f"{activity.key}_decayed", "number", activity.group, None,
                f"{activity.group}, halved every {HALF_LIFE} days", "count",
                f"{activity.did} {{value}} of late, by a count that halves every {HALF_LIFE} days",
                None if activity.none is None else f"{activity.none} of late",
            )  # fmt: skip
            sql = f"sum(case when {activity.mark} then decayed else 0 end)"
            yield Computed(feature, _per_thousand(sql), activity.kinds)


def _trends() -> Iterator[Computed]:
    """How much of the last 60 days' doing was in the last 30: half is steady; null without any."""
    for activity in ACTIVITIES:
        if activity.key in ("engagement", "opens", "views"):
            feature = Feature(
                f"{activity.key}_trend", "number", f"trend of {activity.group}", None,
                f"Trend of {activity.group}", "share",
                f"{{value}} of the {activity.group} of the last 60 days came in the last 30",
                f"{activity.none} in the last 30 days",
            )  # fmt: skip
            yield Computed(feature, f"safe_div({_weight(activity.mark, 30)}, {_weight(activity.mark, 60)})")


def _active_days() -> Iterator[Computed]:
    for days in (30, 90, 365):
        feature = Feature(
            f"active_days_{days}d", "number", "active days", None, f"Active days, last {days} days", "number",
            f"was active on {{value}} of the last {days} days", f"was active on none of the last {days} days",
        )  # fmt: skip
        yield Computed(feature, _within("opens_day", days))
    feature = Feature(
        "first_active_days", "number", "tenure", None, "Days since first activity", "days",
        "was first active {value}", None,
    )  # fmt: skip
    yield Computed(feature, whole_days("max(case when opens_day then age end)"))


def _hours() -> Iterator[Computed]:
    for name, column, words in (
        ("working_hours_share", "at_work", "in working hours"),
        ("weekend_share", "at_weekend", "at weekends"),
    ):
        feature = Feature(
            name, "number", "time of activity", None, f"Activity {words}", "share",
            f"{{value}} of the activity of the last 365 days was {words}",
            f"no activity {words} in the last 365 days",
        )  # fmt: skip
        yield Computed(
            feature, f"safe_div({_weight(f'is_engagement and {column}', 365)}, {_weight('is_engagement', 365)})"
        )


def _channels() -> Iterator[Computed]:
    engaged = _weight("is_engagement", 365)
    used = []
    for key, words, _ in _CHANNELS:
        feature = Feature(
            f"{key}_share", "number", "channels", None, f"Activity {words}", "share",
            f"{{value}} of the activity of the last 365 days was {words}",
            f"no activity {words} in the last 365 days",
        )  # fmt: skip
        weight = _weight(f"by_{key}", 365)
        used.append(f"case when {weight} >= {BY_A_PERSON} then 1 else 0 end")
        yield Computed(feature, f"safe_div({weight}, {engaged})")
    feature = Feature(
        "channels", "number", "channels", None, "Channels used", "number",
        "used {value} of our channels in the last 365 days", "used none of our channels in the last 365 days",
    )  # fmt: skip
    yield Computed(feature, " + ".join(used))
