"""Seniority and department, read from job titles in English, German, French and Spanish.

A title is told by its words, whatever their case, accents and punctuation. The forms for women and for men mean
one thing here, and a salutation means nothing, so that a title tells nothing of a person's sex. What has none of
the words is unknown.
"""

from collections.abc import Collection

from scoring.engine import literal
from scoring.features.protected import words

#: Names and labels of properties that hold a job title, as words; the whole name must be one of these.
_NAMES = {
    tuple(name.split())
    for name in (
        *("title", "job title", "jobtitle", "contact title", "contact job title", "lead title"),
        *("jobtitel", "berufsbezeichnung", "stellenbezeichnung", "positionsbezeichnung"),
        *("intitulé de poste", "intitulé du poste", "titre du poste", "puesto de trabajo", "título del puesto"),
    )
}
#: Words are looked for in this many characters of a title.
_LONGEST = 160
#: How letters and signs are read; signs stand between words, but for a dot, which abbreviates ("V.P.").
_LETTERS = ("áàâäãåçéèêëíìîïñóòôöõúùûüýß", "aaaaaaceeeeiiiinooooouuuuys")
_SIGNS = ',;:/|()[]&+-–—_*·’"'
#: Stands at both ends of a title, among the words.
_END = "#"

#: Level and its words, as regular expressions that both engines read alike; the first level that a title has a
#: word of is its own: an assistant to a director is no director, a vice president no president.
_Levels = tuple[tuple[str, tuple[str, ...]], ...]
SENIORITY: _Levels = (
    ("trainee", (
        "intern(ship)?", "trainee", "apprentice", "working student", "praktikant(in)?", "werkstudent(in)?",
        "azubi", "auszubildende[rn]?", "stagiaire", "alternante?", "apprentie?", "becari[oa]", "en practicas",
    )),
    ("entry", (
        "assistante? to", "(executive|personal|administrative|management|office|team) assistant", "secretary",
        "[a-z]*assisten(z|t|tin)", "[a-z]*sekretae?r(in)?", "assistante? (de|du|a la) [a-z]+", "secretaire",
        "asistente (de|del|a la) [a-z]+", "secretari[oa]",
    )),
    ("vice_president", ("[es]?vp", "vice president[ea]?", "vicepresident[ea]?", "vizeprae?sident(in)?")),
    ("executive", (
        "c[defimoprst]o", "chro", "ciso", "chief( [a-z]+){1,4} officer", "chief executive", "president[ea]?",
        "chair(man|woman|person)", "managing (director|partner)", "(co ?)?founder", f"{_END} owner",
        "(co|business|company|shop|store|and) owner", "geschafts?fuhr[a-z]*", "geschaefts?fuehr[a-z]*",
        "vorst(and|andin)", "vorstands[a-z]*", "(mit)?inhaber(in)?", "(mit)?grue?nder(in)?", "pdg",
        "direct(eur|rice) generale?", "gerante?", "(co ?)?fondat(eur|rice)", "proprietaire",
        "director[a]? general", "gerente general", "consejer[oa] delegad[oa]", "(co ?)?fundador[a]?",
        "propietari[oa]",
    )),
    ("director", (
        "directors?", "dir", "head of", f"head {_END}", "general manager", "[a-z]*direktor(in)?",
        "leit(er|erin|ung)", "direct(eur|rice)", "(sub)?directora?",
        "(vertriebs|verkaufs|marketing|bereichs|abteilungs|personal|finanz|betriebs|werks|produktions"
        "|einkaufs|entwicklungs|niederlassungs|logistik)leit(er|erin|ung)",
    )),
    ("manager", (
        "[a-z]*manager(in)?", "mgr", "supervisora?", "team ?lead(er)?", "(team|gruppen|projekt)leit(er|erin|ung)",
        "cheff?e? (de|du|d) [a-z]+", "responsable", "encargad[oa]", "jef[ea]", "gerente",
    )),
    ("senior", (
        "senior", "lead", "principal", "leitende[rn]?",
        # Alone it is a salutation of men in Spanish.
        "sr( [a-z]+)? (analyst|engineer|developer|consultant|specialist|accountant|designer|architect|executive)",
    )),
    ("entry", ("junior", "jr", "assistante?", "asistente", "student(in)?", "etudiante?", "estudiante")),
    ("specialist", (
        "specialiste?", "analyst(e|in)?", "consultante?", "coordinator", "executive", "representative",
        "[a-z]*engineer", "[a-z]*developer", "accountant", "officer", "recruiter(in)?", "designer(in)?",
        "architecte?", "technician", "buyer", "[a-z]*spezialist(in)?", "[a-z]*referent(in)?",
        "[a-z]*sachbearbeiter(in)?", "[a-z]*berater(in)?", "[a-z]*ingenieure?(in)?", "[a-z]*entwickler(in)?",
        "[a-z]*buchhalter(in)?", "[a-z]*techniker(in)?", "coordinat(eur|rice)", "chargee? (de|d) [a-z]+",
        "developp(eur|euse)", "technicien(ne)?", "comptable", "especialista", "analista", "consultora?",
        "coordinadora?", "ingenier[oa]", "desarrolladora?", "tecnic[oa]", "contable",
    )),
)  # fmt: skip
DEPARTMENT: _Levels = (
    ("human_resources", (
        "human resources?", "hr", "chro", "talent", "recruit[a-z]*", "personnel",
        "people (and|operations|partner)", "personal(leit|referent|manag|abteil|entwick|sachbearb)[a-z]*",
        "ressources humaines", "d?rh", "recursos humanos", "rrhh",
    )),
    ("legal", (
        "legal", "counsel", "lawyer", "attorney", "compliance", "jurist(in|e)?", "rechts[a-z]*", "recht",
        "juridique", "avocate?", "abogad[oa]",
    )),
    ("customer_service", (
        "(customer|client) (success|service|services|support|care|experience)",
        "kunden(service|dienst|betreu)[a-z]*", "(service|relation) clients?", "atencion al cliente",
    )),
    ("marketing", (
        "[a-z]*marketing[a-z]*", "cmo", "brand", "seo", "content", "social media", "communications?",
        "public relations", "growth", "kommunikation", "publicite", "comunicacion", "publicidad",
    )),
    ("sales", (
        "sales", "cro", "account (executive|manager|director)", "key account", "business develop(ment|er)",
        "[bs]dr", "commerciale?", "vertrieb[a-z]*", "verkauf[a-z]*", "verkaeufer(in)?", "ventes?", "comercial",
        "ventas",
    )),
    ("finance", (
        "financ[a-z]*", "cfo", "account(ant|ing)", "accounts (payable|receivable)", "controll(er|erin|ing)",
        "treasurer?y?", "audit(or)?", "tax", "finanz[a-z]*", "buchhalt[a-z]*", "steuer[a-z]*", "comptab[a-z]*",
        "finanzas", "contab[a-z]*", "contadora?",
    )),
    ("product", ("product", "cpo", "produktmanag[a-z]*", "produit", "producto")),
    ("research", ("research[a-z]*", "r d", "scientist", "forsch[a-z]*", "recherche", "investigacion")),
    ("it", (
        "it", "c[ti]o", "ciso", "software[a-z]*", "information", "data", "devops", "security", "technolog[a-z]*",
        "tech", "systems?", "[a-z]*engineer(ing)?", "[a-z]*developer", "edv", "informati(k|ker|kerin|que|ca|co)",
        "[a-z]*ingenieure?(in)?", "[a-z]*entwickler(in)?", "technik", "developp(eur|euse)", "dsi",
        "ingenier[a-z]*", "desarrolladora?", "tecnologia", "sistemas",
    )),
    ("operations", (
        "operat(ions?|ing)", "coo", "logistics?", "supply chain", "production", "manufacturing", "purchas[a-z]*",
        "procurement", "buyer", "quality", "logistik[a-z]*", "produktion[a-z]*", "einkauf[a-z]*",
        "betriebsleit[a-z]*", "logistique", "achats", "acheteu(r|se)", "qualite", "operaciones", "logistica",
        "produccion", "compras",
    )),
)  # fmt: skip
#: What a level is called after "is".
SENIORITY_WORDS = (
    ("trainee", "an intern or trainee"), ("entry", "an assistant or beginner"), ("specialist", "a specialist"),
    ("senior", "a senior specialist"), ("manager", "a manager"), ("director", "a director"),
    ("vice_president", "a vice president"), ("executive", "an executive or owner"),
)  # fmt: skip
#: What a department is called after "works in".
DEPARTMENT_WORDS = (("it", "IT or engineering"),)


def is_title(names: Collection[str]) -> bool:
    """Whether a property with these names and label holds job titles."""
    return any(words(name) in _NAMES for name in names)


def spelled(text: str) -> str:
    """SQL for a title as plain lower-case words between blanks; null for null."""
    read = f"{literal(_LETTERS[0] + _SIGNS)} || chr(39) || '.'"
    as_ = literal(_LETTERS[1] + " " * (len(_SIGNS) + 1))
    plain = f"translate(lower(substr({text}, 1, {_LONGEST})), {read}, {as_})"
    return f"' {_END} ' || {plain} || ' {_END} '"


def level(spelled_title: str, table: _Levels) -> str:
    """SQL for the first level of a table that a spelled title has a word of; null when it has none."""
    whens = [
        f"when regexp_extract({spelled_title}, {literal(' (' + '|'.join(patterns) + ') ')}, 0) <> '' "
        f"then {literal(name)}"
        for name, patterns in table
    ]
    return f"case {' '.join(whens)} end"
