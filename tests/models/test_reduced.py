"""Reductions as operations of a graph: as NumPy makes them, and what they hide is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.serving.cards.card import Runtime
from app.serving.engine.sessions.session import ModelSession
from app.serving.models.size_multiple import size_multiple
from app.serving.reading.convert import convert
from app.serving.reductions import MaskReduction, PictureReduction, Reduction
from tests.drawn import doubled, unet


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model that answers what it gets."""
    import keras

    folder = tmp_path_factory.mktemp("plain")
    inputs = keras.layers.Input((None, None, 3), name="x")
    keras.Model(inputs, keras.layers.Activation("linear", name="y")(inputs)).save(
        folder / "plain.keras"
    )
    (folder / "out").mkdir()
    return convert(folder / "plain.keras", folder / "out", trusted=False)


@pytest.mark.parametrize(
    "reduction",
    [
        MaskReduction("highest", 3),
        MaskReduction("several", 3, 0.7),
        PictureReduction("0..1"),
        PictureReduction("-1..1"),
        PictureReduction("none"),
    ],
)
def test_a_graph_reduces_as_numpy_does(plain: Any, reduction: Reduction) -> None:
    session = ModelSession(plain, Runtime(), reductions={"y": reduction})
    rows = np.random.default_rng(0).normal(0.5, 2, (3, 5, 7, 3)).astype(np.float32)
    rows[0, 0, 0] = 0.7
    rows[1, 0, 0, 1], rows[2, 0, 0, 2] = np.nan, np.inf
    found, finite = session.run([rows])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], reduction.numpy(rows[:1])[0])
    assert np.isfinite(finite).tolist() == [True, False, False]
    # Clients of the standard protocols get the model's own numbers.
    (raw,) = session.run([rows], plain.name)
    np.testing.assert_array_equal(raw, rows)
    session.close()


@pytest.mark.parametrize(("depth", "multiple"), [(1, 2), (3, 8)])
def test_what_sides_must_be_multiples_of(tmp_path: Path, depth: int, multiple: int) -> None:
    unet(None, 1, 2, depth).save(tmp_path / "unet.keras")
    assert multiple_of(tmp_path / "unet.keras", "street", 1) == multiple


def test_a_model_that_doubles_takes_any_side(tmp_path: Path) -> None:
    doubled().save(tmp_path / "doubled.keras")
    assert multiple_of(tmp_path / "doubled.keras", "small", 3) == 1


def multiple_of(file: Path, name: str, channels: int) -> int:
    out = file.parent / "out"
    out.mkdir()
    session = ModelSession(convert(file, out, trusted=False), Runtime())
    example = {name: np.zeros((1, 8, 8, channels), np.float32)}
    found = size_multiple(session.run, example, name)
    session.close()
    return found
