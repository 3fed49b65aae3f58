"""Responses: exact numbers, and errors of one shape."""

import contextlib
import json
from decimal import Decimal

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from ray_pipeline.api.answers import BadRequest, NotFound, add_handlers, encode, joined, refusal
from ray_pipeline.errors import (
    CacheUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    MigrationError,
)


async def get(app):
    """Request / from an application, and return the two messages of its response."""
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    with contextlib.suppress(Exception):  # the server logs an unforeseen error
        await app(scope, receive, send)
    return sent


def test_decimals_keep_all_their_digits():
    """As numbers, not as texts."""
    assert encode({"price": Decimal("0.10000000000000000001")}) == (
        b'{"price":0.10000000000000000001}'
    )


def test_values_that_are_json_are_not_encoded_again():
    """The response is the head, the values and the end of both."""
    assert json.loads(joined('{"feed":"f","values":[', ['{"a":1}', '{"a":2}']).body) == {
        "feed": "f",
        "values": [{"a": 1}, {"a": 2}],
    }


def test_a_refusal_says_what_a_client_may_do():
    """When to retry, and how to authenticate."""
    assert refusal(503, "down").headers["Retry-After"] == "2"
    assert refusal(401, "no token").headers["WWW-Authenticate"] == "Bearer"
    assert json.loads(refusal(404, "no feed", "one of f").body) == {
        "error": "no feed",
        "fix": "one of f",
    }


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NotFound("no such feed", fix="one of f"), 404, "no such feed"),
        (BadRequest("limit: too large"), 422, "limit: too large"),
        (DatabaseUnavailable("Postgres is down"), 503, "Postgres is down"),
        (CacheUnavailable("Redis is down"), 503, "Redis is down"),
        (MigrationError("no table"), 503, "no table"),
        (HTTPException(405, "Method Not Allowed"), 405, "Method Not Allowed"),
        (ConfigurationError("secret"), 500, "internal error"),
        (RuntimeError("secret"), 500, "internal error"),
    ],
)
async def test_every_error_becomes_a_response(error, status, text):
    """An unforeseen one does not reveal its cause."""
    app = FastAPI()
    add_handlers(app)

    @app.get("/")
    def fail():
        raise error

    head, body = await get(app)

    assert head["status"] == status
    assert json.loads(body["body"])["error"] == text
    assert set(json.loads(body["body"])) == {"error", "fix"}
