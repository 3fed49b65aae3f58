"""Truth Social: its address, its quota, and what its refusals mean."""

from datetime import timedelta

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding

BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0 Safari/537.36"
)

PROVIDER = Provider(
    "truth_social",
    "Truth Social",
    "https://truthsocial.com",
    Quota((sliding(1, SECOND), sliding(250, timedelta(minutes=5)))),
    auth="login",
    classify=refusals.truth_social,
    headers=(("User-Agent", BROWSER),),
    client="truth_social",
    free_plan="an account: its key is username:password",
    key_url="https://truthsocial.com",
)
