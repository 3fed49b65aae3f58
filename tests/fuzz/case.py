"""One case of a fuzz run, and the cases that are known to violate a promise."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True, slots=True)
class Case:
    """
    One run with one mutated answer or frame.

    Attributes:
        dataset: The job or feed.
        mutation: The name of the mutation.
        number: The number of the case; with the seed it repeats the case.
        state: How the run ended.
        violations: The promises that the run broke.
        why: The reason that the run gave.
    """

    dataset: str
    mutation: str
    number: int
    state: str
    violations: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """A violation that is known, with its reason; the names are shell patterns."""

    dataset: str
    mutation: str
    violation: str
    reason: str

    def fits(self, case: Case, violation: str) -> bool:
        """Return whether this is the violation of a case."""
        return (
            fnmatch(case.dataset, self.dataset)
            and fnmatch(case.mutation, self.mutation)
            and fnmatch(violation, self.violation)
        )


EXPECTED: tuple[Expected, ...] = ()


def unexpected(case: Case) -> list[str]:
    """Return the violations of a case that are not expected."""
    return [
        violation
        for violation in case.violations
        if not any(expected.fits(case, violation) for expected in EXPECTED)
    ]


def reasons(cases: Iterable[Case]) -> list[str]:
    """Return why the expected violations of some cases are expected."""
    fitting = (
        expected.reason
        for case in cases
        for violation in case.violations
        for expected in EXPECTED
        if expected.fits(case, violation)
    )
    return list(dict.fromkeys(fitting))
