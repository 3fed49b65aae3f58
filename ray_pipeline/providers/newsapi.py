"""NewsAPI: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, HOUR, SECOND, Quota, sliding

PROVIDER = Provider(
    "newsapi",
    "NewsAPI",
    "https://newsapi.org/v2",
    Quota((sliding(1, SECOND), sliding(50, 12 * HOUR), sliding(100, DAY))),
    auth="header",
    auth_name="X-Api-Key",
    classify=refusals.newsapi,
    free_plan="100 calls a day, 50 in 12 hours, articles a day late",
    key_url="https://newsapi.org/register",
)
