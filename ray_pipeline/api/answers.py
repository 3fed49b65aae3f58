"""Responses: JSON with exact numbers, and errors of one shape."""

from collections.abc import Iterable

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ray_pipeline.errors import MigrationError, PipelineError, Unavailable

HEADERS = {503: {"Retry-After": "2"}, 401: {"WWW-Authenticate": "Bearer"}}
JSON = "application/json"
SHOWN_PROBLEMS = 5
_encoder = msgspec.json.Encoder(decimal_format="number")


class NotFound(PipelineError):
    """The feed, symbol or job does not exist."""


class BadRequest(PipelineError):
    """A parameter is invalid."""


STATUS: tuple[tuple[type[PipelineError], int], ...] = (
    (NotFound, 404),
    (BadRequest, 422),
    (Unavailable, 503),
    (MigrationError, 503),
)


def encode(data: object) -> bytes:
    """Encode data as JSON; decimals become numbers with all their digits."""
    return _encoder.encode(data)


def answer(data: object, *, status: int = 200) -> Response:
    """Return data as a JSON response."""
    return Response(encode(data), status, media_type=JSON)


def joined(head: str, values: Iterable[str]) -> Response:
    """Return a JSON object of `head`, its text up to a list, and values that are JSON already."""
    return Response(f"{head}{','.join(values)}]}}", media_type=JSON)


def refusal(status: int, error: str, fix: str = "") -> Response:
    """Return an error response: what went wrong, and what to do about it."""
    body = encode({"error": error, "fix": fix})
    return Response(body, status, headers=HEADERS.get(status), media_type=JSON)


def add_handlers(app: FastAPI) -> None:
    """Turn every error into such a response; an unforeseen error does not reveal its cause."""
    app.add_exception_handler(PipelineError, _foreseen)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


async def _foreseen(_request: Request, error: Exception) -> Response:
    assert isinstance(error, PipelineError)
    # An error of another class is a fault of the server, for example of its configuration.
    for kind, status in STATUS:
        if isinstance(error, kind):
            return refusal(status, str(error.args[0]), error.fix)
    return await _unforeseen(_request, error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        for problem in list(error.errors())[:SHOWN_PROBLEMS]
    ]
    return refusal(422, "; ".join(problems), "GET /openapi.json describes every parameter")


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, "GET /openapi.json lists every route")


async def _unforeseen(_request: Request, _error: Exception) -> Response:
    # uvicorn logs the error.
    return refusal(500, "internal error", "read the server's log")
