"""What files show of the texts that their models take, and that these are served as Keras has
them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from app.serving.cards.card import Runtime
from app.serving.engine.sessions.session import ModelSession
from app.serving.reading.convert import convert
from app.serving.signature import TextEvidence

IDS = np.array([[0, 0, 1, 2, 3, 4], [9, 8, 7, 6, 5, 49]])
TEXTS = ["good film", "a bad, bad film"]


def of_ids(library: Any, dtype: str, length: int | None, tokens: int, *, loop: bool) -> Any:
    layers = library.layers
    ids = layers.Input((length,), dtype=dtype, name="ids")
    found = layers.Embedding(tokens, 4, mask_zero=True)(ids)
    # A loop takes long to trace.
    last = layers.LSTM(3) if loop else layers.GlobalAveragePooling1D()
    return library.Model(ids, layers.Dense(2, "softmax")(last(found)))


def of_texts(library: Any, shape: tuple[int, ...]) -> Any:
    layers = library.layers
    text = layers.Input(shape, dtype="string", name="text")
    found = layers.TextVectorization(vocabulary=["good", "film"], output_sequence_length=4)(text)
    found = layers.GlobalAveragePooling1D()(layers.Embedding(4, 3)(found))
    return library.Model(text, layers.Dense(2, "softmax")(found))


def saved(model: Any, form: str, folder: Path) -> Path:
    path = folder / f"model{form}"
    if form == "export":
        model.export(path, **({"verbose": False} if isinstance(model, keras.Model) else {}))
    elif form == "folder":
        tf.saved_model.save(model, str(path))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a form that is old
            model.save(path)
    return path


def answers(path: Path, folder: Path, rows: Any) -> tuple[dict[str, TextEvidence], Any]:
    """The evidence, and what the model answers as it is served."""
    converted = convert(path, folder, trusted=False)
    session = ModelSession(converted, Runtime())
    try:
        return converted.signature.texts, session.run([rows])[0]
    finally:
        session.close()


@pytest.mark.parametrize(
    ("library", "form", "dtype", "length", "tokens"),
    [
        (keras, ".keras", "int32", None, 50),
        (keras, ".keras", "float32", 6, 30_000),
        (keras, "export", "int64", 6, 30_000),
        (tf_keras, ".h5", "float32", 6, 50),
        (tf_keras, ".keras", "int32", None, 30_000),
        # The lookup is in a function of the graph.
        (tf_keras, "folder", "float32", None, 50),
        (tf_keras, "folder", "int32", 6, 30_000),
        (tf_keras, "export", "int32", 6, 50),
    ],
)
def test_ids_go_into_an_embedding(
    library: Any, form: str, dtype: str, length: int | None, tokens: int, tmp_path: Path
) -> None:
    library.utils.set_random_seed(3)
    model = of_ids(library, dtype, length, tokens, loop=length is None and form == ".keras")
    rows = IDS.astype(dtype)
    (tmp_path / "out").mkdir()
    found, answered = answers(saved(model, form, tmp_path), tmp_path / "out", rows)
    assert list(found.values()) == [TextEvidence(ids=True, tokens=tokens)]
    np.testing.assert_allclose(answered, model(tf.constant(rows)).numpy(), atol=1e-5)


@pytest.mark.parametrize("library", [keras, tf_keras])
@pytest.mark.parametrize("form", [".keras", "export"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_strings_are_texts(library: Any, form: str, shape: Any, tmp_path: Path) -> None:
    model = of_texts(library, shape)
    rows = np.array(TEXTS, object).reshape(2, *shape)
    (tmp_path / "out").mkdir()
    found, answered = answers(saved(model, form, tmp_path), tmp_path / "out", rows)
    assert list(found.values()) == [TextEvidence(ids=False)]
    np.testing.assert_allclose(answered, model(tf.constant(rows.tolist())).numpy(), atol=1e-5)


def _jpeg(x: Any) -> Any:
    images = tf.map_fn(tf.io.decode_jpeg, x, fn_output_signature=tf.uint8)
    return tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2])


def _record(x: Any) -> Any:
    return tf.io.parse_example(x, {"y": tf.io.FixedLenFeature([2], tf.float32)})["y"]


def _category(x: Any) -> Any:
    return tf.one_hot(tf.strings.to_hash_bucket_fast(x, 3), 3)


@pytest.mark.parametrize(
    ("serve", "shape", "is_text"),
    [
        (_jpeg, (None,), False),
        (_record, (None,), False),
        (lambda x: tf.io.decode_raw(x, tf.float32), (None,), False),
        (lambda x: tf.strings.length(x), (None, 7), False),
        (lambda x: tf.strings.length(x), None, False),
        (_category, (None,), True),
        (
            lambda x: tf.reshape(tf.strings.unicode_decode(x, "UTF-8").row_lengths(), (-1, 1)),
            (None,),
            True,
        ),
    ],
)
def test_strings_that_are_no_texts(
    serve: Callable[[Any], Any], shape: Any, is_text: bool, tmp_path: Path
) -> None:
    module = tf.Module()
    spec = tf.TensorSpec(shape, tf.string, name="x")
    module.serve = tf.function(lambda x: {"y": serve(x)}, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    (tmp_path / "out").mkdir()
    found = convert(tmp_path / "model", tmp_path / "out", trusted=False).signature.texts
    assert found == ({"x": TextEvidence(ids=False)} if is_text else {})


def test_numbers_that_are_no_ids(tmp_path: Path) -> None:
    """Those that are computed with, and indices into something else than weights."""
    layers = keras.layers
    x, of = layers.Input((6,), dtype="int32"), layers.Input((9,))
    rounded = layers.Embedding(50, 4)(keras.ops.abs(x) // 2)
    picked = keras.ops.take_along_axis(of, x, axis=1)
    outputs = [layers.Flatten()(rounded), picked]
    keras.Model([x, of], outputs).save(tmp_path / "model.keras")
    (tmp_path / "out").mkdir()
    assert convert(tmp_path / "model.keras", tmp_path / "out", trusted=False).signature.texts == {}
