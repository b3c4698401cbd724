"""The metrics for Prometheus: `GET /metrics`.

What a model counts itself (rows, words, runs) is read by `app.api.telemetry.model_metrics` when the
metrics are requested; what becomes of a request is counted here when it has ended. No text of a
client ever becomes a label: a request is counted under a model and version only if that is what it
asked, and they exist.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from app import __version__
from app.api.telemetry.model_metrics import ModelCollector, versions
from app.api.telemetry.record import Record
from app.api.telemetry.series import Counters, Histograms, Series
from app.api.telemetry.source_metrics import SourceCollector
from app.api.telemetry.worker_metrics import WorkerMetrics
from app.errors import Overloaded
from app.serving.registry.entry import Entry
from app.serving.registry.outcomes import EventKind
from app.serving.registry.registry import Registry
from app.serving.threads import in_a_thread

# Seconds. A row takes a millisecond, a text as long as a request may.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_DURATIONS = (0.0001, 0.00025, 0.0005, *DURATIONS[:-1])
# Codes of errors that refuse a request because of the server, whatever is in it.
REJECTIONS = ("overloaded", "model_unavailable", "draining", "too_many_requests")
# Seconds that the metrics keep a version that is gone: long enough for Prometheus to see its last
# requests; without an end, every version that ever existed would stay.
FORGET_S = 600.0
_LOADS: dict[EventKind, tuple[str, str]] = {
    "loaded": ("load", "ok"),
    "reloaded": ("reload", "ok"),
    "failed": ("load", "failed"),
    "not_reloaded": ("reload", "failed"),
}

# Otherwise each series has a second one with the time of its creation, which no one uses.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one server over `registry`. clock: seconds that only ever grow.

    All but `loaded` belongs to the hub's thread.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        # Not the library's global one: tests have several servers in a process.
        self._exposed = exposed = CollectorRegistry()
        self._requests = Counters(
            "keraport_requests",
            "Requests that have ended, by the status of the answer.",
            ["model", "version", "protocol", "code"],
        )
        self._durations = Histograms(
            "keraport_request_duration_seconds",
            "Time from the headers of a request to the end of its answer.",
            ["model", "version", "protocol"],
            DURATIONS,
        )
        self._stages = Histograms(
            "keraport_stage_duration_seconds",
            "Time of a prediction in a stage: decode, queue or infer.",
            ["model", "version", "stage"],
            STAGE_DURATIONS,
        )
        self._rejections = Counters(
            "keraport_rejections",
            "Requests that the server refused for its own state, by the code of the error.",
            ["model", "version", "reason"],
        )
        self._of_versions: tuple[Series[Any], ...] = (
            self._requests,
            self._durations,
            self._stages,
            self._rejections,
        )
        for series in self._of_versions:
            exposed.register(series)
        self._loads = Counter(
            "keraport_model_loads",
            "Loads and reloads of model files.",
            ["model", "kind", "result"],
            registry=exposed,
        )
        self._in_flight = Gauge(
            "keraport_requests_in_flight",
            "Requests that have come and not ended, the one for metrics included.",
            registry=exposed,
        )
        Info("keraport_build", "Versions of this server.", registry=exposed).info(_build())
        self._models = ModelCollector(registry)
        exposed.register(self._models)
        ProcessCollector(registry=exposed)
        GCCollector(registry=exposed)
        self._last_seen: dict[tuple[str, str], float] = {}

    def watch_in_flight(self, count: Callable[[], int]) -> None:
        """count: how many requests are in flight now."""
        self._in_flight.set_function(count)

    def watch_sources(self, models: Path) -> None:
        """models: the folder into which models come from elsewhere."""
        self._exposed.register(SourceCollector(models))

    def observe(self, record: Record, status: int, seconds: float) -> None:
        """Count a request that has ended. status: of HTTP; of gRPC the one that stands for it."""
        model, version = _only_version(record)
        labels = (model, version, record.protocol)
        self._requests.add((*labels, str(status)))
        self._durations.observe(labels, seconds)
        if record.code in REJECTIONS:
            self._rejections.add((model, version, record.code))
        for call in record.calls:
            stages = call.stages
            if stages.model is None:
                continue
            for stage, ns in (
                ("decode", stages.decode_ns),
                ("queue", stages.queue_ns),
                ("infer", stages.infer_ns),
            ):
                # What it has not come to took no time at all.
                if ns:
                    self._stages.observe((stages.model, str(stages.version), stage), ns / 1e9)

    def observe_refused(self, status: int) -> None:
        """Count bytes that were no HTTP request, answered with this status."""
        self._requests.add(("", "", "other", str(status)))

    def loaded(self, kind: EventKind, entry: Entry, seconds: float | None) -> None:
        """Count a load of a model, from any thread. seconds: how long it took."""
        if kind not in _LOADS:
            return
        self._loads.labels(entry.name, *_LOADS[kind]).inc()
        if seconds is not None:
            self._models.load_seconds[entry.name, entry.version] = seconds

    def text(self, accept: str, others: WorkerMetrics | None = None) -> tuple[bytes, str]:
        """Return the metrics and their media type: OpenMetrics where `accept` takes that, else the
        text format of Prometheus. others: of the other workers, which are added. Blocks the
        greenlet."""
        self._forget_old_versions()
        encode, kind = choose_encoder(accept)
        exposed: Any = self._exposed if others is None else others.added_to(self._exposed)
        # A hundred models are some thousand lines: the hub turns meanwhile.
        return in_a_thread(partial(encode, exposed)), kind

    def _forget_old_versions(self) -> None:
        """Forget the versions that have been gone for FORGET_S."""
        now = self._clock()
        for entry in versions(self._registry):
            pair = entry.name, str(entry.version)
            self._last_seen[pair] = now
            # A counter that begins with 1 has not grown, for Prometheus.
            self._rejections.add((*pair, Overloaded.code), 0)
        for series in self._of_versions:
            for model, number in series.versions():
                if model:
                    self._last_seen.setdefault((model, number), now)
        for model, number in [p for p, seen in self._last_seen.items() if now - seen > FORGET_S]:
            del self._last_seen[model, number]
            for series in self._of_versions:
                series.forget(model, number)
            self._models.load_seconds.pop((model, int(number)), None)
            if not any(name == model for name, _ in self._last_seen):
                self._loads.remove_by_labels({"model": model})


def _only_version(record: Record) -> tuple[str, str]:
    """Return the model and version that the request was for, if there was exactly one."""
    entries = record.entries
    if not entries:
        return "", ""
    first = entries[0]
    for entry in entries:
        if entry is not first and (entry.name, entry.version) != (first.name, first.version):
            return "", ""
    return first.name, str(first.version)


def _build() -> dict[str, str]:
    found = {"version": __version__, "python": platform.python_version()}
    for name, packages in (
        ("tensorflow", ("tensorflow-cpu", "tensorflow")),
        ("keras", ("keras",)),
    ):
        for package in packages:
            try:
                found[name] = version(package)
                break
            except PackageNotFoundError:
                continue
    return found


def blueprint(metrics: Metrics, others: WorkerMetrics | None = None) -> Blueprint:
    """Return the route `/metrics`: with those of other workers, unless one of these asks."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def text() -> Response:
        alone = "worker" in request.args
        body, kind = metrics.text(request.headers.get("Accept", ""), None if alone else others)
        response = Response(body, content_type=kind)
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes
