"""Find a pipeline: on this machine, by its stores, or by its API."""

import os
from collections.abc import Mapping

from ray_pipeline.errors import PipelineError
from ray_pipeline.local import stack
from ray_pipeline.local.announced import Announced, announced, keys_in_use
from ray_pipeline.notebook.api_source import HttpSource
from ray_pipeline.notebook.background import Background
from ray_pipeline.notebook.cluster import RayCluster
from ray_pipeline.notebook.pipeline import Pipeline
from ray_pipeline.notebook.row_source import Source
from ray_pipeline.notebook.store_source import StoresSource
from ray_pipeline.settings import Settings, load


def connect(
    url: str | None = None, *, token: str | None = None, ray_address: str | None = None
) -> Pipeline:
    """
    Return a pipeline: the one of an API's `url`, or else the one of this machine.

    On this machine the stores are those that PIPELINE_POSTGRES__DSN and PIPELINE_REDIS__URL name;
    for what they do not name, the servers that run in PIPELINE_HOME. It can be closed, and used in
    a `with`.

    Args:
        url: Where an API is, such as http://127.0.0.1:8000; the page's address will do.
        token: What the API wants to see; without it PIPELINE_API__TOKEN, or what the page's
            address has behind its #.
        ray_address: Where the actors' Ray cluster is, such as 127.0.0.1:6379 or ray://head:10001;
            without it RAY_ADDRESS, or the cluster that the pipeline of PIPELINE_HOME started.

    Raises:
        PipelineError: If nothing runs there, it cannot be reached, or it refuses the token.
    """
    settings = load()
    here = announced(settings.home_dir())
    source = _api(url, token, settings) if url is not None else _stores(settings, here)
    # Ray's own variable, so not a setting.
    address = ray_address or os.environ.get("RAY_ADDRESS")
    if address is None and url is None and here is not None:
        address = here.ray_address
    background = Background()
    try:
        cluster = RayCluster(
            background,
            address=address,
            namespace=_namespace(settings, here),
            environment=_ray_environment(address, here),
        )
        return Pipeline(background, source, cluster)
    except BaseException:
        background.run(source.close())
        background.close()
        raise


def _api(url: str, token: str | None, settings: Settings) -> Source:
    if not url.startswith(("http://", "https://")):
        raise PipelineError(
            f"{url!r} is no address of an API",
            fix='for example connect("http://127.0.0.1:8000", token="...")',
        )
    behind = url.partition("#token=")[2]
    known = settings.api.token.get_secret_value() if settings.api.token else ""
    return HttpSource(url, token=token or behind or known)


def _stores(settings: Settings, here: Announced | None) -> Source:
    home = settings.home_dir()
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
    found = load(postgres={"dsn": dsn}, redis={"url": redis_url})
    return StoresSource(
        found,
        keys=keys_in_use(found),
        simulated=here.simulated if here else (),
    )


def _named(setting: object, server: str | None) -> str | None:
    """Return what the settings name, or else where the embedded server is."""
    get = getattr(setting, "get_secret_value", None)
    return get() if get is not None else server


def _namespace(settings: Settings, here: Announced | None) -> str:
    return here.namespace if here is not None else settings.ray.namespace


def _ray_environment(address: str | None, here: Announced | None) -> Mapping[str, str]:
    """Return Ray's variables for a cluster that the pipeline of this home started; else none."""
    return here.ray_environment if here is not None and address == here.ray_address else {}
