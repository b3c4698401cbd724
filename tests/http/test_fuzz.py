"""The fuzzer for a few seconds: what `make fuzz` does for minutes, with smaller requests."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.campaign import Campaign
from tests.fuzz.floods import FLOODS
from tests.fuzz.report import Options

# On a loaded machine a server may wait for its turn.
OPTIONS = Options(seconds=10, seed=12, clients=4, share=0.01, pause_s=5)


def test_nothing_is_found_in_a_few_seconds(fuzzed_models: Path, tmp_path: Path) -> None:
    campaign = Campaign(fuzzed_models, tmp_path, OPTIONS, print)
    report = campaign.run()
    assert report.finds == []
    assert report.answers["200"] > 100
    assert report.answers["400"] > 20
    assert report.origins["flood"] > len(FLOODS) / 8
    assert {"agreement", "framing", "mutated", "picture", "valid"} <= set(report.origins)
    assert report.warm is not None
    assert report.rest is not None
