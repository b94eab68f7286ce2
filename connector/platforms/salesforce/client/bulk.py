"""Bulk API 2.0: query jobs with their pages, ingest jobs with their results."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from connector.errors import LeadlightError, PlatformDown, PlatformRefused
from connector.platforms.salesforce.client import paths
from connector.platforms.salesforce.client.api import Api
from connector.platforms.salesforce.client.paths import Endpoint
from connector.platforms.salesforce.client.tabular import read_csv
from connector.transport import jittered

_FORM = {"columnDelimiter": "COMMA", "lineEnding": "LF"}
_CSV = {"Accept": "text/csv"}
_ENDED = ("JobComplete", "Failed", "Aborted")


class JobFailed(PlatformRefused):
    """A job that Salesforce gave up; `code` is the first word of its errorMessage."""


@dataclass(frozen=True)
class Ingested:
    """What an ingest job did, by record id; who is in neither was written."""

    #: Record id -> `CODE:message:fields`, without the message.
    failed: Mapping[str, str] = field(default_factory=dict)
    unprocessed: frozenset[str] = frozenset()


class Bulk:
    """Jobs of one org. `sleep` waits between looks at a job's state."""

    def __init__(self, api: Api, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api, self._sleep = api, sleep

    def query(self, soql: str, object_name: str, *, everything: bool = False) -> str:
        """Have a query worked out and return the job's id. Raises PlatformRefused for an object or a query that
        Bulk does not take, JobFailed, MissingScope."""
        body = {"operation": "queryAll" if everything else "query", "query": soql, **_FORM}
        reply = self._api.call(paths.QUERY_JOB, json=body, repeatable=False, object_name=object_name)
        job = str(reply.body["id"])
        try:
            state = self._wait(paths.QUERY_JOB_STATE, paths.QUERY_JOB_ABORT, job)
        except BaseException:
            self.forget_query(job)
            raise
        if state["state"] != "JobComplete":
            self.forget_query(job)
            raise _failed("query", state)
        return job

    def pages(self, job: str, locator: str | None = None) -> Iterator[tuple[pa.Table, str | None]]:
        """(rows as texts, the next page's locator or None) from a locator on. Raises PlatformRefused (404, 409)
        when the job is gone or another API version's."""
        while True:
            params: dict[str, Any] = {"maxRecords": self._api.sizes["bulk"]}
            if locator is not None:
                params["locator"] = locator
            reply = self._api.call(paths.QUERY_JOB_RESULTS, params=params, headers=_CSV, raw=True, id=job)
            found = reply.headers.get("Sforce-Locator")
            locator = None if found in (None, "", "null") else found
            yield read_csv(reply.body), locator
            if locator is None:
                return

    def forget_query(self, job: str) -> None:
        """Delete a query job; one that can't be is removed by Salesforce after seven days."""
        with suppress(LeadlightError):
            self._api.call(paths.QUERY_JOB_DELETE, id=job, accept=(400, 404, 409))

    def update(self, object_name: str, csv: bytes, ids: Sequence[str]) -> Ingested:
        """Update records by a CSV that begins with their Ids. Raises JobFailed when nothing of it was done."""
        body = {"object": object_name, "operation": "update", "contentType": "CSV", **_FORM}
        reply = self._api.call(paths.INGEST_JOB, json=body, repeatable=False, object_name=object_name)
        job = str(reply.body["id"])
        self._api.call(paths.INGEST_UPLOAD, data=csv, headers={"Content-Type": "text/csv"}, id=job)
        self._api.call(paths.INGEST_CHANGE, json={"state": "UploadComplete"}, id=job)
        state = self._wait(paths.INGEST_STATE, paths.INGEST_CHANGE, job)
        result = self._results(job, state, ids)
        with suppress(LeadlightError):
            self._api.call(paths.INGEST_DELETE, id=job, accept=(400, 404, 409))
        return result

    def _results(self, job: str, state: Mapping[str, Any], ids: Sequence[str]) -> Ingested:
        """Rows are matched by id: Salesforce does not keep their order. Where its counts do not add up to what was
        sent, only those that it lists as successful count as written."""
        failed: dict[str, str] = {}
        if int(state.get("numberRecordsFailed") or 0) or state["state"] != "JobComplete":
            for row in self._table(paths.INGEST_FAILED, job):
                failed[str(row.get("sf__Id") or row.get("Id"))] = error_code(str(row.get("sf__Error") or ""))
        complete = state["state"] == "JobComplete" and int(state.get("numberRecordsProcessed") or 0) == len(ids)
        if complete and int(state.get("numberRecordsFailed") or 0) == len(failed) and set(failed) <= set(ids):
            return Ingested(failed)
        done = {str(row.get("sf__Id") or row.get("Id")) for row in self._table(paths.INGEST_SUCCESSFUL, job)}
        if not done and not failed and state["state"] != "JobComplete":
            raise _failed("ingest", state)
        return Ingested(failed, frozenset(ids) - done - failed.keys())

    def _table(self, endpoint: Endpoint, job: str) -> list[dict[str, Any]]:
        reply = self._api.call(endpoint, headers=_CSV, raw=True, id=job)
        rows: list[dict[str, Any]] = read_csv(reply.body).to_pylist()
        return rows

    def _wait(self, endpoint: Endpoint, abort: Endpoint, job: str) -> Mapping[str, Any]:
        """Look at a job until it ends, each time after twice the wait: a look costs a call."""
        limits = self._api.limits["bulk"]
        pause, waited = limits["first_poll"], 0.0
        while waited < limits["patience"]:
            self._sleep(jittered(pause))
            waited += pause
            state: Mapping[str, Any] = self._api.call(endpoint, id=job).body
            if state.get("state") in _ENDED:
                return state
            pause = min(2 * pause, limits["longest_poll"])
        self._api.call(abort, json={"state": "Aborted"}, id=job, accept=(400, 404, 409))
        raise PlatformDown(
            f"Salesforce: job {job} did not end within {waited / 60:.0f} minutes and was aborted.", job
        )


def error_code(text: str) -> str:
    """`UNABLE_TO_LOCK_ROW:unable to obtain …:Email --` -> `UNABLE_TO_LOCK_ROW: Email`. The message may repeat
    values and is left out."""
    code, _, rest = text.partition(":")
    fields = rest.rpartition(":")[2].replace("--", "").strip()
    named = all(part.replace("_", "").isalnum() for part in fields.replace(",", " ").split())
    code = code.strip() if code.strip().replace("_", "").isalnum() else "refused"
    return f"{code}: {fields}" if fields and named and len(fields) < 200 else code


def _failed(kind: str, state: Mapping[str, Any]) -> JobFailed:
    code = error_code(str(state.get("errorMessage") or "")).partition(":")[0]
    return JobFailed(
        f"Salesforce: the {kind} job {state.get('id')} ended as {state.get('state')} ({code}).",
        status=400,
        code=code,
    )
