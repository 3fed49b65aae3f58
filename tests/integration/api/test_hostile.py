"""Every parameter of every route, with what nobody should send: refused or answered, never 500."""

import asyncio
import json
from urllib.parse import quote

import msgspec
import pytest
import yarl

from ray_pipeline.api import cursor
from tests.integration.api.serving import HEADERS, serving, trade, writing

TIMES = [
    "0000-00-00", "0001-01-01", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-23:59",
    "2026-01-05T24:00:00", "2026-01-05T14:30:00+99:99", "2026-W01-1", "-0001-01-01", "+10000-01-01",
    "infinity", "-infinity", "now", "epoch", "4713-01-01 BC", "NaN",
]  # fmt: skip
NUMBERS = [
    "-1", "0", "1", "99999999999999999999", "-99999999999999999999", "9223372036854775807",
    "9223372036854775808", "1e308", "1e999", "inf", "nan", "0x10", "1_000", "\u0661", "1.5", " 1",
    "9" * 5_000,
]  # fmt: skip
TEXTS = [
    "", " ", "%00", "A%00B", "%ED%A0%80", "%FF", "%F0%9F", "%F0%9F%98%80", "%0d%0a", "'\"\\;--",
    "..%2f..%2f", "{}", "[]", "null", "%25s", "%25(symbol)s", "A" * 4_000, "\u200f", "%", "%zz",
    ",", ",,,,", "A," * 1_500,
]  # fmt: skip
ENDS = (-(2**63), 2**63 - 1)
KEYS: list[object] = [
    *[[event, -(2**31), epoch, epoch, time] for event in ENDS for epoch in ENDS for time in TIMES],
    [2**63, 0, 0, 0, "2026-01-01"], [0, 2**31, 0, 0, "2026-01-01"], [1.5, None, "x", [], {}],
    [0, 0, 0, 0, "2026-01-05T14:30:00+15:59"], [0, 0, 0, 0, "2026-01-05T14:30:00+16:00"],
    "2026-01-05T14:30:00+23:59", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00",
    {}, [], None, True, 1e300, "x", [[[[[[]]]]]],
]  # fmt: skip
CURSORS = [cursor.write(msgspec.json.decode(json.dumps(key).encode())) for key in KEYS]
VALUES = [*TIMES, *NUMBERS, *TEXTS, *CURSORS]
USUAL = {"feed": "sp500", "symbol": "AAPL"}


def questions(document: dict) -> list[str]:
    """Return each path with each of its parameters replaced by each hostile value."""
    found = []
    for path, methods in document["paths"].items():
        for parameter in methods["get"].get("parameters", []):
            name = parameter["name"]
            for value in VALUES:
                text = quote(value, safe="%")
                if parameter["in"] == "path":
                    found.append(path.format(**USUAL | {name: text}))
                else:
                    found.append(f"{path.format(**USUAL)}?{name}={text}")
    return found


async def test_no_question_is_answered_500(configured):
    """An error that nobody foresaw is one that anybody can cause."""
    turns = asyncio.Semaphore(16)

    async def ask(client, question: str) -> tuple[str, int]:
        async with turns:
            url = yarl.URL(client.url + question, encoded=True)
            async with client.session.get(url, headers=HEADERS) as reply:
                body = await reply.read()
                if reply.status != 414:
                    json.loads(body)
                return question[:200], reply.status

    async with writing(configured) as writer, serving(configured) as client:
        await writer.write(*(trade(seq) for seq in range(1, 4)))
        document = await client.get("/openapi.json")
        answers = await asyncio.gather(*(ask(client, one) for one in questions(document)))

    assert len(answers) > 1_000
    assert [answer for answer in answers if answer[1] not in (200, 400, 404, 414, 422)] == []


@pytest.mark.parametrize(
    "path",
    ["/%ED%A0%80", "/ws/sp500", "/static/%00", "/static/%ED%A0%80", "/static/" + "a" * 4_000,
     "/v1/%2e%2e", "//", "/v1/feeds//latest/", "/?%00", "/static/..%5c..%5c", "/static/vendor"],
)  # fmt: skip
async def test_no_other_path_is_answered_500(configured, path):
    """Nor are paths that are no routes, and those of files."""
    async with serving(configured) as client:
        url = yarl.URL(client.url + path, encoded=True)
        async with client.session.get(url, headers=HEADERS) as reply:
            assert reply.status in (200, 401, 404, 405)
