"""The recent and coming earnings reports of the S&P 500, each with the news around it."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from ray_pipeline.jobs.columns import read_row, table_row
from ray_pipeline.jobs.spec import JobSpec, Record, Run
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import text
from ray_pipeline.schedules.cron import NEW_YORK, Cron

BEFORE_DAYS, AFTER_DAYS = 14, 7
SHOWN = 10  # articles per table and section; all are counted
MARKET = ZoneInfo(NEW_YORK)
# An article that stands in several tables counts for the first of them.
TABLES = ("earnings_news_finnhub", "company_news", "market_news", "market_news_sentiment")
SHORT = 2  # letters; a ticker this short is also an ordinary word
LEGAL_FORM = re.compile(
    r"[,.]?\s+(Inc|Incorporated|Corp|Corporation|Company|Co|plc|Ltd|Limited|Group|Holdings)\.?$"
    r"|\s*\(.*\)$",
    re.IGNORECASE,
)

Section = Literal["forecast", "reaction"]


@table_row
class EarningsEvent:
    """One report."""

    id: int
    symbol: str
    company_name: str
    report_date: date
    fiscal_date_ending: date | None
    estimate: Decimal | None
    currency: str | None
    gics_sector: str | None
    gics_sub_industry: str | None
    headquarters: str | None
    event_type: str = "earnings_report"
    event_title: str
    event_description: str
    total_news_count: int
    forecast_news_count: int
    reaction_news_count: int


@dataclass(frozen=True, slots=True)
class EarningsArticle:
    """One article about one report."""

    calendar_id: int
    source_table: str
    title: str
    url: str
    summary: str | None
    source: str | None
    published_at: datetime
    news_section: Section
    days_from_earnings: int


def derive(run: Run) -> Iterator[object]:
    """
    Yield the reports, each followed by its articles.

    A report keeps its id, and a new report gets the next id, so that its articles can refer to it.
    """
    ids = {(row["symbol"], row["report_date"]): int(row["id"]) for row in run.rows("known")}
    following = max(ids.values(), default=0) + 1
    about: dict[tuple[str, date], list[Record]] = defaultdict(list)
    for article in run.rows("articles"):
        about[article["symbol"], article["report_date"]].append(article)
    general = run.rows("market_news")
    for event in run.rows("events"):
        key = (event["symbol"], event["report_date"])
        number = ids.get(key, following)
        if key not in ids:
            following += 1
        mentions = mentions_of(event["symbol"], event["company_name"])
        related = [article for article in general if mentions.search(_words(article))]
        articles = _articles(number, event, about[key] + related)
        yield _event(number, event, articles)
        yield from _newest(articles)


def mentions_of(symbol: str, company: str) -> re.Pattern[str]:
    """
    Return a pattern that finds a company in a text, by its name or its ticker.

    A ticker as short as A or T counts only if it is marked as a ticker: $T, (T), NYSE: T.
    """
    ticker = re.escape(symbol)
    marked = rf"(?:\$|\(|: ?){ticker}(?![\w.])"
    name = LEGAL_FORM.sub("", company).strip()
    named = rf"(?<!\w)(?i:{re.escape(name)})(?!\w)"
    bare = rf"(?<![\w.]){ticker}(?![\w.])"
    parts = [marked, named] if len(symbol) <= SHORT else [marked, named, bare]
    return re.compile("|".join(parts))


def _words(article: Record) -> str:
    return f"{article['title']}\n{article['summary'] or ''}"


def section_of(days: int, time_of_day: str | None) -> Section | None:
    """
    Return the section of an article that appears `days` days after the report; None for no section.

    An article of the day itself is a forecast only if the report comes after the market closes.
    """
    if -BEFORE_DAYS <= days < 0 or (days == 0 and time_of_day == "post-market"):
        return "forecast"
    return "reaction" if 0 <= days <= AFTER_DAYS else None


def _articles(number: int, event: Record, candidates: Sequence[Record]) -> list[EarningsArticle]:
    """Return the articles of a report, each URL once."""
    articles: dict[str, EarningsArticle] = {}
    for article in sorted(candidates, key=lambda row: TABLES.index(row["source_table"])):
        url, title = text(article["url"]), text(article["title"])
        published = article["published_at"].replace(tzinfo=UTC)
        days = (published.astimezone(MARKET).date() - event["report_date"]).days
        section = section_of(days, event["time_of_day"])
        if url and title and section and url not in articles:
            articles[url] = EarningsArticle(
                calendar_id=number,
                source_table=article["source_table"],
                title=title,
                url=url,
                summary=text(article["summary"]),
                source=text(article["source"]),
                published_at=published,
                news_section=section,
                days_from_earnings=days,
            )
    return list(articles.values())


def _newest(articles: Sequence[EarningsArticle]) -> Iterator[EarningsArticle]:
    shown: Counter[tuple[str, str]] = Counter()
    for article in sorted(articles, key=lambda item: (item.published_at, item.url), reverse=True):
        shown[article.source_table, article.news_section] += 1
        if shown[article.source_table, article.news_section] <= SHOWN:
            yield article


def _event(number: int, event: Record, articles: Sequence[EarningsArticle]) -> EarningsEvent:
    forecast = sum(article.news_section == "forecast" for article in articles)
    name, estimate = str(event["company_name"]), event["estimate"]
    expected = "미정" if estimate is None else f"{estimate}"
    return read_row(
        EarningsEvent,
        event,
        id=number,
        event_title=f"{name} ({event['symbol']}) 실적 발표",
        event_description=(
            f"{name}의 실적 발표일은 {event['report_date']}, 예상 EPS는 {expected}, "
            f"관련 뉴스는 {len(articles)}건입니다."
        ),
        total_news_count=len(articles),
        forecast_news_count=forecast,
        reaction_news_count=len(articles) - forecast,
    )


# The reports of members within a few weeks; a report has the date of New York.
_EVENTS = """
    SELECT calendar.symbol, company.company_name, calendar.report_date,
           calendar.fiscal_date_ending, calendar.estimate, calendar.currency,
           calendar.time_of_day, company.gics_sector, company.gics_sub_industry,
           company.headquarters
    FROM earnings_calendar AS calendar JOIN sp500_companies AS company USING (symbol)
    WHERE company.is_member
      AND report_date BETWEEN (now() AT TIME ZONE 'America/New_York')::date - 7
                          AND (now() AT TIME ZONE 'America/New_York')::date + 30
"""
# One more day on each side than the sections need, because published_at is UTC.
_NEAR = "published_at >= report_date - 15 AND published_at < report_date + 9"

SPEC = JobSpec(
    name="sp500_earnings_digest",
    title="The S&P 500's earnings reports with their news",
    derive=derive,
    tables=(
        Table(
            "sp500_earnings_calendar",
            EarningsEvent,
            key=("symbol", "report_date"),
            keep=("id",),
            touched="updated_at",
        ),
        Table(
            "sp500_earnings_news", EarningsArticle, key=("calendar_id", "url"), touched="fetched_at"
        ),
    ),
    schedule=Cron("0 10 * * *", NEW_YORK),
    inputs={
        "known": "SELECT id, symbol, report_date FROM sp500_earnings_calendar",
        "events": f"{_EVENTS} ORDER BY report_date, symbol",
        "articles": f"""
            WITH events AS ({_EVENTS})
            SELECT symbol, report_date, 'earnings_news_finnhub' AS source_table, url,
                   headline AS title, summary, source, published_at
            FROM events JOIN (SELECT symbol, url, headline, summary, source, published_at
                              FROM earnings_news_finnhub) AS news USING (symbol) WHERE {_NEAR}
            UNION ALL
            SELECT symbol, report_date, 'company_news', url, title, description, source,
                   published_at
            FROM events JOIN (SELECT symbol, url, title, description, source, published_at
                              FROM company_news) AS news USING (symbol) WHERE {_NEAR}
            UNION ALL
            SELECT symbol, report_date, 'market_news_sentiment', url, title, summary, source,
                   published_at
            FROM events JOIN (SELECT url, title, summary, source, ticker_sentiment,
                                     time_published AS published_at
                              FROM market_news_sentiment) AS news
              ON ticker_sentiment @> jsonb_build_array(
                  jsonb_build_object('ticker', replace(symbol, '.', '-')))
            WHERE {_NEAR}
        """,  # noqa: S608 - of constants
        "market_news": """
            SELECT 'market_news' AS source_table, url, title, description AS summary, source,
                   published_at
            FROM market_news WHERE published_at >= now() AT TIME ZONE 'UTC' - interval '23 days'
        """,
    },
    depends=(
        "earnings_calendar",
        "sp500_companies",
        "earnings_news_finnhub",
        "company_news",
        "market_news",
        "news_sentiment",
    ),
)
