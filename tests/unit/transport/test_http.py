"""Headers as a provider sends them, over a socket."""

import contextlib

import pytest
from aiohttp import web

from ray_pipeline.providers.fred import PROVIDER
from ray_pipeline.providers.refusals import by_status
from ray_pipeline.simulators.base import serve_routes
from ray_pipeline.transport.http import headers_of, open_http


async def test_repeated_headers_are_one_list():
    assert headers_of([("Retry-After", "5"), ("retry-after", "900"), ("Age", None)]) == {
        "retry-after": "5, 900",
        "age": "",
    }


@pytest.mark.parametrize(
    ("values", "wait_s"),
    [
        (("900", "5"), 900.0),
        (("5", "900", "soon"), 900.0),
        (("Fri, 31 Dec 9999 23:59:59 GMT", "5"), 86_400.0),
        (("5", "nan"), 5.0),
        (("soon",), None),
    ],
)
async def test_the_longest_pause_of_repeated_headers_counts(values, wait_s):
    """A server and a proxy in front of it may each send one."""

    async def refuse(_request):
        response = web.Response(status=429, text="slow down")
        for value in values:
            response.headers.add("Retry-After", value)
        return response

    async with contextlib.AsyncExitStack() as stack:
        port = await serve_routes(stack, [web.get("/x", refuse)], host="127.0.0.1", port=0)
        async with open_http(PROVIDER, f"http://127.0.0.1:{port}") as client:
            answer = await client.fetch("/x", {}, key="k", largest_bytes=100)

    verdict = by_status(answer)
    assert verdict is not None
    assert (verdict.pause.wait_s if verdict.pause else None) == wait_s
