"""Servers whose models change while they run."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.reloading import Served, always_ready, serving
from tests.support import ServerProcess


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    """A server, and its folder of models, which every test has a model of its own in."""
    folder = tmp_path_factory.mktemp("reload")
    (folder / "models").mkdir()
    with serving(folder / "models", folder) as server:
        yield server, folder / "models"


@pytest.fixture
def m(shared: tuple[ServerProcess, Path], request: pytest.FixtureRequest) -> Iterator[Served]:
    """A model that is not there yet, and is taken away afterwards."""
    server, models = shared
    served = Served(server, models, f"m{zlib.crc32(request.node.name.encode()):x}")
    with always_ready(server):
        yield served
    shutil.rmtree(served.folder, ignore_errors=True)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """For a server of the test's own."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
