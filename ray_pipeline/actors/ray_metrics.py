"""Figures at Ray's metrics port."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from ray_pipeline.observe.metrics import METRICS, Sample

log = logging.getLogger(__name__)

REPORT_S = 5.0
Tell = Callable[[float, dict[str, str]], None]
"""Gives Ray a value and its labels."""


class Meter:
    """Keeps what Ray reports up with samples. Every value also has the label `generation`."""

    def __init__(self, *, generation: int) -> None:
        """Take the release."""
        self._generation = str(generation)
        self._totals: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._shown: dict[str, set[frozenset[tuple[str, str]]]] = {}

    def begin(self, samples: Iterable[Sample]) -> None:
        """
        Take the totals that were there before: they did not happen now.

        Only for totals that outlive this process.
        """
        for sample in samples:
            if METRICS[sample.metric].kind == "counter":
                self._totals[sample.metric, frozenset(sample.tags.items())] = sample.value

    def show(self, samples: Iterable[Sample]) -> None:
        """Take new values. A gauge of a metric that is among them, and is not itself, becomes 0."""
        seen: dict[str, set[frozenset[tuple[str, str]]]] = {}
        for sample in samples:
            key = frozenset(sample.tags.items())
            seen.setdefault(sample.metric, set()).add(key)
            self._take(sample, key)
        for metric, keys in seen.items():
            if METRICS[metric].kind == "gauge":
                for gone in self._shown.get(metric, set()) - keys:
                    self._tell(metric, 0.0, dict(gone))
                self._shown[metric] = keys

    def _take(self, sample: Sample, key: frozenset[tuple[str, str]]) -> None:
        value = sample.value
        if METRICS[sample.metric].kind == "counter":
            place = (sample.metric, key)
            before = self._totals.get(place, 0.0)
            self._totals[place] = value
            # Less than before: whoever counts was started anew.
            value = value - before if value >= before else value
            if not value:
                return
        self._tell(sample.metric, value, sample.tags)

    def _tell(self, metric: str, value: float, tags: Mapping[str, str]) -> None:
        _metric(metric)(value, {**tags, "generation": self._generation})


@cache
def _metric(name: str) -> Tell:
    metric = METRICS[name]
    tags = (*metric.tags, "generation")
    match metric.kind:
        case "counter":
            return Counter(name, description=metric.description, tag_keys=tags).inc
        case "gauge":
            return Gauge(name, description=metric.description, tag_keys=tags).set
        case "histogram":
            boundaries = list(metric.boundaries)
            return Histogram(
                name, description=metric.description, boundaries=boundaries, tag_keys=tags
            ).observe


async def report(samples: Callable[[], Iterable[Sample]], *, generation: int) -> None:
    """Show an actor's samples until cancelled; outside of a cluster there is nobody to see them."""
    if not ray.is_initialized():
        return
    meter = Meter(generation=generation)
    while True:
        await asyncio.sleep(REPORT_S)
        try:
            meter.show(samples())
        except Exception:  # what is measured must not end what measures
            log.exception("samples were not shown")
