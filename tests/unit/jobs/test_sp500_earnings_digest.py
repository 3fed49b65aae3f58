"""Earnings reports and what was written about them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ray_pipeline.jobs import sp500_earnings_digest
from ray_pipeline.jobs.sp500_earnings_digest import EarningsArticle, EarningsEvent, mentions_of
from ray_pipeline.jobs.spec import Run

SLOT = datetime(2026, 7, 30, 9, 30, tzinfo=UTC)
DAY = date(2026, 7, 30)


def event(symbol: str = "AAPL", company: str = "Apple Inc.", **other: object) -> dict[str, object]:
    return {
        "symbol": symbol, "company_name": company, "report_date": DAY, "fiscal_date_ending": None,
        "estimate": Decimal("1.43"), "currency": "USD", "time_of_day": None,
        "gics_sector": "Information Technology", "gics_sub_industry": None, "headquarters": None,
        **other,
    }  # fmt: skip


def article(url: str, published: str, *, table: str = "company_news", **other: object) -> dict:
    return {
        "symbol": "AAPL", "report_date": DAY, "source_table": table, "url": url,
        "title": f"About {url}", "summary": None, "source": "x",
        "published_at": datetime.fromisoformat(published), **other,
    }  # fmt: skip


def derived(**inputs: tuple[dict, ...]) -> tuple[list[EarningsEvent], list[EarningsArticle]]:
    rows = list(sp500_earnings_digest.derive(Run("digest", SLOT, SLOT, inputs=inputs)))
    events = [row for row in rows if isinstance(row, EarningsEvent)]
    return events, [row for row in rows if isinstance(row, EarningsArticle)]


def test_windows_hold_their_last_day_and_the_report_day():
    """F-31: in New York's days."""
    articles = (
        article("too-early", "2026-07-16T03:59"),
        article("first", "2026-07-16T04:00"),
        article("eve", "2026-07-30T03:59"),
        article("day", "2026-07-30T12:00"),
        article("last", "2026-08-07T03:59"),
        article("too-late", "2026-08-07T04:00"),
    )

    [event_row], news = derived(events=(event(),), articles=articles)

    assert {(one.url, one.news_section, one.days_from_earnings) for one in news} == {
        ("first", "forecast", -14),
        ("eve", "forecast", -1),
        ("day", "reaction", 0),
        ("last", "reaction", 7),
    }
    counts = (event_row.forecast_news_count, event_row.reaction_news_count)
    assert counts == (2, 2)
    assert event_row.total_news_count == 4


def test_the_day_of_an_evening_report_is_forecast():
    """What is written that day cannot know it."""
    _, [one] = derived(
        events=(event(time_of_day="post-market"),), articles=(article("a", "2026-07-30T12:00"),)
    )

    assert one.news_section == "forecast"


def test_all_articles_are_counted_and_ten_are_shown():
    """The newest of each table."""
    start = datetime(2026, 7, 20)
    articles = tuple(
        article(f"{n:02}", (start + timedelta(hours=n)).isoformat()) for n in range(25)
    )

    [event_row], news = derived(events=(event(),), articles=articles)

    assert event_row.forecast_news_count == 25
    assert [one.url for one in news] == [f"{n}" for n in range(24, 14, -1)]


def test_an_article_of_two_tables_is_the_first_tables():
    """Once."""
    _, [one] = derived(
        events=(event(),),
        articles=(
            article("a", "2026-07-29T12:00", table="market_news_sentiment"),
            article("a", "2026-07-29T12:00", table="earnings_news_finnhub"),
        ),
    )

    assert one.source_table == "earnings_news_finnhub"


def test_an_event_keeps_its_number_and_a_new_one_gets_the_next():
    """So that articles can name it."""
    known = ({"id": 7, "symbol": "AAPL", "report_date": DAY},)

    events, news = derived(
        events=(event("MSFT", "Microsoft"), event()),
        articles=(article("a", "2026-07-29T12:00"),),
        known=known,
    )

    assert [(one.symbol, one.id) for one in events] == [("MSFT", 8), ("AAPL", 7)]
    assert [one.calendar_id for one in news] == [7]


@pytest.mark.parametrize(
    ("symbol", "company", "text", "found"),
    [
        ("AAPL", "Apple Inc.", "AAPL beats", True),
        ("AAPL", "Apple Inc.", "apple reports", True),
        ("AAPL", "Apple Inc.", "Pineapples are cheap", False),
        ("AAPL", "Apple Inc.", "AAPLW trades", False),
        ("T", "AT&T", "T is a letter", False),
        ("T", "AT&T", "AT&T (NYSE: T) gains", True),
        ("T", "AT&T", "Buy $T now", True),
        ("A", "Agilent Technologies", "A new day", False),
        ("BRK.B", "Berkshire Hathaway", "BRK.B rises", True),
    ],
)
def test_companies_are_found_as_words(symbol: str, company: str, text: str, found: bool):
    """F-31: not as parts of other words."""
    assert bool(mentions_of(symbol, company).search(text)) is found


def test_general_news_belong_to_whom_they_name():
    """By title or summary."""
    general = (
        article("a", "2026-07-29T12:00", table="market_news", title="Apple and others"),
        article("b", "2026-07-29T12:00", table="market_news", title="Oil", summary="not it"),
    )

    _, news = derived(events=(event(),), market_news=general)

    assert [(one.url, one.source_table) for one in news] == [("a", "market_news")]
