"""The part of SOQL that a client needs, read and turned into SQL over the org's store.

SELECT with parent fields, COUNT() and simple aggregates; WHERE with AND, OR, NOT, comparisons, LIKE, IN and NOT IN
(lists and semi-joins), null and date literals; ORDER BY, LIMIT, OFFSET. Anything else is MALFORMED_QUERY.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connector.sandbox import times
from connector.sandbox.salesforce.ids import long_form
from connector.sandbox.salesforce.problems import Problem, malformed, no_column
from connector.sandbox.salesforce.schema import Field, Object

_TOKEN = re.compile(
    r"\s+|(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))?)"
    r"|(?P<number>[+-]?\d+(?:\.\d+)?)|(?P<word>[A-Za-z][\w.]*(?::\d+)?)|(?P<sign><=|>=|!=|<>|[=<>(),*])"
)
_ESCAPES = {**{letter: letter for letter in "'\"\\"}, **{"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}}
_COMPARISONS = {"=", "!=", "<>", "<", ">", "<=", ">="}
_AGGREGATES = ("count", "count_distinct", "min", "max", "sum", "avg")


@dataclass(frozen=True)
class Selected:
    """One column of an answer: path as written, None for an aggregate."""

    path: tuple[str, ...]
    field: Field
    name: str


@dataclass
class Query:
    """A query ready for the store."""

    entity: Object
    columns: list[Selected]
    sql: str
    #: `SELECT COUNT()`: only the size is asked for.
    counts: bool = False
    aggregates: bool = False
    #: ORDER BY, LIMIT, OFFSET or aggregates: what Bulk query answers to some of them differs.
    words: set[str] = field(default_factory=set)


def parse(statement: str, objects: Mapping[str, Object], *, deleted: bool = False) -> Query:
    """Read a statement. Raises Problem MALFORMED_QUERY, INVALID_FIELD or INVALID_TYPE."""
    return _Parser(statement, objects, deleted).query()


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


class _Parser:
    def __init__(self, statement: str, objects: Mapping[str, Object], deleted: bool) -> None:
        self._statement, self._objects, self._deleted = statement, objects, deleted
        self._tokens = _tokens(statement)
        self._at = 0
        self._alias = "t"
        self._joins: dict[str, tuple[str, str]] = {}
        self._entity = Object("")
        self._aliases: dict[int, str] = {}

    def query(self) -> Query:
        found = self._select()
        if self._at < len(self._tokens):
            raise malformed(self._peek())
        return found

    def _select(self, alias: str = "t") -> Query:
        outer = (self._entity, self._alias, self._joins)
        self._alias, self._joins = alias, {}
        self._expect("select")
        chosen = self._chosen()
        self._expect("from")
        place, name = self._position(), self._next("word")
        entity = self._objects.get(name.lower())
        if entity is None:
            message = f"\n{self._statement[max(0, place - 30) :]}\nsObject type '{name}' is not supported."
            raise Problem(400, "INVALID_TYPE", message)
        self._entity = entity
        words: set[str] = set()
        columns, outputs = self._columns(chosen)
        where = [] if self._deleted else [f"not {alias}.IsDeleted"]
        if self._take("where"):
            where.append(self._any())
        tail = self._tail(words)
        joins = " ".join(text for _, text in self._joins.values())
        conditions = f" where {' and '.join(f'({one})' for one in where)}" if where else ""
        sql = f"select {', '.join(outputs)} from {entity.name} {alias} {joins}{conditions}{tail}"
        aggregates = any(function for function, _, _ in chosen)
        counts = chosen[0][:2] == ("count", "")
        self._entity, self._alias, self._joins = outer
        return Query(entity, columns, sql, counts, aggregates, words | ({"aggregates"} if aggregates else set()))

    def _chosen(self) -> list[tuple[str, str, int]]:
        """(function or '', path, position) of each item."""
        found: list[tuple[str, str, int]] = []
        while True:
            place, name = self._position(), self._next("word")
            if self._take("("):
                if name.lower() == "fields":
                    name, inner = "", f"*{self._next('word').lower()}"
                elif name.lower() in _AGGREGATES:
                    inner = "" if self._peek() == ")" else self._next("word")
                else:
                    raise malformed(name)
                self._expect(")")
                found.append((name.lower(), inner, place))
                if self._peek().lower() not in (",", "from"):
                    self._aliases[len(found) - 1] = self._next("word")
            else:
                found.append(("", name, place))
            if not self._take(","):
                return found

    def _columns(self, chosen: Sequence[tuple[str, str, int]]) -> tuple[list[Selected], list[str]]:
        columns: list[Selected] = []
        outputs: list[str] = []
        for number, (function, path, place) in enumerate(chosen):
            if path.startswith("*"):
                for one in self._entity.fields.values():
                    if path == "*all" or one.custom == (path == "*custom"):
                        columns.append(Selected((one.name,), one, one.name))
                        outputs.append(self._column(one.name, place)[0])
            elif function:
                sql, one = self._column(path, place) if path else ("*", Field("count", "int"))
                call = f"count(distinct {sql})" if function == "count_distinct" else f"{function}({sql})"
                kind = Field("expr", "int" if function.startswith("count") else one.type)
                columns.append(Selected((), kind, self._aliases.get(number, f"expr{number}")))
                outputs.append(f"{call} as expr{number}")
            else:
                sql, one = self._column(path, place)
                parts = (*path.split(".")[:-1], one.name)
                columns.append(Selected(parts, one, ".".join(parts)))
                outputs.append(sql)
        return columns, [f'{sql} as "c{i}"' if " as expr" not in sql else sql for i, sql in enumerate(outputs)]

    def _column(self, path: str, place: int) -> tuple[str, Field]:
        """SQL of a field of the entity or of a parent. Raises Problem INVALID_FIELD."""
        entity, alias = self._entity, self._alias
        *parents, name = path.split(".")
        if parents and parents[0].lower() == entity.name.lower():
            parents = parents[1:]
        walked = ""
        for parent in parents:
            link = next(
                (f for f in entity.fields.values() if (f.relationship or "").lower() == parent.lower()), None
            )
            if link is None:
                message = (
                    f"\n{self._statement}\nERROR at Row:1:Column:{place + 1}\nDidn't understand relationship "
                    f"'{parent}' in field path. If you are attempting to use a custom relationship, be sure to "
                    "append the '__r' after the custom relationship name."
                )
                raise Problem(400, "INVALID_FIELD", message)
            entity = self._objects[link.refers[0].lower()]
            walked = f"{walked}.{parent.lower()}"
            if walked not in self._joins:
                joined = f"{self._alias}j{len(self._joins)}"
                text = f"left join {entity.name} {joined} on {joined}.Id = {alias}.{link.name}"
                self._joins[walked] = (joined, text)
            alias = self._joins[walked][0]
        found = entity.get(name)
        if found is None:
            raise no_column(name, entity.name, self._statement, place)
        return column_sql(found, alias), found

    def _any(self) -> str:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return f"({' or '.join(parts)})"

    def _all(self) -> str:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return f"({' and '.join(parts)})"

    def _one(self) -> str:
        if self._take("not"):
            return f"not coalesce({self._one()}, false)"
        if self._take("("):
            inner = self._any()
            self._expect(")")
            return inner
        place, path = self._position(), self._next("word")
        sql, one = self._column(path, place)
        if not one.filterable:
            raise Problem(400, "INVALID_FIELD", f"field '{one.name}' can not be filtered in a query call")
        return self._compare(sql, one)

    def _compare(self, sql: str, one: Field) -> str:
        negated = self._take("not")
        if self._take("in"):
            return self._among(sql, one, negated)
        if negated:
            raise malformed(self._peek())
        if self._take("like"):
            pattern = self._next("text")
            literal = quoted(_plain(pattern, like=True).lower())
            return f"coalesce(lower({sql}) like {literal} escape '\\', false)"
        sign = self._next("sign")
        if sign not in _COMPARISONS:
            raise malformed(sign)
        value = self._value(one)
        if value == "null":
            if sign not in ("=", "!=", "<>"):
                raise malformed("null")
            return f"{sql} is {'' if sign == '=' else 'not '}null"
        left = f"lower({sql})" if value.startswith("lower(") else sql
        if sign in ("!=", "<>"):
            # unlike SQL's, it holds where nothing stands
            return f"({left} is distinct from {value})"
        return f"coalesce({left} {sign} {value}, false)"

    def _among(self, sql: str, one: Field, negated: bool) -> str:
        self._expect("(")
        if self._peek().lower() == "select":
            self._alias, outer = f"{self._alias}s", self._alias
            inner = self._select(self._alias).sql
            self._alias = outer
            self._expect(")")
            return f"{'not ' if negated else ''}coalesce({sql} in ({inner}), false)"
        values = [self._value(one)]
        while self._take(","):
            values.append(self._value(one))
        self._expect(")")
        left = f"lower({sql})" if any(value.startswith("lower(") for value in values) else sql
        return f"{'not ' if negated else ''}coalesce({left} in ({', '.join(values)}), false)"

    def _value(self, one: Field) -> str:
        kind, text = self._pop()
        word = text.lower()
        if kind == "word" and word == "null":
            return "null"
        if kind == "text":
            if one.stored not in ("VARCHAR",):
                message = (
                    f"\n{self._statement}\nvalue of filter criterion for field '{one.name}' must be of type "
                    f"{_type_name(one)} and should not be enclosed in quotes"
                )
                raise Problem(400, "INVALID_FIELD", message)
            plain = _plain(text)
            if one.type in ("id", "reference"):
                whole = long_form(plain)
                if whole is None:
                    message = f"\n{self._statement}\ninvalid ID field: {plain}"
                    raise Problem(400, "INVALID_QUERY_FILTER_OPERATOR", message)
                return quoted(whole)
            return f"lower({quoted(plain)})"
        if kind == "moment" and one.type in ("date", "datetime") and ("T" in text) == (one.type == "datetime"):
            moment = times.parse(text)
            if moment is None:
                raise malformed(text)
            return f"timestamp '{times.iso(moment)[:19]}'" if one.type == "datetime" else f"date '{text}'"
        if kind == "word" and one.type in ("date", "datetime"):
            return _relative(word)
        if kind == "number" and one.stored in ("DOUBLE", "BIGINT"):
            return text
        if kind == "word" and word in ("true", "false") and one.type == "boolean":
            return word
        if kind in ("number", "moment", "word"):
            message = f"\n{self._statement}\nvalue of filter criterion for field '{one.name}' must be of type "
            raise Problem(400, "INVALID_FIELD", message + _type_name(one))
        raise malformed(text)

    def _tail(self, words: set[str]) -> str:
        tail = ""
        if self._take("order"):
            self._expect("by")
            keys = [self._key()]
            while self._take(","):
                keys.append(self._key())
            tail, words = f" order by {', '.join(keys)}", words
            words.add("order")
        for word in ("limit", "offset"):
            if self._take(word):
                tail += f" {word} {int(self._next('number'))}"
                words.add(word)
        return tail

    def _key(self) -> str:
        place, path = self._position(), self._next("word")
        sql, one = self._column(path, place)
        if not one.filterable:
            raise Problem(400, "INVALID_FIELD", f"field '{one.name}' can not be sorted in a query call")
        way = "desc" if self._take("desc") else "asc"
        self._take("asc")
        nulls = "first"
        if self._take("nulls"):
            nulls = "last" if self._take("last") else "first"
            self._take("first")
        return f"{sql} {way} nulls {nulls}"

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _position(self) -> int:
        return self._tokens[self._at][2] if self._at < len(self._tokens) else len(self._statement)

    def _pop(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise malformed("")
        kind, text, _ = self._tokens[self._at]
        self._at += 1
        return kind, text

    def _next(self, wanted: str) -> str:
        kind, text = self._pop()
        if kind != wanted:
            raise malformed(text)
        return text

    def _take(self, word: str) -> bool:
        if self._peek().lower() != word:
            return False
        self._at += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise malformed(self._peek())


def column_sql(one: Field, alias: str) -> str:
    """A field of the record `alias`."""
    if one.formula is not None:
        return "(" + re.sub(r"\bt\.", f"{alias}.", one.formula) + ")"
    return f"{alias}.{one.name}"


def _tokens(statement: str) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    at = 0
    while at < len(statement):
        match = _TOKEN.match(statement, at)
        if match is None:
            raise malformed(statement[at])
        if match.lastgroup:
            found.append((match.lastgroup, match.group(), at))
        at = match.end()
    return found


def _plain(text: str, *, like: bool = False) -> str:
    """A literal without quotes and escapes; any backslash that is none of SOQL's is an error."""

    def one(match: re.Match[str]) -> str:
        letter = match[1]
        if letter in _ESCAPES:
            return ("\\\\" if like and letter == "\\" else "") or _ESCAPES[letter]
        if letter[0] == "u" and len(letter) == 5:
            return chr(int(letter[1:], 16))
        if like and letter in "_%":
            return match[0]
        raise Problem(400, "MALFORMED_QUERY", f"Illegal string literal: Invalid string literal {text}")

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text[1:-1])


def _relative(word: str) -> str:
    name, _, count = word.partition(":")
    days = int(count or 0)
    known = {
        "today": "current_date",
        "yesterday": "current_date - 1",
        "tomorrow": "current_date + 1",
        "last_n_days": f"current_date - {days}",
    }
    if name not in known:
        raise malformed(word)
    return f"({known[name]})"


def _type_name(one: Field) -> str:
    return "dateTime" if one.type == "datetime" else one.type
