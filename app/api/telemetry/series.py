"""Counters and histograms by labels, written in the hub and read at each scrape.

Those of prometheus_client take locks and check their arguments for each number: a tenth of the
time of a row. What is exposed is still the library's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
T = TypeVar("T")


class Series(Collector, Generic[T]):
    """The values of a metric by the values of its labels, of which the first two are model and
    version. labels: their names."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._values: dict[Labels, T] = {}

    def versions(self) -> set[tuple[str, str]]:
        """Return the models and versions that have values."""
        return {(model, version) for model, version, *_ in self._values}

    def forget(self, model: str, version: str) -> None:
        """Drop the series of a version of a model."""
        for labels in [labels for labels in self._values if labels[:2] == (model, version)]:
            del self._values[labels]


class Counters(Series[int]):
    """A counter for each combination of labels."""

    def add(self, labels: Labels, amount: int = 1) -> None:
        """Count `amount` more."""
        self._values[labels] = self._values.get(labels, 0) + amount

    def collect(self) -> Iterator[Metric]:
        """Collect the counters. Safe from any thread."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, count in list(self._values.items()):
            family.add_metric(labels, count)
        yield family


class _Histogram:
    """counts: values by bucket, the last for those above all bounds. sum: of all values."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0


class Histograms(Series[_Histogram]):
    """A histogram for each combination of labels. bounds: the upper bounds of its buckets."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        super().__init__(name, documentation, labels)
        self._bounds = bounds

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value."""
        found = self._values.get(labels)
        if found is None:
            found = self._values[labels] = _Histogram(len(self._bounds) + 1)
        found.counts[bisect_left(self._bounds, value)] += 1
        found.sum += value

    def collect(self) -> Iterator[Metric]:
        """Collect the histograms, each bucket of which counts those below as well. Safe from any
        thread."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, histogram in list(self._values.items()):
            buckets = zip(bounds, accumulate(list(histogram.counts)), strict=True)
            family.add_metric(labels, [*buckets], histogram.sum)
        yield family
