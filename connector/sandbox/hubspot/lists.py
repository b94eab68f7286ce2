"""Lists of contacts: who is on them, as the portal's people have put them there."""

from connector.sandbox import times
from connector.sandbox.hubspot.calls import Call, Reply
from connector.sandbox.hubspot.problems import invalid, not_found

#: Members of a page, when not said otherwise; no larger page is documented.
PAGE = 100


def memberships(call: Call) -> Reply:
    """Members in the order of their ids; `after` is the last id of the page before."""
    members = call.portal.lists.get(call.path["id"])
    if members is None:
        raise not_found(f"List {call.path['id']} does not exist.")
    limit, after = call.whole("limit", PAGE, PAGE), call.query.get("after", "0")
    if not after.isdigit():
        raise invalid(f"after {after!r} is none of ours.")
    further = [id_ for id_ in sorted(members) if id_ > int(after)]
    body = {
        "results": [
            {"recordId": str(id_), "membershipTimestamp": times.iso(members[id_])} for id_ in further[:limit]
        ],
        "total": len(members),
    }
    if len(further) > limit:
        body["paging"] = {"next": {"after": str(further[limit - 1])}}
    return Reply(200, body)


def define(call: Call) -> Reply:
    """A person makes a list of these contacts, or changes it to them: {"list_id", "contact_ids"}."""
    body = call.body()
    given = body.get("contact_ids")
    if not body.get("list_id") or not isinstance(given, list) or not all(str(one).isdigit() for one in given):
        raise invalid('A list is {"list_id": "…", "contact_ids": ["…"]}.')
    contacts, before = call.portal.contacts, call.portal.lists.get(str(body["list_id"]), {})
    ids = [contacts.winner(int(one)) for one in given]
    if unknown := [id_ for id_ in ids if contacts.find(id_) is None]:
        raise not_found(f"Contact {unknown[0]} does not exist.")
    now = call.portal.clock()
    call.portal.lists[str(body["list_id"])] = {id_: before.get(id_, now) for id_ in ids}
    return Reply(200, {"list_id": str(body["list_id"]), "size": len(ids)})
