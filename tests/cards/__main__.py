"""Writes both projects as an administrator gets them, for a made-up account, to `build/` beside this file.

Lint, types and tests of the cards look at these: what is deployed is what is tested.
"""

import shutil
from pathlib import Path

from connector.jobs.manifest import Order, make
from connector.jobs.manifest.learnt import Learnt
from connector.settings import Settings

BUILD = Path(__file__).parent / "build"

KNOWN = Learnt(
    goal="a deal won within 90 days",
    horizon_days=90,
    models=("lead_score-2026-11-01-1a2b3c4d",),
    properties={"contact": frozenset({"industry", "lead_source"}), "company": frozenset({"employees"})},
    deals=True,
    segments={"s3": ("Frequent website visitors", "Visits often, clicks little.")},
)


def build(folder: Path) -> None:
    """Both projects, below `folder`."""
    settings = Settings(public_url="https://leadlight.example.com")
    for platform in ("hubspot", "salesforce"):
        order = Order(folder / platform, contact_email="ops@example.com")
        project = make(settings.model_copy(update={"platform": platform}), platform, order, KNOWN)
        for path, text in project.files.items():
            place = folder / platform / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(BUILD, ignore_errors=True)
    build(BUILD)
