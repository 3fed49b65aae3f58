"""News and social datasets, on recorded answers."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, read
from ray_pipeline.jobs import (
    company_news,
    earnings_news_finnhub,
    market_news,
    market_news_finnhub,
    truth_social_posts,
    truth_social_tags,
    truth_social_trends,
    x_posts_primary,
    x_posts_secondary,
    x_user_profiles,
)
from ray_pipeline.jobs._truth_social import clean
from ray_pipeline.jobs._x_accounts import PRIMARY, SECONDARY, due, handles
from ray_pipeline.jobs.spec import JobSpec, Request, Run, Unparsed
from ray_pipeline.transport.answer import Answer
from tests.support import PAYLOADS

NOW = datetime(2026, 9, 1, 6, tzinfo=UTC)
recorded = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="no recorded payloads here")
X_FACTS = {"category": "media", "origin": "test"}


def rows(spec: JobSpec, text: str, request: Request) -> list:
    """Read a body as a run would."""
    reading = read(spec.sources[0], Answer(200, {}, text, NOW), request, Run(spec.name, NOW, NOW))
    assert isinstance(reading, ParsedAnswer), reading
    assert not reading.bad
    return list(reading.rows)


@recorded
@pytest.mark.parametrize("name", ["top_headlines_2019-12-02", "everything_bitcoin_2020-08-09"])
def test_newsapis_articles_are_rows(name):
    """All of them, with the publisher's name and the time in UTC."""
    text = (PAYLOADS / "newsapi" / f"{name}.json").read_text()
    articles = [one for one in json.loads(text)["articles"] if one["title"] != "[Removed]"]

    found = rows(market_news.SPEC, text, Request("", "/everything"))

    assert [row.url for row in found] == [one["url"] for one in articles]
    assert found[0].source == articles[0]["source"]["name"]
    assert found[0].published_at == datetime.fromisoformat(articles[0]["publishedAt"])


def test_26_questions_are_asked_of_newsapi_about_yesterday():
    """A free plan's news are a day old."""
    requests = list(market_news.plan(Run("market_news", NOW, NOW)))

    assert len({request.item for request in requests}) == 26
    themes = [request for request in requests if request.path == "/everything"]
    assert {(one.params["from"], one.params["to"]) for one in themes} == {("2026-08-31",) * 2}


@recorded
def test_company_news_keeps_the_summary():
    """As description and as content, as readers expect."""
    text = (PAYLOADS / "finnhub" / "company_news_AAPL_2026.json").read_text()
    articles = json.loads(text)

    found = rows(company_news.SPEC, text, Request("AAPL", "/company-news"))

    assert len(found) == len(articles)
    assert found[0].description == found[0].content == articles[0]["summary"].strip()
    assert found[0].published_at == datetime.fromtimestamp(articles[0]["datetime"], UTC)


@recorded
def test_earnings_news_fills_both_tables():
    """Two rows an article, of one report."""
    text = (PAYLOADS / "finnhub" / "company_news_AAPL_2026.json").read_text()
    events = ({"symbol": "AAPL", "report_date": date(2026, 9, 10), "company_name": "Apple"},)
    run = Run("earnings_news_finnhub", NOW, NOW, inputs={"events": events})
    (request,) = earnings_news_finnhub.plan(run)

    found = rows(earnings_news_finnhub.SPEC, text, request)

    assert request.params == {"symbol": "AAPL", "from": "2026-08-27", "to": "2026-09-10"}
    assert len(found) == 2 * len(json.loads(text))
    assert {row.report_date for row in found} == {date(2026, 9, 10)}


@recorded
def test_market_news_of_finnhub_goes_on_from_the_newest_number():
    """And keeps the category that was asked for."""
    text = (PAYLOADS / "finnhub" / "news_general_doc.json").read_text()
    run = Run("x", NOW, NOW, inputs={"newest": ({"category": "general", "news_id": 99},)})
    requests = {one.item: one for one in market_news_finnhub.plan(run)}

    found = rows(market_news_finnhub.SPEC, text, requests["general"])

    assert requests["general"].params["minId"] == "99"
    assert "minId" not in requests["crypto"].params
    assert {row.category for row in found} == {"general"}
    assert [row.news_id for row in found] == [one["id"] for one in json.loads(text)]


@recorded
def test_an_xs_timeline_is_rows_with_their_counters():
    """The author's facts are those of `includes`, where they are."""
    text = (PAYLOADS / "x" / "users_783214_tweets_2022-10.json").read_text()
    posts = json.loads(text)["data"]

    request = Request("Twitter", "/users/783214/tweets", facts=X_FACTS)
    body = json.loads(text)
    complete = [post for post in posts if "created_at" in post and "author_id" in post]
    found = list(x_posts_primary.SPEC.sources[0].parse(body, request, Run("x", NOW, NOW)))

    good = [row for row in found if not isinstance(row, Unparsed)]
    assert [row.tweet_id for row in good] == [post["id"] for post in complete]
    assert len(found) == len(posts)


def test_a_post_keeps_its_whole_text_and_a_timeline_its_second_page():
    """Only where something was known before; the month's calls are few."""
    post = {
        "id": "5",
        "author_id": "7",
        "text": "cut o…",
        "note_tweet": {"text": "cut off no more"},
        "created_at": "2026-08-31T10:00:00.000Z",
        "public_metrics": {"like_count": 3},
    }
    body = {"data": [post], "meta": {"next_token": "t"}}
    source = x_posts_primary.SPEC.sources[0]
    first = Request("a", "/users/7/tweets", {"since_id": "4"}, X_FACTS)
    run = Run("x", NOW, NOW)

    (row,) = source.parse(body, first, run)
    second = source.follow(body, first, run)

    assert (row.text, row.like_count, row.retweet_count) == ("cut off no more", 3, 0)
    assert second.params["pagination_token"] == "t"
    assert source.follow(body, second, run) is None
    assert source.follow(body, Request("a", "/users/7/tweets", {}, X_FACTS), run) is None


EVERY_DAY, ODD, EVEN = "elonmusk saylor", "RayDalio", "jeffbezos"
BY_WEEKDAY = (
    "sundarpichai Meta CNBC",
    "oracle IonQ Tether",
    "Palantir WSJ",
    "sundarpichai Meta CNBC nvidia",
    "oracle IonQ Tesla",
    "Palantir BitCoin",
    "BitCoin CoinbaseAssets Ethereum",
)


def test_the_accounts_of_every_day_of_a_leap_year():
    """Against the rules as they are written down, day by day."""
    for number in range(366):
        day = date(2028, 1, 1) + timedelta(days=number)
        of_year = number + 1
        want = (EVERY_DAY + " " + BY_WEEKDAY[day.weekday()]).split()
        want.append(ODD if of_year % 2 else EVEN)
        want += [
            name
            for name, shift in (("jimcramer", 0), ("tim_cook", 1), ("brian_armstrong", 2))
            if (of_year + shift) % 3 == 0
        ]

        found = [one.handle for some in (PRIMARY, SECONDARY) for one in due(some, day)]

        assert sorted(found) == sorted(want), day


def test_an_account_is_planned_by_its_id_whatever_its_capitals():
    """And from its newest post on; one without an id is left out."""
    tuesday = datetime(2026, 9, 1, 1, tzinfo=UTC)
    inputs = {
        "profiles": ({"handle": "oracle", "user_id": "11"}, {"handle": "elonmusk", "user_id": "2"}),
        "newest": ({"handle": "oracle", "tweet_id": "900"},),
    }

    run = Run("x_posts_primary", tuesday, tuesday, inputs=inputs)
    requests = {one.item: one for one in x_posts_primary.SPEC.sources[0].plan(run)}

    assert set(requests) == {"oracle", "elonmusk"}
    assert requests["oracle"].path == "/users/11/tweets"
    assert requests["oracle"].params["since_id"] == "900"
    assert "since_id" not in requests["elonmusk"].params


@recorded
def test_ids_are_asked_for_in_bulk():
    """Only those that are missing; an unknown name costs no other."""
    known = tuple({"handle": name.lower()} for name in list(handles())[:5])
    run = Run("x", NOW, NOW, inputs={"known": known})
    (request,) = x_user_profiles.plan(run)
    text = (PAYLOADS / "x" / "users_by_usernames_2021.json").read_text()

    recorded = replace(request, params={"usernames": "Twitter,TwitterDev"})
    found = rows(x_user_profiles.SPEC, text, recorded)

    assert len(request.params["usernames"].split(",")) == len(handles()) - 5
    assert [row.user_id for row in found] == [one["id"] for one in json.loads(text)["data"]]


@recorded
def test_a_truth_socials_account_is_looked_up_and_then_read():
    """The first page is the account, the second its statuses."""
    account = json.loads((PAYLOADS / "truthsocial" / "account_realDonaldTrump.json").read_text())
    file = PAYLOADS / "truthsocial" / "COMPOSED_accounts_107780257626128497_statuses.json"
    statuses = json.loads(file.read_text())
    run = Run("truth_social_posts", NOW, NOW)
    first = next(iter(truth_social_posts.plan(run)))

    second = truth_social_posts.follow(account, first, run)
    found = rows(truth_social_posts.SPEC, file.read_text(), second)

    assert second.path == f"/api/v1/accounts/{account['id']}/statuses"
    assert [row.id for row in found] == [one["id"] for one in statuses]
    assert found[0].favourites_count == statuses[0]["favourites_count"]
    assert found[0].market_influence == 10


def test_old_posts_are_read_until_what_is_known():
    """And for two days more, for their counters; the pages of one run are bounded."""
    run = Run("truth_social_posts", NOW, NOW)

    def page(number: int, newest_id: int, age: timedelta) -> Request | None:
        request = Request("a", "/s", {}, {"newest": "100"}, number)
        body = [{"id": str(newest_id), "created_at": (NOW - age).isoformat()}]
        return truth_social_posts.follow(body, request, run)

    assert page(1, 150, timedelta(hours=1)).params["max_id"] == "150"
    assert page(1, 90, timedelta(hours=1)) is not None
    assert page(1, 90, timedelta(hours=49)) is None
    assert page(10, 150, timedelta(hours=1)) is None


@recorded
def test_trends_keep_their_places_and_tags_their_week():
    """A post's place is its position; a tag's growth is over the days before."""
    posts = (PAYLOADS / "truthsocial" / "COMPOSED_truth_trending_truths.json").read_text()
    tags = (PAYLOADS / "truthsocial" / "COMPOSED_trends_tags.json").read_text()

    ranked = rows(truth_social_trends.SPEC, posts, Request("", "/x"))
    named = rows(truth_social_tags.SPEC, tags, Request("", "/x"))

    trends = [row for row in ranked if isinstance(row, truth_social_trends.TrendingPost)]
    assert [row.trend_rank for row in trends] == list(range(1, len(json.loads(posts)) + 1))
    assert len(ranked) == 2 * len(trends)
    first, tag = named[0], json.loads(tags)[0]
    assert len(named) == len(json.loads(tags))
    assert first.day_0_uses == int(tag["history"][0]["uses"])
    assert first.collected_date == date(2026, 9, 1)


@pytest.mark.parametrize("media", [{}, {"media_attachments": None}, {"media_attachments": []}])
def test_a_status_without_media_is_a_row(media):
    """The list may be null or left out."""
    status = {
        "id": "1",
        "created_at": "2026-08-31T12:00:00Z",
        "content": "<p>A</p>",
        "account": {"id": "2", "username": "WhiteHouse"},
    } | media

    (post,) = rows(
        truth_social_posts.SPEC,
        json.dumps([status]),
        Request("WhiteHouse", "/x", facts={"newest": ""}, page=1),
    )
    trend, _rank = rows(truth_social_trends.SPEC, json.dumps([status]), Request("", "/x"))

    for row in (post, trend):
        assert (row.has_media, row.media_count, row.media_attachments) == (False, 0, None)


def test_a_status_loses_its_markup_and_nothing_else():
    """Entities are decoded, paragraphs are lines."""
    content = '<p>A &amp; B &lt;3</p><p>see<br/><a href="https://x">x.com</a></p>'

    assert clean(content) == "A & B <3\nsee\nx.com"


def test_both_lists_are_jobs_of_their_own():
    """With the marks that readers know."""
    assert x_posts_primary.SPEC.name != x_posts_secondary.SPEC.name
