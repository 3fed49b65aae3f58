"""The list of Bithumb's markets."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import Body, Simulated, as_json

MARKETS = """
    BTC ETH XRP SOL DOGE ADA TRX LINK DOT UNI AAVE ATOM SHIB USDT BNB
""".split()


def generate(path: str, _query: Mapping[str, str], _random: Random) -> Body | None:
    """Answer /v1/market/all."""
    if path != "/v1/market/all":
        return None
    return as_json(
        [
            {
                "market": f"KRW-{symbol}",
                "korean_name": f"코인 {symbol}",
                "english_name": symbol.title(),
                "market_warning": "NONE",
            }
            for symbol in MARKETS
        ]
    )


SIMULATED = Simulated(generate)
