"""The corpus of the fuzz runs has everything that was recorded, and says what is not."""

import json

import pytest

from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from tests.fuzz.corpus import feed_fuzzer
from tests.fuzz.feed_fuzz import feed_names
from tests.fuzz.job_fuzz import datasets
from tests.fuzz.recorded_input import FRAME_FILES, answers_of_job, frames_of_venue
from tests.support import PAYLOADS

recorded = pytest.mark.skipif(
    not PAYLOADS.exists(), reason="the recorded payloads are not beside this checkout"
)


def recorded_files() -> set[str]:
    """Return the names in the manifest, apart from trades that are not in frames."""
    lines = (PAYLOADS / "manifest.jsonl").read_text().splitlines()
    return {name for line in lines if not (name := json.loads(line)["file"]).startswith("ticks/")}


@recorded
def test_no_recorded_answer_is_left_out():
    """Each belongs to a job that calls its provider, or it is a frame."""
    of_jobs = {answer.file for name in datasets() for answer in answers_of_job(job(name), PAYLOADS)}
    frames = {name for names in FRAME_FILES.values() for name in names}

    assert of_jobs | frames == recorded_files()
    assert not of_jobs & frames
    assert (len(of_jobs), len(frames)) == (193, 12)


@recorded
@pytest.mark.parametrize("name", datasets())
def test_a_job_has_the_recorded_answers_of_each_of_its_providers(name):
    """A provider without a recording would be fuzzed with simulated answers only."""
    of_job = {answer.provider for answer in answers_of_job(job(name), PAYLOADS)}

    assert of_job == {source.provider.name for source in job(name).sources}


@pytest.mark.parametrize("name", feed_names())
def test_a_feed_starts_from_real_frames(name):
    """Recorded ones, if a recording exists; Upbit's ticker is a documented one."""
    frames = frames_of_venue(feed_named(name), PAYLOADS)

    assert frames
    assert all(frame.source for frame in frames)
    if PAYLOADS.exists():
        assert frames[0].kind == "recorded"
    parse = feed_named(name).protocol.parse
    readable = [frame for frame in frames if b'"ticker"' in frame.body or b'"data"' in frame.body]
    assert any(parse(frame.body) for frame in readable)


@recorded
def test_every_feed_has_all_frames_of_its_venue():
    """Feeds of one venue share them."""
    for feed in FEEDS:
        files = [PAYLOADS / name for name in FRAME_FILES[feed.simulator]]
        lines = {line for file in files for line in file.read_bytes().splitlines() if line}
        frames = frames_of_venue(feed, PAYLOADS)
        documented = [frame for frame in frames if frame.source.startswith("the documentation")]

        assert lines == {frame.body for frame in frames if frame not in documented}
        assert len(documented) == 1


@pytest.mark.parametrize("name", feed_names())
def test_each_frame_is_mutated(name):
    """Every second case is a frame with data, of which Upbit has one only."""
    fuzzer = feed_fuzzer(name, "")
    numbers = range(2 * len(fuzzer.originals))

    chosen = [fuzzer.original(seed=7, number=number) for number in numbers]

    assert set(chosen) == set(fuzzer.originals)
    assert all(fuzzer.feed.protocol.parse(frame) for frame in chosen[::2])


def test_every_job_with_a_provider_is_fuzzed():
    """A job that is added is fuzzed without being named here."""
    assert set(datasets()) == {spec.name for spec in all_jobs() if spec.sources}
