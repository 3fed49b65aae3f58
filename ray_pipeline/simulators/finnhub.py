"""Finnhub's WebSocket: one connection a key, at most 50 symbols, trades in text frames."""

import json
from collections.abc import Iterable

from aiohttp import web

from ray_pipeline.simulators.base import Connection, Simulator, as_json
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.prices import Quote, chunks
from ray_pipeline.simulators.recording import Frame
from ray_pipeline.simulators.venue import VenueSimulator

FinnhubOptions = Options

SYMBOLS_PER_CONNECTION = 50
LONG_PRICE = "123456789012.12345678901234"  # 26 digits
AHEAD_MS = 86_400_000
HALF_SURROGATE = r'{"c":["1"],"p":1.5,"s":"A\ud800","t":1,"v":1}'
WRONG_TYPES = '{"p":"high","s":5,"t":"now","v":[]}'
ONE_CONDITION = '["1"]'


class FinnhubSimulator(Simulator):
    """`async with FinnhubSimulator(FinnhubOptions()) as server: server.url`."""

    @property
    def url(self) -> str:
        """Where clients connect, without the key."""
        return f"ws://{self.options.host}:{self.port}"

    @property
    def endpoint(self) -> dict[str, str]:
        """The section of the settings that makes this server the venue."""
        return {"ws_url": self.url}

    def routes(self) -> list[web.RouteDef]:
        """Return the one endpoint."""
        return [web.get("/", self._connect)]

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("token", "")
        if not key:
            return web.Response(status=401, text="Invalid API key")
        return await self.serve_socket(request, key)

    async def on_text(self, connection: Connection, text: str) -> None:
        """Subscribe to or unsubscribe from a symbol; answer anything else with an error."""
        try:
            message = json.loads(text)
            kind, symbol = message["type"], message["symbol"]
        except (ValueError, KeyError, TypeError):
            await self.send(connection, as_json({"msg": "Invalid message", "type": "error"}))
            return
        if kind == "unsubscribe":
            connection.symbols.pop(symbol, None)
        elif kind == "subscribe" and symbol not in self.faults.ignored:
            await self._subscribe(connection, symbol)

    async def _subscribe(self, connection: Connection, symbol: str) -> None:
        symbols = self.options.symbols
        if symbols is not None and symbol not in symbols:
            await self.send(
                connection, as_json({"msg": f"Invalid symbol {symbol}", "type": "error"})
            )
        elif len(connection.symbols) >= SYMBOLS_PER_CONNECTION and symbol not in connection.symbols:
            await self.send(
                connection, as_json({"msg": "Subscribing to too many symbols", "type": "error"})
            )
        else:
            connection.symbols[symbol] = None

    def ping_text(self) -> str:
        """Return Finnhub's ping, an application frame."""
        return '{"type":"ping"}'

    async def send_generated(self, due: int) -> None:
        """Divide the trades among the connections by their number of symbols."""
        live = [(client, self._sending(client)) for client in list(self.connections)]
        total = sum(len(symbols) for _, symbols in live)
        if not total:
            return
        # The rest of the division goes to connections at random, weighted by their symbols.
        weights = [len(symbols) for _, symbols in live]
        shares = [due * weight // total for weight in weights]
        for index in self.random.choices(range(len(live)), weights, k=due - sum(shares)):
            shares[index] += 1
        for (connection, symbols), share in zip(live, shares, strict=True):
            for frame in self.generate(symbols, share):
                await self.send_frame(connection, frame)

    def _sending(self, connection: Connection) -> list[str]:
        return [symbol for symbol in connection.symbols if symbol not in self.faults.dropped]

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield frames with `count` trades, their time now."""
        for size in chunks(count, self.random) if symbols else ():
            # A recorded frame holds trades of one symbol.
            symbol = self.random.choice(symbols)
            quotes = [self.walk.next(symbol) for _ in range(size)]
            yield self._frame(quotes, int(self.clock() * 1000))

    @staticmethod
    def _frame(quotes: list[Quote], at_ms: int) -> Frame:
        trades = ",".join(_trade(quote, at_ms) for quote in quotes)
        symbols = frozenset(quote.symbol for quote in quotes)
        return Frame(at_ms, symbols, f'{{"data":[{trades}],"type":"trade"}}', len(quotes))

    def fault_frame(self, kind: str, connection: Connection, size_bytes: int) -> str:
        """
        Return a faulty frame.

        Raises:
            ValueError: If the kind is unknown.
        """
        now_ms = int(self.clock() * 1000)
        symbol = next(iter(connection.symbols), "AAPL")
        good = f'{{"c":["1"],"p":1.5,"s":"{symbol}","t":{now_ms},"v":1}}'
        frames = {
            "malformed": '{"data":[{"p":1.5,"s":',
            "huge": '{"data":[' + '"' + "x" * size_bytes + '"' + '],"type":"trade"}',
            "truncated": f'{{"data":[{good}],"type":"tra',
            "wrong_type": f'{{"data":[{WRONG_TYPES},{good}],"type":"trade"}}',
            "bad_trade": f'{{"data":[{good},{HALF_SURROGATE},{good}],"type":"trade"}}',
            "unknown_type": '{"type":"surprise","data":{}}',
            "duplicate": connection.last_text or f'{{"data":[{good},{good}],"type":"trade"}}',
            "out_of_order": f'{{"data":[{good},{_at(symbol, now_ms - 60_000)}],"type":"trade"}}',
            "future": f'{{"data":[{_at(symbol, now_ms + AHEAD_MS)}],"type":"trade"}}',
            "unsubscribed": f'{{"data":[{_at("NOBODY", now_ms)}],"type":"trade"}}',
            "null_conditions": f'{{"data":[{good.replace(ONE_CONDITION, "null")}],"type":"trade"}}',
            "long_price": f'{{"data":[{good.replace("1.5", LONG_PRICE)}],"type":"trade"}}',
        }
        if kind not in frames:
            raise ValueError(f"no such kind; there are {sorted([*frames, 'raw'])}")
        return frames[kind]


SIMULATOR = VenueSimulator(
    name="finnhub",
    help="Serve Finnhub's WebSocket: one connection a key, 50 symbols each, trades.",
    make=FinnhubSimulator,
    rate=100.0,
    demo_rate=400.0,
    addresses=("url",),
)


def _trade(quote: Quote, at_ms: int) -> str:
    conditions = ",".join(f'"{condition}"' for condition in quote.conditions)
    trade = f'"p":{quote.price},"s":"{quote.symbol}","t":{at_ms},"v":{quote.size}'
    return f'{{"c":[{conditions}],{trade}}}'


def _at(symbol: str, at_ms: int) -> str:
    return f'{{"c":["1"],"p":1.25,"s":"{symbol}","t":{at_ms},"v":2}}'
