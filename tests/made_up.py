"""Made-up leads in a CSV, with an outcome that can be learned, for tests of the whole way."""

from pathlib import Path

import numpy as np

MAPPING = """
[contacts]
file = "leads.csv"
drop = ["duration"]

[goal]
column = "y"
equals = "yes"
"""

COMPANIES = """
[companies]
file = "companies.csv"
columns = { company_id = "id" }

[deals]
file = "deals.csv"
columns = { deal_id = "id", company_id = "company", created_at = "created", is_closed = "closed", is_won = "won" }
"""


def write_leads(folder: Path, rows: int, *, seed: int = 7, unknown: float = 0.0) -> Path:
    """`leads.csv` and `mapping.toml` in `folder`; the mapping's path. About 18% of the rows are positive.

    `unknown` is the share of rows whose outcome is empty. No id column: contacts are numbered 1..rows.
    """
    rng = np.random.default_rng(seed)
    visits = rng.poisson(3, rows)
    employees = rng.choice([5, 20, 80, 300, 2000], rows)
    industry = rng.choice(["Software", "Retail", "Health", "Education"], rows, p=[0.3, 0.3, 0.2, 0.2])
    age = rng.integers(18, 80, rows)
    logit = -4.2 + 0.55 * visits + 0.9 * (industry == "Software") + 0.25 * np.log(employees) - 0.01 * age
    bought = rng.random(rows) < 1 / (1 + np.exp(-logit))
    outcome = np.where(bought, "yes", "no")
    outcome = np.where(rng.random(rows) < unknown, "", outcome)
    duration = np.where(bought, rng.integers(300, 900, rows), rng.integers(5, 300, rows))
    lines = ["age;industry;employees;pricing visits;duration;y"]
    columns = (age, industry, employees, visits, duration, outcome)
    lines += [";".join(str(value) for value in row) for row in zip(*columns, strict=True)]
    (folder / "leads.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    mapping = folder / "mapping.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    return mapping


def write_companies(folder: Path, rows: int, companies: int) -> Path:
    """`write_leads` with companies: row n belongs to company n modulo `companies`, every eleventh to none. A lost
    deal makes every other row a contact of Salesforce's sandbox, where only contacts have a company."""
    mapping = write_leads(folder, rows)
    header, *lines = (folder / "leads.csv").read_text(encoding="utf-8").splitlines()
    named = ["" if n % 11 == 0 else str(1 + n % companies) for n in range(rows)]
    lines = [f"{line};{company}" for line, company in zip(lines, named, strict=True)]
    (folder / "leads.csv").write_text("\n".join([f"{header};company", *lines]) + "\n", encoding="utf-8")
    firms = ["id;name", *(f"{n};Company {n}" for n in range(1, companies + 1))]
    (folder / "companies.csv").write_text("\n".join(firms) + "\n", encoding="utf-8")
    deal = "id;company;created;stage;closed;won\n1;1;2026-01-05;closedlost;true;false\n"
    (folder / "deals.csv").write_text(deal, encoding="utf-8")
    text = MAPPING.replace('drop = ["duration"]', 'drop = ["duration"]\ncolumns = { company_id = "company" }')
    mapping.write_text(text + COMPANIES, encoding="utf-8")
    return mapping
