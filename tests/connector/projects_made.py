"""Projects as `leadlight manifest` writes them, for made-up models."""

from pathlib import Path
from typing import Any

from connector.jobs.manifest import Order, Project, make
from connector.jobs.manifest.learnt import Learnt
from connector.settings import Settings

EMAIL = "ops@example.com"
SERVICE = "https://leadlight.example.com"
KNOWN = Learnt(
    goal="a deal won within 90 days",
    horizon_days=90,
    models=("lead_score-2026-11-01-1a2b3c4d",),
    properties={
        "contact": frozenset({"industry", "lead_source", "hs_lastmodifieddate"}),
        "company": frozenset({"employees"}),
    },
    deals=True,
    segments={"s3": ("Frequent website visitors", "Visits often, clicks little.")},
)


def made(platform: str, folder: Path, known: Learnt = KNOWN, user: str | None = None, **settings: Any) -> Project:
    """The files of a project, unwritten; `folder` is where it would go."""
    given = Settings(**{"platform": platform, "public_url": SERVICE, **settings})
    return make(given, platform, Order(folder, contact_email=EMAIL, outbound_user=user), known)
