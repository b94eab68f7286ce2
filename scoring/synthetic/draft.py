"""All that was drawn for a made-up market before it is written as tables."""

from dataclasses import dataclass

from scoring.synthetic.clock import Clock, Ints
from scoring.synthetic.engagement import Happenings
from scoring.synthetic.mail import Campaigns
from scoring.synthetic.outcomes import Odds, Spells
from scoring.synthetic.parameters import Parameters
from scoring.synthetic.people import Companies, People
from scoring.synthetic.properties import Changes


@dataclass(frozen=True)
class Draft:
    """A market as numbers. `stopped` is when each contact left marketing mail, after `until` for the others."""

    parameters: Parameters
    #: Which part of a large market this is, from 0.
    part: int
    start: int
    until: int
    clock: Clock
    companies: Companies
    people: People
    odds: Odds
    deals: Spells
    blind: bool
    campaigns: Campaigns
    events: Happenings
    changes: tuple[Changes, ...]
    stopped: Ints
