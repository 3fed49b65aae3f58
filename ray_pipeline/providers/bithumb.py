"""Bithumb: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding

PROVIDER = Provider(
    "bithumb",
    "Bithumb",
    "https://api.bithumb.com",
    Quota((sliding(10, SECOND),)),
    classify=refusals.bithumb,
    needs_key=False,
    free_plan="public",
)
