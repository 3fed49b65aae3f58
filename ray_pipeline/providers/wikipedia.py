"""Wikipedia: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding

PROVIDER = Provider(
    "wikipedia",
    "Wikipedia",
    "https://en.wikipedia.org",
    Quota((sliding(1, SECOND),)),
    classify=refusals.page,
    needs_key=False,
    # Wikimedia asks robots to say who they are.
    headers=(("User-Agent", "ray-pipeline/0.1 (market data collector)"),),
    free_plan="public",
)
