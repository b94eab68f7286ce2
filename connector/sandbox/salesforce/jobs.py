"""Bulk API 2.0: query and ingest jobs and their states. Jobs go on whether or not anybody asks about them."""

import csv
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from connector.sandbox import times
from connector.sandbox.salesforce import answers, ids, writing
from connector.sandbox.salesforce.calls import Call, Reply
from connector.sandbox.salesforce.limits import Limits
from connector.sandbox.salesforce.problems import Problem, not_found
from connector.sandbox.salesforce.schema import Object
from connector.sandbox.salesforce.soql import Query, parse
from connector.sandbox.salesforce.store import INTEGRATION_USER, Org, RowError

MOST_ROWS, BATCH, MOST_BYTES = 50_000, 10_000, 150_000_000
_SEPARATORS = {"COMMA": ",", "TAB": "\t", "SEMICOLON": ";", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
#: Seconds that a job takes, and what each row adds.
_BASE_SECONDS, _ROW_SECONDS = 0.2, 0.000_005
_NO_BULK = {"taskstatus", "casestatus", "orderstatus", "partnerrole", "eventwhorelation", "taskwhorelation"}


@dataclass
class Job:
    """A job of either kind."""

    id: str
    kind: str  # query | ingest
    operation: str
    entity: Object
    version: str
    created: int
    state: str
    separator: str = "COMMA"
    ending: str = "LF"
    query: Query | None = None
    rows: pa.Table | None = None
    upload: bytes | None = None
    due: float = 0.0
    processed: int = 0
    error: str | None = None
    header: list[str] = field(default_factory=list)
    successful: list[list[str]] = field(default_factory=list)
    failed: list[list[str]] = field(default_factory=list)
    unprocessed: list[list[str]] = field(default_factory=list)

    def served(self) -> dict[str, Any]:
        """JSON of the job."""
        stamp = f"{times.iso(self.created)[:19]}.000+0000"
        told: dict[str, Any] = {
            "id": self.id,
            "operation": self.operation,
            "object": self.entity.name,
            "createdById": INTEGRATION_USER,
            "createdDate": stamp,
            "systemModstamp": stamp,
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version[1:]),
            "lineEnding": self.ending,
            "columnDelimiter": self.separator,
            "jobType": "V2Query" if self.kind == "query" else "V2Ingest",
        }
        if self.kind == "ingest":
            told["contentUrl"] = f"services/data/{self.version}/jobs/ingest/{self.id}/batches"
            told["numberRecordsFailed"] = len(self.failed)
        if self.error:
            told["errorMessage"] = self.error
        return {**told, "numberRecordsProcessed": self.processed, "retries": 0, "totalProcessingTime": 0}


class Jobs:
    """All jobs of the org."""

    def __init__(self, org: Org, limits: Limits) -> None:
        self._org, self._limits = org, limits
        self._slow = org.faults.slow_jobs
        self._made = 0
        self.known: dict[str, Job] = {}

    def new_id(self) -> str:
        """A job id."""
        self._made += 1
        return ids.one_id("750", self._made)

    def run(self, job: Job, rows: int) -> None:
        """Put a job in line."""
        job.state = "UploadComplete"
        job.due = time.monotonic() + _BASE_SECONDS + rows * _ROW_SECONDS + self._slow

    def advance(self) -> None:
        """Move every waiting job on to where it would be by now."""
        now = time.monotonic()
        for job in self.known.values():
            if job.state in ("UploadComplete", "InProgress"):
                if now >= job.due:
                    self._finish(job)
                elif now >= job.due - _BASE_SECONDS / 2 - self._slow:
                    job.state = "InProgress"

    def _finish(self, job: Job) -> None:
        fails = self._org.random.random() < self._org.faults.chances.get("job-failed", 0.0)
        if job.kind == "query":
            self._finish_query(job, fails=fails)
        else:
            _Ingest(self._org, job).carry_out(fails=fails)

    def _finish_query(self, job: Job, *, fails: bool) -> None:
        if fails or job.query is None:
            job.state, job.error = "Failed", "InternalServerError: retried more than 15 times"
            return
        job.rows = answers.run(self._org, job.query)
        job.processed = job.rows.num_rows
        job.state = "JobComplete"


class _Ingest:
    """Carries an upload out, in internal batches."""

    def __init__(self, org: Org, job: Job) -> None:
        self._org, self._job = org, job

    def carry_out(self, *, fails: bool) -> None:
        job = self._job
        separator = _SEPARATORS[job.separator]
        text = (job.upload or b"").decode("utf-8-sig", "replace")
        csv.field_size_limit(10_000_000)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        job.header = next(reader, [])
        rows = [row for row in reader if row]
        job.upload = None
        unknown = next((name for name in job.header if job.entity.get(name) is None), None)
        if unknown is not None or (job.operation != "insert" and "id" not in map(str.lower, job.header)):
            job.state, job.unprocessed = "Failed", rows
            job.error = f"InvalidBatch : Field name not found : {unknown or 'Id'}"
            return
        for start in range(0, len(rows), BATCH):
            if fails and (start > 0 or len(rows) <= BATCH):
                job.state, job.unprocessed = "Failed", rows[start:]
                job.error = "InternalServerError: retried more than 10 times"
                break
            self._batch(rows[start : start + BATCH])
        else:
            job.state = "JobComplete"
        # The order of the results is not that of the upload.
        self._org.random.shuffle(job.successful)
        self._org.random.shuffle(job.failed)

    def _batch(self, rows: list[list[str]]) -> None:
        job, org = self._job, self._org
        whole = [row for row in rows if len(row) == len(job.header)]
        for row in rows:
            if len(row) != len(job.header):
                job.failed.append(
                    ["", f"InvalidBatch:{len(row)} values where {len(job.header)} are named:--", *row]
                )
        given = [self._values(row) for row in whole]
        if job.operation == "insert":
            outcome = writing.insert(org, job.entity, [values for _, values in given])
        else:
            outcome = writing.update(org, job.entity, given)
        created = "true" if job.operation == "insert" else "false"
        for row, (id_, _), one in zip(whole, given, outcome, strict=True):
            if isinstance(one, RowError):
                job.failed.append([id_, f"{one.code}:{one.message}:{' '.join(one.fields)}--", *row])
            else:
                job.successful.append([one, created, *row])
        job.processed += len(rows)

    def _values(self, row: list[str]) -> tuple[str, dict[str, Any]]:
        """The id and the values: an empty one is ignored, #N/A clears."""
        id_, values = "", {}
        for name, value in zip(self._job.header, row, strict=True):
            if name.lower() == "id":
                id_ = value
            elif value != "":
                values[name] = None if value == "#N/A" else value
        return id_, values


def create_query(call: Call) -> Reply:
    """A query job. Raises Problem 400."""
    body = call.body()
    operation = body.get("operation")
    if operation not in ("query", "queryAll"):
        raise Problem(400, "INVALIDJOB", f"Invalid operation: {operation}")
    found = parse(str(body.get("query", "")), call.org.objects, deleted=operation == "queryAll")
    if found.entity.name.lower() in _NO_BULK:
        raise Problem(400, "INVALIDENTITY", f"Entity '{found.entity.name}' is not supported by the Bulk API.")
    if found.aggregates or "offset" in found.words:
        raise Problem(
            400, "API_ERROR", "Aggregate relationship, GROUP BY and OFFSET are not supported in Bulk Query"
        )
    if not call.limits.query_jobs.take():
        raise Problem(400, "LIMIT_EXCEEDED", "You've exceeded the limit of query jobs for the last 24 hours.")
    job = _made(call, "query", str(operation), found.entity, body)
    job.query = found
    call.jobs.run(job, 0)
    return Reply(200, job.served())


def create_ingest(call: Call) -> Reply:
    """An ingest job, open for its upload. Raises Problem 400."""
    body = call.body()
    entity = call.org.objects.get(str(body.get("object", "")).lower())
    if entity is None:
        raise Problem(400, "INVALIDENTITY", f"Unable to find object: {body.get('object')}")
    if body.get("operation") not in ("insert", "update"):
        raise Problem(400, "INVALIDJOB", f"Invalid operation: {body.get('operation')}")
    return Reply(200, _made(call, "ingest", str(body["operation"]), entity, body).served())


def _made(call: Call, kind: str, operation: str, entity: Object, body: Mapping[str, Any]) -> Job:
    separator, ending = str(body.get("columnDelimiter", "COMMA")), str(body.get("lineEnding", "LF"))
    if separator not in _SEPARATORS or ending not in _ENDINGS or body.get("contentType", "CSV") != "CSV":
        raise Problem(400, "INVALIDJOB", "Unknown columnDelimiter, lineEnding or contentType")
    id_, now = call.jobs.new_id(), call.org.clock()
    job = Job(id_, kind, operation, entity, call.version, now, "Open", separator, ending)
    call.jobs.known[id_] = job
    return job


def _job(call: Call, kind: str) -> Job:
    job = call.jobs.known.get(call.path["id"])
    if job is None or job.kind != kind:
        raise not_found()
    return job


def read_query(call: Call) -> Reply:
    """A poll."""
    return Reply(200, _job(call, "query").served())


def read_ingest(call: Call) -> Reply:
    """A poll."""
    return Reply(200, _job(call, "ingest").served())


def change_query(call: Call) -> Reply:
    """Abort. Raises Problem 400."""
    job = _job(call, "query")
    if call.body().get("state") != "Aborted" or job.state not in ("UploadComplete", "InProgress"):
        raise Problem(400, "INVALIDJOBSTATE", f"Job cannot be changed in state {job.state}")
    job.state = "Aborted"
    return Reply(200, job.served())


def change_ingest(call: Call) -> Reply:
    """Close the upload, or abort. Raises Problem 400."""
    job, wanted = _job(call, "ingest"), call.body().get("state")
    if wanted == "UploadComplete" and job.state == "Open":
        rows = (job.upload or b"").count(b"\n")
        batches = max(1, -(-rows // BATCH))
        if not call.limits.batches.take(batches):
            raise Problem(400, "LIMIT_EXCEEDED", "You've exceeded the limit of batches for the last 24 hours.")
        call.jobs.run(job, rows)
    elif wanted == "Aborted" and job.state in ("Open", "UploadComplete", "InProgress"):
        job.state = "Aborted"
    else:
        raise Problem(400, "INVALIDJOBSTATE", f"Job in state {job.state} cannot go to {wanted}")
    return Reply(200, job.served())


def delete(call: Call) -> Reply:
    """Forget a job that is over. Raises Problem 400."""
    kind = "query" if "/jobs/query/" in call.path["target"] else "ingest"
    job = _job(call, kind)
    if job.state in ("UploadComplete", "InProgress"):
        raise Problem(
            400, "API_ERROR", "Error encountered when deleting the job because the job is not terminated"
        )
    del call.jobs.known[job.id]
    return Reply(204)


def upload(call: Call) -> Reply:
    """The one PUT of an ingest job. Raises Problem 400."""
    job = _job(call, "ingest")
    if job.state != "Open" or job.upload is not None:
        raise Problem(400, "CLIENT_INPUT_ERROR", "Data was uploaded already, or the job is not open")
    if len(call.raw) > MOST_BYTES:
        raise Problem(413, "CLIENT_INPUT_ERROR", "The upload exceeds 150 MB")
    job.upload = call.raw
    return Reply(201)


def results(call: Call) -> Reply:
    """A page of a query's rows; each locator can be read again. Raises Problem 400 and 409."""
    job = _job(call, "query")
    if job.version != call.version:
        message = f"The API version must be that of the job's creation, {job.version[1:]}"
        raise Problem(409, "API_VERSION_MISMATCH", message)
    if job.state != "JobComplete" or job.query is None or job.rows is None:
        raise Problem(
            400, "INVALIDJOBSTATE", f"Job is in state {job.state}; results are there when it is complete"
        )
    wanted, locator = call.query.get("maxRecords", str(MOST_ROWS)), call.query.get("locator", "0")
    if not (wanted.isdigit() and int(wanted) and locator.isdigit() and int(locator) <= job.rows.num_rows):
        raise Problem(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    page = job.rows.slice(int(locator), int(wanted))
    following = int(locator) + page.num_rows
    headers = {
        "Sforce-Locator": str(following) if following < job.rows.num_rows else "null",
        "Sforce-NumberOfRecords": str(page.num_rows),
    }
    text = answers.csv_page(call.org, job.query, page, _SEPARATORS[job.separator], _ENDINGS[job.ending])
    return Reply(200, None, headers, text, "text/csv;charset=UTF-8")


def successful(call: Call) -> Reply:
    """Rows written."""
    job = _job(call, "ingest")
    return _rows(job, ["sf__Id", "sf__Created", *job.header], job.successful)


def failed(call: Call) -> Reply:
    """Rows refused."""
    job = _job(call, "ingest")
    return _rows(job, ["sf__Id", "sf__Error", *job.header], job.failed)


def unprocessed(call: Call) -> Reply:
    """Rows that a failed or aborted job left."""
    job = _job(call, "ingest")
    return _rows(job, job.header, job.unprocessed)


def _rows(job: Job, head: list[str], rows: list[list[str]]) -> Reply:
    if job.state not in ("JobComplete", "Failed", "Aborted"):
        raise Problem(400, "INVALIDJOBSTATE", f"Job is in state {job.state}; results are there when it is over")
    made = io.StringIO()
    options: dict[str, Any] = {"delimiter": _SEPARATORS[job.separator], "lineterminator": _ENDINGS[job.ending]}
    writer = csv.writer(made, quoting=csv.QUOTE_ALL, **options)
    writer.writerow(head)
    writer.writerows(rows)
    return Reply(200, None, {}, made.getvalue().encode(), "text/csv;charset=UTF-8")
