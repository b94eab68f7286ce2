"""What a made-up market is made from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameters:
    """What a market is made from; `scoring.synthetic.market` says what each means."""

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
    lone_scans: float = 0.0
    in_inbox: float = 0.12
    several_links: float = 0.08
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
