"""Connect to a pipeline: by its API, or by the stores of this machine."""

import os

from pydantic import SecretStr

from ray_pipeline.errors import PipelineError
from ray_pipeline.local import stack
from ray_pipeline.local.announced import Announced, announced, keys_in_use
from ray_pipeline.notebook.api_source import HttpSource
from ray_pipeline.notebook.background import Background
from ray_pipeline.notebook.cluster import RayCluster
from ray_pipeline.notebook.pipeline import Pipeline
from ray_pipeline.notebook.row_source import RowSource
from ray_pipeline.notebook.store_source import StoresSource
from ray_pipeline.settings import Settings, load


def connect(
    url: str | None = None, *, token: str | None = None, ray_address: str | None = None
) -> Pipeline:
    """
    Return the pipeline of an API, or without `url` the pipeline of this machine.

    The stores of this machine are those that PIPELINE_POSTGRES__DSN and PIPELINE_REDIS__URL name,
    or else the servers that run in PIPELINE_HOME. Close the result, or use it in a `with` block.

    Args:
        url: The address of an API, such as http://127.0.0.1:8000, or of its page.
        token: The token of the API. Default: the part of `url` after #token=, or
            PIPELINE_API__TOKEN.
        ray_address: The address of the actors' Ray cluster, such as 127.0.0.1:6379 or
            ray://head:10001. Default: RAY_ADDRESS, or the cluster that the pipeline of
            PIPELINE_HOME started.

    Raises:
        PipelineError: If no pipeline is found, it cannot be reached, or it refuses the token.
    """
    settings, local = load(), announced(stack.home())
    source = _api(url, token, settings) if url is not None else _stores(settings, local)
    address = ray_address or os.environ.get("RAY_ADDRESS")
    if address is None and url is None and local is not None:
        address = local.ray_address
    # The thread starts before the first request; a failure must end it.
    background = Background()
    try:
        cluster = RayCluster(
            background,
            address=address,
            namespace=local.namespace if local is not None else settings.ray.namespace,
            # A cluster of another pipeline uses Ray's variables of this process.
            environment=local.ray_environment
            if local is not None and address == local.ray_address
            else {},
        )
        return Pipeline(background, source, cluster)
    except BaseException:
        background.run(source.close())
        background.close()
        raise


def _api(url: str, token: str | None, settings: Settings) -> RowSource:
    if not url.startswith(("http://", "https://")):
        raise PipelineError(
            f"{url!r} is no address of an API",
            fix='for example connect("http://127.0.0.1:8000", token="...")',
        )
    in_url = url.partition("#token=")[2]
    configured = settings.api.token.get_secret_value() if settings.api.token else ""
    return HttpSource(url, token=token or in_url or configured)


def _stores(settings: Settings, local: Announced | None) -> RowSource:
    home = stack.home()
    servers = stack.running(home)
    dsn = _named(settings.postgres.dsn, servers.postgres_dsn)
    redis_url = _named(settings.redis.url, servers.redis_url)
    if dsn is None or redis_url is None:
        missing = "Postgres" if dsn is None else "Redis"
        raise PipelineError(
            f"no pipeline runs in {home}: there is no {missing}",
            fix="start one with `ray-pipeline demo` or `up`; or set PIPELINE_POSTGRES__DSN and "
            'PIPELINE_REDIS__URL; or connect("http://host:8000", token="...")',
        )
    settings = load(postgres={"dsn": dsn}, redis={"url": redis_url})
    simulated = local.simulated if local else ()
    return StoresSource(settings, keys=keys_in_use(settings), simulated=simulated)


def _named(setting: SecretStr | None, server: str | None) -> str | None:
    """Return the configured address, or else that of the embedded server."""
    return setting.get_secret_value() if setting is not None else server
