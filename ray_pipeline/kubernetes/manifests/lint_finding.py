"""A fault in a manifest, with its fix."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from ray_pipeline.kubernetes.deploy.objects import Json, ref_of


@dataclass(frozen=True, slots=True, order=True)
class LintFinding:
    """
    One fault.

    Attributes:
        rule: The name of the rule, or `schema`.
        where: The object.
        what: The fault, with the path of the field.
    """

    rule: str
    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what} [{self.rule}]"
        return f"{text}\n  fix: {self.fix}" if self.fix else text

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return asdict(self)


Rule = Callable[[Sequence[Json]], Iterator[LintFinding]]
"""Checks all objects of an overlay."""


def fault(rule: str, obj: Json, message: str, *, fix: str = "") -> LintFinding:
    """Return a finding about an object."""
    return LintFinding(rule, ref_of(obj).short, message, fix)


def faults(rule: str, obj: Json, *checks: tuple[object, str, str]) -> Iterator[LintFinding]:
    """Yield a finding for each (condition, message, fix) with a true condition."""
    for is_broken, message, fix in checks:
        if is_broken:
            yield fault(rule, obj, message, fix=fix)
