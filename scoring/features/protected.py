"""Properties that must not decide about people: found by the words of their names, or because they tell one.

The default topics are the special categories of data of the GDPR (art. 9) and gender. `age` and `marital_status`
are lawful and telling in much of business, so they are topics to opt into.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scoring.context import Context, Options
from scoring.engine import quoted

if TYPE_CHECKING:
    from scoring.features.property_sources import Source

#: Topic -> phrases. A phrase matches whole words in a row, whatever the case and what stands between them; with
#: `=` it must be the whole name, for words that mean other things beside other words ("account health score").
TOPICS: dict[str, tuple[str, ...]] = {
    "gender": (
        *(
            "gender",
            "sex",
            "sexe",
            "geschlecht",
            "genero",
            "género",
            "pronouns",
            "salutation",
            "anrede",
            "civilité",
        ),
        *("is male", "is female", "=male", "=female", "maiden name"),
    ),
    "ethnicity": (
        *(
            "ethnicity",
            "ethnic",
            "ethnic group",
            "ethnic origin",
            "racial",
            "=race",
            "race ethnicity",
            "skin colour",
        ),
        *("skin color", "nationality", "national origin", "citizenship", "citizen of", "country of birth"),
        *("birth country", "place of birth", "birthplace", "nationalität", "staatsangehörigkeit", "nationalité"),
        *("herkunft", "immigration status", "migration background", "indigenous", "caste", "tribe"),
    ),
    "religion": (
        *("religion", "religious", "faith", "creed", "konfession", "denomination", "church", "kirchensteuer"),
        "philosophical belief",
    ),
    "health": (
        *("=health", "health status", "health condition", "health conditions", "health data", "health issues"),
        *("medical", "medical condition", "diagnosis", "disability", "disabled", "handicap", "behinderung"),
        *("pregnancy", "pregnant", "illness", "disease", "patient", "medication", "krankheit", "gesundheit"),
        *("blood type", "bmi", "mental health", "allergies"),
    ),
    "politics": (
        *("political", "politics", "political party", "party affiliation", "party membership", "voting intention"),
        "partei",
    ),
    "trade_union": ("trade union", "labor union", "labour union", "union member", "union membership", "=union"),
    "sexual_orientation": ("sexual orientation", "sexual preference", "sexuality", "sex life", "lgbt", "lgbtq"),
    "genetics": ("genetic", "genetics", "genome", "dna", "biometric", "biometrics", "fingerprint"),
    "age": (
        *("age", "age group", "birth", "birthday", "birthdate", "birthyear", "birth date", "date of birth", "dob"),
        *("year of birth", "alter", "geburtsdatum", "geburtstag", "date naissance"),
    ),
    "marital_status": (
        *("marital", "marital status", "married", "civil status", "familienstand", "relationship status"),
        *("spouse", "divorced", "widowed"),
    ),
}
DEFAULT_TOPICS = (
    *("gender", "ethnicity", "religion", "health", "politics", "trade_union", "sexual_orientation", "genetics"),
)

#: A property is a proxy when knowing it removes this share of the errors in guessing a protected one (Goodman and
#: Kruskal's lambda), with at least this many contacts that have both, and this many per value on average.
PROXY_LAMBDA, PROXY_CONTACTS, PROXY_PER_VALUE = 0.9, 100, 5.0
_MAX_VALUES = 50
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")


@dataclass(frozen=True)
class Proxy:
    """A property that tells a protected one."""

    property: str
    tells: str
    #: Share of the guessing errors that knowing it removes, 0-1.
    certainty: float

    def to_json(self) -> dict[str, Any]:
        return {"property": self.property, "tells": self.tells, "certainty": round(self.certainty, 4)}


@lru_cache(maxsize=20_000)
def words(name: str) -> tuple[str, ...]:
    """The words of a name or label, lower case: `BirthDate__c`, `birth_date`, `Birth date` are (birth, date)."""
    parts = _CAMEL.sub(" ", name).replace("__c", " ")
    return tuple(word.lower() for word in _WORD.findall(parts))


def topic_of(names: Collection[str], options: Options) -> str | None:
    """The protected topic that a property with these names and label belongs to; None for all others."""
    return _topic_of(frozenset(names), options.protected, options.unprotected)


@lru_cache(maxsize=20_000)
def _topic_of(names: frozenset[str], protected: frozenset[str], unprotected: frozenset[str]) -> str | None:
    spoken = [words(name) for name in names]
    for topic, phrases in _phrases(protected, unprotected).items():
        for phrase in phrases:
            wanted = words(phrase)
            if any(wanted == one if phrase.startswith("=") else _in_a_row(wanted, one) for one in spoken):
                return topic
    return None


def _phrases(protected: frozenset[str], unprotected: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Topics in force. A protected word that is no topic is a phrase of its own."""
    chosen = [*DEFAULT_TOPICS, *sorted(protected)]
    off = {"_".join(words(name)) for name in unprotected}
    found = {}
    for name in chosen:
        topic = "_".join(words(name))
        if topic not in off:
            found[topic] = TOPICS.get(topic, (name,))
    return found


def _in_a_row(wanted: Sequence[str], among: Sequence[str]) -> bool:
    size = len(wanted)
    return bool(size) and any(tuple(among[at : at + size]) == tuple(wanted) for at in range(len(among) - size + 1))


def proxies(context: Context, usable: Sequence["Source"], barred: Sequence["Source"]) -> dict["Source", Proxy]:
    """Those of the usable properties that tell a barred (protected) one; trusted ones are let be.

    Only properties with few values are compared: whoever has a value of their own is told by it whatever it says.
    """
    plain = [one for one in barred if _values(context, one)]
    if not plain:
        return {}
    trusted = {name.lower() for name in context.options.trusted}
    found = {}
    for source in usable:
        if (
            source.type not in ("category", "boolean")
            or {source.property.lower(), source.column.lower()} & trusted
        ):
            continue
        if not _values(context, source):
            continue
        certain = {one.property: _certainty(context, source, one) for one in plain}
        tells = max(certain, key=lambda name: certain[name])
        if certain[tells] >= PROXY_LAMBDA:
            found[source] = Proxy(source.property, tells, certain[tells])
    return found


def _text(source: "Source") -> str:
    alias = "c" if source.table == "contacts" else "m"
    return f"nullif(trim(cast({alias}.{quoted(source.column)} as varchar)), '')"


_FROM = """from contacts c left join companies m on m.company_id = c.company_id
           where c.deleted_at is null and c.merged_into is null"""


def _values(context: Context, source: "Source") -> int:
    """How many values a property has, 0 when they are too many or just one."""
    text = _text(source)
    count = context.engine.fetch(f"select count(distinct {text}) as n {_FROM}")["n"][0].as_py()
    return int(count) if 2 <= count <= _MAX_VALUES else 0


def _certainty(context: Context, source: "Source", protected: "Source") -> float:
    """Lambda of guessing `protected` by `source`: 1 when it is known for sure, 0 when it helps nothing."""
    rows = context.engine.fetch(
        f"select {_text(source)} as a, {_text(protected)} as b, count(*) as n {_FROM} "
        f"and {_text(source)} is not null and {_text(protected)} is not null group by 1, 2"
    ).to_pylist()
    best: dict[str, int] = {}
    totals: dict[str, int] = {}
    for row in rows:
        best[row["a"]] = max(best.get(row["a"], 0), row["n"])
        totals[row["b"]] = totals.get(row["b"], 0) + row["n"]
    everyone = sum(totals.values())
    if everyone < max(PROXY_CONTACTS, PROXY_PER_VALUE * len(best)) or len(totals) < 2:
        return 0.0
    errors = everyone - max(totals.values())
    return 1.0 - (everyone - sum(best.values())) / errors
