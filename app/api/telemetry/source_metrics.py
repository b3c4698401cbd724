"""The metrics of models from elsewhere (`python -m app pull`), read at each scrape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.sources.record import read_records


class SourceCollector(Collector):
    """The sources of the models folder `models`."""

    def __init__(self, models: Path) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Collect the metrics. Reads files, in a native thread."""
        failed = GaugeMetricFamily(
            "keraport_source_failed",
            "Whether the source of the model failed, or was not asked when it should have been: 1 "
            "or 0.",
            labels=["model"],
        )
        now = time.time()
        for record in read_records(self._models):
            failed.add_metric([record.name], record.trouble(now) is not None)
        yield failed
