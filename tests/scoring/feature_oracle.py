"""Every feature computed a second time: plain Python over lists of dicts, one contact and instant at a time.

Slow and dumb on purpose. Nothing is shared with the SQL but the names of features and the canonical tables.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.scoring.made_tables import moment

Row = Mapping[str, Any]
Tables = Mapping[str, list[dict[str, Any]]]

MAIL = {"email_click", "email_reply"}
WEB = {"page_view", "form_submit", "product_view", "cart_add"}
SALES = {"meeting", "call"}
ELSEWHERE = {"sms_click", "push_open", "ad_click", "custom"}
ENGAGED = MAIL | WEB | SALES | ELSEWHERE

COUNTED = {
    "engagement": (ENGAGED, (7, 30, 90, 365)),
    "opens": ({"email_open"}, (7, 30, 90, 365)),
    "clicks": ({"email_click"}, (7, 30, 90, 365)),
    "replies": ({"email_reply"}, (30, 90, 365)),
    "views": ({"page_view"}, (7, 30, 90, 365)),
    "pricing": ({"page_view"}, (7, 30, 90, 365)),
    "demo": ({"page_view"}, (7, 30, 90, 365)),
    "forms": ({"form_submit"}, (7, 30, 90, 365)),
    "meetings": ({"meeting"}, (30, 90, 365)),
    "calls": ({"call"}, (30, 90, 365)),
    "texts": ({"sms_click"}, (30, 365)),
    "pushes": ({"push_open"}, (30, 365)),
    "ads": ({"ad_click"}, (30, 90, 365)),
    "products": ({"product_view"}, (7, 30, 90, 365)),
    "carts": ({"cart_add"}, (7, 30, 90)),
    "others": ({"custom"}, (30, 90, 365)),
    "bounces": ({"email_bounce"}, (90, 365)),
    "optouts": ({"email_unsubscribe", "email_spam"}, (365,)),
}
UNDATED = {"bounces", "optouts"}


def seconds(earlier: datetime, later: datetime) -> int:
    return int((later - earlier).total_seconds())


def days(earlier: datetime | None, later: datetime) -> float | None:
    return None if earlier is None else float(seconds(earlier, later) // 86400)


def ratio(part: float, whole: float) -> float | None:
    return None if whole == 0 else part / whole


def path_of(url: str | None) -> str:
    rest = (url or "").lower().split("?")[0].split("#")[0]
    if "://" in rest:
        rest = rest.split("://", 1)[1]
        rest = rest[rest.index("/") :] if "/" in rest else ""
    return rest


def on_page(event: Row, key: str) -> bool:
    parts = {
        "pricing": ("pricing", "/price", "/prices", "/plans", "/preise", "/tarif", "/precio", "/prezzi"),
        "demo": ("demo", "/trial", "free-trial", "contact-sales", "/book", "get-started", "/quote"),
    }.get(key)
    return parts is None or any(part in path_of(event["url"]) for part in parts)


class Oracle:
    def __init__(self, tables: Tables, zone: str = "UTC", *, in_time: bool) -> None:
        self.tables, self.zone, self.in_time = tables, zone, in_time
        self.contacts = {row["contact_id"]: row for row in tables["contacts"]}
        self.companies = {row["company_id"]: row for row in tables["companies"]}

    # What a contact did

    def events(self, contact_id: str, as_of: datetime) -> list[Row]:
        return [e for e in self.tables["events"] if e["contact_id"] == contact_id and e["occurred_at"] < as_of]

    def weight(self, event: Row) -> float:
        human = 1.0 if event["human"] is None else event["human"]
        return math.floor(human * 1000 + 0.5) / 1000

    def by_person(self, event: Row) -> bool:
        return self.weight(event) >= 0.5

    def local(self, event: Row) -> datetime:
        at: datetime = event["occurred_at"]
        if event["utc_offset_min"] is not None:
            return at + timedelta(minutes=event["utc_offset_min"])
        contact = self.contacts[event["contact_id"]]
        name = contact["timezone"] or {"DE": "Europe/Berlin"}.get(contact["country"], self.zone)
        return at.replace(tzinfo=UTC).astimezone(ZoneInfo(name)).replace(tzinfo=None)

    def inside(self, rows: Iterable[Row], as_of: datetime, window: int) -> list[Row]:
        return [e for e in rows if e["occurred_at"] >= as_of - timedelta(days=window)]

    def total(self, rows: Iterable[Row]) -> float:
        return round(sum(self.weight(e) for e in rows), 3)

    def behaviour(self, contact_id: str, as_of: datetime) -> dict[str, Any]:
        mine = self.events(contact_id, as_of)
        out: dict[str, Any] = {}
        for key, (kinds, windows) in COUNTED.items():
            rows = [e for e in mine if e["kind"] in kinds and on_page(e, key)]
            for window in windows:
                out[f"{key}_{window}d"] = self.total(self.inside(rows, as_of, window))
            if key not in UNDATED:
                people = [e["occurred_at"] for e in rows if self.by_person(e)]
                out[f"{key}_days"] = days(max(people, default=None), as_of)
            if key in ("engagement", "opens", "views"):
                last_60 = self.total(self.inside(rows, as_of, 60))
                out[f"{key}_trend"] = ratio(self.total(self.inside(rows, as_of, 30)), last_60)
        out.update(self.received(mine, as_of))
        for key in ("engagement", "clicks", "views"):
            fresh = 0.0
            for e in mine:
                if e["kind"] in COUNTED[key][0]:
                    halves = seconds(e["occurred_at"], as_of) / (30 * 86400)
                    fresh += math.floor(1000 * self.weight(e) * 0.5**halves + 0.5)
            out[f"{key}_decayed"] = fresh / 1000
        out.update(self.active_days(contact_id, mine, as_of))
        out.update(self.mix(mine, as_of))
        return out

    def received(self, mine: list[Row], as_of: datetime) -> dict[str, Any]:
        def number(rows: list[Row]) -> int:
            kinds = Counter(e["kind"] for e in rows)
            return max(kinds["email_delivered"], kinds["email_sent"])

        out: dict[str, Any] = {f"received_{n}d": number(self.inside(mine, as_of, n)) for n in (30, 90, 365)}
        answers = [e["occurred_at"] for e in mine if e["kind"] in MAIL and self.by_person(e)]
        last = max(answers, default=moment(1900, 1, 1))
        out["unanswered"] = number([e for e in mine if e["occurred_at"] > last])
        clicks = self.total(e for e in self.inside(mine, as_of, 365) if e["kind"] == "email_click")
        rate = ratio(clicks, out["received_365d"])
        out["click_rate"] = None if rate is None else min(rate, 1.0)
        return out

    def active_days(self, contact_id: str, mine: list[Row], as_of: datetime) -> dict[str, Any]:
        firsts: dict[Any, datetime] = {}
        for event in self.tables["events"]:
            if event["contact_id"] == contact_id and event["kind"] in ENGAGED and self.by_person(event):
                day = self.local(event).date()
                firsts[day] = min(event["occurred_at"], firsts.get(day, event["occurred_at"]))
        starts = [at for at in firsts.values() if at < as_of]
        out: dict[str, Any] = {
            f"active_days_{n}d": sum(at >= as_of - timedelta(days=n) for at in starts) for n in (30, 90, 365)
        }
        out["first_active_days"] = days(min(starts, default=None), as_of)
        return out

    def mix(self, mine: list[Row], as_of: datetime) -> dict[str, Any]:
        recent = [e for e in self.inside(mine, as_of, 365) if e["kind"] in ENGAGED]
        whole = self.total(recent)

        def share(test: Callable[[Row], bool]) -> float | None:
            return ratio(self.total(e for e in recent if test(e)), whole)

        def working(event: Row) -> bool:
            at = self.local(event)
            return at.isoweekday() <= 5 and 9 <= at.hour < 18

        out: dict[str, Any] = {
            "working_hours_share": share(working),
            "weekend_share": share(lambda e: self.local(e).isoweekday() >= 6),
        }
        used = 0
        for key, kinds in (("mail", MAIL), ("web", WEB), ("sales", SALES), ("elsewhere", ELSEWHERE)):
            out[f"{key}_share"] = share(lambda e, kinds=kinds: e["kind"] in kinds)  # type: ignore[misc]
            used += self.total(e for e in recent if e["kind"] in kinds) >= 0.5
        out["channels"] = used
        return out

    # Purchases, deals, company

    def purchases(self, contact_id: str, as_of: datetime) -> dict[str, Any]:
        rows = [
            p
            for p in self.tables["purchases"]
            if p["contact_id"] == contact_id and p["purchased_at"] is not None and p["purchased_at"] < as_of
        ]
        bought = [p for p in rows if p["amount"] is None or p["amount"] >= 0]
        out: dict[str, Any] = {"purchases_ever": len(bought)}
        for n in (30, 90, 365):
            out[f"purchases_{n}d"] = sum(p["purchased_at"] >= as_of - timedelta(days=n) for p in bought)
        for n in (90, 365):
            recent = [p for p in rows if p["purchased_at"] >= as_of - timedelta(days=n)]
            out[f"spent_{n}d"] = round(sum(p["amount"] or 0 for p in recent), 2)
        out["spent_ever"] = round(sum(p["amount"] or 0 for p in rows), 2)
        out["spent_mean"] = None
        if any(p["amount"] is not None for p in bought):
            out["spent_mean"] = sum(p["amount"] or 0 for p in bought) / len(bought)
        times = sorted(p["purchased_at"] for p in bought)
        first, last = (times[0], times[-1]) if times else (None, None)
        out["purchase_days"], out["first_purchase_days"] = days(last, as_of), days(first, as_of)
        out["purchase_gap"] = out["purchase_overdue"] = None
        if len(times) > 1 and first is not None and last is not None:
            gap = seconds(first, last) / 86400 / (len(times) - 1)
            out["purchase_gap"] = gap
            out["purchase_overdue"] = ratio(seconds(last, as_of) / 86400, gap)
        return out

    def deals(self, contact_id: str, as_of: datetime) -> dict[str, Any]:
        ids = {row["deal_id"] for row in self.tables["deal_contacts"] if row["contact_id"] == contact_id}
        found = [
            d
            for d in self.tables["deals"]
            if d["deal_id"] in ids and d["deleted_at"] is None and d["created_at"] < as_of
        ]
        out: dict[str, Any] = {"open_deals": 0, "lost_deals": 0, "won_deals": 0, "open_deal_amount": None}
        amounts = []
        for deal in found:
            closed = bool(deal["is_closed"]) or bool(deal["is_won"])
            if not closed or (deal["closed_at"] is not None and deal["closed_at"] >= as_of):
                out["open_deals"] += 1
                amounts.append(self.deal_amount(deal, as_of))
            elif deal["closed_at"] is not None:
                out["won_deals" if deal["is_won"] else "lost_deals"] += 1
        known = [amount for amount in amounts if amount is not None]
        if known:
            out["open_deal_amount"] = round(sum(known), 2)
        out["deal_days"] = days(max((d["created_at"] for d in found), default=None), as_of)
        return out

    def deal_amount(self, deal: Row, as_of: datetime) -> float | None:
        if not self.in_time:
            amount: float | None = deal["amount"]
            return amount
        text = self.then("deal", deal["deal_id"], ("amount",), as_of)
        if text is None:
            return None
        if deal["amount_original"] is None:
            return float(text)
        if deal["amount"] is None or deal["amount_original"] == 0:
            return None
        return float(text) * float(deal["amount"]) / float(deal["amount_original"])

    def company(self, contact_id: str, as_of: datetime) -> dict[str, Any]:
        contact = self.contacts[contact_id]
        created = contact["created_at"]
        out: dict[str, Any] = {
            "tenure_days": days(created, as_of) if created is not None and created <= as_of else None,
            "colleagues_known": None,
            "colleagues_active_30d": None,
            "company_engagement_30d": None,
        }
        if contact["company_id"] is None:
            return out
        others = [
            c
            for c in self.contacts.values()
            if c["company_id"] == contact["company_id"]
            and c["contact_id"] != contact_id
            and c["deleted_at"] is None
            and c["merged_into"] is None
        ]
        did = {
            c["contact_id"]: self.total(
                e for e in self.inside(self.events(c["contact_id"], as_of), as_of, 30) if e["kind"] in ENGAGED
            )
            for c in others
        }
        out["colleagues_known"] = sum(c["created_at"] is not None and c["created_at"] < as_of for c in others)
        out["colleagues_active_30d"] = sum(weight >= 0.5 for weight in did.values())
        out["company_engagement_30d"] = round(sum(did.values()), 3)
        return out

    # Properties

    def then(self, object_name: str, object_id: str | None, names: Iterable[str], as_of: datetime) -> str | None:
        """The value of the last change at or before the instant; of changes at one time the last observed."""
        rows = [
            h
            for h in self.tables["property_history"]
            if h["object"] == object_name
            and h["object_id"] == object_id
            and h["property"] in names
            and h["changed_at"] <= as_of
        ]
        if not rows:
            return None
        never = moment(1, 1, 1)
        newest = max(
            rows, key=lambda h: (h["changed_at"], h["observed_at"] or never, h["source"] or "", h["value"] or "")
        )
        value: str | None = newest["value"]
        return value

    def age(self, text: str | datetime | None, as_of: datetime) -> float | None:
        if isinstance(text, datetime):
            return days(text, as_of)
        if text is None:
            return None
        if text.isdigit():
            return float(math.floor((as_of - moment(1970, 1, 1)).total_seconds() - int(text) // 1000) // 86400)
        try:
            return days(datetime.fromisoformat(text).replace(tzinfo=None), as_of)
        except ValueError:
            return None

    def truth(self, value: Any) -> float | None:
        text = str(value).strip().lower()
        return {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}.get(text)

    def number(self, value: Any) -> float | None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None

    def mail_kind(self, address: str | None) -> str | None:
        if not address or "@" not in address or "." not in address.split("@", 1)[1]:
            return None
        domain = address.split("@", 1)[1].lower()
        if domain.split(".")[0] in ("gmail", "yahoo", "gmx", "web"):
            return "free"
        if domain.endswith(".edu") or ".ac." in domain:
            return "education"
        if domain.endswith(".gov") or ".gov." in domain:
            return "government"
        return "business"
