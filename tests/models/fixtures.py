"""The models in `tests/data`, the answers of the libraries that saved them, and how to run them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.serving.cards.card import Runtime
from app.serving.engine.sessions.session import ModelSession
from app.serving.reading.convert import convert
from app.serving.signature import Converted
from tests.support import DATA

# What Keras says of HDF5, and one Keras of files that the other wrote.
HDF5_NOTICES = [
    pytest.mark.filterwarnings("ignore:.*HDF5 file via:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*saving your model as an HDF5:UserWarning"),
]

Array = NDArray[Any]
MODELS = DATA / "models"
# A card that trusts a model, as messages give it: a regular expression.
TRUSTED = r"a folder of its own with a model\.yaml of .* 'task: tensor' .* 'trusted: true'"
# Below AVX-512 oneDNN has no bfloat16. TensorFlow asks the CPU instead, and ends the process.
needs_bfloat16 = pytest.mark.skipif(
    os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper() in ("SSE41", "AVX", "AVX2", "AVX2_VNNI"),
    reason="oneDNN is limited to what has no bfloat16",
)


def fixture(name: str) -> Path:
    """Return the path of the model called `name`, whatever its suffix."""
    found = [p for p in MODELS.iterdir() if p.name.split(".")[0] == name and p.suffix != ".py"]
    assert len(found) == 1, found
    return found[0]


def expected(name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return inputs and outputs by name (or by number), in the order in which they were written."""
    with np.load(DATA / "expected" / f"{name}.npz") as arrays:
        inputs = {k[3:]: arrays[k] for k in arrays.files if k.startswith("in_")}
        return inputs, {k[4:]: arrays[k] for k in arrays.files if k.startswith("out_")}


def run(model: Converted, inputs: Sequence[Array], runtime: Runtime | None = None) -> list[Array]:
    """Return the outputs of the converted model in a session of its own."""
    session = ModelSession(model, runtime or Runtime(max_batch_size=2))
    try:
        fed = [_cast(a, t.dtype) for a, t in zip(inputs, model.signature.inputs, strict=True)]
        return session.run(fed)
    finally:
        session.close()


def _cast(array: Array, dtype: str) -> Array:
    return array.astype(str).astype(object) if dtype == "string" else array.astype(dtype)


def convert_and_run(
    source: Path, out: Path, *inputs: Array, trusted: bool = False
) -> tuple[Converted, list[Array]]:
    """Convert and run a model. out: a folder for the result, which is made here."""
    out.mkdir()
    model = convert(source, out, trusted=trusted)
    return model, run(model, inputs)


def assert_equal(got: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Assert equality up to the differences between two libraries."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)


def assert_as_expected(name: str, model: Converted) -> None:
    """Assert that the model answers what its own library answered."""
    inputs, outputs = expected(name)
    # By name where the fixture names them, else in order.
    if not any(k.isdecimal() for k in inputs):
        inputs = {t.name: inputs[t.name] for t in model.signature.inputs}
    got = run(model, list(inputs.values()))
    if not any(k.isdecimal() for k in outputs):
        outputs = {t.name: outputs[t.name] for t in model.signature.outputs}
    assert_equal(got, list(outputs.values()))
