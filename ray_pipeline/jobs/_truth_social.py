"""The columns and the plain text of a status, for the datasets of Truth Social."""

from datetime import datetime
from html.parser import HTMLParser

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.columns import column, table_row
from ray_pipeline.jobs.spec import Json
from ray_pipeline.jobs.values import count, elements

BREAKS = frozenset({"br", "p", "div", "li"})


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag == "br":
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def clean(content: str) -> str:
    """Return the text of a status: no tags, entities decoded, one line for each paragraph."""
    parser = _Text()
    parser.feed(content)
    parser.close()
    lines = (line.strip() for line in "".join(parser.parts).splitlines())
    return "\n".join(line for line in lines if line)


def _content(value: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadValue(f"{str(value)[:40]!r} is not a text")
    return value


def _clean_content(value: Json) -> str:
    return clean(_content(value))


def _length(value: Json) -> int | None:
    # A status without media has an empty list, null, or no such key.
    return None if value is None else len(elements(value))


@table_row
class TruthStatus:
    """The columns that every table of statuses has."""

    id: str
    created_at: datetime
    username: str = column("account", "username")
    account_id: str = column("account", "id")
    display_name: str | None = column("account", "display_name")
    content: str = column(read=_content)
    clean_content: str = column("content", read=_clean_content)
    language: str | None
    replies_count: int = column(read=count, otherwise=0)
    reblogs_count: int = column(read=count, otherwise=0)
    favourites_count: int = column(read=count, otherwise=0)
    upvotes_count: int = column(read=count, otherwise=0)
    downvotes_count: int = column(read=count, otherwise=0)
    url: str | None
    uri: str | None
    has_media: bool = column("media_attachments")
    media_count: int = column("media_attachments", read=_length, otherwise=0)
    media_attachments: list[Json] | None
    tags: list[Json]
    mentions: list[Json]
    visibility: str = column(otherwise="public")
    sensitive: bool
    in_reply_to_id: str | None
    source: str = "truth_social"
