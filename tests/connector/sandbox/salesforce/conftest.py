"""A small org, served over real HTTP, and simple-salesforce in front of it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce

from connector.sandbox import SandboxOptions
from connector.sandbox.salesforce.box import SalesforceSandbox
from connector.sandbox.salesforce.fill import deploy
from connector.sandbox.salesforce.store import ADMIN_USER, Org

PAYLOADS = Path(__file__).resolve().parents[3] / "payloads" / "salesforce"
DATA = "/services/data/v68.0"


def payload(name: str) -> Any:
    """A literal answer of Salesforce's."""
    return json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))


class Mapped(HTTPAdapter):
    """Sends https://{anything}.salesforce.com to the sandbox."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def send(self, request: requests.PreparedRequest, *given: Any, **more: Any) -> requests.Response:
        target = urlsplit(str(request.url))
        request.url = self._base_url + target.path + (f"?{target.query}" if target.query else "")
        return super().send(request, *given, **more)


class Api:
    """Calls to a running org within one session."""

    def __init__(self, box: SalesforceSandbox) -> None:
        self.box, self.org = box, box.org
        self.session = requests.Session()
        self.token = box.auth.open()
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        full = path if path.startswith("/") else f"{DATA}/{path}"
        return self.session.request(method, self.box.base_url + full, timeout=10, **more)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.call("GET", path, params=query)

    def query(self, statement: str, **headers: str) -> requests.Response:
        return self.call("GET", "query", params={"q": statement}, headers=headers)

    def client(self) -> Any:
        session = requests.Session()
        session.mount("https://", Mapped(self.box.base_url))
        return Salesforce(instance="demo.salesforce.com", session_id=self.token, session=session, version="68.0")

    def leads(self, count: int, **values: Any) -> list[str]:
        rows = [
            {"LastName": f"n{i}", "Company": "Mill", "Email": f"n{i}@mill.example", **values} for i in range(count)
        ]
        return self.org.insert(self.org.objects["lead"], rows, ADMIN_USER)

    def finished(self, job: str, kind: str = "ingest") -> dict[str, Any]:
        for _ in range(100):
            told = self.get(f"jobs/{kind}/{job}").json()
            if told["state"] in ("JobComplete", "Failed", "Aborted"):
                return dict(told)
            time.sleep(0.05)
        raise AssertionError("the job did not end")


@pytest.fixture
def start() -> Iterator[Callable[..., Api]]:
    """Starts an org with the given options and our fields."""
    with ExitStack() as stack:

        def started(clock: Callable[[], int] | None = None, **options: Any) -> Api:
            from connector.sandbox.options import Faults

            chosen = SandboxOptions(platform="salesforce", **options)
            faults = Faults.of(chosen.faults)
            org = Org(clock=clock, faults=faults) if clock else Org(faults=faults)
            deploy(org)
            for path in faults.hidden_fields:
                org.hide(path)
            return Api(stack.enter_context(SalesforceSandbox(chosen, org)))

        yield started


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start()
