"""Which coin of CoinGecko a symbol of Bithumb is; checked by hand, since symbols are not unique."""

from ray_pipeline.jobs._data_files import read_list

COINS: dict[str, str] = {row["symbol"]: row["coingecko_id"] for row in read_list("bithumb_coins")}
