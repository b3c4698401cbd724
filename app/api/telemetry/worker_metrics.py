"""The metrics of a server with several workers: those of each, with a label that says whose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gevent.threadpool import ThreadPool
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from app.keys.ring import KeyRing
from app.status.peers import UNREADABLE, fetch

PATH = "/metrics?worker=self"
LABEL = "worker"


class WorkerMetrics:
    """What the other workers count.

    number: of this worker. siblings: the addresses of the others, by their numbers. keys: the API
    keys, if there are any.
    """

    def __init__(self, number: int, siblings: Mapping[int, str], keys: KeyRing | None) -> None:
        self._number = number
        self._siblings = siblings
        self._keys = keys
        self._pool: ThreadPool | None = None

    def added_to(self, own: CollectorRegistry) -> Collected:
        """Return the metrics of all workers that answer. own: of this one. Blocks the greenlet."""
        if self._pool is None:
            # Made at the first use, in the thread whose hub serves.
            self._pool = ThreadPool(len(self._siblings))
        asked = {
            number: self._pool.spawn(fetch, address + PATH, self._keys)
            for number, address in self._siblings.items()
        }
        return Collected(
            self._number, own, {n: each.get() or UNREADABLE for n, each in asked.items()}
        )


class Collected:
    """Metrics of several workers, as `prometheus_client` writes them.

    number, own: of this worker. others: the texts of the others by their numbers, or in their place
    what went wrong in words.
    """

    def __init__(
        self, number: int, own: CollectorRegistry, others: Mapping[int, bytes | str]
    ) -> None:
        self._number = number
        self._own = own
        self._others = others

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. From any thread."""
        found: dict[str, Metric] = {}
        _add(found, self._number, self._own.collect())
        up = GaugeMetricFamily(
            "keraport_worker_up", "Whether a worker has told its metrics.", labels=[LABEL]
        )
        up.add_metric([str(self._number)], 1)
        for number, text in self._others.items():
            if isinstance(text, bytes):
                _add(found, number, text_string_to_metric_families(text.decode()))
            up.add_metric([str(number)], isinstance(text, bytes))
        yield from found.values()
        yield up


def _add(found: dict[str, Metric], number: int, metrics: Iterable[Metric]) -> None:
    for metric in metrics:
        whole = found.get(metric.name)
        if whole is None:
            whole = found[metric.name] = Metric(metric.name, metric.documentation, metric.type)
        whole.samples += [
            sample._replace(labels={**sample.labels, LABEL: str(number)})
            for sample in metric.samples
        ]
