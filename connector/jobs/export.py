"""Export: everything that is known about one contact, for whoever asks what is kept of them."""

from contextlib import closing
from typing import Any

from connector import inbox
from connector.errors import BadSetting
from connector.jobs import traces
from connector.jobs.people import everything, find
from connector.jobs.run import Run


def export(run: Run, contact: str | None, email: str | None = None) -> dict[str, Any]:
    """All rows of a contact, by table; those of contacts merged with it too; and what webhooks told of them that
    waits in the inbox. Raises BadSetting for a contact that
    is not in the mirror."""
    person = find(run, contact, email)
    if person is None:
        raise BadSetting(_UNKNOWN)
    found = everything(run, person)
    if (run.folder / inbox.FILE).exists():
        with closing(inbox.connect(run.folder)) as connection:
            found["inbox"] = inbox.about(connection, person.contact_ids, person.addresses, traces.searched(person))
    return found


_UNKNOWN = "No such contact is in the mirror: check the id or the address, or run `leadlight pull` first."
