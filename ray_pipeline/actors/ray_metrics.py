"""Export samples through Ray's metrics."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from ray_pipeline.observe.metrics import METRICS, Sample

log = logging.getLogger(__name__)

REPORT_S = 5.0
Record = Callable[[float, dict[str, str]], None]
"""Passes a value and its labels to Ray."""


class Meter:
    """
    Passes samples to Ray, each with the additional label `generation`.

    Ray's counters take increments, while samples hold totals: the meter keeps the last total of
    each counter. Ray repeats the last value of a gauge without end: a gauge that disappears from
    the samples is set to 0 once.
    """

    def __init__(self, *, generation: int) -> None:
        """Take the generation of this release."""
        self._generation = str(generation)
        self._totals: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._shown: dict[str, set[frozenset[tuple[str, str]]]] = {}

    def begin(self, samples: Iterable[Sample]) -> None:
        """
        Take the first totals as the base: their increments happened before this process began.

        Only for totals that outlive this process.
        """
        for sample in samples:
            if METRICS[sample.metric].kind == "counter":
                self._totals[sample.metric, frozenset(sample.tags.items())] = sample.value

    def show(self, samples: Iterable[Sample]) -> None:
        """Export samples. A gauge that is missing among the samples of its metric becomes 0."""
        seen: dict[str, set[frozenset[tuple[str, str]]]] = {}
        for sample in samples:
            key = frozenset(sample.tags.items())
            seen.setdefault(sample.metric, set()).add(key)
            self._export(sample, key)
        for metric, keys in seen.items():
            if METRICS[metric].kind == "gauge":
                for gone in self._shown.get(metric, set()) - keys:
                    self._record(metric, 0.0, dict(gone))
                self._shown[metric] = keys

    def _export(self, sample: Sample, key: frozenset[tuple[str, str]]) -> None:
        value = sample.value
        if METRICS[sample.metric].kind == "counter":
            before = self._totals.get((sample.metric, key), 0.0)
            self._totals[sample.metric, key] = value
            # A lower total: the counting process restarted from zero.
            value = value - before if value >= before else value
            if not value:
                return
        self._record(sample.metric, value, sample.tags)

    def _record(self, metric: str, value: float, tags: Mapping[str, str]) -> None:
        _metric(metric)(value, {**tags, "generation": self._generation})


@cache
def _metric(name: str) -> Record:
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
    """Export an actor's samples until cancelled; do nothing outside of a cluster."""
    if not ray.is_initialized():
        return
    meter = Meter(generation=generation)
    while True:
        await asyncio.sleep(REPORT_S)
        try:
            meter.show(samples())
        except Exception:  # metrics must never stop an actor
            log.exception("samples were not exported")
