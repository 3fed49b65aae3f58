"""The page in a real browser, over real stores."""

import json
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import pytest

from ray_pipeline.local.ports import reserve
from tests.integration.api.serving import TOKEN, configure, serving, trade, writing
from tests.integration.page.browser import Page, chromium, executable
from tests.support import eventually

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")

HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture
def configured(postgres_dsn, redis_url):
    """Settings of an API over this test's own stores."""
    return configure(postgres_dsn, redis_url)


async def opened(page: Page, url: str) -> None:
    """Open the page with its token, and wait until values flow."""
    await page.open(f"{url}/#token={TOKEN}")
    await eventually(lambda: page.text("#state"), what="the page")

    async def live() -> bool:
        return await page.text("#state") == "live"

    await eventually(live, what="a live connection")


async def price(page: Page, symbol: str) -> str:
    rows = await page.ask(
        "[...document.querySelectorAll('#values tr')].map(row => row.innerText.split('\\t'))"
    )
    return next((row[1] for row in rows if row[0].strip() == symbol), "")


async def shows(page: Page, symbol: str, text: str) -> None:
    async def there() -> bool:
        return await price(page, symbol) == text

    await eventually(there, what=f"{symbol} at {text}")


async def test_it_loads_and_moves_with_the_store(configured):
    """No complaint in the console, nothing from another host, and the token in no address."""
    async with writing(configured) as writer, serving(configured) as client, chromium() as page:
        await writer.write(trade(1), trade(2, "MSFT"))
        await opened(page, client.url)
        await shows(page, "AAPL", "100.01")

        await writer.write(trade(3, timestamp_ms=int(time.time() * 1000)))
        await shows(page, "AAPL", "100.03")

        async def drawn() -> bool:
            return "close" in await page.text("#chart-text")

        await eventually(drawn, what="a chart")
        assert await page.ask("document.querySelectorAll('#chart canvas').length") > 0
        assert page.complaints == []
        assert {urlsplit(url).netloc for url in page.requests if not url.startswith("data:")} == {
            urlsplit(client.url).netloc
        }
        assert TOKEN not in json.dumps([url.partition("#")[0] for url in page.requests])
        assert TOKEN not in str(await page.ask("location.href"))


async def test_it_survives_a_restart_of_the_server(postgres_dsn, redis_url):
    """It says that it waits, and goes on by itself."""
    with reserve() as held:  # also while the server is away
        await _survives_a_restart(postgres_dsn, redis_url, port=held.ports[0])


async def _survives_a_restart(postgres_dsn: str, redis_url: str, *, port: int) -> None:
    configured = configure(postgres_dsn, redis_url, api={"port": port})
    async with writing(configured) as writer, chromium() as page:
        await writer.write(trade(1))
        async with serving(configured, port=port) as client:
            await opened(page, client.url)
            await shows(page, "AAPL", "100.01")

        async def waiting() -> bool:
            return (await page.text("#state")).startswith("waiting")

        await eventually(waiting, what="the outage noticed")
        await writer.write(trade(2, timestamp_ms=int(time.time() * 1000)))
        async with serving(configured, port=port):
            await shows(page, "AAPL", "100.02")

            async def calm() -> bool:
                return await page.text("#banner") == "" and await page.text("#state") == "live"

            await eventually(calm, what="an end of the warning")


async def test_a_wrong_token_is_asked_for_again(configured):
    async with serving(configured) as client, chromium() as page:
        await page.open(f"{client.url}/#token=wrong")

        async def asked() -> bool:
            return bool(await page.ask("document.querySelector('#login')?.hidden === false"))

        await eventually(asked, what="the form")
        await page.ask(
            f"document.querySelector('#token').value = '{TOKEN}';"
            "document.querySelector('#login').requestSubmit()"
        )

        async def inside() -> bool:
            return "sp500" in await page.text("#feeds")

        await eventually(inside, what="the page")


async def test_what_was_collected_is_text_and_never_markup(configured, postgres_dsn):
    """A cause and a reason that try to run are read, not run."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO gaps (feed, shard, epoch, kind, cause, symbols, from_at) "
            "VALUES ('sp500', 0, 1, 'disconnected', %s, %s, now())",
            (HOSTILE, [HOSTILE]),
        )
        connection.execute(
            "INSERT INTO job_runs (job, slot, state, trigger, holder, why, started_at)"
            " VALUES ('cpi', now(), 'failed', 'hand', 'x', %s, now())",
            (HOSTILE,),
        )
    async with serving(configured) as client, chromium() as page:
        await opened(page, client.url)
        for tab in ("gaps", "jobs"):
            await page.ask(f"document.querySelector('#tab-{tab}').click()")

            async def said(tab=tab) -> bool:
                return HOSTILE in await page.text(f"#{tab}")

            await eventually(said, what=f"the text in {tab}")
        assert await page.ask("window.hacked === undefined")
        assert await page.ask("document.querySelectorAll('img').length") == 0


# Words that go on in the next line, unless very long, and tables wider than what shows them.
CROWDED = """
(() => {
  const found = [...document.querySelectorAll(".scroll, .wide")]
    .filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth)
    .map((box) => `${box.scrollWidth} pixels in ${box.clientWidth}: ${box.innerText.slice(0, 40)}`);
  for (const cell of document.querySelectorAll("td, th")) {
    if (!cell.checkVisibility()) continue;
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const words = /(?<![^\\s_-])[^\\s_-]{1,20}(?![^\\s_-])/g;
      for (const word of texts.currentNode.data.matchAll(words)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((box) => box.top));
        if (lines.size > 1) found.push(word[0]);
      }
    }
  }
  return found;
})()
"""


async def test_every_view_fits_a_phone_and_has_something_to_say(configured, postgres_dsn):
    """At 360 pixels nothing is wider than the screen; an empty view says what would fill it."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO job_runs (job, slot, state, trigger, holder, started_at)"
            " VALUES ('bithumb_coingecko_mapping', now(), 'succeeded', 'hand', 'x', now())"
        )
    async with writing(configured) as writer, serving(configured) as client, chromium() as page:
        await writer.write(*(trade(seq, f"GOOG.{seq}") for seq in range(1, 40)))
        await page.size(360, 740)
        await opened(page, client.url)
        for tab in ("live", "flow", "gaps", "jobs", "quotas", "tables"):
            await page.ask(f"document.querySelector('#tab-{tab}').click()")

            async def filled(tab=tab) -> bool:
                return len(await page.text(f"#{tab}")) > 20

            await eventually(filled, what=f"the view {tab}")
            assert await page.ask("document.documentElement.scrollWidth") <= 360, tab
            assert await page.ask(CROWDED) == [], tab
        assert page.complaints == []


async def test_the_keyboard_reaches_every_view_and_the_chart(configured):
    """Arrows between the views, Tab to a symbol, Enter for its chart."""
    async with writing(configured) as writer, serving(configured) as client, chromium() as page:
        await writer.write(trade(1), trade(2, "MSFT"))
        await opened(page, client.url)
        await shows(page, "MSFT", "100.02")
        await page.ask("document.querySelector('#tab-live').focus()")
        await page.press("ArrowRight")
        assert await page.ask("document.activeElement.id") == "tab-flow"
        await page.press("End")
        assert await page.ask("document.querySelector('#tables').hidden") is False

        await page.ask("document.querySelector('#tab-live').click()")
        for _ in range(20):
            if await page.ask("document.activeElement.innerText") == "MSFT":
                break
            await page.press("Tab")
        await page.press("Enter")

        async def chosen() -> bool:
            return (await page.text("#chart-title")).startswith("MSFT")

        await eventually(chosen, what="the chart of MSFT")


CONTRAST = """
(() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map((one) => {
      const part = one / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const back = (node) => {
    const colour = node ? getComputedStyle(node).backgroundColor : "rgb(255, 255, 255)";
    return colour === "rgba(0, 0, 0, 0)" ? back(node.parentElement) : colour;
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    if (!own || !node.checkVisibility() || node.closest("svg, noscript, option")) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(back(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${node.tagName} ${node.innerText}: ${ratio.toFixed(2)}`);
  }
  return found;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_in_both_schemes(configured, postgres_dsn, scheme):
    """At least 4.5 to 1, what WCAG AA asks of text."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for state in ("succeeded", "failed", "deferred"):
            connection.execute(
                "INSERT INTO job_runs (job, slot, state, trigger, holder, started_at)"
                " VALUES (%s, now(), %s, 'hand', 'x', now())",
                ({"succeeded": "cpi", "failed": "inflation"}.get(state, "top_gainers"), state),
            )
    async with writing(configured) as writer, serving(configured) as client, chromium() as page:
        await writer.write(trade(1), trade(2, "MSFT", created_at=datetime.now(UTC)))
        await page.scheme(scheme)
        await opened(page, client.url)
        await shows(page, "AAPL", "100.01")
        for tab in ("live", "jobs", "tables"):
            await page.ask(f"document.querySelector('#tab-{tab}').click()")

            async def filled(tab=tab) -> bool:
                return len(await page.text(f"#{tab}")) > 20

            await eventually(filled, what=f"the view {tab}")
            assert await page.ask(CONTRAST) == []
