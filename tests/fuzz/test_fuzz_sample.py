"""
A sample of mutated answers and frames, the same in every run; `make fuzz` tries any number.

No answer of a provider may end a run, turn it green without data, change what is stored of another
item, cost a call that was not permitted, or bring a key into a text.
"""

import pytest

from tests.fuzz.case import Case, reasons, unexpected
from tests.fuzz.corpus import feed_fuzzer, job_fuzzer
from tests.fuzz.feed_fuzz import feed_names
from tests.fuzz.job_fuzz import datasets

SEED = 1
CASES_PER_JOB = 4
CASES_PER_FEED = 10


def judge(cases: list[Case]) -> None:
    """Fail for the first unexpected violation; otherwise report the expected ones."""
    broken = [(case, found) for case in cases if (found := unexpected(case))]
    assert not broken, "\n".join(f"{case}: {found}" for case, found in broken)
    if known := reasons(cases):
        pytest.xfail("; ".join(known))


@pytest.mark.parametrize("name", datasets())
async def test_a_mutated_answer_costs_its_item_only(name, filled_dsn):
    async with job_fuzzer(name, filled_dsn) as fuzzer:
        baseline = await fuzzer.baseline()
        assert baseline.items, "the job made no request"
        judge(
            [
                await fuzzer.case(baseline, seed=SEED, number=number)
                for number in range(CASES_PER_JOB)
            ]
        )


@pytest.mark.parametrize("name", feed_names())
async def test_a_mutated_frame_is_stored_or_parked(name, postgres_dsn):
    """The frames before and after it are stored."""
    fuzzer = feed_fuzzer(name, postgres_dsn)
    judge([await fuzzer.case(seed=SEED, number=number) for number in range(CASES_PER_FEED)])
