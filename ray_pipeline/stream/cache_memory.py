"""
The memory that latest values need in Redis, as `benchmarks/redis_memory.py` measured it.

The sizes are those of the server's `used_memory`: its allocator rounds up what it stores.
"""

# A value in `latest:*`, the clients' hash, and the hash of event times.
LATEST_BYTES = 700
# A value with a key of its own, `realtime:*`, and its place in the list of these keys: 290 for a
# trade, 390 for a ticker.
REALTIME_KEY_BYTES = 400
# A packed value in a hash of a minute, of a symbol with a value every second: 30 for a trade,
# 77 for a ticker, which has more numbers.
SECOND_BYTES = 80

MEGABYTE = 1_000_000
# Share of Redis' `maxmemory` above which history makes room for latest values.
HIGH_WATER = 0.9
KEYS_SHARE = 4  # at most a quarter of the budget is for keys of single seconds


def memory_needed(symbols: int, *, retention_s: float, realtime_keys: int) -> int:
    """Return the bytes for symbols that each have a value every second, kept for `retention_s`."""
    keys = min(realtime_keys, retention_s)
    return round(symbols * (LATEST_BYTES + keys * REALTIME_KEY_BYTES + retention_s * SECOND_BYTES))


def retention_within(budget_bytes: int, symbols: int, *, realtime_keys: int) -> float:
    """Return for how many seconds a budget holds such values; the latest values are not part."""
    keys_bytes = min(symbols * realtime_keys * REALTIME_KEY_BYTES, budget_bytes / KEYS_SHARE)
    return (budget_bytes - keys_bytes) / (max(symbols, 1) * SECOND_BYTES)
