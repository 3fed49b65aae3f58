"""A naive consumer: for each message one commit and two writes in Redis."""

import asyncio
import json
import os
import sys
import time

import msgspec
import psycopg
import redis
from aiokafka import AIOKafkaConsumer

INSERT = """
    INSERT INTO sp500_websocket_trades (symbol, price, volume, timestamp_ms, trade_conditions,
        pod_name, source, pod_index, created_at, epoch, seq)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
LIFE_S = 432_000


async def main(trades: int) -> None:
    """Store all trades, and print the times of the begin and the end."""
    connection = psycopg.connect(os.environ["PIPELINE_POSTGRES__DSN"])
    connection.execute("SELECT make_month_partition('sp500_websocket_trades', now()::timestamp)")
    connection.commit()
    cache = redis.Redis.from_url(os.environ["PIPELINE_REDIS__URL"])
    consumer = AIOKafkaConsumer(
        os.environ["PIPELINE_KAFKA__TOPIC_PREFIX"] + "sp500-websocket-trades",
        bootstrap_servers=os.environ["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"],
        group_id="row-at-a-time",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    print(json.dumps({"ready_s": time.time()}), flush=True)
    for _ in range(trades):
        store(connection, cache, msgspec.json.decode((await consumer.getone()).value))
    print(json.dumps({"done_s": time.time()}), flush=True)
    await consumer.stop()


def store(connection: psycopg.Connection, cache: redis.Redis, trade: dict) -> None:
    """Store one trade."""
    connection.execute(
        INSERT,
        (
            trade["symbol"], trade["price"], trade["volume"], trade["timestamp_ms"],
            trade["trade_conditions"], trade["pod_name"], trade["source"], trade["pod_index"],
            trade["created_at"], trade["epoch"], trade["seq"],
        ),
    )  # fmt: skip
    connection.commit()
    value = json.dumps(
        {name: trade[name] for name in ("symbol", "price", "volume", "pod_index", "timestamp_ms")}
    )
    second = trade["timestamp_ms"] // 1000
    cache.set(f"latest:stocks:sp500:{trade['symbol']}", value, ex=LIFE_S)
    cache.set(f"realtime:stocks:sp500:{trade['symbol']}:{second}", value, ex=LIFE_S)


asyncio.run(main(int(sys.argv[1])))
