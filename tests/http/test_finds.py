"""Every find of the fuzzer, sent again to the current server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fuzz.probe import Prober
from tests.fuzz.request import load

FINDS = sorted((Path(__file__).parent.parent / "fuzz" / "finds").glob("*.json"))


@pytest.fixture(scope="module")
def prober(fuzzed_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prober]:
    folder = tmp_path_factory.mktemp("finds")
    with closing(Prober(fuzzed_models, folder, pause_s=2, patience_s=45)) as prober:
        yield prober


@pytest.mark.parametrize("file", FINDS, ids=lambda file: file.stem)
def test_a_find_is_a_problem_no_more(prober: Prober, file: Path) -> None:
    assert prober.probe(load(file).request) == []


def test_after_all_finds_the_server_is_at_rest(prober: Prober) -> None:
    prober.server.settled()
    assert prober.server.unfinished() == {}
    assert prober.restarts == 0
