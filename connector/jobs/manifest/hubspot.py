"""The HubSpot project: an app with a static token, a record card, a settings page, and webhooks.

HubSpot subscribes to changes property by property, so that the subscriptions follow from the models in use.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connector.errors import BadSetting
from connector.jobs.manifest.cards import Card
from connector.jobs.manifest.learnt import Learnt, learnt
from connector.jobs.stored import Deputy, nobody
from connector.platform import Check
from connector.settings import Settings
from manifests import read_toml, read_tree

WEBHOOKS = "src/app/webhooks/webhooks-hsmeta.json"
#: Where the service hears of changes.
PATH = "/webhooks/hubspot"
_APP, _CARDS, _PAGE = "src/app/app-hsmeta.json", "src/app/cards", "src/app/settings"
#: Canonical names of features whose HubSpot property is called otherwise, by object: a contact may well have a
#: property of its own with the name that a company's canonical column has.
_THEIRS = {
    "contact": {"lifecycle_stage": "lifecyclestage"},
    "company": {"employees": "numberofemployees", "annual_revenue": "annualrevenue"},
}
#: What of a deal can change a prediction.
_DEAL = ("amount", "closedate", "dealstage", "pipeline")

#: (list, type of subscription, object, property); the last two are empty where they do not apply.
Subscription = tuple[str, str, str, str]


@dataclass(frozen=True)
class App:
    """The project's files; `subscriptions` counts those that are active and those that only stand there."""

    files: Mapping[str, str]
    notes: tuple[str, ...]
    subscriptions: Mapping[str, int]

    @staticmethod
    def next(out: Path) -> tuple[str, ...]:
        return (f"cd {out}", "hs account auth", "hs project upload")


def project(
    settings: Settings, known: Learnt, card: Card, contact_email: str | None, former: Mapping[Subscription, bool]
) -> App:
    """All files. `former` are the subscriptions that stand in the folder: HubSpot refuses a project that lacks one
    which was deployed (community reports), so that those no longer needed stay, inactive."""
    files = read_tree("hubspot")
    if contact_email is not None:
        app = json.loads(files[_APP])
        app["config"]["support"] = {"supportEmail": contact_email}
        files[_APP] = _json(app)
    wanted = subscriptions(known) if settings.public_url is not None else frozenset()
    notes: tuple[str, ...] = ()
    if settings.public_url is None:
        notes = ("public_url is not set: no webhooks, contacts are rescored on schedule only.",)
        if former:
            raise BadSetting(
                "The folder's project has webhooks, which HubSpot does not let go of: set public_url "
                "(LEADLIGHT_PUBLIC_URL) to the address of the service, or name another folder."
            )
    else:
        active = dict.fromkeys(former, False) | dict.fromkeys(wanted, True)
        files[WEBHOOKS] = _json(_webhooks(target_url(settings.public_url), active))
    told = tuple(f"{of}: {name}" for _, _, of, name in sorted(wanted) if name)
    # HubSpot builds each folder by itself: nothing may be imported from the one beside it.
    files[f"{_CARDS}/settings.js"] = files[f"{_PAGE}/settings.js"] = card.module(told if wanted else None)
    files[f"{_CARDS}/prediction.js"] = card.logic()
    gone = len(former.keys() - wanted) if settings.public_url is not None else 0
    return App(files, notes, {"active": len(wanted), "inactive": gone})


def target_url(public_url: str) -> str:
    """Where HubSpot posts to. Raises BadSetting: it posts to HTTPS only."""
    parts = urlsplit(public_url)
    if parts.scheme != "https" or not parts.hostname:
        raise BadSetting(f"public_url = {public_url}: HubSpot posts to an https:// address only.")
    base = public_url.rstrip("/")
    return base if parts.path.rstrip("/").endswith(PATH) else base + PATH


def subscriptions(known: Learnt) -> frozenset[Subscription]:
    """What the models in use need to hear of; before the first training, contacts that come, go and merge."""
    found: set[Subscription] = {
        ("crmObjects", "object.creation", "contact", ""),
        ("legacyCrmObjects", "contact.deletion", "", ""),
        ("legacyCrmObjects", "contact.merge", "", ""),
        ("legacyCrmObjects", "contact.restore", "", ""),
        ("hubEvents", "contact.privacyDeletion", "", ""),
    }
    names = {of: {_THEIRS.get(of, {}).get(name, name) for name in given} for of, given in known.properties.items()}
    if known.deals:
        names["deal"] = set(_DEAL)
        found |= {
            ("crmObjects", "object.creation", "deal", ""),
            ("legacyCrmObjects", "deal.deletion", "", ""),
        }
    if known.deals or names.get("company"):
        found.add(("legacyCrmObjects", "contact.associationChange", "", ""))
    never = set(read_toml("hubspot", "words.toml")["no_webhook"])
    for of, given in names.items():
        found |= {("crmObjects", "object.propertyChange", of, name) for name in given - never}
    return frozenset(found)


def _webhooks(target: str, active: Mapping[Subscription, bool]) -> dict[str, Any]:
    lists: dict[str, list[dict[str, Any]]] = {"crmObjects": [], "legacyCrmObjects": [], "hubEvents": []}
    for (where, kind, of, name), on in sorted(active.items()):
        entry: dict[str, Any] = {"subscriptionType": kind}
        if of:
            entry["objectType"] = of
        if name:
            entry["propertyName"] = name
        lists[where].append({**entry, "active": on})
    config = {"settings": {"targetUrl": target, "maxConcurrentRequests": 10}, "subscriptions": lists}
    return {"uid": "leadlight_webhooks", "type": "webhooks", "config": config}


def deployed(folder: Path) -> dict[Subscription, bool]:
    """The subscriptions of a project folder and whether each is active; empty where it has none. Raises BadSetting
    for a file that is not of HubSpot's shape."""
    path = folder / WEBHOOKS
    if not path.is_file():
        return {}
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))["config"]["subscriptions"]
        return {
            (where, entry["subscriptionType"], entry.get("objectType", ""), entry.get("propertyName", "")): bool(
                entry.get("active")
            )
            for where, entries in lists.items()
            for entry in entries
        }
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BadSetting(f"{path} is no webhooks file of HubSpot's ({type(problem).__name__}).") from None


def compare(settings: Settings, deputy: Deputy = nobody) -> Check:
    """Whether the project folder of the settings subscribes to what the models in use need."""
    folder = settings.hubspot_project
    assert folder is not None
    remedy = f"Run `leadlight manifest hubspot --out {folder}`, then `hs project upload` in that folder."
    standing = {one for one, active in deployed(folder).items() if active}
    if not standing:
        return Check(
            "webhooks", "off", f"{folder} has no webhooks: contacts are rescored on schedule only.", remedy
        )
    wanted = subscriptions(learnt(settings, deputy))
    lacking, idle = sorted(wanted - standing), sorted(standing - wanted)
    if not lacking and not idle:
        return Check("webhooks", "ok", f"{len(wanted)} subscriptions, as the models in use need them.")
    parts = [f"{words}: {_told(found)}" for words, found in (("missing", lacking), ("not needed", idle)) if found]
    return Check("webhooks", "warn", f"Subscriptions part from the models in use; {'; '.join(parts)}.", remedy)


def _told(found: list[Subscription], most: int = 5) -> str:
    names = [f"{of} {name}" if name else " ".join(filter(None, (kind, of))) for _, kind, of, name in found]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
