"""Judge the partitions of the topics: what the settings name against what the broker has. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class TopicRow:
    """
    One topic.

    Attributes:
        configured: Partitions that the settings name. Producers write to these only.
        present: Partitions that the broker has; 0 if it has no such topic.
        unread_partitions: Partitions of the broker without a consumer that reports; None: none.
        unread_records: Records that wait in them.
        checked_age_s: Seconds since the broker was queried.
    """

    topic: str
    feed: str
    configured: int
    present: int
    unread_partitions: Sequence[int] | None
    unread_records: int
    checked_age_s: float

    @property
    def trouble(self) -> str:
        """Why records wait or will wait, and what to do; empty if they do not."""
        if problem := shortage(
            self.topic, self.feed, configured=self.configured, present=self.present
        ):
            return problem
        if self.unread_records:
            numbers = ", ".join(map(str, self.unread_partitions or ()))
            return (
                f"{self.unread_records:,} records of {self.topic} wait in partitions without a "
                f"consumer: {numbers}; start the consumers"
            )
        return ""

    @property
    def notice(self) -> str:
        """What differs from the settings without harm, and what to do; empty if nothing does."""
        return surplus(self.topic, self.feed, configured=self.configured, present=self.present)

    def as_json(self) -> dict[str, object]:
        """Return the JSON form: the fields, `trouble` and `notice`."""
        return {**asdict(self), "trouble": self.trouble, "notice": self.notice}


def shortage(topic: str, feed: str, *, configured: int, present: int) -> str:
    """Return what is wrong if a topic has fewer partitions than the settings name, and the fix."""
    if present >= configured:
        return ""
    if present == 0:
        return (
            f"{topic} does not exist in Kafka: its records wait on the producers' disks; "
            "the supervisor creates it if Kafka permits that"
        )
    return (
        f"{topic} has {present} of the {configured} partitions that the settings name: records of "
        f"the other partitions wait on the producers' disks; {grow_fix(topic, feed, configured)}"
    )


def surplus(topic: str, feed: str, *, configured: int, present: int) -> str:
    """Return what differs if a topic has more partitions than the settings name, and the fix."""
    if present <= configured:
        return ""
    return (
        f"{topic} has {present} partitions, the settings name {configured}: producers do not use "
        f"the further ones, and records in them are stored; set {_variable(feed)}={present}"
    )


def grow_fix(topic: str, feed: str, partitions: int) -> str:
    """Return how to add partitions to a topic that the pipeline may not change."""
    return (
        f"set `spec.partitions: {partitions}` of the KafkaTopic, or run `kafka-topics.sh --alter "
        f"--topic {topic} --partitions {partitions}`, or lower {_variable(feed)}; "
        "restart an embedded broker"
    )


def _variable(feed: str) -> str:
    return f"PIPELINE_FEEDS__{feed.upper()}__PARTITIONS"
