"""What a page's form sends: a few short fields. Whoever sends more is not read to the end, nor waited for."""

import asyncio
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

#: Bytes of a form, and seconds in which it has come.
LARGEST, SLOWEST = 8_192, 10.0
_FORM = "application/x-www-form-urlencoded"
_CLOSED = {"connection": "close"}


async def sent(request: Request) -> dict[str, str]:
    """The fields. Raises HTTPException for what none of our forms sends: 408, 413, 415."""
    if request.headers.get("content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415, "forms only", _CLOSED)
    body = b""
    try:
        async with asyncio.timeout(SLOWEST):
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    raise HTTPException(413, "too large", _CLOSED)
    except TimeoutError:
        raise HTTPException(408, "too slow", _CLOSED) from None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
