"""The API without Ray: uvicorn in this process."""

import secrets

import uvicorn

from ray_pipeline.api.app import create_app
from ray_pipeline.api.connections import KEEP_ALIVE_S, BoundedProtocol
from ray_pipeline.api.limits import Limits
from ray_pipeline.settings import Settings

DRAIN_S = 5


def token_of(settings: Settings) -> tuple[str, bool]:
    """Return the token, and whether it was generated because the settings contain none."""
    if settings.api.token is not None:
        return settings.api.token.get_secret_value(), False
    return secrets.token_urlsafe(24), True


def server(settings: Settings, *, token: str, limits: Limits | None = None) -> uvicorn.Server:
    """Return a server that is ready to `serve()`."""
    config = uvicorn.Config(
        create_app(settings, token=token, limits=limits),
        host=settings.api.host,
        port=settings.api.port,
        http=BoundedProtocol,
        loop="none",
        # A URL may contain a token: the log must not contain URLs.
        access_log=False,
        log_level="warning",
        server_header=False,
        # Compression of the push for a thousand clients would use a whole core.
        ws_per_message_deflate=False,
        ws_max_size=(limits or Limits()).message_bytes,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return uvicorn.Server(config)
