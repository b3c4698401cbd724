"""Processes that read model files for all tests of a worker: each imports Keras for seconds."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from app.errors import KeraportError
from app.serving.cards.versions import Policy
from app.serving.models.statistics import Statistics
from app.serving.models.stream_limit import StreamLimit
from app.serving.reading.cache import Cache
from app.serving.reading.process import ReaderProcess
from app.serving.registry.folder import discover
from app.serving.registry.open_model import open_model
from app.serving.tasks import Limits
from tests.support import ENVIRON

CACHE_BYTES = 8_000_000_000


class KeptReader(ReaderProcess):
    """A reader that is closed at the end of the tests, not by those who use it."""

    def close(self) -> None:
        """Stay."""


@cache
def shared_reader() -> ReaderProcess:
    """A reader without a cache."""
    reader = KeptReader()
    atexit.register(ReaderProcess.close, reader)
    return reader


# --- models that are converted before a server starts, which would need a reader of its own -------


class _ConvertedError(Exception):
    """The model is in the cache: nothing is to be opened."""


class _Reader(ReaderProcess):
    """Says by an exception that a model is in the cache."""

    def convert(self, source: Path, *, trusted: bool, **options: Any) -> NoReturn:
        """Convert the model, unless its author's code would end the process."""
        if not trusted:
            with super().convert(source, trusted=trusted, **options):
                pass
        raise _ConvertedError


EXPECTED = (_ConvertedError, KeraportError)


@cache
def _kept() -> Cache:
    return Cache(Path(ENVIRON["TESTS_CACHE_DIR"]), CACHE_BYTES)


@cache
def _reader() -> _Reader:
    reader = _Reader(kept=_kept())
    atexit.register(reader.close)
    return reader


def converted(folder: Path) -> Cache | None:
    """Convert the models of a folder that a server would load, and return the cache that has them;
    None outside a run of tests. What fails is left to the server."""
    if not ENVIRON:
        return None
    for model in discover(folder) if folder.is_dir() else ():
        policy = model.policy or Policy()
        for version in policy.wanted(frozenset(model.versions), set()):
            if version not in model.versions:
                continue
            scanned = model.versions[version].scanned
            with patch.dict(os.environ, ENVIRON, clear=True), suppress(*EXPECTED):
                open_model(
                    scanned, _reader(), Limits(), StreamLimit(1), Statistics(), lambda card: None
                )
    return _kept()
