"""Answers as bytes: JSON with exact numbers, and errors of one shape."""

from collections.abc import Iterable

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ray_pipeline.errors import MigrationError, PipelineError, Unavailable

RETRY_AFTER_S = "2"
JSON = "application/json"
_encoder = msgspec.json.Encoder(decimal_format="number")


class NotFound(PipelineError):
    """There is no such feed, symbol or job."""


class BadRequest(PipelineError):
    """A question that cannot be answered as it was put."""


STATUS: tuple[tuple[type[PipelineError], int], ...] = (
    (NotFound, 404),
    (BadRequest, 422),
    (Unavailable, 503),
    (MigrationError, 503),
)


def encode(data: object) -> bytes:
    """Return data as JSON; decimals as numbers with all their digits."""
    return _encoder.encode(data)


def answer(data: object, *, status: int = 200) -> Response:
    """Return data as a JSON answer."""
    return Response(encode(data), status, media_type=JSON)


def joined(head: str, values: Iterable[str]) -> Response:
    """Return an answer whose values are JSON already: `head` is the object up to the list."""
    return Response(f"{head}{','.join(values)}]}}", media_type=JSON)


def refusal(status: int, error: str, fix: str = "") -> Response:
    """Return an error: what went wrong, and what to do about it."""
    headers = {}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER_S
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": error, "fix": fix}
    return Response(encode(body), status, headers=headers, media_type=JSON)


def add_handlers(app: FastAPI) -> None:
    """Make every error an answer of that shape; what nobody foresaw says nothing of its cause."""
    app.add_exception_handler(PipelineError, _foreseen)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


async def _foreseen(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PipelineError)
    for kind, status in STATUS:
        if isinstance(error, kind):
            return refusal(status, str(error.args[0]), error.fix)
    return await _unforeseen(_request, error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in list(error.errors())[:5]
    ]
    return refusal(422, "; ".join(problems), "GET /openapi.json describes every parameter")


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, "GET /openapi.json lists what there is")


async def _unforeseen(_request: Request, _error: Exception) -> Response:
    # The server logs the error itself.
    return refusal(500, "internal error", "the server's log tells more")
