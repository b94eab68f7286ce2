"""Manifest: a project that an administrator deploys with the platform's own tools, filled in for this account.

What never differs stands in `manifests/<platform>`; the rest follows from the properties that we write, the models
in use and the settings. Nothing is called, and nothing but the folder is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector.errors import BadSetting
from connector.jobs.manifest import hubspot, salesforce
from connector.jobs.manifest.cards import Card
from connector.jobs.manifest.learnt import Learnt, learnt, our_properties
from connector.jobs.stored import Deputy, nobody
from connector.settings import Settings

#: What a folder holds that was written before; another folder with something in it is left alone.
MARKS = {"hubspot": "hsproject.json", "salesforce": "sfdx-project.json"}
#: Files that hold a secret or what an account is called are readable by their owner alone.
_PRIVATE = 0o600


@dataclass(frozen=True)
class Order:
    """What the user asks for besides the settings."""

    out: Path
    #: Age in days from which the cards call a prediction run out; None: the goal's horizon.
    stale_days: int | None = None
    contact_email: str | None = None
    #: Salesforce: the user that outbound messages are sent by; None: no outbound messages, only the Apex callout.
    outbound_user: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Project:
    """Files by their paths below the folder, and what to say about them."""

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    #: Paths of files that hold a secret.
    secret: frozenset[str] = frozenset()
    more: Mapping[str, Any] = field(default_factory=dict)


def manifest(settings: Settings, platform: str, order: Order, deputy: Deputy = nobody) -> dict[str, Any]:
    """JSON of `leadlight manifest`: `platform, out, files[], models[], notes[], next[]`, and for HubSpot
    `subscriptions{active, inactive}`, for Salesforce `watch[]`, the fields that the models use.

    Raises BadSetting, with nothing written, where a setting is missing or the folder is somebody else's.
    """
    if platform not in MARKS:
        raise BadSetting(f"manifest {platform}: known are {' and '.join(sorted(MARKS))}.")
    _ours(order, MARKS[platform])
    settings = settings.model_copy(update={"platform": platform})
    known = learnt(settings, deputy)
    project = make(settings, platform, order, known)
    for path, text in sorted(project.files.items()):
        _write(order.out / path, text, private=path in project.secret)
    return {
        "platform": platform,
        "out": str(order.out),
        "files": sorted(project.files),
        "models": list(known.models),
        "notes": [*_notes(known), *project.notes],
        "next": list(project.next),
        **project.more,
    }


def make(settings: Settings, platform: str, order: Order, known: Learnt) -> Project:
    """The whole project, as texts."""
    ours = our_properties(settings)
    card = Card.of(platform, settings, known, order.stale_days)
    if platform == "hubspot":
        app = hubspot.project(settings, known, card, order.contact_email, hubspot.deployed(order.out))
        return Project(app.files, app.notes, app.next(order.out), more={"subscriptions": app.subscriptions})
    app_files = salesforce.project(
        settings, ours, card, order.contact_email, order.outbound_user, salesforce.deployed(order.out)
    )
    return Project(
        app_files.files,
        app_files.notes,
        app_files.next(order.out),
        app_files.secret,
        {"watch": salesforce.watched(known)},
    )


def _ours(order: Order, mark: str) -> None:
    if order.out.is_file():
        raise BadSetting(f"--out {order.out} is a file: name a folder.")
    if order.force or not order.out.is_dir() or (order.out / mark).is_file():
        return
    if any(order.out.iterdir()):
        raise BadSetting(
            f"{order.out} holds something else (there is no {mark} in it): name an empty folder, or add --force."
        )


def _write(path: Path, text: str, *, private: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if private:
        path.touch(mode=_PRIVATE)
        path.chmod(_PRIVATE)
    path.write_text(text, encoding="utf-8")


def _notes(known: Learnt) -> tuple[str, ...]:
    if known.models:
        return ()
    return ("No model is in use yet: write the project again after the first training, and deploy it again.",)
