"""Compares what is known of a model's outputs with answers to random inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.serving.engine.sessions.session import ModelSession
from app.serving.reading.outputs.meaning import judged
from app.serving.signature import Converted, OutputMeaning, SignatureDef, TensorSpec

ROWS = 2
# Seconds of a row, above which no trial is run.
MAX_ROW_S = 2.0
# The sizes of open dimensions: of pictures, and of anything else.
_PICTURE, _LENGTH = 64, 16


def checked(model: Converted, session: ModelSession) -> Converted:
    """Return the model with the meanings of its outputs as a trial confirms them."""
    signature = model.signature
    if not any(_tells(meaning) for meaning in signature.meanings):
        return model
    rows, took = session.warm_up.get(None, (1, 0))
    if took / rows > MAX_ROW_S * 1e9:
        return model
    outputs = session.run(random_inputs(signature))
    found = zip(signature.meanings, outputs, strict=True)
    meanings = tuple(judged(meaning, values) for meaning, values in found)
    return replace(model, signature=replace(signature, meanings=meanings))


def _tells(meaning: OutputMeaning) -> bool:
    return meaning.numbers in ("softmax", "sigmoid", "log-probabilities", "unknown")


def random_inputs(signature: SignatureDef) -> list[NDArray[Any]]:
    """Return one array an input: numbers in 0..1, indices 0 and 1, empty texts."""
    rng = np.random.default_rng(0)
    return [_random(spec, rng) for spec in signature.inputs]


def _random(spec: TensorSpec, rng: np.random.Generator) -> NDArray[Any]:
    sizes: Sequence[int | None] = (None,) if spec.shape is None else spec.shape
    open_size = _PICTURE if len(sizes) == 4 else _LENGTH
    shape = [(open_size if i else ROWS) if size is None else size for i, size in enumerate(sizes)]
    if spec.dtype == "string":
        return np.full(shape, "", object)
    if spec.dtype.startswith(("float", "bfloat")):
        # Rows that differ in size as well.
        scale = np.linspace(1.0, 3.0, shape[0]).reshape(-1, *[1] * (len(shape) - 1)) if shape else 1
        return np.asarray(rng.random(shape) * scale, np.float32).astype(_numpy(spec.dtype))
    return rng.integers(0, 2, shape).astype(_numpy(spec.dtype))


def _numpy(dtype: str) -> Any:
    if dtype == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return np.dtype(dtype)
