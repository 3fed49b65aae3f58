"""CoinGecko: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, Quota, Window, sliding

PROVIDER = Provider(
    "coingecko",
    "CoinGecko",
    "https://api.coingecko.com/api/v3",
    Quota((sliding(30, MINUTE), Window(10_000, reset="month")), reserve=0.1),
    auth="header",
    auth_name="x-cg-demo-api-key",
    classify=refusals.coingecko,
    free_plan="10,000 calls a month, 30 a minute",
    key_url="https://www.coingecko.com/en/developers/dashboard",
)
