"""The HTTP server of every simulator."""

import contextlib
from collections.abc import Iterable

from aiohttp import web

from ray_pipeline.storage.listener import listen


async def serve_routes(
    servers: contextlib.AsyncExitStack, routes: Iterable[web.RouteDef], *, host: str, port: int
) -> int:
    """Serve `routes` until `servers` is closed, and return the port."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    servers.push_async_callback(runner.cleanup)
    await runner.setup()
    listener = listen(host, port)
    await web.SockSite(runner, listener).start()
    return int(listener.getsockname()[1])
