"""The durable inbox of webhooks: raw bodies on disk before they are acknowledged, hints to be worked off after."""

from connector.inbox.intake import Intake, Overloaded
from connector.inbox.letters import NOTHING, about, aside, entries, figures, forget, retry_dead
from connector.inbox.letters import drop as drop_letters
from connector.inbox.rush import Rush
from connector.inbox.store import FILE, connect
from connector.inbox.work import Inbox

__all__ = [
    "FILE",
    "NOTHING",
    "Inbox",
    "Intake",
    "Overloaded",
    "Rush",
    "about",
    "aside",
    "connect",
    "drop_letters",
    "entries",
    "figures",
    "forget",
    "retry_dead",
]
