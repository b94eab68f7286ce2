"""Where fitted models are kept: text and JSON in folders, never pickle.

`<folder>/<goal>/<predictor>/<version>/{meta.json, …}`; the file `champion` beside the versions names the one in
use. A version is written aside and renamed, so that it is there whole or not at all.
"""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from scoring.content import digest, version_of
from scoring.errors import ModelMismatch
from scoring.model import Model
from scoring.versions.model_card import card

__all__ = ["FORMAT", "champion", "load", "promote", "save", "version_of", "versions"]

#: Raised when the meaning of the files changes; an older or newer number means: train again.
FORMAT = 1
_META, _CHAMPION = "meta.json", "champion"
#: What a person reads of a version; written beside it and never read back.
CARD = "card.md"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def save(folder: Path, model: Model, *, in_use: bool = True) -> Path:
    """Write a model with its card and, where it is to be used, make it the champion.

    Saving the same version again changes nothing but the pointer.
    """
    home = _home(folder, model.goal, model.predictor)
    home.mkdir(parents=True, exist_ok=True)
    place = home / _checked(model.version)
    if not place.exists():
        aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
        try:
            for name, text in model.files.items():
                _write(aside / _checked(name), text)
            _write(aside / CARD, card(model))
            _write(aside / _META, json.dumps(_envelope(model), indent=1, sort_keys=True))
            _sync(aside)
            aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    if in_use:
        promote(folder, model.goal, model.predictor, model.version)
    return place


def promote(folder: Path, goal: str, predictor: str, version: str) -> None:
    """Make a stored version the champion. Raises ModelMismatch when there is none of that name."""
    home = _home(folder, goal, predictor)
    if not (home / _checked(version) / _META).exists():
        raise ModelMismatch(f"No stored {predictor} model {version!r} for goal {goal!r}.")
    handle, path = tempfile.mkstemp(prefix=".champion-", dir=home)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(version + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(path).replace(home / _CHAMPION)
    _sync(home)


def versions(folder: Path, goal: str, predictor: str) -> tuple[str, ...]:
    """Stored versions, by name (and so by date)."""
    home = _home(folder, goal, predictor)
    return tuple(sorted(path.parent.name for path in home.glob(f"*/{_META}") if path.parent.name[0] != "."))


def champion(folder: Path, goal: str, predictor: str) -> str | None:
    """The version in use."""
    pointer = _home(folder, goal, predictor) / _CHAMPION
    return pointer.read_text(encoding="utf-8").strip() if pointer.exists() else None


def read_meta(folder: Path, goal: str, predictor: str, version: str) -> dict[str, Any]:
    """What stands with a version, whether or not this program could still use it; empty when unreadable."""
    place = _home(folder, goal, predictor) / _checked(version) / _META
    try:
        meta: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))["meta"]
    except (OSError, ValueError, KeyError):
        return {}
    return meta


def load(folder: Path, goal: str, predictor: str, version: str | None = None) -> Model | None:
    """A stored model, by default the champion; None when there is none.

    Raises ModelMismatch when its format is another program's or its content is not what was written.
    """
    name = version or champion(folder, goal, predictor)
    if name is None:
        return None
    place = _home(folder, goal, predictor) / _checked(name)
    if not (place / _META).exists():
        if version is None:
            raise ModelMismatch(f"The {predictor} model {name!r} is gone from {place.parent}: train again.")
        return None
    try:
        envelope = json.loads((place / _META).read_text(encoding="utf-8"))
        if envelope["format"] != FORMAT:
            raise ModelMismatch(f"{place} has model format {envelope['format']}, not {FORMAT}: train again.")
        files = {one: (place / _checked(one)).read_bytes().decode("utf-8") for one in envelope["files"]}
        model = Model(envelope["predictor"], envelope["goal"], envelope["version"], envelope["meta"], files)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ModelMismatch(f"{place} cannot be read ({type(problem).__name__}): train again.") from problem
    if digest(model.meta, files) != envelope["digest"] or (model.goal, model.predictor) != (goal, predictor):
        raise ModelMismatch(f"{place} is not what was written there: train again.")
    return model


def _envelope(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "predictor": model.predictor,
        "goal": model.goal,
        "version": model.version,
        "files": sorted(model.files),
        "digest": digest(model.meta, model.files),
        "meta": model.meta,
    }


def _home(folder: Path, goal: str, predictor: str) -> Path:
    return folder / _checked(goal) / _checked(predictor)


def _checked(name: str) -> str:
    """A name that stays inside its folder."""
    if not _NAME.fullmatch(name):
        raise ModelMismatch(f"{name!r} cannot name a model: use letters, digits, '_', '-' and '.'.")
    return name


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
