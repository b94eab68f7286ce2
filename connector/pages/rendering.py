"""Templates and what they can say; the report as one file that needs nothing else."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from connector.pages import charts, rows
from connector.pages.words import FILTERS


@cache
def environment() -> jinja2.Environment:
    """Everything is escaped; a name that a template misspells is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("connector.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS | rows.FILTERS)
    made.globals |= {"charts": charts, "score_labels": rows.SCORE_LABELS, "hour_labels": rows.HOUR_LABELS}
    return made


@cache
def stylesheet() -> str:
    return files("connector.pages").joinpath("static", "leadlight.css").read_text(encoding="utf-8")


def style_hash() -> str:
    """The stylesheet's digest, as a Content-Security-Policy names it."""
    digest = hashlib.sha256(stylesheet().encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def render(template: str, **values: Any) -> str:
    """A template of this package. Raises jinja2.UndefinedError for a value that it lacks."""
    return environment().get_template(template).render(**values)


def trusted_render(template: str, *, style: str, **values: Any) -> str:
    """The same with our own stylesheet within the page."""
    return render(template, style=Markup(style), **values)  # noqa: S704 - our own file


def report_page(report: Mapping[str, Any]) -> str:
    """The JSON of `leadlight report` as one HTML file: no script, nothing loaded, and a policy against both."""
    return trusted_render(
        "report.html",
        report=report,
        zone=report["account"]["timezone"],
        style=stylesheet(),
        policy=f"default-src 'none'; style-src '{style_hash()}'; base-uri 'none'; form-action 'none'",
    )
