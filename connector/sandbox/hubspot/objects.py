"""CRM objects: list, read, batch read, search."""

from collections.abc import Mapping, Sequence
from typing import Any

from connector.sandbox.hubspot import rendering
from connector.sandbox.hubspot.calls import Call, Reply, record_id
from connector.sandbox.hubspot.problems import invalid, not_found
from connector.sandbox.hubspot.rendering import Picker
from connector.sandbox.hubspot.state import SPELLINGS, Collection, Record

LIST_LIMIT, HISTORY_LIMIT, INLINE_LINKS = 100, 50, 100


def listing(call: Call) -> Reply:
    """Records by id; `after` is the id that the page starts with."""
    collection, history = call.collection, call.names("propertiesWithHistory") or []
    most = HISTORY_LIMIT if history else LIST_LIMIT
    limit = call.whole("limit", 10, most)
    after = record_id(call.query.get("after") or "0")
    archived = call.flag("archived")
    records, following = collection.page(after, limit, archived=archived)
    picker = Picker(collection, call.names("properties"))
    results = [rendering.full(collection, record, picker, history) for record in records]
    for other in call.names("associations") or ():
        _add_links(call, collection, other, results)
    body: dict[str, Any] = {"results": results}
    if following is not None:
        link = f"{call.base_url}{call.target.split('?')[0]}?limit={limit}&after={following}"
        body["paging"] = {"next": {"after": str(following), "link": link}}
    return Reply(200, body)


def read(call: Call) -> Reply:
    """One record; an id that was merged away leads to the winner."""
    collection = call.collection
    record = one_record(call, collection, archived=call.flag("archived"))
    picker = Picker(collection, call.names("properties"))
    body = rendering.full(collection, record, picker, call.names("propertiesWithHistory") or ())
    for other in call.names("associations") or ():
        _add_links(call, collection, other, [body])
    return Reply(200, body)


def one_record(call: Call, collection: Collection, *, archived: bool = False) -> Record:
    """The record that the path names, by id or by the property `idProperty`. Raises Problem 404."""
    given, id_property = call.path["id"], call.query.get("idProperty")
    id_ = find_by(collection, id_property, given) if id_property else collection.winner(record_id(given))
    record = None if id_ is None else collection.find(id_, archived=archived)
    if record is None:
        raise not_found(named=False)
    return record


def find_by(collection: Collection, name: str, value: str) -> int | None:
    """Id of the record with a unique value. Raises Problem 400 for a property that is not unique."""
    definition = collection.schema.live(name)
    if definition is None or not definition.unique:
        raise invalid(f"Unable to perform read by non-unique {collection.type_id} property")
    if name == "email":
        return collection.by_email.get(value.lower())
    return next((id_ for id_ in collection.live if collection.records[id_].properties.get(name) == value), None)


def batch_read(call: Call) -> Reply:
    """Up to 100 records (50 with history); missing ones make it a 207, merged ones are left out in silence."""
    collection, body = call.collection, call.body()
    history = body.get("propertiesWithHistory") or []
    inputs = call.inputs(HISTORY_LIMIT if history else 100)
    id_property, archived = body.get("idProperty"), call.flag("archived")
    picker = Picker(collection, body.get("properties"))
    found: dict[int, Record] = {}
    lost: list[Mapping[str, Any]] = []
    for one in inputs:
        id_ = _input_id(collection, id_property, str(one.get("id")))
        record = None if id_ is None else collection.find(id_, archived=archived)
        if record is not None:
            found[record.id] = record
        elif id_ not in collection.merged_into:
            lost.append(one)
    results = [rendering.full(collection, found[id_], picker, history) for id_ in sorted(found)]
    errors = rendering.missing(collection, lost)
    now = call.portal.clock()
    return Reply(207 if errors else 200, rendering.batch(results, errors, now, now))


def _input_id(collection: Collection, id_property: str | None, text: str) -> int | None:
    if id_property and id_property != "hs_object_id":
        return find_by(collection, id_property, text)
    return int(text) if text.isdigit() else None


def search(call: Call) -> Reply:
    """What the index knows: late by the lag, without archived records, history and associations."""
    collection, body = call.collection, call.body()
    found = collection.index.search(body)
    picker = Picker(collection, body.get("properties"))
    answer: dict[str, Any] = {
        "total": found.total,
        "results": [picker.body(document) for document in found.documents],
    }
    if found.after is not None:
        answer["paging"] = {"next": {"after": str(found.after)}}
    return Reply(200, answer)


def _add_links(call: Call, collection: Collection, word: str, results: Sequence[dict[str, Any]]) -> None:
    other = SPELLINGS.get(word)
    if other is None:
        raise invalid(f"Unable to infer object type from: {word}")
    right = call.portal.objects[other]
    for body in results:
        linked = call.portal.links.of(collection.name, int(body["id"]), other)
        shown = []
        for id_ in linked[:INLINE_LINKS]:
            for kind in call.portal.links.types(collection.name, int(body["id"]), other, id_):
                suffix = "" if kind["label"] is None else "_primary"
                shown.append({"id": str(id_), "type": f"{collection.single}_to_{right.single}{suffix}"})
        if shown:
            entry: dict[str, Any] = {"results": shown}
            if len(linked) > INLINE_LINKS:
                after = str(linked[INLINE_LINKS])
                entry["paging"] = {"next": {"after": after, "link": f"{call.base_url}{call.target}"}}
            body.setdefault("associations", {})[other] = entry
