"""
The supervisor on Ray Serve: `serve run ray_pipeline.serve.application:app --name supervisor`.

It keeps this release's actors alive in this cluster, and holds no data: when its replica dies, the
actors go on, and the next replica finds them by their names.
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
from ray_pipeline.errors import MigrationError, PipelineError
from ray_pipeline.observe.status import Status
from ray_pipeline.serve.routes import View, routes
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.kafka.broker import ensure_topics
from ray_pipeline.storage.migrations import unapplied
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.status_rows import read_status

log = logging.getLogger(__name__)

NAME = "supervisor"
RETRY_S = 3.0


class Post:
    """Starts the supervisor when what it needs is there, and starts it again when it fails."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings."""
        self._settings = settings
        self._supervisor: Supervisor | None = None
        self._cause, self._fix = "starting", ""

    async def run(self) -> None:
        """Supervise until cancelled."""
        while True:
            try:
                await self._prepare()
                self._supervisor = self._make()
                await self._supervisor.run()
            except PipelineError as error:
                self._cause, self._fix = str(error.args[0]), error.fix
                log.warning("%s", error)
            except Exception:
                self._cause, self._fix = "the supervisor failed", "read the replica's log"
                log.exception("the supervisor failed")
            self._supervisor = None
            await asyncio.sleep(RETRY_S)

    async def _prepare(self) -> None:
        # Migrations are not made here: during an upgrade an older release may still be writing.
        async with session(self._settings.postgres_dsn(), name=NAME) as connection:
            if names := await unapplied(connection):
                raise MigrationError(
                    f"the schema lacks {len(names)} migrations, the first is {names[0]}",
                    fix="run `ray-pipeline migrate`, in Kubernetes the Job `migrate`",
                )
        self._settings.redis_url()
        await ensure_topics(self._settings)

    def _make(self) -> Supervisor:
        submitter = ray_runtime.submitter(self._settings, ray_runtime.address())
        return Supervisor(self._settings, list(desired(self._settings, submitter=submitter)))

    def view(self) -> View:
        """Return what the answers are made of."""
        return View(
            read=self._read,
            limit_s=self._settings.api.ready_s,
            supervisor=self._supervisor,
            cause=self._cause,
            fix=self._fix,
            extra={"generation": self._settings.ray.generation},
        )

    async def _read(self) -> Status:
        keys = self._settings.stream_key_counts()
        return await read_status(self._settings.postgres_dsn(), stream_keys=keys)


def build() -> FastAPI:
    """
    Return the replica's application.

    Raises:
        ConfigurationError: If a setting is wrong; all problems at once.
    """
    post = Post(load())

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(post.run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    app = FastAPI(title="ray-pipeline supervisor", version=__version__, lifespan=lifespan)
    app.include_router(routes(post.view))
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
