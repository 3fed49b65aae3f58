"""Every provider of batch data, with what a free key of it may do."""

from datetime import timedelta

from ray_pipeline.providers import refusals
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, HOUR, MINUTE, SECOND, Quota, Window

NEW_YORK = "America/New_York"
BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0 Safari/537.36"
)


def _within(limit: int, period: timedelta) -> Window:
    """
    Return a sliding window with a margin.

    We count when a call is granted, the provider when it arrives: a call that was slow on its way
    and one that was fast lie closer together there.
    """
    return Window(limit, period * 1.01 + timedelta(seconds=0.2))


ALPHA_VANTAGE = Provider(
    "alpha_vantage",
    "Alpha Vantage",
    "https://www.alphavantage.co",
    Quota(
        (_within(1, SECOND), _within(5, MINUTE), Window(25, reset="day", zone=NEW_YORK)),
        reserve=0.2,
    ),
    auth="query",
    auth_name="apikey",
    classify=refusals.alpha_vantage,
    free_plan="25 calls a day, 5 a minute",
    key_url="https://www.alphavantage.co/support/#api-key",
)
FINNHUB = Provider(
    "finnhub",
    "Finnhub",
    "https://finnhub.io/api/v1",
    Quota((_within(25, SECOND), _within(60, MINUTE))),
    auth="header",
    auth_name="X-Finnhub-Token",
    classify=refusals.finnhub,
    free_plan="60 calls a minute, 50 symbols a WebSocket",
    key_url="https://finnhub.io/register",
)
NEWSAPI = Provider(
    "newsapi",
    "NewsAPI",
    "https://newsapi.org/v2",
    Quota((_within(1, SECOND), _within(50, 12 * HOUR), _within(100, DAY))),
    auth="header",
    auth_name="X-Api-Key",
    classify=refusals.newsapi,
    free_plan="100 calls a day, 50 in 12 hours, articles a day late",
    key_url="https://newsapi.org/register",
)
X = Provider(
    "x",
    "X",
    "https://api.twitter.com/2",
    # One call in 15 minutes per token is the timeline's free limit; the month's calls are ours:
    # each may read 50 posts of a cap that has been documented as 1,500.
    Quota((_within(1, timedelta(minutes=15)), Window(100, reset="month"))),
    auth="bearer",
    classify=refusals.x,
    free_plan="1 call in 15 minutes a token",
    key_url="https://developer.x.com",
)
TRUTH_SOCIAL = Provider(
    "truth_social",
    "Truth Social",
    "https://truthsocial.com",
    Quota((_within(1, SECOND), _within(250, timedelta(minutes=5)))),
    auth="login",
    classify=refusals.truth_social,
    headers=(("User-Agent", BROWSER),),
    client="truth_social",
    free_plan="an account: its key is username:password",
    key_url="https://truthsocial.com",
)
COINGECKO = Provider(
    "coingecko",
    "CoinGecko",
    "https://api.coingecko.com/api/v3",
    Quota((_within(30, MINUTE), Window(10_000, reset="month")), reserve=0.1),
    auth="header",
    auth_name="x-cg-demo-api-key",
    classify=refusals.coingecko,
    free_plan="10,000 calls a month, 30 a minute",
    key_url="https://www.coingecko.com/en/developers/dashboard",
)
BITHUMB = Provider(
    "bithumb",
    "Bithumb",
    "https://api.bithumb.com",
    Quota((_within(10, SECOND),)),
    classify=refusals.bithumb,
    needs_key=False,
    free_plan="public",
)
FRED = Provider(
    "fred",
    "FRED",
    "https://api.stlouisfed.org/fred",
    Quota((_within(2, SECOND),)),
    auth="query",
    auth_name="api_key",
    classify=refusals.fred,
    free_plan="2 calls a second",
    key_url="https://fred.stlouisfed.org/docs/api/api_key.html",
)
FMP = Provider(
    "fmp",
    "Financial Modeling Prep",
    "https://financialmodelingprep.com/stable",
    Quota((_within(3, SECOND), _within(250, DAY))),
    auth="query",
    auth_name="apikey",
    classify=refusals.fmp,
    free_plan="250 calls a day",
    key_url="https://site.financialmodelingprep.com/developer/docs",
)
YAHOO = Provider(
    "yahoo",
    "Yahoo Finance",
    "https://query2.finance.yahoo.com",
    Quota((_within(2, SECOND), _within(2_000, HOUR))),
    classify=refusals.yahoo,
    needs_key=False,
    client="yahoo",
    free_plan="public, without a promise",
)
WIKIPEDIA = Provider(
    "wikipedia",
    "Wikipedia",
    "https://en.wikipedia.org",
    Quota((_within(1, SECOND),)),
    classify=refusals.page,
    needs_key=False,
    # Wikimedia asks robots to say who they are.
    headers=(("User-Agent", "ray-pipeline/0.1 (market data collector)"),),
    free_plan="public",
)

PROVIDERS = (
    ALPHA_VANTAGE,
    FINNHUB,
    NEWSAPI,
    X,
    TRUTH_SOCIAL,
    COINGECKO,
    BITHUMB,
    FRED,
    FMP,
    YAHOO,
    WIKIPEDIA,
)
