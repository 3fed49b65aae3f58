"""What Truth Social's datasets share: a status's parts, and its text without markup."""

from html.parser import HTMLParser

from ray_pipeline.jobs.spec import Json
from ray_pipeline.jobs.values import at

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
    """Return a status's text: no tags, entities decoded, a line a paragraph."""
    parser = _Text()
    parser.feed(content)
    parser.close()
    lines = (line.strip() for line in "".join(parser.parts).splitlines())
    return "\n".join(line for line in lines if line)


def count(status: Json, name: str) -> int:
    """Return a counter; 0 where the status has none."""
    return int(status.get(name) or 0)


def identity(status: Json) -> tuple[str, str, str | None]:
    """Return id and name of a status's account, and the name it shows."""
    account = status["account"]
    return str(account["id"]), str(account["username"]), at(account, "display_name")
