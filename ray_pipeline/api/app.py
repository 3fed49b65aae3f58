"""The application: routes behind the auth middleware, and background tasks."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from ray_pipeline import __version__
from ray_pipeline.api import feed_routes, state_routes
from ray_pipeline.api.admission import push
from ray_pipeline.api.answers import add_handlers
from ray_pipeline.api.auth import AuthMiddleware
from ray_pipeline.api.limits import Limits
from ray_pipeline.api.services import background_tasks, make
from ray_pipeline.settings import Settings

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings, *, token: str, limits: Limits | None = None) -> FastAPI:
    """
    Return the application. It starts without its stores, and responds 503 until they are reachable.

    Args:
        settings: The settings; Postgres and Redis must be named.
        token: The token that clients must present.
        limits: For WebSocket clients; None to take them from the settings.

    Raises:
        ConfigurationError: If Postgres or Redis is not named.
    """
    api = settings.api
    services = make(
        settings,
        token=token,
        limits=limits or Limits(clients=api.max_clients, interval_s=api.push_interval_s),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with background_tasks(services):
            yield

    app = FastAPI(
        title="ray-pipeline",
        version=__version__,
        description="The collected data and the state of the pipeline. Every request except /live "
        "requires `Authorization: Bearer TOKEN`.",
        lifespan=lifespan,
        # The documentation pages of FastAPI load scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    # Routes are matched in order: the busiest one comes first.
    app.router.routes.append(
        Route("/v1/feeds/{feed}/latest/{symbol}", feed_routes.latest_of_one, methods=["GET"])
    )
    app.include_router(feed_routes.router)
    app.include_router(state_routes.router)
    app.add_api_websocket_route("/ws/{feed}", push)
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/favicon.ico", _icon, include_in_schema=False)
    # Without a check of the folder: the API works without its page.
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False))
    # The description builds the OpenAPI document, so that all routes must exist by now.
    add_handlers(app)
    _describe_token(app)
    app.add_middleware(AuthMiddleware, token_check=services.token_check)
    # Added last, so outermost: a preflight request of a browser carries no token.
    if api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=api.cors_origins,
            allow_methods=["GET"],
            allow_headers=["Authorization"],
            expose_headers=["X-Source", "Retry-After"],
        )
    return app


def _describe_token(app: FastAPI) -> None:
    """Describe the token in the OpenAPI document; the middleware is not part of any route."""
    document = app.openapi()
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["token"] = {"type": "http", "scheme": "bearer"}
    document["security"] = [{"token": []}]
    document["paths"]["/live"]["get"]["security"] = []


async def _page() -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


async def _icon() -> Response:
    return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")
