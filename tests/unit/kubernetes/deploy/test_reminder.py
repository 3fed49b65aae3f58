"""What a rollout prints while it waits."""

from ray_pipeline.kubernetes.deploy.objects import Ref
from ray_pipeline.kubernetes.deploy.readiness import Readiness
from ray_pipeline.kubernetes.deploy.reminder import EVERY_S, Reminder

LATE = {
    Ref("ray.io/v1", "RayCluster", "ns", "ray-pipeline"): Readiness("waiting", "1 of 2 workers"),
    Ref("v1", "Pod", "ns", "a"): Readiness("waiting", "not there"),
}


def test_a_long_wait_is_repeated_with_its_objects_and_its_begin() -> None:
    """At most every 30 s, however often the rollout looks."""
    reminder = Reminder(since_s=100.0, at="12:00:00")

    lines = [reminder.line(LATE, now_s=100.0 + second) for second in range(int(2 * EVERY_S) + 1)]

    first, second = filter(None, lines)
    assert first == (
        "  ... waiting since 12:00:00 UTC (30 s) for RayCluster ns/ray-pipeline: 1 of 2 workers; "
        "Pod ns/a: not there"
    )
    assert "(60 s)" in second
