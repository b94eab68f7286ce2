"""The unit and the container recipe of docs/service, read as data."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNIT = ROOT / "docs" / "service" / "leadlight.service"
CONTAINERFILE = ROOT / "docs" / "service" / "Containerfile"


@dataclass
class Stage:
    """One stage of a build: its base, and the instructions in their order."""

    base: str
    name: str | None
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [argument for word, argument in self.steps if word == instruction]

    def command(self) -> list[str]:
        """What its containers run."""
        [command] = self.all("CMD")
        words = json.loads(command)
        assert all(isinstance(word, str) for word in words)
        return list(words)


def stages() -> list[Stage]:
    """The stages of the container recipe, with lines that go on put together."""
    text = re.sub(r"(?m)^#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8")).replace("\\\n", " ")
    found: list[Stage] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word, _, argument = line.partition(" ")
        if word == "FROM":
            base, _, name = argument.partition(" AS ")
            found.append(Stage(base, name or None))
        else:
            found[-1].steps.append((word, argument.strip()))
    return found


def unit(text: str | None = None, *, with_examples: bool = False) -> list[tuple[str, str, str]]:
    """(section, key, value) of the systemd unit; `with_examples`: commented settings too."""
    text = UNIT.read_text(encoding="utf-8") if text is None else text
    section, found = "", []
    for line in text.splitlines():
        if with_examples and re.match(r"#[A-Z]\w+=", line):
            line = line[1:]
        if re.fullmatch(r"\[\w+\]", line):
            section = line[1:-1]
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found.append((section, key, value))
    return found
