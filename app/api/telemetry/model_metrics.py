"""The metrics that models keep themselves, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.serving.cards.card import TEXT_TASK
from app.serving.models.statistics import BATCH_ROWS, Totals
from app.serving.registry.entry import Entry
from app.serving.registry.registry import Registry

OF_A_VERSION = ("model", "version")


def versions(registry: Registry) -> list[Entry]:
    """Return all versions of all models, in whatever state."""
    return [e for default in registry.entries() for e in default.group.versions.values()]


class ModelCollector(Collector):
    """The models of `registry`. load_seconds: how long the last load took, by name and version."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.load_seconds: dict[tuple[str, int], float] = {}

    def collect(self) -> Iterator[Metric]:
        """Collect the metrics. Runs in a native thread, while models work and are replaced."""
        ready = _gauge("keraport_model_ready", "Whether the version answers: 1 or 0.")
        failed = _gauge(
            "keraport_model_failed",
            "Whether the version, or a change of its files, could not be loaded: 1 or 0.",
        )
        load = _gauge("keraport_model_load_seconds", "Time that the last load took.")
        memory = _gauge("keraport_model_memory_bytes", "Memory that the weights take.")
        device = InfoMetricFamily(
            "keraport_model_device",
            "What the model runs on.",
            labels=OF_A_VERSION,
        )
        depth = _gauge("keraport_queue_depth", "Predictions between arrival and answer.")
        limit = _gauge("keraport_queue_limit", "The depth at which requests are refused.")
        streams = _gauge("keraport_streams", "Texts asked for and not finished.")
        rows = _counter("keraport_rows", "Predictions made.")
        words = _counter("keraport_words", "Words written, of models that write texts.")
        errors = CounterMetricFamily(
            "keraport_model_errors",
            "Predictions that failed, by the code of the error.",
            labels=[*OF_A_VERSION, "code"],
        )
        batches = HistogramMetricFamily(
            "keraport_batch_rows",
            "Rows in a run of the model; texts written at once, where it writes texts.",
            labels=OF_A_VERSION,
        )
        for entry in versions(self._registry):
            labels = (entry.name, str(entry.version))
            model = entry.model
            problem = entry.group.problem if entry is entry.group.default else None
            ready.add_metric(labels, model is not None)
            failed.add_metric(
                labels, entry.state == "failed" or bool(entry.reason) or bool(problem)
            )
            if model is None:
                continue
            seconds = self.load_seconds.get((entry.name, entry.version))
            if seconds is not None:
                load.add_metric(labels, seconds)
            memory.add_metric(labels, model.weight_bytes)
            device.add_metric(labels, {"device": model.device})
            depth.add_metric(labels, model.waiting)
            limit.add_metric(labels, model.card.runtime.max_queue)
            totals = model.statistics.totals()
            rows.add_metric(labels, totals.rows)
            for code, count in totals.errors.items():
                errors.add_metric((*labels, code), count)
            _add_batches(batches, labels, totals)
            if model.card.task == TEXT_TASK:
                words.add_metric(labels, totals.words)
                streams.add_metric(labels, model.waiting)
        yield from (ready, failed, load, memory, device, depth, limit, streams)
        yield from (rows, words, errors, batches)


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=OF_A_VERSION)


def _counter(name: str, documentation: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, labels=OF_A_VERSION)


def _add_batches(family: HistogramMetricFamily, labels: tuple[str, str], totals: Totals) -> None:
    """Add the buckets of a histogram, each of which counts those below as well."""
    bounds = [*(str(float(rows)) for rows in BATCH_ROWS), "+Inf"]
    counts = accumulate(totals.batches)
    family.add_metric(labels, [*zip(bounds, counts, strict=True)], totals.run_rows)
