"""Models and servers that several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.browser.chromium import no_chromium
from tests.stack.compose import no_engine
from tests.support import ROOT, ServerProcess, serving

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"
# Settings of the person who runs the tests are none of the tests' business.
for name in [name for name in os.environ if name.startswith("KERAPORT_")]:
    del os.environ[name]


# What this machine lacks for some of the tests: those folders and files are left out, and why is
# said in one line each.
LACKING = {
    Path(__file__).parent / path: reason
    for reason, paths in (
        (no_engine(), ["stack"]),
        (no_chromium(), ["browser", "stack/test_browser.py"]),
    )
    if reason
    for path in paths
}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    lacks = any(path in LACKING for path in (collection_path, *collection_path.parents))
    return True if lacks else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    asked = [Path(argument.partition("::")[0]).absolute() for argument in config.args]
    for path, reason in LACKING.items():
        if path.is_dir() and any(a in (path, *path.parents) or path in a.parents for a in asked):
            terminalreporter.line(f"SKIPPED tests/{path.name}: {reason}", yellow=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the stack first: with several workers they take longest. The first of them builds
    the images."""
    for item in items:
        if item.path.parent.name == "stack":
            item.add_marker(pytest.mark.timeout(1200), append=True)
    items.sort(key=lambda item: item.path.parent.name != "stack")


class ByFile(LoadScopeScheduling):
    """Several workers (`pytest -n 2`): the tests of a file stay together, as they share servers,
    and so do all of the stack, which there is one of."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "stack" if file.startswith("tests/stack/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


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
