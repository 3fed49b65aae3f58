"""Upbit: the markets of a Korean exchange. Only the stream uses it."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding

PROVIDER = Provider(
    "upbit",
    "Upbit",
    "https://api.upbit.com",
    Quota((sliding(10, SECOND),)),
    needs_key=False,
    free_plan="public",
)
