"""The clients of the providers that a run calls."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from ray_pipeline.jobs.spec import Request
from ray_pipeline.providers.fred import PROVIDER as FRED
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.storage.provider_clients import Clients
from ray_pipeline.transport.answer import Answer

REQUEST = Request("GDP", "/series", {"id": "GDP"})


class FakeClient:
    """Answers with what it was called with."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    @asynccontextmanager
    async def open(self, server, base_url):
        self.events.append(("open", server.name, base_url))
        await asyncio.sleep(0)  # as a client that connects first
        yield self
        self.events.append(("close", server.name))

    async def fetch(self, path, params, *, key, largest_bytes, next_call):
        text = f"{path} {dict(params)} {key} {largest_bytes}"
        return Answer(200, {}, text, datetime.now(UTC))


async def call(clients: Clients, provider) -> str:
    answer = await clients.fetch(provider, REQUEST, key="key", largest_bytes=5)
    return answer.text


async def test_a_client_is_opened_once_and_closed_at_the_end():
    """Also if the first calls come at the same time."""
    fake = FakeClient()
    provider = replace(FRED, open_client=fake.open)

    async with Clients({"fred": "http://simulator"}) as clients:
        texts = await asyncio.gather(call(clients, provider), call(clients, provider))

    assert texts == ["/series {'id': 'GDP'} key 5"] * 2
    assert fake.events == [("open", "fred", "http://simulator"), ("close", "fred")]


async def test_each_provider_has_a_client_of_its_own():
    """A provider that is not configured is called at its usual address."""
    fake = FakeClient()

    async with Clients({"fred": "http://simulator"}) as clients:
        for provider in (FRED, YAHOO):
            await call(clients, replace(provider, open_client=fake.open))

    assert fake.events[:2] == [("open", "fred", "http://simulator"), ("open", "yahoo", None)]
    assert sorted(fake.events[2:]) == [("close", "fred"), ("close", "yahoo")]
