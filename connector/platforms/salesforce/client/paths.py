"""Every endpoint that is called. `{version}` is one setting; all draw on the org's daily calls."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """A call's method and path."""

    method: str
    path: str
    budgets: tuple[str, ...] = ("daily",)


_DATA = "/services/data/{version}"

QUERY = Endpoint("GET", f"{_DATA}/query")
QUERY_ALL = Endpoint("GET", f"{_DATA}/queryAll")
DESCRIBE = Endpoint("GET", f"{_DATA}/sobjects/{{object}}/describe")
DELETED = Endpoint("GET", f"{_DATA}/sobjects/{{object}}/deleted/")
COLLECTIONS = Endpoint("PATCH", f"{_DATA}/composite/sobjects")
LIMITS = Endpoint("GET", f"{_DATA}/limits")

QUERY_JOB = Endpoint("POST", f"{_DATA}/jobs/query")
QUERY_JOB_STATE = Endpoint("GET", f"{_DATA}/jobs/query/{{id}}")
QUERY_JOB_RESULTS = Endpoint("GET", f"{_DATA}/jobs/query/{{id}}/results")
QUERY_JOB_ABORT = Endpoint("PATCH", f"{_DATA}/jobs/query/{{id}}")
QUERY_JOB_DELETE = Endpoint("DELETE", f"{_DATA}/jobs/query/{{id}}")

INGEST_JOB = Endpoint("POST", f"{_DATA}/jobs/ingest")
INGEST_UPLOAD = Endpoint("PUT", f"{_DATA}/jobs/ingest/{{id}}/batches")
INGEST_CHANGE = Endpoint("PATCH", f"{_DATA}/jobs/ingest/{{id}}")
INGEST_STATE = Endpoint("GET", f"{_DATA}/jobs/ingest/{{id}}")
INGEST_SUCCESSFUL = Endpoint("GET", f"{_DATA}/jobs/ingest/{{id}}/successfulResults/")
INGEST_FAILED = Endpoint("GET", f"{_DATA}/jobs/ingest/{{id}}/failedResults/")
INGEST_DELETE = Endpoint("DELETE", f"{_DATA}/jobs/ingest/{{id}}")

#: All of them, the log-in too.
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/services/oauth2/token", ()),
    *(found for found in list(globals().values()) if isinstance(found, Endpoint)),
)
