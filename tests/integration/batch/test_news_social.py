"""From a recorded file to rows in Postgres: news, X, Truth Social."""

import pytest

from ray_pipeline.catalog import job
from ray_pipeline.jobs.spec import Request
from tests.recorded import store_recorded
from tests.support import PAYLOADS

pytestmark = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded payloads here")

FACTS = {
    "category": "media",
    "origin": "test",
    "newest": "",
    "symbol": "AAPL",
    "report_date": "2026-09-10",
    "company_name": "Apple",
}
CASES = [
    ("market_news", "newsapi/top_headlines_2019-12-02.json", 0),
    ("market_news", "newsapi/everything_bitcoin_2020-08-09.json", 0),
    ("market_news_finnhub", "finnhub/news_general_doc.json", 0),
    ("company_news", "finnhub/company_news_AAPL_2026.json", 0),
    ("earnings_news_finnhub", "finnhub/company_news_AAPL_2026.json", 0),
    ("x_user_profiles", "x/users_by_usernames_2021.json", 0),
    ("truth_social_posts", "truthsocial/COMPOSED_accounts_107780257626128497_statuses.json", 1),
    ("truth_social_trends", "truthsocial/COMPOSED_truth_trending_truths.json", 0),
    ("truth_social_tags", "truthsocial/COMPOSED_trends_tags.json", 0),
]


@pytest.mark.parametrize(("name", "file", "page"), CASES)
async def test_a_recorded_body_is_stored_once(postgres_dsn, name, file, page):
    """Every row of the file is a row of the table; the same file again changes none."""
    text = (PAYLOADS / file).read_text()
    params = {"usernames": "twitter,twitterdev"}  # of the accounts that one of the files is about
    request = Request("AAPL", "/x", params, FACTS, page)

    first = await store_recorded(postgres_dsn, job(name), text, request=request)
    again = await store_recorded(postgres_dsn, job(name), text, request=request)

    assert first.new > 0
    assert first.new == first.seen
    assert (first.changed, first.parked) == (0, 0)
    assert (again.new, again.changed, again.parked) == (0, 0, 0)


async def test_an_empty_timeline_is_no_failure(postgres_dsn):
    """An account that posted nothing."""
    text = (PAYLOADS / "x" / "users_tweets_empty.json").read_text()

    counts = await store_recorded(
        postgres_dsn, job("x_posts_primary"), text, request=Request("a", "/x", {}, FACTS)
    )

    assert (counts.seen, counts.parked) == (0, 0)
