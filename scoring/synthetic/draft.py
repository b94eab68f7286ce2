"""What a made-up market is made from, and all that was drawn for it before it is written as tables."""

from dataclasses import dataclass

from scoring.synthetic.clock import Clock, Ints
from scoring.synthetic.engagement import Happenings
from scoring.synthetic.mail import Campaigns
from scoring.synthetic.outcomes import Odds, Spells
from scoring.synthetic.people import Companies, People
from scoring.synthetic.properties import Changes


@dataclass(frozen=True)
class Parameters:
    """What a market is made from; the module's docstring says what each means."""

    months: int = 15
    contacts_per_company: float = 5.0
    account_timezone: str = "Europe/London"
    currency: str = "EUR"
    campaigns_per_month: float = 7.0
    mail_share: float = 0.24
    nine_o_clock: float = 0.7
    own_hours: float = 0.9
    page_views: float = 1.0
    zone_known: float = 0.9
    privacy: float = 0.3
    scanners: float = 0.08
    filtered: float = 0.3
    opted_out: float = 0.07
    profiling_denied: float = 0.015
    missing: float = 0.12
    spells_per_year: float = 2.5
    win_rate: float = 0.68
    inbound: float = 0.1
    standing: float = 0.3
    drift: float = 0.0
    shuffled_outcomes: bool = False


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
