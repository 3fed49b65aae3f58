"""
The API on Ray Serve: `serve run ray_pipeline.api.deployment:app --name api`.

Settings come from the replica's environment. The token must be set, because all replicas need the
same one.
"""

from fastapi import FastAPI
from ray import serve

from ray_pipeline.api.app import create_app
from ray_pipeline.errors import ConfigurationError
from ray_pipeline.settings import load

NAME = "api"
# Serve counts an open WebSocket as one ongoing request: its default of 5 would refuse the sixth.
MAX_ONGOING = 10_000


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
    max_ongoing_requests=MAX_ONGOING,
    ray_actor_options={"num_cpus": 0.5},
    health_check_period_s=10,
    graceful_shutdown_timeout_s=10,
    # A URL may contain a token: the log must not contain URLs.
    logging_config={"enable_access_log": False},
)(serve.ingress(build)()).bind()
