"""Yahoo Finance: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import HOUR, SECOND, Quota, sliding

PROVIDER = Provider(
    "yahoo",
    "Yahoo Finance",
    "https://query2.finance.yahoo.com",
    Quota((sliding(2, SECOND), sliding(2_000, HOUR))),
    classify=refusals.yahoo,
    needs_key=False,
    client="yahoo",
    free_plan="public, without a promise",
)
