"""Models and servers that several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, ServerProcess, serving

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"
# Settings of the person who runs the tests are none of the tests' business.
for name in [name for name in os.environ if name.startswith("KERAPORT_")]:
    del os.environ[name]


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over the models that the repository ships."""
    with serving(ROOT / "models", tmp_path_factory.mktemp("shipped")) as server:
        yield server


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over tabular models that are awkward in many ways."""
    from tests.tables import save_tables

    folder = save_tables(tmp_path_factory.mktemp("tables"))
    with serving(folder, tmp_path_factory.mktemp("tables-uploads")) as server:
        yield server


@pytest.fixture(scope="session")
def slow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `slow`: as many rounds of matrix products as its input says, and a
    small queue. The answer is the number of rounds."""
    from tests.models import save_slow_model

    folder = tmp_path_factory.mktemp("slow-models")
    save_slow_model(folder / "slow")
    return folder
