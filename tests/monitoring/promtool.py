"""Prometheus's own checks, and what is asked of Prometheus in deploy/monitoring."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support import ROOT

MONITORING = ROOT / "deploy" / "monitoring"
CONFIG = MONITORING / "prometheus" / "prometheus.yml"
RULES = MONITORING / "prometheus" / "rules" / "keraport.yml"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "keraport.json"


def no_promtool() -> str | None:
    """Why alerts cannot be tested here, if they cannot."""
    if shutil.which("promtool"):
        return None
    return "there is no promtool here (Debian: apt-get install prometheus)"


@dataclass(frozen=True)
class Query:
    """An expression, and where it is from."""

    where: str
    expr: str

    @property
    def metrics(self) -> set[str]:
        """The names of metrics in it: whatever is followed by labels or looks like one of ours."""
        return set(re.findall(r"\b(?:keraport|process|python|probe)_\w+|\bup\b", self.expr))


def alerts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def alert_queries() -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in alerts()]


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    """As Grafana sends them with all models and replicas chosen, over a minute."""
    filled = {"$model": ".*", "$replica": ".*", "$__rate_interval": "1m"}
    queries = []
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in filled.items():
                expr = expr.replace(name, value)
            queries.append(Query(f"{panel['title']} {target['refId']}", expr))
    return queries
