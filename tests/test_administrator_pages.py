"""The pages for administrators, walked through: each of our commands runs against a sandbox, in the page's order.

What only the vendors' own tools can do is held to the shape of those commands.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import manifests
from connector.jobs.manifest.hubspot import WEBHOOKS, deployed
from connector.settings import Settings
from tests.connector.inside import command
from tests.connector.portal import Portal, portal, wait_for
from tests.connector.served import PATH_SECRET, begun, free_port, scored_at
from tests.made_up import write_leads

ROOT = Path(__file__).parents[1]
ROWS = 1200
#: A change after which a lead is likelier to buy.
KEEN = {"pricing_visits": "14", "industry": "Software", "employees": "2000"}
#: Commands of others that the pages may show.
VENDORS = (
    r"hs (account auth|project (upload|delete))",
    r"npm install -g @hubspot/cli",
    r"sf org login web --alias \w+",
    r"sf org assign permset -n (Leadlight_\w+) --target-org \w+( --on-behalf-of \S+@\S+)?",
    r"sf project deploy start --manifest (manifest/\w+\.xml) --target-org \w+( --dry-run)?"
    r"( --test-level RunSpecifiedTests --tests (\w+))?",
    r"sf project deploy start --manifest (manifest/\w+\.xml) --post-destructive-changes (manifest/\w+\.xml) "
    r"--target-org \w+",
    r"openssl rand -hex -out \S+ 32",
    r"curl -fsS http://127\.0\.0\.1:8321/readyz",
    r"touch \S+ \S+",
    r"openssl req -x509 -newkey rsa:2048 -nodes -days \d+ -keyout \S+ -out \S+ -subj /CN=leadlight",
    r"chmod 600 \S+( \S+)?",
)
#: Exit codes that a page announces.
ANNOUNCED = {("salesforce", "uninstall --yes"): 4}


def steps(page: str) -> Iterator[list[str]]:
    """The lines of each console block, in order."""
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        yield [line.removeprefix("$ ") for line in block.splitlines()]


def page_of(platform: str) -> str:
    return (ROOT / "docs" / f"{platform}-app.md").read_text(encoding="utf-8")


class Walk:
    """An administrator at work in a folder: what was exported, what was run and what came of it."""

    def __init__(self, account: Portal, folder: Path, port: int = 0) -> None:
        self.account, self.folder = account, folder
        self.environment: dict[str, str] = {}
        self.ran: list[tuple[str, dict[str, Any]]] = []
        #: What the last command said to people.
        self.said = ""
        #: Where the service listens.
        self.port = port
        #: What the likelihood of one lead was before a change of it, and after.
        self.followed: list[tuple[float, float]] = []

    def take(self, line: str, where: Path) -> Path:
        """One line of a block; where the next one is run."""
        words = shlex.split(line)
        if words[0] == "cd":
            assert (where / words[1]).is_dir(), line
            return where / words[1]
        if words[0] == "export":
            self._export(*words[1].split("="))
        elif words[0] == "leadlight":
            self._run(words[1:])
        else:
            self._shape(line, where)
        return where

    def _export(self, name: str, value: str) -> None:
        plain = name.removeprefix("LEADLIGHT_").removesuffix("_FILE").lower()
        assert plain in Settings.model_fields, name
        self.environment[name] = str(self._secret(plain)) if name.endswith("_FILE") else value

    def _secret(self, name: str) -> Path:
        """A file with what the sandbox has under this name."""
        if name == "salesforce_private_key":
            return Path(self.account.ready["private_key_file"])
        known = {
            "hubspot_token": self.account.token,
            "hubspot_client_secret": self.account.ready["client_secret"],
            "salesforce_webhook_secret": PATH_SECRET,
            # What the sandbox signs its callouts with.
            "salesforce_hmac_secret": self.account.ready["client_secret"],
        }
        path = self.folder / f"{name}.secret"
        path.write_text(f"{known[name]}\n", encoding="utf-8")
        return path

    def _run(self, arguments: list[str]) -> None:
        environment = {**self._address(), **self.environment}
        if arguments == ["serve"]:
            self._serve(environment)
            return
        code, result, err = command([*arguments, "--json"], environment, self.folder)
        told = " ".join(arguments)
        assert code == ANNOUNCED.get((self.account.platform, told), 0), (told, err)
        self.said = err
        self.ran.append((told, result))
        if arguments[0] == "init":
            self._set(f"{self.account.goal}\n")

    def _serve(self, environment: dict[str, str]) -> None:
        """The service, until a change in the account stands on the record; then it is stopped, as by Ctrl-C."""
        scored = {
            key: values for key, values in self.account.contacts().items() if _likelihood(values) is not None
        }
        lead = min(scored, key=lambda key: (_likelihood(scored[key]), key))
        before = scored[lead]
        # The sandbox calls the service itself: no proxy stands between.
        given = {**environment, "LEADLIGHT_PUBLIC_URL": f"http://127.0.0.1:{self.port}"}
        with begun(self.account, self.folder, self.port, given=given) as service:
            self.account.edit(lead, **KEEN)
            wait_for(
                lambda: scored_at(self.account, lead) not in (None, before["leadlight_scored_at"]),
                "the score that follows a change",
            )
            assert service.metric('leadlight_webhooks_total{outcome="unverified"}') == 0
        after = self.account.contacts()[lead]
        self.followed.append((float(before["leadlight_probability"]), float(after["leadlight_probability"])))

    def _address(self) -> dict[str, str]:
        """Where the sandbox is, which a real account needs no telling, and what it calls the app and its user."""
        given = self.account.environment(self.folder / ".leadlight")
        kept = ("BASE_URL", "CLIENT_ID", "USERNAME")
        return {name: value for name, value in given.items() if name.endswith(kept)}

    def _set(self, goal: str) -> None:
        """The goal of the made-up leads, in place of deals, of which they have none."""
        path = self.folder / "leadlight.toml"
        head = path.read_text(encoding="utf-8").partition("[goal]")[0]
        path.write_text(head + goal, encoding="utf-8")

    @staticmethod
    def _shape(line: str, where: Path) -> None:
        matches = [found for vendor in VENDORS if (found := re.fullmatch(vendor, line))]
        assert matches, f"no command of a known shape: {line}"
        for name in filter(None, matches[0].groups()):
            if name.startswith("manifest/"):
                assert (where / name).is_file(), line
            elif name.startswith("Leadlight_"):
                assert list((where).rglob(f"{name}.permissionset-meta.xml")), line


def _likelihood(values: dict[str, Any]) -> float | None:
    given = values.get("leadlight_probability")
    return None if given in (None, "") else float(given)


def walk(account: Portal, folder: Path, port: int) -> Walk:
    """All blocks of the platform's page, each from the administrator's own folder. Settings shown are put in."""
    page, walking = page_of(account.platform), Walk(account, folder, port)
    for block in re.split(r"(?=^```(?:console|toml)$)", page, flags=re.MULTILINE):
        if block.startswith("```toml"):
            shown = tomllib.loads(block.split("```")[1].removeprefix("toml\n"))
            assert set(shown) <= set(Settings.model_fields)
            if "hubspot_project" in shown:
                path = folder / "leadlight.toml"
                path.write_text(block.split("```")[1].removeprefix("toml\n") + path.read_text(), encoding="utf-8")
        where = folder
        for lines in steps(block):
            for line in lines:
                where = walking.take(line, where)
    return walking


def doctors_word_on_webhooks(walking: Walk, project: Path) -> dict[str, Any]:
    """What doctor says where the deployed project hears of another property than the models look at."""
    path = project / WEBHOOKS
    standing = path.read_text(encoding="utf-8")
    path.write_text(standing.replace('"industry"', '"budget"'), encoding="utf-8")
    walking.take("leadlight doctor", walking.folder)
    path.write_text(standing, encoding="utf-8")
    return next(check for check in walking.ran.pop()[1]["checks"] if check["name"] == "webhooks")


def test_hubspot_from_nothing_to_the_card_and_back(tmp_path: Path) -> None:
    leads = write_leads(tmp_path, ROWS)
    (folder := tmp_path / "work").mkdir()
    target = f"http://127.0.0.1:{(port := free_port())}/webhooks/hubspot"
    with portal("--from", str(leads), "--search-lag", "0", "--webhooks", target) as account:
        walking = walk(account, folder, port)
        state = account.contacts()
        warned = doctors_word_on_webhooks(walking, folder / "hubspot-app")
    results = [result for told, result in walking.ran if told.startswith("manifest")]
    assert [len(result["models"]) > 0 for result in results] == [False, True]
    assert results[1]["subscriptions"]["active"] > results[0]["subscriptions"]["active"]
    active = {name for (_, kind, _, name), on in deployed(folder / "hubspot-app").items() if on and name}
    assert {"industry", "pricing_visits", "employees", "y"} <= active
    doctors = [result for told, result in walking.ran if told == "doctor"]
    (check,) = [check for check in doctors[-1]["checks"] if check["name"] == "webhooks"]
    assert check["state"] == "ok", check
    assert warned["state"] == "warn"
    assert "missing: contact industry" in warned["detail"]
    ((before, after),) = walking.followed
    assert after > before
    assert next(result for told, result in walking.ran if told == "sync")["pushed"]["changed"] > ROWS / 2
    assert not any(
        value for values in state.values() for name, value in values.items() if name[:10] == "leadlight_"
    )


def test_salesforce_from_nothing_to_the_card_and_back(tmp_path: Path) -> None:
    leads = write_leads(tmp_path, ROWS)
    (folder := tmp_path / "work").mkdir()
    # Signed JSON, as the Apex callout sends it.
    target = f"json+http://127.0.0.1:{(port := free_port())}/webhooks/salesforce/{PATH_SECRET}"
    with portal("--from", str(leads), "--search-lag", "1", "--webhooks", target, platform="salesforce") as account:
        walking = walk(account, folder, port)
        state = account.contacts()
    results = [result for told, result in walking.ran if told.startswith("manifest")]
    assert [len(result["models"]) > 0 for result in results] == [False, True, True]
    assert account.named("industry") in results[1]["watch"]
    assert any("workflows/Lead" in path for path in results[2]["files"])
    for removal in (result for told, result in walking.ran if told.startswith("uninstall")):
        assert removal["in_use"] == []
        assert {plan["action"] for plan in removal["properties"]} == {"by_hand"}
    told = " ".join(walking.said.split())
    assert "an administrator deletes them" in told
    assert "workflow, form or report: take it out there" not in told
    ((before, after),) = walking.followed
    assert after > before
    assert next(result for told, result in walking.ran if told == "sync")["pushed"]["changed"] > ROWS / 2
    assert not any(
        value for values in state.values() for name, value in values.items() if name == "leadlight_score"
    )


def test_the_readmes_steps_for_salesforce(tmp_path: Path) -> None:
    """The console blocks, then the commands of the steps that follow."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Connect a Salesforce org in five steps")[2].partition("\n## ")[0]
    leads = write_leads(tmp_path, ROWS)
    (folder := tmp_path / "work").mkdir()
    with portal("--from", str(leads), "--search-lag", "1", platform="salesforce") as account:
        walking = Walk(account, folder)
        where = folder
        for lines in steps(re.sub(r"^ {3}", "", section, flags=re.MULTILINE)):
            for line in lines:
                where = walking.take(line, where)
        filled = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
        assert filled is not None
        shown = tomllib.loads(filled[1])
        assert set(shown) <= set(Settings.model_fields)
        for line in re.findall(r"`(leadlight (?:init|doctor|evaluate|sync)[^`]*)`", section):
            walking.take(line + " --yes" * line.startswith("leadlight init"), folder)
        told = [told for told, _ in walking.ran]
        assert told[1:] == ["init --platform salesforce --yes", "doctor", "evaluate", "sync --dry-run", "sync"]
        dry, done = walking.ran[-2][1], walking.ran[-1][1]
        assert done["pushed"]["changed"] == dry["pushed"]["changed"] > ROWS / 2
        text = (folder / "leadlight.toml").read_text(encoding="utf-8")
        assert all(f"{name} =" in text for name in shown), "init leaves the lines open that the page fills in"


@pytest.mark.parametrize(
    ("platform", "secrets"),
    [
        ("hubspot", {"HUBSPOT_TOKEN", "HUBSPOT_CLIENT_SECRET"}),
        ("salesforce", {"SALESFORCE_PRIVATE_KEY", "SALESFORCE_WEBHOOK_SECRET", "SALESFORCE_HMAC_SECRET"}),
    ],
)
def test_the_service_starts_when_it_has_all_that_it_needs(platform: str, secrets: set[str]) -> None:
    lines = [line for block in steps(page_of(platform)) for line in block]
    start = lines.index("leadlight serve")
    assert lines.index("leadlight sync") < start < lines.index("leadlight uninstall --yes")
    exported = set(re.findall(r"export LEADLIGHT_(\w+?)(?:_FILE)?=", "\n".join(lines[:start])))
    assert {*secrets, "PUBLIC_URL"} <= exported
    service = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", service, re.MULTILINE)}
    linked = set(re.findall(r"\(service\.md#([\w-]+)\)", page_of(platform)))
    assert {"behind-a-proxy", "systemd"} <= linked <= headings
    for name in secrets:
        assert f"LEADLIGHT_{name}_FILE" in service


@pytest.mark.parametrize("platform", ["hubspot", "salesforce"])
def test_every_permission_is_explained(platform: str) -> None:
    page = page_of(platform)
    rows = dict(re.findall(r"^\| (`.*?) \| (.+) \|$", page, re.MULTILINE))
    if platform == "hubspot":
        auth = re.findall(
            r'"((?:oauth|content|forms|crm\.|sales-)[\w.-]*)"',
            manifests.read_tree("hubspot")["src/app/app-hsmeta.json"],
        )
        assert {name.partition("`")[2].partition("`")[0] for name in rows} == set(auth)
        return
    allowed = manifests.read_toml("salesforce", "permissions.toml")
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {*allowed["user"], *(entry["name"] for entry in allowed["objects"])} <= explained


def test_what_a_security_review_is_told_is_what_the_permission_sets_give() -> None:
    page = (ROOT / "docs" / "salesforce.md").read_text(encoding="utf-8")
    table = page.partition("| object | right |")[2].partition("\n\n")[0]
    told = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(",")}
    allowed = manifests.read_toml("salesforce", "permissions.toml")
    given = {entry["name"] for entry in allowed["objects"]}
    assert told - {"---"} == given | (allowed["follow"].keys() - {"Organization"})


def test_the_fields_to_map_on_conversion_are_ours() -> None:
    page = (ROOT / "docs" / "salesforce.md").read_text(encoding="utf-8")
    mapped = re.findall(r"^\| `Lead\.(\w+)` \| `Contact\.(\w+)` \|", page, re.MULTILINE)
    ours = [entry.salesforce for entry in manifests.properties()]
    assert mapped == [(name, name) for name in ours]
    assert ("twelve fields" in page) == (len(ours) == 12)


def test_the_pages_are_linked() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/hubspot-app.md" in readme
    assert "docs/salesforce-app.md" in readme
