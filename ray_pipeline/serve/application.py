"""
The supervisor on Ray Serve: `serve run ray_pipeline.serve.application:app --name supervisor`.

It keeps the actors of this generation running in this cluster, and holds no data: when its replica
dies, the actors continue, and the next replica finds them by name.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI
from ray import serve

from ray_pipeline import __version__
from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import desired
from ray_pipeline.actors.supervisor import Supervisor
from ray_pipeline.api.answers import add_handlers
from ray_pipeline.api.auth import TokenCheck
from ray_pipeline.api.ttl_cache import TtlCache
from ray_pipeline.errors import MigrationError, PipelineError
from ray_pipeline.observe.status import Status
from ray_pipeline.serve.routes import View, routes
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.migrations import unapplied
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.status_rows import read_status
from ray_pipeline.storage.postgres.stream_identity import record_topic_prefix

log = logging.getLogger(__name__)

NAME = "supervisor"
RETRY_S = 3.0
PAGE_TTL_S = 1.0


class SupervisorRunner:
    """Starts the supervisor once its dependencies are ready, and restarts it after a failure."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._settings = settings
        self._supervisor: Supervisor | None = None
        self._cause, self._fix = "starting", ""
        token = settings.api.token
        self._token_check = TokenCheck(token.get_secret_value()) if token is not None else None
        # A probe needs no token: without the cache, anyone could make Postgres work.
        self._page = TtlCache(self._read, ttl_s=PAGE_TTL_S)

    async def run(self) -> None:
        """Supervise until cancelled."""
        while True:
            try:
                await self._prepare()
                self._supervisor = self._create()
                await self._supervisor.run()
            except PipelineError as error:
                self._cause, self._fix = str(error.args[0]), error.fix
                log.warning("%s", error)
            except Exception:
                self._cause, self._fix = "the supervisor failed", "read the replica's log"
                log.exception("the supervisor failed")
            # Actors keep running meanwhile; `/ready` reports the cause.
            self._supervisor = None
            await asyncio.sleep(RETRY_S)

    async def _prepare(self) -> None:
        # It does not migrate: during an upgrade the older version may still write.
        async with session(self._settings.postgres_dsn(), name=NAME) as connection:
            if names := await unapplied(connection):
                raise MigrationError(
                    f"the schema lacks {len(names)} migrations, the first is {names[0]}",
                    fix="run `ray-pipeline migrate`, in Kubernetes the Job `migrate`",
                )
            await record_topic_prefix(connection, self._settings.kafka.topic_prefix)
        self._settings.redis_url()
        await ensure_topics(self._settings)

    def _create(self) -> Supervisor:
        submitter = ray_runtime.submitter(self._settings, ray_runtime.address())
        return Supervisor(self._settings, list(desired(self._settings, submitter=submitter)))

    def view(self) -> View:
        """Return the current state for the routes."""
        return View(
            read=self._page.get,
            limit_s=self._settings.api.ready_s,
            generation=self._settings.ray.generation,
            supervisor=self._supervisor,
            cause=self._cause,
            fix=self._fix,
            token_check=self._token_check,
        )

    async def _read(self) -> Status:
        keys = self._settings.stream_key_counts()
        async with session(self._settings.postgres_dsn(), name="status") as connection:
            return await read_status(connection, self._settings, stream_keys=keys)


def build() -> FastAPI:
    """
    Return the replica's application.

    Raises:
        ConfigurationError: If a setting is wrong; all problems at once.
    """
    runner = SupervisorRunner(load())

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(runner.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # Without the pages of the documentation, which need no token.
    app = FastAPI(
        title="ray-pipeline supervisor", version=__version__, lifespan=lifespan, openapi_url=None
    )
    app.include_router(routes(runner.view))
    add_handlers(app)
    return app


app = serve.deployment(
    name=NAME,
    num_replicas=1,
    max_ongoing_requests=100,
    ray_actor_options={"num_cpus": 0.1},
    health_check_period_s=10,
    graceful_shutdown_timeout_s=10,
    logging_config={"enable_access_log": False},
)(serve.ingress(build)()).bind()
