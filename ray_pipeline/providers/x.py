"""X: its address, its quota, and what its refusals mean."""

from datetime import timedelta

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Quota, Window, sliding

PROVIDER = Provider(
    "x",
    "X",
    "https://api.twitter.com/2",
    # One call in 15 minutes per token is the timeline's free limit; the month's calls are ours:
    # each may read 50 posts of a cap that has been documented as 1,500.
    Quota((sliding(1, timedelta(minutes=15)), Window(100, reset="month"))),
    auth="bearer",
    classify=refusals.x,
    free_plan="1 call in 15 minutes a token",
    key_url="https://developer.x.com",
)
