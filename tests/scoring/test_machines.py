"""Which opens and clicks machines made, against the made-up market's truth and against two plain rules."""

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.metrics import roc_curve

from scoring import tables
from scoring.engine import DuckEngine
from scoring.machines import LEAST, suspicions
from scoring.synthetic.market import market

T0 = datetime(2026, 3, 2, 9, 0, 0)

#: Each open and click: who made it, seconds since delivery, clicks of the same mail within 20 seconds, ours.
_COMPARED = """
with mails as (
  select contact_id, campaign_id, min(occurred_at) as delivered from events
  where kind = 'email_delivered' group by all
)
select origin in ('scanner', 'proxy') as machine_made,
  coalesce(epoch(occurred_at) - epoch(delivered), 1e9) as since,
  coalesce(sum(case when kind = 'email_click' then 1 else 0 end) over (
    partition by contact_id, campaign_id order by epoch(occurred_at)
    range between 20 preceding and 20 following), 0) as clicks, coalesce(machine, 0) as machine, kind
from events join origins using (event_id) left join mails using (contact_id, campaign_id)
  left join machine_made using (event_id)
where kind in ('email_open', 'email_click')
"""


@pytest.fixture(scope="module", params=(11, 12))
def compared(request: pytest.FixtureRequest) -> dict[str, npt.NDArray[np.float64]]:
    made = market(2000, request.param, datetime(2026, 6, 30))
    engine = DuckEngine.in_memory({**made.tables, "origins": made.truth.events})
    suspicions(engine)
    found = engine.fetch(_COMPARED)
    return {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}


def caught(score: npt.NDArray[np.float64], machine_made: npt.NDArray[np.bool_], false_positives: float) -> float:
    """Share of machine events that are caught where so large a share of people's events is accused."""
    accused, found, _ = roc_curve(machine_made, score)
    return float(np.interp(false_positives, accused, found))


@pytest.mark.parametrize("seconds", [45, 60, 120, 300])
def test_more_is_caught_than_by_time_since_delivery(
    compared: dict[str, npt.NDArray[np.float64]], seconds: int
) -> None:
    machine_made, early = compared["machine_made"].astype(bool), compared["since"] <= seconds
    false_positives = float(early[~machine_made].mean())
    assert caught(compared["machine"], machine_made, false_positives) > early[machine_made].mean() + 0.02


def test_more_is_caught_than_by_bursts(compared: dict[str, npt.NDArray[np.float64]]) -> None:
    machine_made, burst = compared["machine_made"].astype(bool), compared["clicks"] >= 3
    false_positives = float(burst[~machine_made].mean())
    assert caught(compared["machine"], machine_made, false_positives) > burst[machine_made].mean() + 0.005


def test_people_keep_their_clicks(compared: dict[str, npt.NDArray[np.float64]]) -> None:
    peoples = ~compared["machine_made"].astype(bool) & (compared["kind"] == "email_click")
    assert (compared["machine"][peoples] >= 0.5).mean() < 0.005
    machines = compared["machine_made"].astype(bool) & (compared["kind"] == "email_click")
    assert (compared["machine"][machines] >= 0.5).mean() > 0.98


def events(rows: list[tuple[str, str, str | None, str, int]]) -> pa.Table:
    """(event, contact, campaign, kind, seconds after T0)."""
    return tables.from_rows(
        "events",
        [
            {
                "event_id": one,
                "contact_id": who,
                "campaign_id": mail,
                "kind": kind,
                "occurred_at": T0 + timedelta(0, s),
            }
            for one, who, mail, kind, s in rows
        ],
    )


def machine_of(rows: list[tuple[str, str, str | None, str, int]]) -> dict[str, float]:
    contacts = tables.from_rows(
        "contacts",
        [{"contact_id": one, "email": f"{one}@Firm.example"} for one in sorted({row[1] for row in rows})],
    )
    engine = DuckEngine.in_memory({"events": events(rows), "contacts": contacts})
    found = engine.fetch(f"select event_id, machine from {suspicions(engine)}").to_pylist()
    return {row["event_id"]: row["machine"] for row in found}


def test_a_late_burst_is_a_scanners_and_so_is_the_open_beside_it() -> None:
    late = 4 * 3600
    found = machine_of(
        [
            ("d", "a", "m", "email_delivered", 0),
            ("o", "a", "m", "email_open", late),
            *((f"c{i}", "a", "m", "email_click", late + i) for i in range(5)),
        ]
    )
    assert min(found[one] for one in ("o", "c0", "c1", "c2", "c3", "c4")) > 0.9


def test_clicks_of_different_mails_are_no_burst() -> None:
    rows = [(f"d{i}", "a", f"m{i}", "email_delivered", 0) for i in range(5)]
    rows += [(f"c{i}", "a", f"m{i}", "email_click", 900 + i) for i in range(5)]
    assert machine_of(rows) == {}


def test_clicks_of_no_known_mail_are_left_alone() -> None:
    rows = [(f"c{i}", "a", None, "email_click", i) for i in range(6)]
    assert machine_of(rows) == {}


def test_an_open_without_a_known_delivery_is_left_alone() -> None:
    assert machine_of([("o", "a", "m", "email_open", 5)]) == {}


def test_a_mailbox_that_opens_every_mail_at_once_has_a_proxy_and_its_later_opens_are_a_persons() -> None:
    rows = [(f"d{i}", "a", f"m{i}", "email_delivered", 86400 * i) for i in range(12)]
    rows += [(f"o{i}", "a", f"m{i}", "email_open", 86400 * i + 40) for i in range(12)]
    rows.append(("later", "a", "m3", "email_open", 86400 * 3 + 7200))
    found = machine_of(rows)
    assert min(found[f"o{i}"] for i in range(12)) > 0.8
    assert found.get("later", 0.0) < LEAST
