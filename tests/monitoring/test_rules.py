"""The scrapes and alerts of Prometheus, and the dashboard of Grafana."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.metrics import Scrape, scrape
from tests.monitoring.promtool import (
    CONFIG,
    MONITORING,
    RULES,
    Query,
    alert_queries,
    alerts,
    dashboard,
    panel_queries,
    panels,
)
from tests.support import ROOT, ServerProcess

QUERIES = [*alert_queries(), *panel_queries()]
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TESTS = Path(__file__).with_name("alerts.yml")
# Of histograms and counters, their samples have longer names.
ENDINGS = ("_total", "_bucket", "_sum", "_count", "_info")


def _promtool(*arguments: str | Path) -> None:
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid() -> None:
    # What it names in the container is not here; the stack's test has it all.
    _promtool("check", "config", "--syntax-only", CONFIG)
    _promtool("check", "rules", RULES)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    _promtool("test", "rules", TESTS)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_is_tested_and_says_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert f"{rule['alert']}" in TESTS.read_text()
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert f"| `{rule['alert']}` |" in GUIDE


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: str(query.where))
def test_every_query_of_the_dashboard_can_be_read(query: Query, tmp_path: Path) -> None:
    rule = {"groups": [{"name": "x", "rules": [{"record": "x", "expr": query.expr}]}]}
    (tmp_path / "rule.yml").write_text(yaml.safe_dump(rule))
    _promtool("check", "rules", tmp_path / "rule.yml")


def test_the_dashboard_holds_together() -> None:
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in panels()]
    sources = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    uid = {"type": "prometheus", "uid": sources[0]["uid"]}
    assert all(v["datasource"] == uid for v in board["templating"]["list"])
    for panel, title in zip(panels(), titles, strict=True):
        assert panel["datasource"] == uid
        assert panel["targets"], title
        assert all(target["datasource"] == uid for target in panel["targets"])
    places = [
        (p["gridPos"]["x"] + x, p["gridPos"]["y"] + y)
        for p in board["panels"]
        for x in range(p["gridPos"]["w"])
        for y in range(p["gridPos"]["h"])
    ]
    assert len(places) == len(set(places)), "panels lie on each other"
    assert max(x for x, _ in places) < 24
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = {name for query in QUERIES for name in re.findall(r"\$(\w+)", query.expr)}
    assert used == set()
    assert variables == {"model", "replica"}


@pytest.fixture(scope="module")
def exposed(shipped: ServerProcess) -> Scrape:
    shipped.post("/api/mpg", content=b"{")
    return scrape(shipped.url)


def _families(names: set[str]) -> set[str]:
    for ending in ENDINGS:
        names = {name.removesuffix(ending) for name in names}
    return names


def test_what_is_asked_for_exists(exposed: Scrape) -> None:
    asked = set().union(*(query.metrics for query in QUERIES))
    ours = {name for name in asked if not name.startswith(("up", "probe_"))}
    assert len(ours) > 20
    assert _families(ours) - _families(exposed.names) == set()


def test_every_metric_is_in_the_guide(exposed: Scrape) -> None:
    ours = {name for name in exposed.names if name.startswith("keraport_")}
    told = set(re.findall(r"^\| `(keraport_\w+)[`{]", GUIDE, re.MULTILINE))
    assert _families(ours) == _families(told)
