"""Rows from the API, over HTTP."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import yarl

from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.notebook.exact import exact
from ray_pipeline.notebook.frames import Row
from ray_pipeline.storage.postgres.pages import Page, PageRequest
from ray_pipeline.storage.redirects import get

TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
SYMBOLS_PER_REQUEST = 200  # keeps the URL below the limit of servers
MAX_RUNS = 1_000
OK, UNAUTHORIZED, AWAY = 200, 401, 503

Answer = dict[str, Any]


class HttpSource:
    """Reads the API; see `row_source.RowSource`."""

    def __init__(self, url: str, *, token: str) -> None:
        """Take the API's address and its token."""
        self.simulated: tuple[str, ...] = ()
        self._url = url.partition("#")[0].rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client: aiohttp.ClientSession | None = None

    async def open(self) -> str:
        """Check the address and the token; a store that is down is not an error."""
        await self._get("/v1/feeds")
        try:
            self.simulated = tuple((await self._get("/v1/health"))["simulated"])
        except Unavailable:
            self.simulated = ()
        return f"the API at {self._url}"

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def symbols(self, spec: FeedSpec) -> list[str]:
        """Return the symbols that have a value, in order."""
        return list((await self._get(f"/v1/feeds/{spec.name}/symbols"))["symbols"])

    async def latest(self, spec: FeedSpec, symbols: Sequence[str]) -> list[Row]:
        """Return latest values."""
        rows: list[Row] = []
        for start in range(0, len(symbols), SYMBOLS_PER_REQUEST):
            names = ",".join(symbols[start : start + SYMBOLS_PER_REQUEST])
            rows += (await self._get(f"/v1/feeds/{spec.name}/latest", symbols=names))["values"]
        return rows

    async def history(self, spec: FeedSpec, request: PageRequest) -> Page:
        """Return a page of records."""
        # A slash is quoted too: a symbol is one segment of the path.
        path = f"/v1/feeds/{spec.name}/history/{quote(request.symbol, safe='')}"
        return _page(await self._get(path, **_where(request)))

    async def bars(self, spec: FeedSpec, request: PageRequest, *, interval: str) -> Page:
        """Return a page of bars."""
        path = f"/v1/feeds/{spec.name}/bars/{quote(request.symbol, safe='')}"
        return _page(await self._get(path, interval=interval, **_where(request)))

    async def gaps(self, feed: str | None, *, after: object | None, limit: int) -> Page:
        """Return a page of gaps, newest first."""
        return _page(await self._get("/v1/gaps", feed=feed, after=after, limit=limit))

    async def jobs(self) -> list[Row]:
        """Return every batch dataset, with its newest run as `last`."""
        return list((await self._get("/v1/jobs"))["jobs"])

    async def runs(self, job: str | None, *, limit: int) -> list[Row]:
        """Return the newest runs; the API returns at most a thousand."""
        return list((await self._get("/v1/runs", job=job, limit=min(limit, MAX_RUNS)))["runs"])

    async def quotas(self) -> list[Row]:
        """Return every window of every key."""
        return list((await self._get("/v1/quotas"))["quotas"])

    async def status(self) -> Mapping[str, Sequence[Row]]:
        """Return the tables of the status page."""
        page = await self._get("/v1/health")
        return page | {"feeds": list(page["feeds"].values())}

    async def _get(self, path: str, **parameters: object) -> Answer:
        """
        Return the API's response.

        Raises:
            Unavailable: If no API answers, or one of its stores is down.
            PipelineError: If it refuses the token or a parameter.
        """
        query = {name: str(value) for name, value in parameters.items() if value is not None}
        # Encoded here: a symbol may contain characters that a URL library would interpret.
        url = yarl.URL(f"{self._url}{path}?{urlencode(query)}", encoded=True)
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
                fix="`ray-pipeline up`, `demo` and `api` print their address",
            ) from None

    def _session(self) -> aiohttp.ClientSession:
        # Created in the event loop that uses it, which the constructor does not run in.
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=TIMEOUT)
        return self._client

    def _read(self, status: int, body: bytes) -> Answer:
        try:
            answer = exact(body)
        except ValueError:
            raise Unavailable(
                f"{self._url} answered {status}, but not as this API does",
                fix="is it the address that `ray-pipeline up`, `demo` or `api` printed?",
            ) from None
        if status == OK:
            return answer
        if status == UNAUTHORIZED:
            raise PipelineError(
                f"the API at {self._url} refused the token",
                fix='connect(url, token="..."), or set PIPELINE_API__TOKEN; '
                "a generated token is printed when the API starts",
            )
        kind = Unavailable if status == AWAY else PipelineError
        raise kind(f"the API says: {answer.get('error', status)}", fix=str(answer.get("fix", "")))


def _where(request: PageRequest) -> dict[str, object]:
    after = request.after
    return {
        "after": after.isoformat() if isinstance(after, datetime) else after,
        "limit": request.limit,
        "order": "newest" if request.newest_first else "oldest",
    }


def _page(answer: Answer) -> Page:
    return Page(answer["rows"], answer["next"])
