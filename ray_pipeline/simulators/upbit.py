"""Upbit: tickers in binary frames over a WebSocket, and the list of markets over REST."""

import json
from datetime import UTC, datetime

from aiohttp import web

from ray_pipeline.simulators.base import as_json
from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.recording import Frame
from ray_pipeline.simulators.venue import VenueSimulator

UpbitOptions = Options

OTHER_MARKETS = ("BTC-ETH", "USDT-BTC")  # listed, but not collected


class UpbitSimulator(BithumbSimulator):
    """
    `async with UpbitSimulator(UpbitOptions()) as server: server.ws_url, server.rest_url`.

    Upbit's protocol is that of Bithumb, with other times: date and time of a frame are UTC.
    """

    async def __aenter__(self) -> "UpbitSimulator":
        """Listen."""
        await super().__aenter__()
        return self

    def _frame(self, code: str, stream_type: str) -> Frame:
        frame = super()._frame(code, stream_type)
        ticker = json.loads(frame.text)
        traded_at = datetime.fromtimestamp(ticker["trade_timestamp"] / 1000, UTC)
        ticker["trade_date"] = traded_at.strftime("%Y%m%d")
        ticker["trade_time"] = traded_at.strftime("%H%M%S")
        return Frame(frame.at_ms, frame.symbols, as_json(ticker), 1)

    async def _answer_markets(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {"market": code, "korean_name": code.partition("-")[2], "english_name": code}
                for code in (*self._markets, *OTHER_MARKETS)
            ]
        )


SIMULATOR = VenueSimulator(
    name="upbit",
    help="Serve Upbit's WebSocket and its list of markets: tickers of some 60 markets.",
    make=UpbitSimulator,
    rate=50.0,
    demo_rate=60.0,
    addresses=("ws_url", "rest_url"),
)
