"""
Redis: the latest values, forward in time only.

One script writes a chunk of values. It compares event times with the companion hash
`pipeline:latest_ms:<feed>`, so that an old record, an outdated consumer or a rebuild never moves a
value back. It reports if that hash is missing, which means that Redis lost its data.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ray_pipeline.errors import CacheUnavailable, ConfigurationError
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.stream.cache import LatestValue

CHUNK = 1_000
TIMEOUT_S = 5.0

# ARGV: latest prefix, realtime prefix, hash or '', time to live in seconds; then symbol, second,
# event time and JSON of each value, sorted by symbol and time.
# Returns {1 if the companion hash existed, number of symbols that moved forward}.
_WRITE = """
local versions = KEYS[1]
local there = redis.call('EXISTS', versions)
local latest, realtime, hash, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local moved = 0
local symbol, held, newest
local function finish()
  if newest then
    redis.call('SET', latest .. symbol, newest, 'EX', life)
    if hash ~= '' then redis.call('HSET', hash, symbol, newest) end
    redis.call('HSET', versions, symbol, string.format('%.0f', held))
    moved = moved + 1
  end
end
for i = 5, #ARGV, 4 do
  if ARGV[i] ~= symbol then
    finish()
    symbol, newest = ARGV[i], nil
    held = tonumber(redis.call('HGET', versions, symbol) or '-1')
  end
  local at, value = tonumber(ARGV[i + 2]), ARGV[i + 3]
  local key = realtime .. symbol .. ':' .. ARGV[i + 1]
  if at >= held then
    held, newest = at, value
    redis.call('SET', key, value, 'EX', life)
  else
    local other = redis.call('GET', key)
    local other_at = other and tonumber(string.match(other, '"event_time_ms":(%d+)'))
    if not other_at or other_at <= at then redis.call('SET', key, value, 'EX', life) end
  end
end
finish()
redis.call('EXPIRE', versions, 604800)
return {there, moved}
"""
# One publish per interval and channel, however many consumers there are.
_PUBLISH = """
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[3]) then
  redis.call('PUBLISH', ARGV[1], ARGV[2])
  return 1
end
return 0
"""


def client(url: str) -> redis.asyncio.Redis:
    """
    Return a client that fails fast; the caller retries.

    Raises:
        ConfigurationError: If `url` cannot be read.
    """
    with readable_url():
        return redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
        )


@contextmanager
def readable_url() -> Iterator[None]:
    """
    Read the URL of Redis in a block.

    Raises:
        ConfigurationError: Instead of the library's error, which quotes a part of the password
            if a slash in it is not escaped.
    """
    try:
        yield
    except ValueError:
        raise ConfigurationError(
            "PIPELINE_REDIS__URL is not a URL of Redis",
            fix="write redis://:password@host:6379/0; in the password, %2F stands for /",
        ) from None


def versions_key(feed: str) -> str:
    """Return the hash that holds each symbol's event time, ms."""
    return f"pipeline:latest_ms:{feed}"


class LatestCache:
    """One feed's latest values in Redis."""

    def __init__(self, url: str, spec: FeedSpec, *, ttl_s: int, publishes_per_s: float) -> None:
        self._client = client(url)
        self._spec = spec
        self._write = self._client.register_script(_WRITE)
        self._publish = self._client.register_script(_PUBLISH)
        self._fixed = [
            f"latest:{spec.redis_prefix}:",
            f"realtime:{spec.redis_prefix}:",
            spec.redis_hash or "",
            str(ttl_s),
        ]
        self._pause_ms = max(1, int(1000 / publishes_per_s))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def write(self, values: Sequence[LatestValue]) -> bool:
        """
        Write values, sorted by symbol and time. Return False if Redis had lost its data before.

        Repeating it is harmless.

        Raises:
            CacheUnavailable: If Redis is away, full or read-only.
        """
        complete = True
        for start in range(0, len(values), CHUNK):
            arguments = list(self._fixed)
            for value in values[start : start + CHUNK]:
                arguments += (
                    value.symbol, str(value.event_ms // 1000), str(value.event_ms), value.value,
                )  # fmt: skip
            try:
                existed, _ = await self._write(keys=[versions_key(self._spec.name)], args=arguments)
            except (RedisError, OSError) as error:
                raise _unavailable(error) from error
            complete = complete and bool(existed)
        return complete

    async def publish(self, text: str) -> bool:
        """
        Notify the feed's clients; return False if they were notified a moment ago.

        Raises:
            CacheUnavailable: If Redis is away.
        """
        channel = self._spec.channel
        if channel is None:
            return True
        try:
            sent = await self._publish(
                keys=[f"pipeline:published:{channel}"], args=[channel, text, self._pause_ms]
            )
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return bool(sent)


def _unavailable(error: Exception) -> CacheUnavailable:
    return CacheUnavailable(f"Redis is away or refuses: {type(error).__name__}: {error}")
