"""FRED: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding

PROVIDER = Provider(
    "fred",
    "FRED",
    "https://api.stlouisfed.org/fred",
    Quota((sliding(2, SECOND),)),
    auth="query",
    auth_name="api_key",
    classify=refusals.fred,
    free_plan="2 calls a second",
    key_url="https://fred.stlouisfed.org/docs/api/api_key.html",
)
