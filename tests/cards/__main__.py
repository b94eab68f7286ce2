"""Writes both projects as an administrator gets them, for a made-up account, to `build/` beside this file.

Lint, types and tests of the cards look at these: what is deployed is what is tested.
"""

import shutil
from pathlib import Path

from tests.connector.projects_made import made

BUILD = Path(__file__).parent / "build"


def build(folder: Path) -> None:
    """Both projects, below `folder`."""
    for platform in ("hubspot", "salesforce"):
        for path, text in made(platform, folder / platform).files.items():
            place = folder / platform / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    shutil.rmtree(BUILD, ignore_errors=True)
    build(BUILD)
