"""Finnhub: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, SECOND, Quota, sliding

PROVIDER = Provider(
    "finnhub",
    "Finnhub",
    "https://finnhub.io/api/v1",
    Quota((sliding(25, SECOND), sliding(60, MINUTE))),
    auth="header",
    auth_name="X-Finnhub-Token",
    classify=refusals.finnhub,
    free_plan="60 calls a minute, 50 symbols a WebSocket",
    key_url="https://finnhub.io/register",
)
