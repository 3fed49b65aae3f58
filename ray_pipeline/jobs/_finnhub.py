"""Check which company the news of Finnhub are about: each article names the related symbols."""

from ray_pipeline.jobs.spec import Json, check_one_of
from ray_pipeline.jobs.values import at


def check_related(articles: Json, symbol: str) -> None:
    """
    Compare the related symbols of articles with the requested one; articles may name none.

    Raises:
        OtherItemAnswered: If no article is related to the symbol, and one is related to another.
    """
    if isinstance(articles, list):  # `each` refuses anything else
        related = (at(article, "related") for article in articles if isinstance(article, dict))
        names = (name for names in related if isinstance(names, str) for name in names.split(","))
        check_one_of(names, symbol)
