"""What the record cards know besides the record: names of fields, the goal, the segments; written as a module."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.jobs.manifest.learnt import Learnt
from connector.jobs.run import shadow_prefix
from connector.platforms.salesforce.words import field_name
from connector.settings import Settings
from manifests import properties, read_text

#: How the platforms are called in a message.
LABELS = {"hubspot": "HubSpot", "salesforce": "Salesforce"}
#: Days after which a prediction without a horizon has run out.
STALE_DAYS = 90

_HEAD = """// Written by `leadlight manifest {platform}`: what the card knows besides the record.
// Write the project again after a training that changed the goal or the segments.
export const settings = """


@dataclass(frozen=True)
class Card:
    """The settings of one platform's card."""

    platform: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, platform: str, settings: Settings, known: Learnt, stale_days: int | None) -> "Card":
        """Fields carry the names that they have on this account, those of the shadow set in shadow mode."""
        prefix = shadow_prefix(settings) if settings.shadowed else settings.prefix
        fields = {}
        for entry in properties():
            plain = entry.name.removeprefix("leadlight_")
            name = f"{prefix}_{plain}"
            fields[plain] = field_name(name) if platform == "salesforce" else name
        return cls(
            platform,
            {
                "account": LABELS[platform],
                "fields": fields,
                "goal": known.goal,
                "staleDays": stale_days or known.horizon_days or STALE_DAYS,
                "segments": {
                    key: {"name": name, "description": description}
                    for key, (name, description) in sorted(known.segments.items())
                },
                "models": list(known.models),
            },
        )

    def module(self, watched: tuple[str, ...] | None = None) -> str:
        """`settings.js`. JSON is JavaScript, as long as no value may be taken for markup."""
        text = json.dumps({**self.values, "watched": watched}, indent=2, ensure_ascii=False).replace(
            "<", "\\u003c"
        )
        return f"{_HEAD.format(platform=self.platform)}{text};\n"

    @staticmethod
    def logic() -> str:
        """`prediction.js`, the same for every platform."""
        return read_text("cards", "prediction.js")
