"""Fill a topic with the same trades for every consumer."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ray_pipeline.feeds import codec
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.records import FINNHUB_SP500_SOURCE, Trade

TOPIC = "sp500-websocket-trades"
PARTITIONS = 3
SHARD_SYMBOLS = 50


def fill(bootstrap: str, *, prefix: str, trades: int, symbols: int, per_s: int) -> None:
    """Create the topic with `trades` trades, `per_s` of them per second of event time."""
    asyncio.run(_fill(bootstrap, prefix + TOPIC, trades, symbols=symbols, per_s=per_s))


async def _fill(bootstrap: str, topic: str, trades: int, *, symbols: int, per_s: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", linger_ms=5, max_batch_size=2**18
    )
    await producer.start()
    random, sequences = Random(1), dict.fromkeys(range(symbols // SHARD_SYMBOLS + 2), 0)
    now, begin_ms = datetime.now(UTC), int(time.time() * 1000) - trades * 1000 // per_s
    futures = []
    for index in range(trades):
        symbol = random.randrange(symbols)
        shard = symbol // SHARD_SYMBOLS + 1
        sequences[shard] += 1
        trade = Trade(
            symbol=f"S{symbol:03d}",
            price=Decimal(random.randrange(1_000_000, 9_999_999)) / 10_000,
            volume=Decimal(random.randrange(1, 500)),
            timestamp_ms=begin_ms + index * 1000 // per_s,
            epoch=1,
            seq=sequences[shard],
            pod_index=shard,
            trade_conditions=["1", "12"],
            pod_name=f"sp500-{shard:02d}",
            source=FINNHUB_SP500_SOURCE,
            # Trades of one frame were received at the same time.
            created_at=now + timedelta(milliseconds=index // 5),
        )
        futures.append(
            await producer.send(
                topic,
                codec.encode(trade),
                key=trade.symbol.encode(),
                partition=partition_of(shard, PARTITIONS),
            )
        )
        if len(futures) == 5_000:
            await asyncio.gather(*futures)
            futures = []
    await asyncio.gather(*futures)
    await producer.stop()
