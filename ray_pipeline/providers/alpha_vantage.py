"""Alpha Vantage: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, SECOND, Quota, Window, sliding

NEW_YORK = "America/New_York"

PROVIDER = Provider(
    "alpha_vantage",
    "Alpha Vantage",
    "https://www.alphavantage.co",
    Quota(
        (sliding(1, SECOND), sliding(5, MINUTE), Window(25, reset="day", zone=NEW_YORK)),
        reserve=0.2,
    ),
    auth="query",
    auth_name="apikey",
    classify=refusals.alpha_vantage,
    free_plan="25 calls a day, 5 a minute",
    key_url="https://www.alphavantage.co/support/#api-key",
)
