"""Export: everything that is known about one contact, for whoever asks what is kept of them."""

from typing import Any

from connector.errors import BadSetting
from connector.jobs.people import everything, find
from connector.jobs.run import Run


def export(run: Run, contact: str | None, email: str | None = None) -> dict[str, Any]:
    """All rows of a contact, by table; those of contacts merged with it too. Raises BadSetting for a contact that
    is not in the mirror."""
    person = find(run, contact, email)
    if person is None:
        raise BadSetting(_UNKNOWN)
    return everything(run, person)


_UNKNOWN = "No such contact is in the mirror: check the id or the address, or run `leadlight pull` first."
