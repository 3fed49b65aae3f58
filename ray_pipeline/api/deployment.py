"""
The API on Ray Serve: `serve run ray_pipeline.api.deployment:app --name api`.

Settings come from the replica's environment, as everywhere. Several replicas need one token, and so
it must be set here.
"""

from fastapi import FastAPI
from ray import serve

from ray_pipeline.api.app import create_app
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.settings import load

NAME = "api"
# A WebSocket is one request that lasts; Serve's default of 5 would end the push at the fifth.
MOST_AT_ONCE = 10_000


def build() -> FastAPI:
    """
    Return a replica's application.

    Raises:
        ConfigurationError: If a store or the token is not set.
    """
    settings = load()
    if settings.api.token is None:
        raise ConfigurationError(
            "PIPELINE_API__TOKEN is not set",
            fix="set it for the cluster's pods, from a Secret; `openssl rand -hex 24` makes one",
        )
    return create_app(settings, token=settings.api.token.get_secret_value())


app = serve.deployment(
    name=NAME,
    max_ongoing_requests=MOST_AT_ONCE,
    ray_actor_options={"num_cpus": 0.5},
    health_check_period_s=10,
    graceful_shutdown_timeout_s=10,
    # A URL may hold a token: no line of a log may hold the URL.
    logging_config={"enable_access_log": False},
)(serve.ingress(build)()).bind()
