"""CoinGecko's answers."""

from collections.abc import Mapping
from random import Random

from ray_pipeline.simulators.bodies.body import JSON, Body, Simulated, as_json, moments

COINS = {
    "bitcoin": "btc", "ethereum": "eth", "ripple": "xrp", "tether": "usdt", "binancecoin": "bnb",
    "solana": "sol", "dogecoin": "doge", "shiba-inu": "shib", "cardano": "ada", "tron": "trx",
    "chainlink": "link", "polkadot": "dot", "uniswap": "uni", "aave": "aave", "cosmos": "atom",
}  # fmt: skip
EXCHANGES = {"upbit": "Upbit", "bithumb": "Bithumb", "binance": "Binance", "kraken": "Kraken"}
GLOBAL_COINS = ("btc", "eth", "bnb", "xrp", "ada", "sol", "doge")


def generate(path: str, query: Mapping[str, str], random: Random) -> Body | None:
    """Answer /coins/markets, /coins/{id}, /coins/{id}/tickers, /derivatives and /global."""
    parts = path.strip("/").split("/")
    if parts == ["coins", "markets"]:
        rows = [_market(random, coin, rank) for rank, coin in enumerate(COINS, 1)]
        return as_json(rows if query.get("page", "1") == "1" else [])
    if parts[0] == "coins" and len(parts) == 2:
        return as_json(_coin(random, parts[1])) if parts[1] in COINS else None
    if parts[0] == "coins" and parts[2:] == ["tickers"]:
        if query.get("page", "1") != "1":
            return as_json({"name": parts[1].title(), "tickers": []})
        exchanges = query.get("exchange_ids", ",".join(EXCHANGES)).split(",")
        return as_json(
            {"name": parts[1].title(), "tickers": [_ticker(random, parts[1], e) for e in exchanges]}
        )
    if parts == ["derivatives"]:
        return as_json([_derivative(random, coin) for coin in COINS.values()])
    if parts == ["global"]:
        return as_json({"data": _global(random)})
    return None


def _market(random: Random, coin: str, rank: int) -> dict[str, object]:
    price = random.uniform(0.1, 60_000) / rank
    return {
        "id": coin,
        "symbol": COINS[coin],
        "name": coin.title(),
        "image": f"https://coins.example.com/{coin}.png",
        "current_price": round(price, 6),
        "market_cap": int(price * 10**8),
        "market_cap_rank": rank,
        "total_volume": int(price * 10**6),
        "ath": round(price * 2, 6),
        "ath_date": "2021-11-10T14:24:11.849Z",
        "atl": round(price / 100, 8),
        "atl_date": "2013-07-06T00:00:00.000Z",
        "circulating_supply": 19_000_000.0,
        "total_supply": 21_000_000.0,
        "max_supply": None if rank % 2 else 21_000_000.0,
        "last_updated": f"{moments(random, 1)[0]:%Y-%m-%dT%H:%M:%S.000Z}",
    }


def _coin(random: Random, coin: str) -> dict[str, object]:
    price = random.uniform(0.1, 60_000)
    return {
        "id": coin,
        "symbol": COINS[coin],
        "name": coin.title(),
        "web_slug": coin,
        "description": {"en": f"{coin} is a coin."},
        "genesis_date": "2009-01-03",
        "country_origin": "",
        "categories": ["Layer 1 (L1)"],
        "links": {
            "homepage": ["https://example.com", ""],
            "blockchain_site": ["https://chain.example.com"],
            "twitter_screen_name": coin,
            "facebook_username": "",
            "telegram_channel_identifier": "",
            "subreddit_url": f"https://reddit.example.com/{coin}",
            "repos_url": {"github": ["https://git.example.com/a"], "bitbucket": []},
        },
        "image": {"thumb": "t.png", "small": "s.png", "large": "l.png"},
        "market_cap_rank": 1,
        "market_data": {
            "current_price": {"usd": price, "krw": price * 1300},
            "market_cap": {"usd": int(price * 10**7)},
            "market_cap_rank": 1,
            "total_volume": {"usd": int(price * 10**5)},
            "ath": {"usd": price * 2},
            "ath_change_percentage": {"usd": -50.5},
            "ath_date": {"usd": "2021-11-10T14:24:11.849Z"},
            "atl": {"usd": price / 100},
            "atl_change_percentage": {"usd": 9_900.1},
            "atl_date": {"usd": "2013-07-06T00:00:00.000Z"},
            "total_supply": 21_000_000.0,
            "circulating_supply": 19_000_000.0,
            "max_supply": 21_000_000.0,
            "price_change_24h": 12.5,
            "price_change_percentage_24h": 1.2,
            "price_change_percentage_7d": -3.4,
            "price_change_percentage_30d": 7.7,
        },
        "community_data": {"twitter_followers": 5, "reddit_subscribers": 6,
                           "telegram_channel_user_count": None},
        "developer_data": {"forks": 1, "stars": 2, "total_issues": 3, "closed_issues": 4,
                           "commit_count_4_weeks": 5},
        "last_updated": f"{moments(random, 1)[0]:%Y-%m-%dT%H:%M:%S.000Z}",
    }  # fmt: skip


def _ticker(random: Random, coin: str, exchange: str) -> dict[str, object]:
    # The same ticker in the answer to another question is the same ticker.
    random = Random(f"{coin} {exchange}")
    moment = f"{moments(random, 1)[0]:%Y-%m-%dT%H:%M:%S+00:00}"
    korean = exchange in {"upbit", "bithumb"}
    symbol = COINS.get(coin, coin[:5]).upper()
    return {
        "base": symbol,
        "target": "KRW" if korean else "USDT",
        "market": {"name": EXCHANGES.get(exchange, exchange), "identifier": exchange,
                   "has_trading_incentive": False},
        "last": random.uniform(1, 1000),
        "volume": random.uniform(1, 10**6),
        "converted_last": {"btc": 0.001, "eth": 0.02, "usd": random.uniform(1, 1000)},
        "converted_volume": {"btc": 1, "eth": 2, "usd": random.randrange(10**7)},
        "trust_score": "green",
        "bid_ask_spread_percentage": 0.01,
        "timestamp": moment,
        "last_traded_at": moment,
        "last_fetch_at": moment,
        "is_anomaly": False,
        "is_stale": False,
        "trade_url": f"https://{exchange}.example.com",
        "coin_id": coin,
        "coin_mcap_usd": random.randrange(10**11),
    }  # fmt: skip


def _derivative(random: Random, symbol: str) -> dict[str, object]:
    return {
        "market": "Example (Futures)",
        "symbol": f"{symbol.upper()}-PERP",
        "index_id": symbol.upper(),
        "price": f"{random.uniform(1, 60_000):.4f}",
        "price_percentage_change_24h": random.uniform(-5, 5),
        "contract_type": "perpetual",
        "index": random.uniform(1, 60_000),
        "basis": random.uniform(-1, 1),
        "spread": 0.01,
        "funding_rate": random.uniform(-0.1, 0.1),
        "open_interest": random.uniform(10**5, 10**9),
        "volume_24h": random.uniform(10**5, 10**9),
        "last_traded_at": int(moments(random, 1)[0].timestamp()),
        "expired_at": None,
    }


def _global(random: Random) -> dict[str, object]:
    amounts = {coin: random.uniform(10**9, 10**12) for coin in ("usd", "krw", "btc", "eth")}
    return {
        "active_cryptocurrencies": 17_000,
        "upcoming_icos": 0,
        "ongoing_icos": 49,
        "ended_icos": 3376,
        "markets": 1200,
        "total_market_cap": amounts,
        "total_volume": amounts,
        "market_cap_percentage": {coin: random.uniform(0.5, 50) for coin in GLOBAL_COINS},
        "market_cap_change_percentage_24h_usd": random.uniform(-5, 5),
        "updated_at": int(moments(random, 1)[0].timestamp()),
    }


SIMULATED = Simulated(
    generate,
    rate=Body(
        '{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit."}}',
        JSON,
        429,
    ),
    quota=Body(
        '{"status":{"error_code":10006,"error_message":"Monthly call limit reached."}}', JSON, 429
    ),
    bad_key=Body('{"status":{"error_code":10002,"error_message":"API Key Missing"}}', JSON, 401),
)
