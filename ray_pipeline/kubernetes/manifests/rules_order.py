"""Whether an apply can end: it waits for each wave before it applies the next."""

from collections.abc import Iterator, Sequence

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.dependencies import dependencies
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of
from ray_pipeline.kubernetes.deploy.order import NAMES, places
from ray_pipeline.kubernetes.manifests.finding import Finding, fault


def of_order(objects: Sequence[Json]) -> Iterator[Finding]:
    """Yield objects that wait for something that is applied only after they are ready."""
    try:
        place = places(objects)
    except ConfigurationError as error:
        yield Finding("wave-name", "the annotation ray-pipeline/wave", error.args[0], error.fix)
        return
    for index, needed in enumerate(dependencies(objects)):
        for other in sorted(needed):
            if place[other] > place[index]:
                yield fault(
                    "wave-order", objects[index],
                    f"applied with {NAMES[place[index]]}, but it needs "
                    f"{ref_of(objects[other]).short}, applied later with {NAMES[place[other]]}",
                    fix="correct the annotation ray-pipeline/wave of one of them, or leave it out",
                )  # fmt: skip
