"""A packed value is shorter than its JSON and gives back the same text."""

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.feeds.layout import json_text
from ray_pipeline.storage.redis.second_codec import MOST_SHAPES, Packer, shape_id, unpack

EVENT_MS = 1_764_500_000_123
VALUE = (
    f'{{"symbol":"AAPL","price":129.575,"volume":100,"pod_index":3,"timestamp":{EVENT_MS},'
    f'"source":"sp500_websocket","event_time_ms":{EVENT_MS},"schema":1}}'
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.decimals(allow_nan=False, allow_infinity=False).map(str)
fields = st.dictionaries(
    texts, st.one_of(texts.map(json_text), numbers, st.sampled_from(["null", "true"])), max_size=6
)


def unpacked(shape: str | None, text: str, symbol: str, event_ms: int) -> str:
    shapes = {} if shape is None else {shape_id(shape): shape}
    return unpack(text, shapes, symbol, second=event_ms // 1000)


def test_a_trade_is_packed_as_its_numbers():
    """Names, texts, the symbol and both copies of the event time are in the shape."""
    shape, text = Packer().pack(VALUE, "AAPL", EVENT_MS)

    assert shape == (
        '{"symbol":$s,"price":$,"volume":$,"pod_index":$,"timestamp":$t,'
        '"source":"sp500_websocket","event_time_ms":$t,"schema":$}'
    )
    assert text == f"{shape_id(shape)},123,129.575,100,3,1"
    assert unpacked(shape, text, "AAPL", EVENT_MS) == VALUE


def test_other_numbers_have_the_same_shape():
    """Otherwise there would be a shape for each value."""
    packer = Packer()
    other = VALUE.replace("129.575", "-1E+3").replace("AAPL", "BRK.B")

    assert packer.pack(other, "BRK.B", EVENT_MS).shape == packer.pack(VALUE, "AAPL", EVENT_MS).shape


def test_another_symbol_inside_a_value_is_part_of_its_shape():
    """A known shape is not enough: its symbol and its time must be those of the value."""
    packer = Packer()
    packer.pack(VALUE, "AAPL", EVENT_MS)

    for symbol, event_ms in (("MSFT", EVENT_MS), ("AAPL", EVENT_MS + 1)):
        packed = packer.pack(VALUE, symbol, event_ms)
        assert unpacked(*packed, symbol, event_ms) == VALUE


@given(st.lists(st.tuples(fields, texts, st.integers(0, 2**53)), max_size=5))
def test_every_object_survives(objects):
    """Quotes, dollar signs, commas and numbers inside texts change nothing."""
    packer = Packer()
    for members, symbol, event_ms in objects:
        value = "{" + ",".join(f"{json_text(name)}:{text}" for name, text in members.items()) + "}"
        for _ in range(2):  # of a new shape, and of a known one
            packed = packer.pack(value, symbol, event_ms)
            assert unpacked(*packed, symbol, event_ms) == value


def test_values_of_too_many_shapes_are_kept_whole():
    """A text that differs in every value would make a shape for each of them."""
    packer = Packer()
    values = [VALUE.replace("websocket", f"websocket {n}x") for n in range(MOST_SHAPES + 10)]

    packed = [packer.pack(value, "AAPL", EVENT_MS) for value in values]

    assert sum(shape is None for shape, _ in packed) == 10
    assert [unpacked(*item, "AAPL", EVENT_MS) for item in packed] == values
