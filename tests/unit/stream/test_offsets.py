"""Reading a partition whose broker shows some records late, or never."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.offsets import Offsets

PATIENCE_S = 2.0


@dataclass(frozen=True)
class Record:
    offset: int


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def reading(offsets: dict[int, int]) -> tuple[Offsets, Clock]:
    clock = Clock()
    found = Offsets(patience_s=PATIENCE_S, clock=clock)
    found.start_at(offsets)
    return found, clock


def records(*offsets: int) -> list[Record]:
    return [Record(offset) for offset in offsets]


def test_what_follows_without_a_hole_is_taken():
    offsets, _ = reading({3: 7})

    assert offsets.take(3, records(7, 8, 9)) == 3
    assert offsets.next_offset(3) == 10


def test_nothing_behind_a_hole_is_taken_until_it_is_filled():
    offsets, _ = reading({0: 0})

    assert offsets.take(0, records(0, 1, 4, 5)) == 2
    assert offsets.next_offset(0) == 2
    assert offsets.take(0, records(4, 5)) == 0
    assert offsets.take(0, records(2, 3, 4, 5)) == 4


def test_a_hole_that_stays_is_passed_with_a_warning(caplog):
    offsets, clock = reading({0: 0})
    assert offsets.take(0, records(2, 3)) == 0

    clock.now_s += PATIENCE_S

    assert offsets.take(0, records(2, 3)) == 2
    assert "no records 0 to 1" in caplog.text


def test_another_hole_is_waited_for_anew():
    offsets, clock = reading({0: 0})
    offsets.take(0, records(0, 2))
    clock.now_s += PATIENCE_S

    assert offsets.take(0, records(1, 2, 4)) == 2
    assert offsets.next_offset(0) == 3


@given(
    late=st.lists(st.integers(1, 4), min_size=1, max_size=20),
    order=st.randoms(use_true_random=False),
    at_once=st.integers(1, 6),
)
def test_whatever_is_shown_late_each_record_is_taken_once_and_in_order(late, order, at_once):
    """Batches of the given sizes become visible in any order, while somebody reads."""
    batches, begin = [], 0
    for size in late:
        batches.append(records(*range(begin, begin + size)))
        begin += size
    order.shuffle(batches)
    offsets, _ = reading({0: 0})
    visible: set[int] = set()
    taken: list[int] = []

    for batch in batches:
        visible |= {record.offset for record in batch}
        while True:
            there = sorted(one for one in visible if one >= offsets.next_offset(0))[:at_once]
            count = offsets.take(0, records(*there)) if there else 0
            taken += there[:count]
            if not count:
                break

    assert taken == list(range(begin))
