"""Financial Modeling Prep: its address, its quota, and what its refusals mean."""

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, SECOND, Quota, sliding

PROVIDER = Provider(
    "fmp",
    "Financial Modeling Prep",
    "https://financialmodelingprep.com/stable",
    Quota((sliding(3, SECOND), sliding(250, DAY))),
    auth="query",
    auth_name="apikey",
    classify=refusals.fmp,
    free_plan="250 calls a day",
    key_url="https://site.financialmodelingprep.com/developer/docs",
)
