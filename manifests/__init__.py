"""What is installed on a platform, as data: our properties, platform limits, deployable manifests."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any


@dataclass(frozen=True)
class Property:
    """A property that Leadlight writes."""

    name: str
    #: contact | company
    object: str
    label: str
    #: number | text | category | datetime | boolean
    type: str
    predictor: str
    description: str
    salesforce: str
    #: (value, label) pairs; only a category has them.
    options: tuple[tuple[str, str], ...] = ()
    group: str = "leadlight"
    group_label: str = "Leadlight predictions"

    def with_options(self, options: tuple[tuple[str, str], ...]) -> "Property":
        """The same property with further options (segments bring theirs from the model)."""
        return replace(self, options=self.options + tuple(o for o in options if o not in self.options))


def read_text(*path: str) -> str:
    """A text file of this package, by its path's parts."""
    return files("manifests").joinpath(*path).read_text(encoding="utf-8")


def read_toml(*path: str) -> dict[str, Any]:
    """A TOML file of this package, by its path's parts."""
    return tomllib.loads(read_text(*path))


def read_tree(platform: str) -> dict[str, str]:
    """The deployable files of a platform: path -> text. TOML files are for us and stay."""
    return dict(_texts(files("manifests").joinpath(platform), ""))


def _texts(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{path}{entry.name}/")
        elif not entry.name.endswith(".toml"):
            yield f"{path}{entry.name}", entry.read_text(encoding="utf-8")


def properties(object_name: str = "contact") -> tuple[Property, ...]:
    """Every property that we write on contacts (or on companies), in the order of the manifest."""
    return tuple(entry for entry in _all() if entry.object == object_name)


@cache
def _all() -> tuple[Property, ...]:
    manifest = read_toml("properties.toml")
    group = manifest["group"]
    return tuple(
        Property(
            **{key: value for key, value in entry.items() if key != "options"},
            options=tuple((option["value"], option["label"]) for option in entry.get("options", ())),
            group=group["name"],
            group_label=group["label"],
        )
        for entry in manifest["properties"]
    )


def platform_scores(platform: str) -> frozenset[str]:
    """Properties in which a platform keeps predictions of its own."""
    if not files("manifests").joinpath(platform, "words.toml").is_file():
        return frozenset()
    return frozenset(read_toml(platform, "words.toml").get("scores", ()))
