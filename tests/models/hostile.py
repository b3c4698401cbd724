"""SavedModels with operations that access files, and the assertion that they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from app.errors import LoadError
from app.serving.reading.convert import convert
from tests.models.fixtures import TRUSTED

Body = Callable[[Any], dict[str, Any]]
X = tf.TensorSpec((None, 2), tf.float32, name="x")
TEXTS = tf.TensorSpec((None,), tf.string, name="x")
ONES = np.ones((1, 2), "float32")


def concrete(body: Callable[..., Any], *specs: Any) -> Any:
    return tf.function(body, input_signature=list(specs)).get_concrete_function()


def save(path: Path, module: Any = None, **bodies: Body) -> Path:
    functions = {name: concrete(body, X) for name, body in bodies.items()}
    tf.saved_model.save(module or tf.Module(), str(path), signatures=functions)
    return path


def edit(path: Path, change: Callable[[Any], None]) -> Path:
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    change(proto.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return path


def refused(path: Path, tmp_path: Path, reason: str = "uses files of this server") -> None:
    """Assert that the model is refused and no part of it was run: it would have left
    `out/written`."""
    (tmp_path / "out").mkdir()
    with pytest.raises(LoadError, match=f"{reason}.*give the model {TRUSTED}"):
        convert(path, tmp_path / "out", trusted=False)
    assert not list((tmp_path / "out").iterdir())


def writes(tmp_path: Path) -> Any:
    return tf.io.write_file(str(tmp_path / "out" / "written"), "written")
