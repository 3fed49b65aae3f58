"""Generated files that name the feeds, and pages that name files, headings and commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_pipeline.docs import ROOT, files
from ray_pipeline.feeds.feed_registry import FEEDS

ALERTS = ROOT / "kuberay" / "components" / "monitoring" / "alerts.yaml"
TOP_PAGES = [ROOT / "README.md", ROOT / "README.ko.md", ROOT / "CONTRIBUTING.md"]
PAGES = sorted([*TOP_PAGES, *(ROOT / "docs").glob("*.md")])
MODULE = re.compile(r"`([\w/<>.-]+\.py)[`:]")
PLACEHOLDER = re.compile(r"<\w+>")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+#\s.*")
# A new dataset has the name that the reader chooses; the guide calls it `my_series`.
EXAMPLES = frozenset({"ray_pipeline/jobs/my_series.py", "tests/unit/jobs/test_my_series.py"})


def page_id(path: Path) -> str:
    """Return the name of a page relative to the repository."""
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub derives them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[str]:
    """Yield the lines of code blocks, without comments; figures of the data flow are left out."""
    for line in page.read_text(encoding="utf-8").splitlines():
        command = COMMENT.sub("", line).strip()
        if line.startswith("    ") and command and not re.search("[\u2500-\u257f]", line):
            yield command


def test_both_alerts_of_stalled_feeds_know_every_feed_that_never_closes():
    """One alert leaves these feeds out, the other one covers them: together they cover all."""
    always_open = "|".join(feed.name for feed in FEEDS if feed.calendar is None)

    alerts = files()[ALERTS]

    assert f'ray_pipeline_feed_age_s{{feed!~"{always_open}"}}' in alerts
    assert f'ray_pipeline_feed_age_s{{feed=~"{always_open}"}}' in alerts


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_module_that_a_page_names_exists(page):
    """In the repository or in the package; `feeds/<venue>.py` stands for any module of a folder."""
    named = set(MODULE.findall(page.read_text(encoding="utf-8"))) - EXAMPLES
    missing = {
        path
        for path in named
        if path != "utils.py"  # the guide says that there is none
        and not any(
            True
            for folder in (ROOT, ROOT / "ray_pipeline")
            for _ in folder.glob(PLACEHOLDER.sub("*", path))
        )
    }

    assert missing == set()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_file_and_a_heading(page):
    """A heading that is renamed breaks the links to it without a notice."""
    broken = []
    for path, anchor in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")

    assert broken == []


def test_the_korean_readme_has_the_commands_of_the_english_one():
    """In the same order, and with the same samples, code and linked pages."""
    english, korean = ROOT / "README.md", ROOT / "README.ko.md"
    english_links, korean_links = (
        {path for path, _ in LINK.findall(page.read_text("utf-8"))} for page in (english, korean)
    )

    assert list(commands(korean)) == list(commands(english))
    assert FENCED.findall(korean.read_text("utf-8")) == FENCED.findall(english.read_text("utf-8"))
    assert korean_links - {"README.md"} == english_links - {"README.ko.md"}
