"""The buffer for Redis keeps the newest of each symbol and second, and never grows without end."""

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.cache import LatestBuffer, LatestValue

entries = st.lists(
    st.builds(LatestValue, st.sampled_from("AB"), st.integers(0, 4_000), st.text(max_size=3)),
    max_size=40,
)


@given(entries)
def test_the_newest_of_each_symbol_and_second_stays(some):
    """Of equal times the later one, as it arrived."""
    buffer = LatestBuffer()
    buffer.add(some)

    wanted = {}
    for entry in some:
        key = (entry.symbol, entry.event_ms // 1000)
        if key not in wanted or entry.event_ms >= wanted[key].event_ms:
            wanted[key] = entry
    assert buffer.cut() == [wanted[key] for key in sorted(wanted)]
    assert len(buffer) == 0


def test_what_comes_while_a_write_fails_is_newer_than_what_is_put_back():
    """The order of arrival survives a failed write."""
    buffer = LatestBuffer()
    buffer.add([LatestValue("A", 1000, "old")])
    failed = buffer.cut()
    buffer.add([LatestValue("A", 1000, "new")])

    buffer.put_back(failed)

    assert buffer.cut() == [LatestValue("A", 1000, "new")]


def test_past_its_limit_it_asks_for_a_rebuild():
    """Postgres has it all; memory does not have to."""
    buffer = LatestBuffer(limit=2)
    buffer.add([LatestValue("A", 1000 * n, "") for n in range(3)])

    assert buffer.overflowed
    assert len(buffer) == 0
