"""When the frames of a recording are due."""

from ray_pipeline.simulators.recording import Frame
from ray_pipeline.simulators.replay import Replay

AAPL, MSFT = frozenset({"AAPL"}), frozenset({"MSFT"})
BOTH = AAPL | MSFT
FRAMES = [
    Frame(10_000, AAPL, "first", 1),
    Frame(10_500, MSFT, "second", 1),
    Frame(12_000, AAPL, "third", 1),
]


def sent_by(replay: Replay, now_s: float) -> list[str]:
    """Send all that is due, and return the texts."""
    texts = []
    while frame := replay.due(BOTH, now_s=now_s):
        texts.append(frame.text)
        replay.sent += 1
    return texts


def test_frames_keep_their_distances():
    replay = Replay(FRAMES)

    assert sent_by(replay, 100.0) == ["first"]
    assert sent_by(replay, 100.4) == []
    assert sent_by(replay, 100.5) == ["second"]
    assert sent_by(replay, 103.0) == ["third"]
    assert sent_by(replay, 999.0) == []


def test_speed_shortens_the_distances():
    replay = Replay(FRAMES, speed=10.0)

    assert sent_by(replay, 100.0) == ["first"]
    assert sent_by(replay, 100.06) == ["second"]
    assert sent_by(replay, 100.21) == ["third"]


def test_speed_0_sends_everything_at_once():
    assert sent_by(Replay(FRAMES, speed=0), 100.0) == ["first", "second", "third"]


def test_a_frame_without_a_time_is_due_at_once():
    frames = [Frame(0, AAPL, "no time", 1), *FRAMES]

    assert sent_by(Replay(frames), 100.0) == ["no time", "first"]


def test_a_replay_begins_when_all_symbols_are_subscribed():
    replay = Replay(FRAMES)

    assert replay.due(AAPL, now_s=100.0) is None
    assert replay.due(BOTH, now_s=107.0) == FRAMES[0]


def test_fewer_symbols_can_begin_a_replay():
    assert Replay(FRAMES, wait_symbols=1).due(MSFT, now_s=100.0) == FRAMES[0]
    assert Replay(FRAMES, wait_symbols=1).due(frozenset({"TSLA"}), now_s=100.0) is None


def test_time_counts_from_the_first_frame_that_was_delivered():
    """Until then each attempt begins again, so nothing is skipped."""
    replay = Replay(FRAMES)
    assert replay.due(BOTH, now_s=100.0) == FRAMES[0]

    assert sent_by(replay, 200.0) == ["first"]
    assert sent_by(replay, 200.5) == ["second"]


def test_a_replay_goes_on_while_nothing_is_subscribed():
    """A client that reconnects receives the next frame, not the first."""
    replay = Replay(FRAMES)
    sent_by(replay, 100.0)

    assert replay.due(frozenset(), now_s=101.0) == FRAMES[1]
