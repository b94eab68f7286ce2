"""Filters by list, from the settings to the records of a pretend HubSpot."""

from pathlib import Path

import requests

from tests.connector.portal import Portal, leadlight, portal

MARKET = ("--contacts", "2000", "--seed", "5", "--search-lag", "0")
SETTINGS = 'platform = "hubspot"\n[write.include]\nlist = ["42"]\n'
MEMBERSHIPS = "GET /crm/lists/2026-09/{id}/memberships"


def put_on(box: Portal, list_id: str, members: list[str]) -> None:
    body = {"list_id": list_id, "contact_ids": members}
    requests.post(f"{box.base_url}/_sandbox/list", json=body, timeout=60).raise_for_status()


def with_values(box: Portal) -> set[str]:
    return {
        key
        for key, values in box.contacts().items()
        if any(values.get(name) for name in ("leadlight_score", "leadlight_segment", "leadlight_send_hour"))
    }


def test_only_members_of_the_list_get_values_and_who_leaves_it_loses_them(tmp_path: Path) -> None:
    (tmp_path / "leadlight.toml").write_text(SETTINGS)
    with portal(*MARKET) as box:
        here = box.environment(tmp_path / "state")
        code, _, err = leadlight(["sync", "--json"], here, tmp_path)
        assert code == 2
        assert "[write.include] list names '42'" in err
        assert box.calls().get("POST /crm/objects/2026-09/contacts/batch/update", 0) == 0

        ids = sorted(box.contacts(), key=int)
        members = ids[:250]
        put_on(box, "42", members)
        before = box.calls().get(MEMBERSHIPS, 0)
        code, _, err = leadlight(["sync", "--json"], here, tmp_path)
        assert code == 0, err
        assert box.calls()[MEMBERSHIPS] - before == 3
        first = with_values(box)
        assert len(first) > 200
        assert first <= set(members)

        put_on(box, "42", members[50:])
        code, _, err = leadlight(["sync", "--json"], here, tmp_path)
        assert code == 0, err
        assert with_values(box) == first & set(members[50:])


def test_without_the_scope_the_job_stops_and_names_it_and_the_setting(tmp_path: Path) -> None:
    (tmp_path / "leadlight.toml").write_text(SETTINGS)
    with portal(*MARKET[:1], "60", *MARKET[2:], "--fault", "missing-scope=crm.lists.read") as box:
        here = box.environment(tmp_path / "state")
        code, _, err = leadlight(["sync", "--json"], here, tmp_path)
        assert code == 2
        assert "crm.lists.read" in err
        assert "[write.include] list" in err
        assert box.calls().get("POST /crm/objects/2026-09/contacts/batch/update", 0) == 0
        code, said, _ = leadlight(["doctor", "--json"], here, tmp_path)
        [check] = [one for one in said["checks"] if one["name"] == "read lists"]
        assert check["state"] == "fail"
        assert "crm.lists.read" in check["detail"]
