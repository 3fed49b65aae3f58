"""Quix Streams with its PostgreSQL and Redis sinks, a checkpoint per second or 5,000 messages."""

import contextlib
import json
import os
import sys
import threading
import time

import psycopg
from psycopg.conninfo import conninfo_to_dict
from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink
from quixstreams.sinks.community.redis import RedisSink
from redis.connection import parse_url

TABLE = "quix_trades"


def main(trades: int) -> None:
    """Store all trades, and print the times of the begin and the end."""
    postgres = conninfo_to_dict(os.environ["PIPELINE_POSTGRES__DSN"])
    valkey = parse_url(os.environ["PIPELINE_REDIS__URL"])
    app = Application(
        broker_address=os.environ["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"],
        consumer_group="quix",
        auto_offset_reset="earliest",
        commit_interval=1.0,
        commit_every=5_000,
        loglevel="ERROR",
    )
    topic = app.topic(
        os.environ["PIPELINE_KAFKA__TOPIC_PREFIX"] + "sp500-websocket-trades",
        value_deserializer="json",
        key_deserializer="str",
    )
    frame = app.dataframe(topic)
    frame["trade_conditions"] = frame["trade_conditions"].apply(",".join)
    frame.sink(
        PostgreSQLSink(
            host=postgres["host"],
            port=int(postgres["port"]),
            dbname=postgres["dbname"],
            user=postgres["user"],
            password=postgres.get("password", ""),
            table_name=TABLE,
            primary_key_columns=["pod_index", "epoch", "seq"],
            on_conflict_do_nothing=True,
        )
    )
    frame.sink(
        RedisSink(
            host=valkey["host"],
            port=valkey["port"],
            db=valkey.get("db", 0),
            password=valkey.get("password"),
            key_serializer=lambda key, _: f"latest:stocks:sp500:{key}",
        )
    )
    threading.Thread(target=tell_when_stored, args=(trades,), daemon=True).start()
    print(json.dumps({"ready_s": time.time()}), flush=True)
    app.run()


def tell_when_stored(trades: int) -> None:
    """Print when the last row is stored. Quix commits itself and reports no time."""
    with psycopg.connect(os.environ["PIPELINE_POSTGRES__DSN"], autocommit=True) as connection:
        stored = 0
        while stored < trades:
            time.sleep(0.2)
            with contextlib.suppress(psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
                (stored,) = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()
    print(json.dumps({"done_s": time.time()}), flush=True)


main(int(sys.argv[1]))
