"""What hints ask for: whom to read again, and who is to be erased."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from connector.platform import Asked, Hint

#: Kinds after which a contact's company and deals may be others.
_LINKS = ("created", "restored", "merged", "associated")


@dataclass
class Hinted:
    """Each contact once, whatever number of hints names it."""

    asked: dict[str, Asked] = field(default_factory=dict)
    #: People who asked to be forgotten.
    erased: dict[str, None] = field(default_factory=dict)
    #: Hints by contact, to be tried again where a contact cannot be settled now.
    keys: dict[str, list[str]] = field(default_factory=dict)
    #: Hints of companies and deals, which the next poll follows up.
    elsewhere: int = 0

    def ask(self, contact_id: str, *, associations: bool = False, gone: bool = False) -> None:
        before = self.asked.get(contact_id, Asked(contact_id))
        self.asked[contact_id] = Asked(contact_id, before.associations or associations, before.gone or gone)

    def keys_of(self, contact_ids: Sequence[str]) -> list[str]:
        """Keys of the hints that name these contacts, each once."""
        return list(dict.fromkeys(key for one in contact_ids for key in self.keys.get(one, ())))


def sort(hints: Sequence[Hint]) -> Hinted:
    """Who is concerned, and how.

    A merge names its winner and those who went into it. A deletion and a privacy deletion of one person come as a
    pair, in any order: together they are an erasure. What changes on a company or a deal may concern many
    contacts: these are left to the poll, but for contacts that are named at the other end of an association.
    """
    found = Hinted()
    for hint in hints:
        concerned = list(hint.others)
        if hint.object == "contact":
            concerned.insert(0, hint.object_id)
            found.ask(hint.object_id, associations=hint.kind in _LINKS, gone=hint.kind in ("deleted", "erased"))
            if hint.kind == "erased":
                found.erased[hint.object_id] = None
        elif hint.kind != "associated" or not hint.others:
            found.elsewhere += 1
            continue
        for other in hint.others:
            found.ask(other, associations=hint.kind == "associated")
        for one in concerned:
            found.keys.setdefault(one, []).append(hint.key)
    return found
