"""SavedModels without a signature are served if they have exactly one function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from app.errors import LoadError
from app.serving.reading.convert import convert
from tests.models.fixtures import assert_equal, convert_and_run

X = tf.TensorSpec((None, 2), tf.float32, name="x")
ROWS = np.ones((1, 2), "float32")


class Hub(tf.Module):  # type: ignore[misc]
    """As TensorFlow Hub has them."""

    def __init__(self) -> None:
        super().__init__()
        self.v = tf.Variable([2.0, 3.0])

    @tf.function  # type: ignore[untyped-decorator]
    def __call__(self, x: Any, training: bool = False) -> Any:
        return x * 9.0 if training else x + self.v


class Two(tf.Module):  # type: ignore[misc]
    """No one function is meant."""

    @tf.function  # type: ignore[untyped-decorator]
    def encode(self, x: Any) -> Any:
        return x + 1.0

    @tf.function  # type: ignore[untyped-decorator]
    def decode(self, x: Any) -> Any:
        return x - 1.0


def test_what_a_hub_model_is_called_with(tmp_path: Path) -> None:
    hub = Hub()
    for training in (False, True):
        hub.__call__.get_concrete_function(X, training=training)
    tf.saved_model.save(hub, str(tmp_path / "sm"))
    model, got = convert_and_run(tmp_path / "sm", tmp_path / "out", ROWS)
    assert model.frozen
    assert [t.name for t in model.signature.inputs] == ["x"]
    assert_equal(got, [np.array([[3.0, 4.0]])])


def test_a_bare_function(tmp_path: Path) -> None:
    """As onnx2tf writes it."""
    weights = tf.constant([3.0, 4.0])
    function = tf.function(lambda x: x * weights).get_concrete_function(X)
    tf.saved_model.save(function, str(tmp_path / "sm"))
    _, got = convert_and_run(tmp_path / "sm", tmp_path / "out", ROWS)
    assert_equal(got, [np.array([[3.0, 4.0]])])


def test_of_two_functions_one_is_chosen_by_the_advice(tmp_path: Path) -> None:
    two = Two()
    for function in (two.encode, two.decode):
        function.get_concrete_function(X)
    tf.saved_model.save(two, str(tmp_path / "sm"))
    with pytest.raises(
        LoadError, match=r"its functions: (decode, encode|encode, decode)\)"
    ) as caught:
        convert(tmp_path / "sm", tmp_path, trusted=False)
    assert "tf.saved_model.load('folder')" in caught.value.message
    m = tf.saved_model.load(str(tmp_path / "sm"))
    tf.saved_model.save(
        m,
        str(tmp_path / "new"),
        signatures=m.encode.get_concrete_function(tf.TensorSpec((None, 2), tf.float32)),
    )
    _, got = convert_and_run(tmp_path / "new", tmp_path / "out", ROWS)
    assert_equal(got, [np.array([[2.0, 2.0]])])


def test_a_function_that_reads_files_needs_trust(tmp_path: Path) -> None:
    class Reading(tf.Module):  # type: ignore[misc]
        @tf.function  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return tf.strings.length(tf.io.read_file("/etc/hostname")) + tf.cast(x, tf.int32)

    reading = Reading()
    reading.__call__.get_concrete_function(X)
    tf.saved_model.save(reading, str(tmp_path / "sm"))
    with pytest.raises(LoadError, match="uses files of this server"):
        convert(tmp_path / "sm", tmp_path, trusted=False)
