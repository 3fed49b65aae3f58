"""Rows from the API, by HTTP."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import yarl

from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.notebook.exact import exact
from ray_pipeline.notebook.frames import Row
from ray_pipeline.notebook.row_source import Page, Reading
from ray_pipeline.storage.redirects import get

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
SYMBOLS_AT_ONCE = 200  # so that a URL stays as short as servers want it
MOST_RUNS = 1_000
OK, UNAUTHORIZED, AWAY = 200, 401, 503

Answer = dict[str, Any]


class HttpSource:
    """Asks the API; see `source.Source`."""

    def __init__(self, url: str, *, token: str) -> None:
        """Take the API's address and its token."""
        self.simulated: tuple[str, ...] = ()
        self._url = url.partition("#")[0].rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._made: aiohttp.ClientSession | None = None

    async def open(self) -> str:
        """Check address and token; a store that is away is no reason to refuse."""
        await self._get("/v1/feeds")
        try:
            self.simulated = tuple((await self._get("/v1/health"))["simulated"])
        except Unavailable:
            self.simulated = ()
        return f"the API at {self._url}"

    async def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            await self._made.close()

    async def symbols(self, spec: Feed) -> list[str]:
        """Return the symbols of which there is a value, in order."""
        found: list[str] = (await self._get(f"/v1/feeds/{spec.name}/symbols"))["symbols"]
        return found

    async def latest(self, spec: Feed, symbols: Sequence[str]) -> list[Row]:
        """Return latest values."""
        rows: list[Row] = []
        for start in range(0, len(symbols), SYMBOLS_AT_ONCE):
            some = ",".join(symbols[start : start + SYMBOLS_AT_ONCE])
            rows += (await self._get(f"/v1/feeds/{spec.name}/latest", symbols=some))["values"]
        return rows

    async def history(self, spec: Feed, reading: Reading) -> Page:
        """Return a page of records."""
        path = f"/v1/feeds/{spec.name}/history/{quote(reading.symbol, safe='')}"
        return _page(await self._get(path, **_where(reading)))

    async def bars(self, spec: Feed, reading: Reading, *, interval: str) -> Page:
        """Return a page of bars."""
        path = f"/v1/feeds/{spec.name}/bars/{quote(reading.symbol, safe='')}"
        return _page(await self._get(path, interval=interval, **_where(reading)))

    async def gaps(self, feed: str | None, *, after: object | None, limit: int) -> Page:
        """Return a page of gaps, the newest first."""
        return _page(await self._get("/v1/gaps", feed=feed, after=after, limit=limit))

    async def jobs(self) -> list[Row]:
        """Return every batch dataset, with its newest run as `last`."""
        found: list[Row] = (await self._get("/v1/jobs"))["jobs"]
        return found

    async def runs(self, job: str | None, *, limit: int) -> list[Row]:
        """Return the newest runs; the API gives at most a thousand."""
        found: list[Row] = (await self._get("/v1/runs", job=job, limit=min(limit, MOST_RUNS)))[
            "runs"
        ]
        return found

    async def quotas(self) -> list[Row]:
        """Return every window of every key."""
        found: list[Row] = (await self._get("/v1/quotas"))["quotas"]
        return found

    async def status(self) -> Mapping[str, Sequence[Row]]:
        """Return the tables of the status page."""
        page = await self._get("/v1/health")
        return page | {"feeds": list(page["feeds"].values())}

    async def _get(self, path: str, **parameters: object) -> Answer:
        """
        Return what the API answers.

        Raises:
            Unavailable: If nothing answers, or a store behind it is away.
            PipelineError: If the token or a parameter is refused.
        """
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        # Encoded here: a symbol may hold what a URL library takes for a part of the path.
        url = yarl.URL(f"{self._url}{path}?{urlencode(given)}", encoded=True)
        try:
            async with get(
                self._session(),
                url,
                server=f"the API at {self._url}",
                fix="give connect() the address that it redirects to, if that is the API",
                headers=self._headers,
            ) as reply:
                return self._read(reply.status, await reply.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"no API answers at {self._url}: {type(error).__name__}",
                fix="`ray-pipeline up`, `demo` and `api` print the address of theirs",
            ) from None

    def _session(self) -> aiohttp.ClientSession:
        # Made in the loop that uses it.
        if self._made is None:
            self._made = aiohttp.ClientSession(timeout=TIMEOUT)
        return self._made

    def _read(self, status: int, body: bytes) -> Answer:
        try:
            answer = exact(body)
        except ValueError:
            raise Unavailable(
                f"{self._url} answered {status} with something that is not this API's",
                fix="is it the address that `ray-pipeline up`, `demo` or `api` printed?",
            ) from None
        if status == OK:
            return answer
        if status == UNAUTHORIZED:
            raise PipelineError(
                f"the API at {self._url} refused the token",
                fix='connect(url, token="..."), or set PIPELINE_API__TOKEN; '
                "one that was made up for a run is printed when it starts",
            )
        kind = Unavailable if status == AWAY else PipelineError
        raise kind(f"the API says: {answer.get('error', status)}", fix=str(answer.get("fix", "")))


def _where(reading: Reading) -> dict[str, object]:
    after = reading.after
    return {
        "after": after.isoformat() if isinstance(after, datetime) else after,
        "limit": reading.limit,
        "order": "newest" if reading.newest_first else "oldest",
    }


def _page(answer: Answer) -> Page:
    return Page(answer["rows"], answer["next"])
