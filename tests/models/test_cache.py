"""The cache of converted models, with the process that reads them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.serving.cards.card import Runtime
from app.serving.reading.cache import Cache
from app.serving.reading.process import ReaderProcess
from app.serving.signature import (
    Converted,
)
from tests.converted import GB, files
from tests.models.fixtures import assert_as_expected, fixture


@contextmanager
def reader(store: Cache | None) -> Iterator[ReaderProcess]:
    one = ReaderProcess(kept=store)
    try:
        yield one
    finally:
        one.close()


def test_the_second_start_needs_no_reader(tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture("keras3_mlp"), tmp_path))
    store = Cache(tmp_path / "c", GB)
    with reader(store) as one, one.convert(source, trusted=False) as model:
        first = model
        assert one.running
        assert not one.from_cache
        assert_as_expected("keras3_mlp", model)
    with reader(store) as one, one.convert(source, trusted=False) as model:
        assert not one.running
        assert one.from_cache
        assert model == first
        assert_as_expected("keras3_mlp", model)
    with reader(store) as one, one.convert(source, trusted=True) as model:
        assert model.path != first.path, "a trusted model shares nothing with one that is not"


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture("keras3_mlp"), tmp_path))
    store = Cache(tmp_path / "c", GB)
    with reader(store) as one:
        ask = one._ask

        def change(*args: Any) -> Converted:
            model = ask(*args)
            os.utime(source)
            return model

        one._ask = change  # type: ignore[method-assign,assignment]
        with one.convert(source, trusted=False) as model:
            assert_as_expected("keras3_mlp", model)
    assert files(tmp_path / "c") == [p for p in files(tmp_path / "c") if p.suffix == ".lock"]


def test_mapped_weights_outlive_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.serving.engine.sessions.session import ModelSession
    from app.serving.reading import freezing
    from app.serving.reading.convert import convert

    monkeypatch.setattr(freezing, "LARGE_BYTES", 1)
    monkeypatch.setattr(freezing, "MAPPED_BYTES", 1)
    monkeypatch.setattr(freezing, "FOLDED_BYTES", 0)
    out = tmp_path / "out"
    out.mkdir()
    model = convert(fixture("keras3_mlp"), out, trusted=False)
    assert any(weight.mapped for weight in model.weights)
    session = ModelSession(model, Runtime())
    spec = model.signature.inputs[0]
    rows = np.ones((2, *[d or 1 for d in spec.row_shape]), np.float32)
    before = session.run([rows])
    shutil.rmtree(out)
    np.testing.assert_array_equal(session.run([rows])[0], before[0])
    session.close()
