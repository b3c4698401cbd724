"""The models in `tests/data`, what they answered where they were made, and how to run them here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.serving.card import Runtime
from app.serving.loading import convert
from app.serving.runtime import ModelSession
from app.serving.signature import Converted
from tests.support import DATA

Array = NDArray[Any]
MODELS = DATA / "models"


def fixture(name: str) -> Path:
    """The model called `name`, whatever its ending."""
    found = [p for p in MODELS.iterdir() if p.name.split(".")[0] == name and p.suffix != ".py"]
    assert len(found) == 1, found
    return found[0]


def expected(name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and outputs by name (or by number), in the order in which they were written."""
    with np.load(DATA / "expected" / f"{name}.npz") as arrays:
        inputs = {k[3:]: arrays[k] for k in arrays.files if k.startswith("in_")}
        return inputs, {k[4:]: arrays[k] for k in arrays.files if k.startswith("out_")}


def run(model: Converted, inputs: Sequence[Array], runtime: Runtime | None = None) -> list[Array]:
    """What the converted model answers in a session of its own."""
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
    """Both steps at once. out: a folder for the result, made here."""
    out.mkdir()
    model = convert(source, out, trusted=trusted)
    return model, run(model, inputs)


def assert_equal(got: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Equal up to what two libraries may differ by."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)


def assert_as_expected(name: str, model: Converted) -> None:
    """The model answers what its own library answered, input by input and output by output."""
    inputs, outputs = expected(name)
    # By name where the fixture names them, else in order.
    if not any(k.isdecimal() for k in inputs):
        inputs = {t.name: inputs[t.name] for t in model.signature.inputs}
    got = run(model, list(inputs.values()))
    if not any(k.isdecimal() for k in outputs):
        outputs = {t.name: outputs[t.name] for t in model.signature.outputs}
    assert_equal(got, list(outputs.values()))
