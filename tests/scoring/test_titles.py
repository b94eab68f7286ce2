"""Seniority and department from job titles: what a reader says of them, and nothing of a person's sex."""

from dataclasses import replace

import pyarrow as pa
import pytest

from scoring.context import Context, Options
from scoring.engine import DuckEngine, literal
from scoring.features import titles
from scoring.features.build import build
from scoring.features.property_sources import usable
from scoring.goals import Goal
from tests.scoring.made_tables import NOW

READ = (
    # Who stands near a title does not have it.
    ("CEO & Co-Founder", "executive", None),
    ("Assistant to the CEO", "entry", None),
    ("Assistenz der Geschäftsführung", "entry", None),
    ("Vice President, Engineering", "vice_president", "it"),
    ("President", "executive", None),
    ("Owner", "executive", None),
    ("Product Owner", None, "product"),
    ("Marketing Manager Intern", "trainee", "marketing"),
    ("International Sales", None, "sales"),
    ("Assistant Manager", "manager", None),
    ("Marketing Assistant", "entry", "marketing"),
    # The more special word tells the department.
    ("Sales Engineer", "specialist", "sales"),
    ("Product Marketing Manager", "manager", "marketing"),
    ("Customer Success Manager", "manager", "customer_service"),
    ("Account Executive", "specialist", "sales"),
    ("Accounts Payable Specialist", "specialist", "finance"),
    ("R&D Director", "director", "research"),
    ("CHIEF FINANCIAL OFFICER", "executive", "finance"),
    ("Head of I.T.", "director", "it"),
    ("Lead Buyer", "senior", "operations"),
    # German
    ("Geschaeftsfuehrer", "executive", None),
    ("Marketing-Leiter", "director", "marketing"),
    ("Teamleiter Kundenservice (m/w/d)", "manager", "customer_service"),
    ("Softwareentwickler", "specialist", "it"),
    ("Werkstudentin Vertrieb", "trainee", "sales"),
    ("Sachbearbeiterin Buchhaltung", "specialist", "finance"),
    # French
    ("Directeur commercial", "director", "sales"),
    ("Responsable des ressources humaines", "manager", "human_resources"),
    ("Chef d'équipe", "manager", None),
    ("Chargée de communication", "specialist", "marketing"),
    ("Stagiaire en comptabilité", "trainee", "finance"),
    # Spanish
    ("Gerente General", "executive", None),
    ("Jefe de compras", "manager", "operations"),
    ("Analista de sistemas", "specialist", "it"),
    ("Prácticas", None, None),
)
SALUTATIONS = (
    *("Mr", "Mrs.", "Ms", "Miss", "Sir", "Madam", "Lady", "Dr.", "Prof.", "Herr", "Frau", "Fräulein", "M.", "Mme"),
    *("Monsieur", "Madame", "Mademoiselle", "Sr.", "Sra.", "Srta.", "Señor", "Señora", "D.", "Doña", "Hausfrau"),
)
#: The forms for a man and for a woman.
PAIRS = (
    *(
        ("Geschäftsführer", "Geschäftsführerin"),
        ("Direktor", "Direktorin"),
        ("Vertriebsleiter", "Vertriebsleiterin"),
    ),
    *(("Praktikant", "Praktikantin"), ("Sekretär", "Sekretärin"), ("Entwickler", "Entwicklerin")),
    *(("Analyst", "Analystin"), ("Inhaber", "Inhaberin"), ("Gründer", "Gründerin"), ("Vorstand", "Vorständin")),
    *(("Produktmanager", "Produktmanagerin"), ("Einkäufer", "Einkäuferin"), ("Verkäufer", "Verkäuferin")),
    *(("Ingenieur", "Ingenieurin"), ("Jurist", "Juristin"), ("Informatiker", "Informatikerin")),
    *(("Controller", "Controllerin"), ("Designer", "Designerin"), ("Recruiter", "Recruiterin")),
    *(("Assistent", "Assistentin"), ("Spezialist", "Spezialistin"), ("Vizepräsident", "Vizepräsidentin")),
    *(("Directeur général", "Directrice générale"), ("Président", "Présidente"), ("Gérant", "Gérante")),
    *(("Fondateur", "Fondatrice"), ("Acheteur", "Acheteuse"), ("Technicien", "Technicienne")),
    *(("Développeur", "Développeuse"), ("Assistant commercial", "Assistante commerciale")),
    *(("Avocat", "Avocate"), ("Chargé de clientèle", "Chargée de clientèle"), ("Étudiant", "Étudiante")),
    *(("Director de ventas", "Directora de ventas"), ("Jefe", "Jefa"), ("Ingeniero", "Ingeniera")),
    *(("Consejero delegado", "Consejera delegada"), ("Abogado", "Abogada"), ("Becario", "Becaria")),
    *(("Presidente", "Presidenta"), ("Consultor", "Consultora"), ("Desarrollador", "Desarrolladora")),
    *(("Contador", "Contadora"), ("Secretario", "Secretaria"), ("Chairman", "Chairwoman")),
)


def read(*given: str) -> list[tuple[str | None, str | None]]:
    engine = DuckEngine.in_memory({"given": pa.table({"place": range(len(given)), "title": list(given)})})
    words = titles.spelled("title")
    rows = engine.fetch(
        f"select {titles.level(words, titles.SENIORITY)} as s, {titles.level(words, titles.DEPARTMENT)} as d "
        "from given order by place"
    ).to_pylist()
    return [(row["s"], row["d"]) for row in rows]


def test_titles_are_read_as_a_reader_would() -> None:
    found = read(*(title for title, _, _ in READ))
    assert {title: got for (title, _, _), got in zip(READ, found, strict=True)} == {
        title: (seniority, department) for title, seniority, department in READ
    }


def test_a_salutation_says_nothing() -> None:
    found = dict(zip(SALUTATIONS, read(*SALUTATIONS), strict=True))
    assert found == dict.fromkeys(SALUTATIONS, (None, None))


def test_the_forms_for_women_and_men_mean_the_same() -> None:
    men, women = (read(*(pair[i] for pair in PAIRS)) for i in (0, 1))
    assert dict(zip(PAIRS, men, strict=True)) == dict(zip(PAIRS, women, strict=True))
    assert (None, None) not in men


def test_every_level_has_words_of_its_own_to_be_said_with() -> None:
    said = [name for name, _ in titles.SENIORITY_WORDS]
    assert set(said) == {name for name, _ in titles.SENIORITY}
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    ("column", "name", "label", "holds"),
    [
        ("p_jobtitle", "jobtitle", "Job Title", True),
        ("p_title", "Title", "Title", True),
        ("p_job_title", "job_title", "job_title", True),
        ("p_field_7", "field_7", "Job title", True),
        ("p_job", "job", "job", False),
        ("p_page_title", "page_title", "Page title", False),
        ("p_title_track", "title_track", "Title track", False),
    ],
)
def test_a_job_title_is_known_by_its_whole_name(column: str, name: str, label: str, holds: bool) -> None:
    context = titled(["Sales Manager", "CEO"] * 10, column, name, label)
    (source,) = [source for source in usable(context) if source.column == column]
    assert source.is_title == holds


@pytest.mark.parametrize("kind", ["text", "category"])
def test_a_column_of_salutations_gives_no_feature(kind: str) -> None:
    """Not even where a file's type finder calls it a category."""
    assert features(titled(["Mr", "Mrs", "Frau", "Herr"] * 10, "p_title", "Title", "Title", kind)) == set()
    found = features(titled(["Directeur", "Directrice", "Mrs", "Sales"] * 10, "p_title", "Title", "Title", kind))
    assert found == {"p_title@seniority", "p_title@department"}


def test_a_trusted_category_of_titles_is_used_as_it_stands_too() -> None:
    context = titled(["Mr", "Mrs", "CEO", "CEO"] * 10, "p_title", "Title", "Title", "category")
    trusting = replace(context, options=Options(trusted=frozenset({"Title"})))
    assert features(trusting) == {"p_title", "p_title@seniority"}


def titled(values: list[str], column: str, name: str, label: str, kind: str = "text") -> Context:
    engine = DuckEngine.in_memory()
    rows = ", ".join(f"('c{n}', {literal(value)})" for n, value in enumerate(values))
    engine.run(
        "create or replace temp table contacts as select v.contact_id, c.* exclude (contact_id), v.title as "
        f"{column} from (values {rows}) v(contact_id, title) left join contacts c on false"
    )
    engine.run(
        "insert into property_definitions (object, property, column_name, label, type) values "
        f"('contact', {literal(name)}, {literal(column)}, {literal(label)}, {literal(kind)})"
    )
    engine.run(f"create temp table pairs as select contact_id, timestamp '{NOW}' as as_of from contacts")
    return Context(engine, NOW, Goal(column="country", equals="DE"))


def features(context: Context) -> set[str]:
    return {feature.name for feature in build(context, "pairs", "built")}
