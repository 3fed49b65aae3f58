"""
The 25 queries for news on each weekday: the type that is stored, and the query.

Monday: energy and manufacturing; Tuesday: technology and IPOs; Wednesday: blockchain and finance;
Thursday: earnings and healthcare; Friday: retail and M&A; Saturday: real estate and macro; Sunday:
markets and policy. A free key permits 25 calls a day.
"""

from ray_pipeline.jobs._data_files import read_list

WEEKDAYS = 7  # 0 is Monday

_ROWS = read_list("news_queries")
QUERIES: tuple[tuple[tuple[str, str], ...], ...] = tuple(
    tuple((row["type"], row["query"]) for row in _ROWS if row["weekday"] == str(weekday))
    for weekday in range(WEEKDAYS)
)
