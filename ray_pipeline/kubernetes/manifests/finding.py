"""What is wrong with a manifest, and what to do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from ray_pipeline.kubernetes.deploy.objects import Json, ref_of


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """
    One fault.

    Attributes:
        rule: The name of the rule, or `schema`.
        where: Which object.
        what: What is wrong, with the path of the field.
        fix: What a person does about it.
    """

    rule: str
    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what} [{self.rule}]"
        return f"{text}\n  fix: {self.fix}" if self.fix else text

    def as_json(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return asdict(self)


Rule = Callable[[Sequence[Json]], Iterator[Finding]]
"""Looks at all objects of an overlay."""


def fault(rule: str, obj: Json, what: str, *, fix: str = "") -> Finding:
    """Return a finding about an object."""
    return Finding(rule, ref_of(obj).short, what, fix)
