"""
The memory that latest values need in Redis, as `benchmarks/redis_memory.py` measured it.

The sizes are those of the server's `used_memory`: its allocator rounds up what it stores.
"""

from dataclasses import dataclass

# A value in `latest:*`, the clients' hash, and the hash of event times.
LATEST_BYTES = 1_000
# A value with a key of its own, `realtime:*`, and its place in the list of these keys: 280 for a
# trade, 390 for a large ticker.
REALTIME_KEY_BYTES = 400
# A packed value in a hash of a minute, of a symbol with a value every second: 29 for a trade,
# 72 for a ticker, which has more numbers.
SECOND_BYTES = 80

MEGABYTE = 1_000_000
# Share of Redis' `maxmemory` above which history makes room for latest values.
HIGH_WATER = 0.9
KEYS_SHARE = 4  # at most a quarter of the budget is for keys of single seconds


@dataclass(frozen=True, slots=True)
class CacheNeed:
    """
    The memory for symbols that have a value every second.

    Attributes:
        latest_bytes: For the newest value of each symbol, which is outside the budget.
        whole_bytes: For everything, with the whole retention.
        budget_bytes: For the values of single seconds.
        retention_s: How much of them the budget holds.
    """

    latest_bytes: int
    whole_bytes: int
    budget_bytes: int
    retention_s: float

    def exceeds(self, maximum_bytes: int) -> bool:
        """Return whether a Redis with this `maxmemory` shortens the retention further; 0: none."""
        needed = self.latest_bytes + self.budget_bytes
        return 0 < maximum_bytes * HIGH_WATER < needed

    def largest_budget_mb(self, maximum_bytes: int) -> int:
        """Return the largest budget for which `exceeds` is false."""
        return max(int((maximum_bytes * HIGH_WATER - self.latest_bytes) // MEGABYTE), 1)

    def text(self, symbols: int, maximum_bytes: int) -> str:
        """Describe the need in one line."""
        limit = f"{maximum_bytes // MEGABYTE:,} MB" if maximum_bytes else "none"
        return (
            f"maxmemory {limit}; {symbols:,} symbols need {self.latest_bytes / MEGABYTE:.1f} MB "
            f"for latest values, and the budget of {self.budget_bytes // MEGABYTE:,} MB holds "
            f"at least {self.retention_s / 3600:.1f} h of a value a second; the whole retention "
            f"needs {self.whole_bytes / MEGABYTE:,.0f} MB"
        )


def cache_need(symbols: int, *, ttl_s: float, budget_bytes: int, realtime_keys: int) -> CacheNeed:
    """Return the memory that `symbols` need, and what a budget holds of it."""
    latest_bytes = symbols * LATEST_BYTES
    keys_bytes = symbols * min(realtime_keys, ttl_s) * REALTIME_KEY_BYTES
    second_bytes = max(symbols, 1) * SECOND_BYTES
    rest_bytes = budget_bytes - min(keys_bytes, budget_bytes / KEYS_SHARE)
    return CacheNeed(
        latest_bytes=latest_bytes,
        whole_bytes=round(latest_bytes + keys_bytes + symbols * ttl_s * SECOND_BYTES),
        budget_bytes=budget_bytes,
        retention_s=min(ttl_s, rest_bytes / second_bytes),
    )
