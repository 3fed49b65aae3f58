"""An apply must be able to end: it waits for each wave before it applies the next one."""

from collections.abc import Iterator, Sequence

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.dependencies import dependencies
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of
from ray_pipeline.kubernetes.deploy.order import NAMES, wave_indexes
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault


def of_order(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield objects that wait for an object of a later wave."""
    try:
        indexes = wave_indexes(objects)
    except ConfigurationError as error:
        yield LintFinding("wave-name", "the annotation ray-pipeline/wave", error.args[0], error.fix)
        return
    for position, needed in enumerate(dependencies(objects)):
        for other in sorted(needed):
            if indexes[other] > indexes[position]:
                yield fault(
                    "wave-order", objects[position],
                    f"applied with {NAMES[indexes[position]]}, but it needs "
                    f"{ref_of(objects[other]).short}, applied later with {NAMES[indexes[other]]}",
                    fix="correct the annotation ray-pipeline/wave of one of them, or leave it out",
                )  # fmt: skip
