"""What `GET /metrics` said, to be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import httpx
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

from tests.support import NO_TLS

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Scrape:
    """The metrics at one moment."""

    families: list[Metric]

    def series(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """The samples called `name` with these labels, by all of theirs."""
        wanted = labels.items()
        samples = chain.from_iterable(family.samples for family in self.families)
        return {
            frozenset(sample.labels.items()): sample.value
            for sample in samples
            if sample.name == name and wanted <= sample.labels.items()
        }

    def sum(self, name: str, **labels: str) -> float:
        """Of all series called `name` with these labels; 0 where there is none."""
        return sum(self.series(name, **labels).values())

    @property
    def names(self) -> set[str]:
        """Of families, without what belongs to histograms and counters."""
        return {family.name for family in self.families}


def scrape(url: str, accept: str = "*/*") -> Scrape:
    """The metrics of the server at `url` now, which must be well-formed."""
    response = httpx.get(f"{url}/metrics", headers={"Accept": accept}, timeout=60, verify=NO_TLS)
    assert response.status_code == 200, response.text
    kind = response.headers["Content-Type"]
    parse = openmetrics if kind.startswith("application/openmetrics-text") else text
    return Scrape(list(parse(response.text)))
