"""Tests of this folder do without TensorFlow and Keras, whose imports take seconds."""

from __future__ import annotations

import sys
from collections.abc import Generator, Set
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
HEAVY = ("tensorflow", "keras", "tf_keras")
Modules = Set[object]
BEFORE = pytest.StashKey[Modules]()


def _imported() -> Modules:
    return sys.modules.keys() & HEAVY


def _reason(modules: Modules) -> str:
    names = ", ".join(sorted(map(str, modules)))
    return f"imports {names}: tests that need TensorFlow are in tests/models"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a file that is the first in this process to import one of HEAVY."""
    before = _imported()
    report = yield
    if collector.path.is_relative_to(FOLDER) and (new := _imported() - before):
        report.outcome = "failed"
        report.longrepr = _reason(new)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEFORE] = _imported()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test whose fixtures or body were the first to import one of HEAVY."""
    if new := _imported() - item.stash[BEFORE]:
        pytest.fail(_reason(new), pytrace=False)
