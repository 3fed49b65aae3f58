"""Bithumb: WebSocket v2 with tickers in binary frames, and REST, on one port."""

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from aiohttp import web

from ray_pipeline.simulators.base import Connection, Simulator, as_json
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.recording import Frame
from ray_pipeline.simulators.venue import VenueSimulator

BithumbOptions = Options

KST = timezone(timedelta(hours=9))
SHIFT_MS = 9 * 3_600_000
MOST_CODES = 200
COINS = """
BTC ETH XRP SOL DOGE ADA TRX LINK AVAX XLM SUI BCH HBAR LTC SHIB DOT UNI AAVE PEPE NEAR ETC APT ICP
ONDO MNT VET ATOM ALGO FIL ARB OP STX INJ SEI GRT IMX THETA SAND MANA AXS EOS XTZ FLOW NEO CHZ GALA
KAIA QTUM ZIL BAT ENJ ANKR ICX ONT WEMIX LRC STORJ SNX COMP CRV MASK LDO
"""
MARKETS = tuple(f"KRW-{coin}" for coin in COINS.split())


class BithumbSimulator(Simulator):
    """`async with BithumbSimulator(BithumbOptions()) as server: server.ws_url, server.rest_url`."""

    binary = True

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(options, clock=clock)
        self._markets = options.symbols or tuple(sorted(self.replay.symbols)) or MARKETS
        self._last: dict[str, dict[str, object]] = {}

    @property
    def ws_url(self) -> str:
        """Where sockets connect."""
        return f"ws://{self.options.host}:{self.port}/websocket/v1"

    @property
    def rest_url(self) -> str:
        """Base of the REST API."""
        return f"http://{self.options.host}:{self.port}"

    @property
    def endpoint(self) -> dict[str, str]:
        """The section of the settings that makes this server the venue."""
        return {"ws_url": self.ws_url, "rest_url": self.rest_url}

    def routes(self) -> list[web.RouteDef]:
        """Return the socket and the REST endpoints."""
        return [
            web.get("/websocket/v1", self._connect),
            web.get("/v1/ticker", self._answer_tickers),
            web.get("/v1/market/all", self._answer_markets),
        ]

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, "")

    async def on_text(self, connection: Connection, text: str) -> None:
        """Replace the subscription. After an error the server closes with 1000."""
        if text == "PING":
            await self.send(connection, as_json({"status": "UP"}))
            return
        error, codes = _subscription(text)
        if error is not None:
            await self.send(connection, as_json({"error": error}))
            await connection.socket.close(code=1000)
            return
        accepted = [
            code for code in codes if code in self._markets and code not in self.faults.ignored
        ]
        connection.symbols = dict.fromkeys(accepted)
        for code in accepted if not self.replay.frames and not self.faults.silent else ():
            await self.send_frame(connection, self._frame(code, "SNAPSHOT"))

    async def send_generated(self, due: int) -> None:
        """Send `due` tickers to each connection."""
        for connection in list(self.connections):
            symbols = [code for code in connection.symbols if code not in self.faults.dropped]
            for frame in self.generate(symbols, due):
                await self.send_frame(connection, frame)

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield one ticker a frame."""
        for _ in range(count if symbols else 0):
            yield self._frame(self.random.choice(symbols), "REALTIME")

    def _frame(self, code: str, stream_type: str) -> Frame:
        # A snapshot repeats the latest trade of the market.
        snapshot = self._last.get(code) if stream_type == "SNAPSHOT" else None
        ticker = snapshot or self._next(code)
        at_ms = int(str(ticker["timestamp"]))
        # The trade's own time, not the ticker's: they can lie in different seconds.
        moment = datetime.fromtimestamp(int(str(ticker["trade_timestamp"])) / 1000, KST)
        text = as_json(
            {
                "type": "ticker",
                "code": code,
                **ticker,
                "trade_date": moment.strftime("%Y%m%d"),
                "trade_time": moment.strftime("%H%M%S"),
                "ask_bid": "BID",
                "market_state": "ACTIVE",
                "is_trading_suspended": False,
                "delisting_date": "",
                "market_warning": "NONE",
                "stream_type": stream_type,
            }
        )
        return Frame(at_ms, frozenset({code}), text, 1)

    def _next(self, code: str) -> dict[str, object]:
        """Return the market's next values, with true times."""
        now_ms = int(self.clock() * 1000)
        quote = self.walk.next(code)
        price = float(quote.price) * 100
        before = self._last.get(code, {})
        opening = float(str(before.get("opening_price", price)))
        volume = float(Decimal(quote.size) / 1000)
        traded = float(str(before.get("acc_trade_volume", 0))) + volume
        change = round(price - opening, 4)
        ticker: dict[str, object] = {
            "opening_price": opening,
            "high_price": max(price, float(str(before.get("high_price", price)))),
            "low_price": min(price, float(str(before.get("low_price", price)))),
            "trade_price": round(price, 4),
            "prev_closing_price": opening,
            "change": "RISE" if change > 0 else "FALL" if change < 0 else "EVEN",
            "change_price": abs(change),
            "signed_change_price": change,
            "change_rate": round(abs(change) / opening, 8),
            "signed_change_rate": round(change / opening, 8),
            "trade_volume": volume,
            "acc_trade_volume": round(traded, 8),
            "acc_trade_volume_24h": round(traded, 8),
            "acc_trade_price": round(traded * price, 4),
            "acc_trade_price_24h": round(traded * price, 4),
            "highest_52_week_price": round(opening * 2, 4),
            "highest_52_week_date": "2026-03-01",
            "lowest_52_week_price": round(opening / 2, 4),
            "lowest_52_week_date": "2026-06-01",
            "trade_timestamp": now_ms - 20,
            "timestamp": now_ms,
        }
        self._last[code] = ticker
        return ticker

    async def _answer_tickers(self, request: web.Request) -> web.Response:
        if refusal := self._refusal():
            return refusal
        codes = [code for code in request.query.get("markets", "").split(",") if code]
        if len(codes) > MOST_CODES:
            return web.json_response(
                {"error": {"name": 400, "message": "too many codes"}}, status=400
            )
        if not codes or any(code not in self._markets for code in codes):
            # The provider sends this under 200.
            return web.json_response({"error": {"name": 404, "message": "Code not found"}})
        return web.json_response([self._rest(code) for code in codes])

    def _rest(self, code: str) -> dict[str, object]:
        """Return a ticker as REST writes it: date in UTC, stamps nine hours ahead."""
        ticker = dict(self._last.get(code) or self._next(code))
        trade_ms = int(str(ticker["trade_timestamp"]))
        utc = datetime.fromtimestamp(trade_ms / 1000, UTC)
        kst = utc.astimezone(KST)
        return {
            "market": code,
            "trade_date": utc.strftime("%Y%m%d"),
            "trade_time": utc.strftime("%H%M%S"),
            "trade_date_kst": kst.strftime("%Y%m%d"),
            "trade_time_kst": kst.strftime("%H%M%S"),
            **ticker,
            "trade_timestamp": trade_ms + SHIFT_MS,
            "timestamp": int(str(ticker["timestamp"])) + SHIFT_MS,
        }

    async def _answer_markets(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {"market": code, "korean_name": code.partition("-")[2], "english_name": code}
                for code in self._markets
            ]
        )

    def fault_frame(self, kind: str, connection: Connection, size_bytes: int) -> str:
        """
        Return a faulty frame.

        Raises:
            ValueError: If the kind is unknown.
        """
        code = next(iter(connection.symbols), "KRW-BTC")
        ticker = json.loads(self._frame(code, "REALTIME").text)
        frames = {
            "malformed": '{"type":"ticker","code":',
            "huge": as_json({"type": "ticker", "code": code, "junk": "x" * size_bytes}),
            "truncated": as_json(ticker)[:-20],
            "wrong_type": as_json({**ticker, "trade_price": "high", "timestamp": "now"}),
            "unknown_type": as_json({"type": "surprise", "code": code}),
            "duplicate": connection.last_text or as_json(ticker),
            "out_of_order": as_json({**ticker, "timestamp": ticker["timestamp"] - 60_000}),
            "future": as_json({**ticker, "timestamp": ticker["timestamp"] + 86_400_000}),
            "unsubscribed": as_json({**ticker, "code": "KRW-NOBODY"}),
            "null_conditions": as_json({**ticker, "trade_volume": None, "delisting_date": None}),
            "long_price": as_json(ticker).replace(
                f'"trade_price":{ticker["trade_price"]}',
                '"trade_price":123456789012.12345678901234',
            ),
        }
        if kind not in frames:
            raise ValueError(f"no such kind; there are {sorted([*frames, 'raw'])}")
        return frames[kind]


SIMULATOR = VenueSimulator(
    name="bithumb",
    help="Serve Bithumb's WebSocket (v2) and REST API: tickers of some 60 markets.",
    make=BithumbSimulator,
    rate=50.0,
    demo_rate=60.0,
    addresses=("ws_url", "rest_url"),
)


def _subscription(text: str) -> tuple[dict[str, str] | None, list[str]]:
    """Return the error of a request, or its codes."""
    try:
        parts = json.loads(text)
    except ValueError:
        return {"name": "WRONG_FORMAT", "message": "Format 이 맞지 않습니다."}, []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return {"name": "WRONG_FORMAT", "message": "Format 이 맞지 않습니다."}, []
    if not any(part.get("ticket") for part in parts):
        message = "티켓이 존재하지 않거나, 유효하지 않습니다."
        return {"name": "NO_TICKET", "message": message}, []
    asked = next((part for part in parts if "type" in part), None)
    if asked is None:
        return {"name": "NO_TYPE", "message": "type 필드가 존재하지 않습니다."}, []
    if asked["type"] != "ticker":
        return {
            "name": "INVALID_PARAM",
            "message": f"{asked['type']} 은 지원하지 않는 타입입니다.",
        }, []
    if not asked.get("codes"):
        return {"name": "NO_CODES", "message": "codes 필드가 존재하지 않습니다."}, []
    return None, list(asked["codes"])
