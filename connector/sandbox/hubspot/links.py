"""Associations between records."""

from collections.abc import Iterable

#: (from, to) -> type id and label of an association, the primary company apart.
TYPE_IDS = {
    ("contacts", "companies"): 279,
    ("companies", "contacts"): 280,
    ("contacts", "deals"): 4,
    ("deals", "contacts"): 3,
    ("deals", "companies"): 341,
    ("companies", "deals"): 342,
    ("notes", "contacts"): 202,
    ("contacts", "notes"): 201,
    ("emails", "contacts"): 198,
    ("contacts", "emails"): 197,
    ("tasks", "contacts"): 204,
    ("contacts", "tasks"): 203,
    ("meetings", "contacts"): 200,
    ("contacts", "meetings"): 199,
    ("calls", "contacts"): 194,
    ("contacts", "calls"): 193,
    ("communications", "contacts"): 81,
    ("contacts", "communications"): 82,
}
#: The primary association between the same objects.
PRIMARY_IDS = {
    ("contacts", "companies"): 1,
    ("companies", "contacts"): 2,
    ("deals", "companies"): 5,
    ("companies", "deals"): 6,
}


class Links:
    """Who is associated with whom, in the order of association; the first company is the primary one."""

    def __init__(self) -> None:
        self._to: dict[tuple[str, str], dict[int, list[int]]] = {}

    def add(self, left: str, left_id: int, right: str, right_id: int) -> None:
        """Associate two records, seen from both sides. The modified dates do not move."""
        for one, one_id, other, other_id in ((left, left_id, right, right_id), (right, right_id, left, left_id)):
            standing = self._to.setdefault((one, other), {}).setdefault(one_id, [])
            if other_id not in standing:
                standing.append(other_id)

    def end(self, left: str, left_id: int, right: str, right_id: int) -> None:
        """No longer associate two records, seen from both sides."""
        for one, one_id, other, other_id in ((left, left_id, right, right_id), (right, right_id, left, left_id)):
            standing = self._to.get((one, other), {}).get(one_id, [])
            if other_id in standing:
                standing.remove(other_id)

    def of(self, left: str, id_: int, right: str) -> list[int]:
        """Ids of `right` that record `id_` of `left` is associated with."""
        return self._to.get((left, right), {}).get(id_, [])

    def types(self, left: str, id_: int, right: str, other: int) -> list[dict[str, object]]:
        """Association types of one pair, the primary one first."""
        pair = (left, right)
        found: list[dict[str, object]] = []
        if pair in PRIMARY_IDS and self._is_primary(left, id_, right, other):
            found.append({"category": "HUBSPOT_DEFINED", "typeId": PRIMARY_IDS[pair], "label": "Primary"})
        if pair in TYPE_IDS:
            found.append({"category": "HUBSPOT_DEFINED", "typeId": TYPE_IDS[pair], "label": None})
        return found

    def move(self, name: str, old: int, new: int) -> None:
        """After a merge: what the old record was associated with is the new one's."""
        for (left, right), standing in list(self._to.items()):
            if left == name:
                for other in list(standing.get(old, ())):
                    self.add(name, new, right, other)
        self.remove(name, old)

    def remove(self, name: str, id_: int) -> None:
        """Forget a record's associations on both sides."""
        for (left, right), standing in self._to.items():
            if left == name:
                for other in standing.pop(id_, ()):
                    back = self._to[(right, left)].get(other, [])
                    if id_ in back:
                        back.remove(id_)

    def load(self, left: str, right: str, pairs: Iterable[tuple[int, int]]) -> None:
        """Many associations at once."""
        for left_id, right_id in pairs:
            self.add(left, left_id, right, right_id)

    def _is_primary(self, left: str, id_: int, right: str, other: int) -> bool:
        # Of either direction, the company is the one that is primary: the first that the record got.
        holder, company, holder_id, company_id = (
            (left, right, id_, other) if right == "companies" else (right, left, other, id_)
        )
        return self.of(holder, holder_id, company)[:1] == [company_id]
