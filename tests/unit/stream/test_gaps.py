"""Open gaps: one of the feed and one per symbol, each reported once when it ends."""

from datetime import UTC, datetime, timedelta

from ray_pipeline.stream.gaps import GapBook

LOST_AT = datetime(2026, 9, 23, 14, tzinfo=UTC)
BACK_AT = LOST_AT + timedelta(seconds=30)


class FakeReporter:
    """Keeps the reported gaps."""

    def __init__(self) -> None:
        self.gaps: list[tuple] = []

    def __call__(self, kind, cause, *, symbols, from_at, to_at):
        self.gaps.append((kind, cause, symbols, from_at, to_at))


def gap_book() -> tuple[GapBook, FakeReporter]:
    """An empty book, and what it reports."""
    reporter = FakeReporter()
    return GapBook(reporter), reporter


def test_a_gap_is_reported_when_it_ends_and_not_before():
    book, reporter = gap_book()

    book.open("disconnected", "no route", from_at=LOST_AT)

    assert reporter.gaps == []
    assert book.since() == LOST_AT
    book.close(to_at=BACK_AT)
    assert reporter.gaps == [("disconnected", "no route", None, LOST_AT, BACK_AT)]
    assert book.since() is None


def test_a_gap_ends_once():
    """Each frame after the outage closes the gap again."""
    book, reporter = gap_book()
    book.close(to_at=LOST_AT)
    book.open("disconnected", "no route", from_at=LOST_AT)

    book.close(to_at=BACK_AT)
    book.close(to_at=BACK_AT)

    assert len(reporter.gaps) == 1


def test_the_failures_of_one_outage_are_one_gap():
    """It keeps the kind and the start of the first failure, and each cause once."""
    book, reporter = gap_book()
    book.open("stalled", "silence", from_at=LOST_AT)

    for cause in ("no route", "no route", "refused", "silence"):
        book.open("disconnected", cause, from_at=BACK_AT)
    book.close(to_at=BACK_AT)

    assert reporter.gaps == [
        ("stalled", "silence; then no route; then refused", None, LOST_AT, BACK_AT)
    ]


def test_the_next_outage_is_another_gap():
    book, reporter = gap_book()
    for cause in ("first", "second"):
        book.open("disconnected", cause, from_at=LOST_AT)
        book.close(to_at=BACK_AT)

    assert [cause for _, cause, *_ in reporter.gaps] == ["first", "second"]


def test_the_causes_of_a_long_outage_stay_short():
    """An outage of days with ever new texts must fit into a record."""
    book, reporter = gap_book()
    for number in range(1_000):
        book.open("disconnected", f"failure {number}", from_at=LOST_AT)
    book.close(to_at=BACK_AT)

    (_, cause, *_) = reporter.gaps[0]
    assert cause.startswith("failure 0; then failure 1; then")
    assert len(cause) <= 500


def test_the_remarks_of_a_long_outage_stay_short():
    """A provider may quote a different number in every error message."""
    book, reporter = gap_book()
    book.open("disconnected", "no route", from_at=LOST_AT)
    for number in range(1_000):
        book.note(f"request {number} was refused")
    book.close(to_at=BACK_AT)

    (_, cause, *_) = reporter.gaps[0]
    assert cause.startswith("no route; request 0 was refused; request 1 was refused")
    assert len(cause) <= 500


def test_a_remark_is_added_once_and_only_to_an_open_gap():
    book, reporter = gap_book()
    book.note("polled over REST")
    book.open("disconnected", "no route", from_at=LOST_AT)

    book.note("polled over REST")
    book.note("polled over REST")
    book.close(to_at=BACK_AT)

    assert reporter.gaps[0][1] == "no route; polled over REST"


def test_a_gap_of_a_symbol_keeps_its_start_and_names_the_symbol():
    """A symbol that is still silent does not begin another gap."""
    book, reporter = gap_book()
    book.open_symbol("AAPL", "stalled", "silent for 60 s", from_at=LOST_AT)
    book.open_symbol("AAPL", "stalled", "silent for 120 s", from_at=BACK_AT)
    book.open_symbol("MSFT", "stalled", "silent for 60 s", from_at=LOST_AT)

    book.close_symbol("AAPL", to_at=BACK_AT)
    book.close_symbol("AAPL", to_at=BACK_AT)

    assert reporter.gaps == [("stalled", "silent for 60 s", ["AAPL"], LOST_AT, BACK_AT)]
    assert list(book.symbols) == ["MSFT"]


def test_the_gap_of_the_feed_does_not_end_those_of_its_symbols():
    """Data of other symbols says nothing about a silent one."""
    book, reporter = gap_book()
    book.open("disconnected", "no route", from_at=LOST_AT)
    book.open_symbol("AAPL", "stalled", "silent for 60 s", from_at=LOST_AT)

    book.close(to_at=BACK_AT)

    assert [symbols for _, _, symbols, *_ in reporter.gaps] == [None]
    assert list(book.symbols) == ["AAPL"]


def test_the_end_of_an_epoch_reports_every_open_gap():
    """The next producer reports only the time from then on."""
    book, reporter = gap_book()
    book.open("disconnected", "no route", from_at=LOST_AT)
    for symbol in ("AAPL", "MSFT"):
        book.open_symbol(symbol, "stalled", "silent for 60 s", from_at=LOST_AT)

    book.close_all(to_at=BACK_AT)
    book.close_all(to_at=BACK_AT)

    assert [symbols for _, _, symbols, *_ in reporter.gaps] == [["AAPL"], ["MSFT"], None]
    assert (book.feed, book.symbols) == (None, {})
