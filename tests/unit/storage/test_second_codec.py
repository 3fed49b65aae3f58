"""A packed value is shorter than its JSON and gives back the same text."""

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.feeds.layout import json_text
from ray_pipeline.storage.redis.second_codec import pack, shape_id, unpack, whole

VALUE = (
    '{"symbol":"AAPL","price":129.575,"volume":100,"pod_index":3,"timestamp":1764500000123,'
    '"source":"sp500_websocket","event_time_ms":1764500000123,"schema":1}'
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.decimals(allow_nan=False, allow_infinity=False).map(str)
fields = st.dictionaries(
    texts, st.one_of(texts.map(json_text), numbers, st.sampled_from(["null", "true"])), max_size=6
)


def test_a_trade_is_packed_as_its_numbers():
    """Names, texts, the symbol and both copies of the event time are in the shape."""
    shape, text = pack(VALUE, "AAPL", 1_764_500_000_123)

    assert shape == (
        '{"symbol":$s,"price":$,"volume":$,"pod_index":$,"timestamp":$t,'
        '"source":"sp500_websocket","event_time_ms":$t,"schema":$}'
    )
    assert text == f"{shape_id(shape)},123,129.575,100,3,1"
    assert unpack(text, {shape_id(shape): shape}, "AAPL", second=1_764_500_000) == VALUE


def test_other_numbers_have_the_same_shape():
    """Otherwise there would be a shape for each value."""
    other = VALUE.replace("129.575", "-1E+3").replace("AAPL", "BRK.B")
    event_ms = 1_764_500_000_123

    assert pack(other, "BRK.B", event_ms).shape == pack(VALUE, "AAPL", event_ms).shape


@given(fields, texts, st.integers(0, 2**53))
def test_every_object_survives(members, symbol, event_ms):
    """Quotes, dollar signs, commas and numbers inside texts change nothing."""
    value = "{" + ",".join(f"{json_text(name)}:{text}" for name, text in members.items()) + "}"

    shape, text = pack(value, symbol, event_ms)

    assert unpack(text, {shape_id(shape): shape}, symbol, second=event_ms // 1000) == value


def test_an_object_of_a_rare_shape_is_kept_whole():
    """A text that differs in every value would make a shape for each of them."""
    assert unpack(whole(VALUE, 1_764_500_000_123), {}, "AAPL", second=1_764_500_000) == VALUE
