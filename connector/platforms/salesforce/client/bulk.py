"""Bulk API 2.0: query jobs with their pages, ingest jobs with their results.

A job that is over is left to Salesforce, which removes it after seven days: to delete it would cost a call that
does nothing. A job that is not, and that nobody waits for any more, is stopped and deleted.
"""

import logging
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

log = logging.getLogger(__name__)

_FORM = {"columnDelimiter": "COMMA", "lineEnding": "LF"}
_CSV = {"Accept": "text/csv"}
_ENDED = ("JobComplete", "Failed", "Aborted")

#: Answers to giving a job up that is over, or gone.
_NOT_SO = (400, 404, 409)

#: How often an upload, and a page of results, is tried.
_UPLOADS, _READINGS = 3, 4


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

    def start(self, soql: str, object_name: str, *, everything: bool = False) -> str:
        """Have a query worked out and return the job's id. Raises PlatformRefused for an object or a query that
        Bulk does not take, MissingScope."""
        body = {"operation": "queryAll" if everything else "query", "query": soql, **_FORM}
        reply = self._api.call(paths.QUERY_JOB, json=body, repeatable=False, object_name=object_name)
        return str(reply.body["id"])

    def wait(self, job: str) -> int:
        """Wait for a query job; how many rows it found. Raises JobFailed, PlatformRefused (404) when it is gone,
        and PlatformDown when it is not done in time: it goes on then."""
        state = self._wait(paths.QUERY_JOB_STATE, job)
        if state["state"] != "JobComplete":
            raise _failed("query", state)
        return int(state.get("numberRecordsProcessed") or 0)

    def pages(self, job: str, locator: str | None = None) -> Iterator[tuple[pa.Table, str | None]]:
        """(rows as texts, the next page's locator or None) from a locator on. Raises PlatformRefused (404, 409)
        when the job is gone or another API version's."""
        while True:
            params: dict[str, Any] = {"maxRecords": self._api.sizes["bulk"]}
            if locator is not None:
                params["locator"] = locator
            table, headers = self._page(paths.QUERY_JOB_RESULTS, job, params)
            found = headers.get("Sforce-Locator")
            locator = None if found in (None, "", "null") else found
            yield table, locator
            if locator is None:
                return

    def rows(self, soql: str, object_name: str) -> list[dict[str, Any]]:
        """All rows of a query at once."""
        job = self.start(soql, object_name)
        try:
            self.wait(job)
        except BaseException:
            self.give_up(job)
            raise
        return [row for table, _ in self.pages(job) for row in table.to_pylist()]

    def give_up(self, job: str) -> None:
        """Stop a query job and clear it away. What can't be told so is over by itself within seven days."""
        with suppress(LeadlightError):
            self._api.call(paths.QUERY_JOB_ABORT, json={"state": "Aborted"}, id=job, accept=_NOT_SO)
            self._api.call(paths.QUERY_JOB_DELETE, id=job, accept=_NOT_SO)

    def update(self, object_name: str, csv: bytes, ids: Sequence[str]) -> Ingested:
        """Update records by a CSV that begins with their Ids. Raises JobFailed when nothing of it was done."""
        job = self._uploaded(object_name, csv)
        try:
            self._close(job)
            return self._results(job, self._wait(paths.INGEST_STATE, job), ids)
        except BaseException:
            self._abandon(job)
            raise

    def _uploaded(self, object_name: str, csv: bytes) -> str:
        """An open job with its rows. A job takes one upload: where it is not known to have arrived, another job
        gets it, and nothing is done twice because nobody has closed the first."""
        body = {"object": object_name, "operation": "update", "contentType": "CSV", **_FORM}
        for attempt in range(1, _UPLOADS + 1):
            reply = self._api.call(paths.INGEST_JOB, json=body, repeatable=False, object_name=object_name)
            job = str(reply.body["id"])
            try:
                headers = {"Content-Type": "text/csv"}
                self._api.call(paths.INGEST_UPLOAD, data=csv, headers=headers, id=job, repeatable=False)
                return job
            except PlatformDown:
                self._abandon(job)
                if attempt == _UPLOADS:
                    raise
                self._sleep(jittered(2.0**attempt))
            except BaseException:
                self._abandon(job)
                raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _close(self, job: str) -> None:
        """Say that the upload is complete. Where that was said before, and only the answer was lost, Salesforce
        refuses it: then the job's state is asked. Raises PlatformRefused for a job that stays open."""
        try:
            self._api.call(paths.INGEST_CHANGE, json={"state": "UploadComplete"}, id=job)
        except PlatformRefused:
            if self._api.call(paths.INGEST_STATE, id=job).body.get("state") == "Open":
                raise

    def _abandon(self, job: str) -> None:
        """Stop an ingest job that nobody waits for any more, and clear it away; one that is over stays over."""
        with suppress(LeadlightError):
            self._api.call(paths.INGEST_CHANGE, json={"state": "Aborted"}, id=job, accept=_NOT_SO)
            self._api.call(paths.INGEST_DELETE, id=job, accept=_NOT_SO)

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
        rows: list[dict[str, Any]] = self._page(endpoint, job)[0].to_pylist()
        return rows

    def _page(
        self, endpoint: Endpoint, job: str, params: Mapping[str, Any] | None = None
    ) -> tuple[pa.Table, Mapping[str, str]]:
        """A CSV and the headers that came with it. What is no CSV, or has not as many rows as Salesforce says, was
        cut off on its way and is read again; every page can be."""
        for attempt in range(1, _READINGS + 1):
            reply = self._api.call(endpoint, params=params, headers=_CSV, raw=True, id=job)
            said = str(reply.headers.get("Sforce-NumberOfRecords") or "")
            with suppress(pa.ArrowInvalid, UnicodeDecodeError):
                table = read_csv(reply.body)
                if not said.isdigit() or int(said) == table.num_rows:
                    return table, reply.headers
            log.info("a page of job %s came incomplete (attempt %d)", job, attempt)
            self._sleep(jittered(float(attempt)))
        raise PlatformDown(f"Salesforce: the results of job {job} come incomplete.", job)

    def _wait(self, endpoint: Endpoint, job: str) -> Mapping[str, Any]:
        """Look at a job until it ends, waiting longer each time: a look costs a call."""
        limits = self._api.limits["bulk"]
        pause, waited = limits["first_poll"], 0.0
        while waited < limits["patience"]:
            self._sleep(jittered(pause))
            waited += pause
            state: Mapping[str, Any] = self._api.call(endpoint, id=job).body
            if state.get("state") in _ENDED:
                return state
            pause *= limits["slower"]
        raise PlatformDown(f"Salesforce: job {job} did not end within {waited / 60:.0f} minutes.", job)


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
