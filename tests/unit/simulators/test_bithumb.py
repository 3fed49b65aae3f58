"""What the simulator of Bithumb writes, at times that the test sets."""

import json

from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.options import Options

MIDNIGHT_S = 1_796_050_800.0  # 2026-12-01 00:00:00 in Korea


def test_a_frame_has_the_date_and_time_of_its_trade():
    """The trade is 20 ms older than the ticker: at midnight it belongs to the day before."""
    simulator = BithumbSimulator(Options(symbols=("KRW-BTC",)), clock=lambda: MIDNIGHT_S)

    (frame,) = simulator.generate(["KRW-BTC"], 1)
    ticker = json.loads(frame.text)

    assert ticker["timestamp"] == MIDNIGHT_S * 1000
    assert ticker["trade_timestamp"] == MIDNIGHT_S * 1000 - 20
    assert (ticker["trade_date"], ticker["trade_time"]) == ("20261130", "235959")
