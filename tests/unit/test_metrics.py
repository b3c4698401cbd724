"""Metrics without a server: which series are dropped, which protocol counts, what is kept apart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.telemetry.metrics import FORGET_S, Metrics
from app.api.telemetry.protocols import protocol_of
from app.api.telemetry.record import record_of
from app.factory import create_app
from app.serving.call import Call
from app.serving.registry.entry import Entry, Group
from app.serving.registry.registry import Registry
from app.settings import Settings
from app.sources.record import PULLS, PullRecord, write_record
from tests.metrics import Scrape


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two versions of `a` and one of `b`, none of them loaded."""
    registry = Registry()
    with registry.changing() as groups:
        for name, versions in (("a", (1, 2)), ("b", (1,))):
            groups[name] = Group(name)
            for version in versions:
                groups[name].put(Entry(groups[name], version))
    return registry


def _scrape(metrics: Metrics) -> Scrape:
    body, _ = metrics.text("")
    return Scrape(list(text_string_to_metric_families(body.decode())))


def _observe(metrics: Metrics, *entries: Entry, path: str = "/api/x", **about: Any) -> None:
    environ = {"PATH_INFO": path}
    record = record_of(environ)
    record.entries += entries
    record.code = about.get("code")
    call = Call(0)
    if entries:
        call.stages.model, call.stages.version = entries[0].name, entries[0].version
        call.stages.infer_ns = 3_000_000
    record.calls.append(call)
    metrics.observe(record, about.get("status", 200), 0.25)


REQUESTS = "keraport_requests_total"


def test_a_request_belongs_to_the_one_version_that_it_asked(registry: Registry) -> None:
    metrics = Metrics(registry)
    a, b = registry.entry("a", 2), registry.entry("b")
    _observe(metrics, a, a)
    _observe(metrics, a, b)
    _observe(metrics, a, registry.entry("a", 1))
    _observe(metrics)
    found = _scrape(metrics)
    assert found.sum(REQUESTS, model="a", version="2") == 1
    assert found.sum(REQUESTS, model="", version="") == 3
    assert found.sum(REQUESTS) == 4
    # Each model tells how long it took, also where several were asked.
    stages = "keraport_stage_duration_seconds"
    assert found.sum(f"{stages}_count", model="a", version="2", stage="infer") == 3
    assert found.sum(f"{stages}_sum", model="a", version="2", stage="infer") == pytest.approx(0.009)
    assert found.sum(f"{stages}_count", stage="queue") == 0


@pytest.mark.parametrize("code", ["overloaded", "model_unavailable", "draining"])
def test_refusals_have_a_reason(registry: Registry, code: str) -> None:
    metrics = Metrics(registry)
    entry = registry.entry("b")
    _observe(metrics, entry, status=503, code=code)
    _observe(metrics, entry, status=422, code="invalid_input")
    found = _scrape(metrics)
    assert found.sum("keraport_rejections_total", model="b", reason=code) == 1
    assert found.sum("keraport_rejections_total") == 1


def test_what_is_gone_is_forgotten_after_a_while(registry: Registry) -> None:
    clock = Clock()
    metrics = Metrics(registry, clock)
    for name, version in (("a", 1), ("a", 2), ("b", 1)):
        _observe(metrics, registry.entry(name, version))
        metrics.loaded("loaded", registry.entry(name, version), 1.0)
    _observe(metrics)
    assert _scrape(metrics).sum(REQUESTS) == 4
    with registry.changing() as groups:
        groups["a"].remove(1)
        del groups["b"]
    clock.now += FORGET_S
    assert _scrape(metrics).sum(REQUESTS) == 4
    clock.now += 1
    kept = _scrape(metrics)
    assert kept.sum(REQUESTS, model="a", version="2") == kept.sum(REQUESTS, model="") == 1
    assert kept.sum(REQUESTS) == 2
    labels = {pair for f in kept.families for s in f.samples for pair in s.labels.items()}
    assert ("model", "b") not in labels
    assert kept.sum("keraport_model_loads_total", model="a") == 2


def test_what_ends_late_is_forgotten_as_well(registry: Registry) -> None:
    clock = Clock()
    metrics = Metrics(registry, clock)
    gone = registry.entry("b")
    with registry.changing() as groups:
        del groups["b"]
    _observe(metrics, gone)
    assert _scrape(metrics).sum(REQUESTS, model="b") == 1
    clock.now += FORGET_S + 1
    assert _scrape(metrics).sum(REQUESTS, model="b") == 0


def test_a_version_that_did_not_load_says_so(registry: Registry) -> None:
    metrics = Metrics(registry)
    registry.entry("a", 2).state = "failed"
    registry.entry("b").group.problem = "the card cannot be read"
    found = _scrape(metrics)
    failed = {("a", "1"): 0, ("a", "2"): 1, ("b", "1"): 1}
    for (model, version), value in failed.items():
        assert found.sum("keraport_model_failed", model=model, version=version) == value
    assert found.sum("keraport_model_ready") == 0


def test_two_applications_count_for_themselves(registry: Registry) -> None:
    first, second = Metrics(registry), Metrics(registry)
    _observe(first)
    app = create_app(Settings(), registry, measured=second)
    text = app.test_client().get("/metrics").text
    assert f"{REQUESTS}{{" not in text
    assert "keraport_build_info{" in text


def test_sources_fail_or_are_forgotten(registry: Registry, tmp_path: Path) -> None:
    now = time.time()
    for record in (
        PullRecord(name="fine", checked_at=now, every_s=300),
        PullRecord(name="once", checked_at=now - 1e6),
        PullRecord(name="broken", checked_at=now, every_s=300, problem="there is nothing"),
        PullRecord(name="late", checked_at=now - 2000, every_s=300),
    ):
        (tmp_path / PULLS / record.name).mkdir(parents=True)
        write_record(tmp_path / PULLS / record.name, record)
    metrics = Metrics(registry)
    metrics.watch_sources(tmp_path)
    found = _scrape(metrics)
    for model, value in {"fine": 0, "once": 0, "broken": 1, "late": 1}.items():
        series = found.series("keraport_source_failed", model=model)
        assert [*series.values()] == [value], model


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/api/mpg", "native"),
        ("/api/models", "native"),
        ("/predict", "native"),
        ("/v1/models/mpg:predict", "v1"),
        ("/v2", "v2"),
        ("/v2/models/mpg/infer", "v2"),
        ("/", "page"),
        ("/models/mpg", "page"),
        ("/compare", "page"),
        ("/docs/x", "page"),
        ("/login", "page"),
        ("", "other"),
        ("*", "other"),
        ("/api/status", "other"),
        ("/v2/health/ready", "other"),
        ("/livez", "other"),
        ("/metrics", "other"),
        ("/static/x.css", "other"),
        ("/v1x", "other"),
        ("/favicon.ico", "other"),
    ],
)
def test_protocols(path: str, protocol: str) -> None:
    assert protocol_of(path) == protocol
