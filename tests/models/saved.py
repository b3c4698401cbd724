"""Saves the models that tests make themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.saved_once import saved_once
from tests.support import ROOT

ROUND_S = 0.01


def _pause() -> Any:
    """Zero, after ROUND_S without CPU time: a data set of one row that sleeps before the row and
    before its end. The card must trust a model with it."""
    raw = tf.raw_ops
    shape: dict[str, Any] = {"output_types": [tf.int64], "output_shapes": [()]}
    start, stop, step = (tf.constant(i, tf.int64) for i in (0, 1, 1))
    once = raw.RangeDataset(start=start, stop=stop, step=step, **shape)
    half = tf.constant(round(1e6 * ROUND_S / 2), tf.int64)
    sleepy = raw.SleepDataset(input_dataset=once, sleep_microseconds=half, **shape)
    (zero,) = raw.DatasetToSingleElement(dataset=sleepy, **shape)
    return tf.cast(zero, tf.float32)


class _Slow(tf.Module):  # type: ignore[misc]
    # Without AutoGraph, which warns under Python 3.13.
    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, 1), tf.float32, name="rounds")], autograph=False
    )
    def serve(self, rounds: Any) -> dict[str, Any]:
        """Takes as many rounds of ROUND_S as the largest row says."""
        most = tf.reduce_max(rounds)
        (done,) = tf.while_loop(
            lambda done: done < most, lambda done: (done + 1.0 + _pause(),), (0.0,)
        )
        return {"rounds": rounds + 0 * done}


@saved_once
def save_slow_model(folder: Path, *, max_queue: int = 4, timeout_s: float = 120) -> None:
    """A SavedModel whose run takes as long as its input says, with a card."""
    module = _Slow()
    tf.saved_model.save(
        module, str(folder / "saved_model"), signatures={"serving_default": module.serve}
    )
    (folder / "model.yaml").write_text(
        "task: tensor\ntrusted: true\n"
        f"runtime: {{max_batch_size: 2, max_queue: {max_queue}, timeout_s: {timeout_s}}}\n"
    )


class _Hanging(tf.Module):  # type: ignore[misc]
    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, 1), tf.float32, name="x")], autograph=False
    )
    def serve(self, x: Any) -> dict[str, Any]:
        """Gives back what it gets, but never ends where any of it is below 0."""
        least = tf.reduce_min(x)
        (zero,) = tf.while_loop(lambda _: least < 0, lambda zero: (zero + _pause(),), (0.0,))
        return {"y": x + zero}


@saved_once
def save_hanging_model(folder: Path) -> None:
    """A SavedModel that hangs on numbers below 0, with a card: one row a run."""
    module = _Hanging()
    tf.saved_model.save(
        module, str(folder / "saved_model"), signatures={"serving_default": module.serve}
    )
    (folder / "model.yaml").write_text(
        "task: tensor\ntrusted: true\nruntime: {max_batch_size: 1}\n"
    )


class _Killing(tf.Module):  # type: ignore[misc]
    def __init__(self, most_rows: int) -> None:
        super().__init__()
        self._most_rows = most_rows

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, 1), tf.float32, name="x")], autograph=False
    )
    def serve(self, x: Any) -> dict[str, Any]:
        """Gives back what it gets; ends the process where any of it is below 0."""

        def die() -> Any:
            with tf.control_dependencies([tf.raw_ops.Abort(error_msg="killed by a model")]):
                return tf.constant(0.0)

        dies = tf.logical_or(tf.reduce_min(x) < 0, tf.shape(x)[0] > self._most_rows)
        return {"y": x + tf.cond(dies, die, lambda: tf.constant(0.0))}


@saved_once
def save_killing_model(folder: Path, *, most_rows: int = 1000) -> None:
    """A SavedModel whose run ends the process on numbers below 0, and on more than `most_rows`,
    with a card: with 1, that is the warm-up in the server."""
    module = _Killing(most_rows)
    tf.saved_model.save(
        module, str(folder / "saved_model"), signatures={"serving_default": module.serve}
    )
    (folder / "model.yaml").write_text("task: tensor\ntrusted: true\n")


@saved_once
def save_picture_model(file: Path, *, rescales: bool) -> None:
    """A small classifier of pictures. rescales: it scales their pixels itself."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            *([layers.Rescaling(1 / 255)] if rescales else []),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(file)


def save_image_models(folder: Path) -> None:
    """Three models that take pictures: the shipped `cats-dogs`, `three` with random weights, and
    `broken`, which fails to load."""
    folder.mkdir()
    (folder / "cats-dogs").symlink_to(ROOT / "models" / "cats-dogs")
    (folder / "three").mkdir()
    save_picture_model(folder / "three" / "model.keras", rescales=True)
    (folder / "three" / "model.yaml").write_text(
        "task: image-classification\ntitle: Three animals\nlabels: [ant, bee, fly]\n"
    )
    (folder / "broken").mkdir()
    (folder / "broken" / "model.yaml").write_text(
        "task: image-classification\ntitle: Night camera\n"
    )
    (folder / "broken" / "model.h5").write_text("no model")


@saved_once
def save_text_model(folder: Path, *, kind: str = "lstm", units: int = 24, **runtime: Any) -> None:
    """A word model with random weights and a vocabulary of its own, with a card: what it writes
    means nothing, but differs with every word before."""
    import keras

    words = ["", "<unk>", *(f"w{i}" for i in range(200)), ".", ","]
    keras.utils.set_random_seed(3)
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}.get(kind)
    if layer is None:
        recurrent = keras.layers.Bidirectional(keras.layers.LSTM(units))
    else:
        recurrent = layer(units)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(len(words), 16, mask_zero=True, embeddings_initializer="normal"),
            recurrent,
            keras.layers.Dense(len(words), activation="softmax"),
        ]
    )
    for weight in model.weights:
        weight.assign(weight * 4.0)
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    (folder / "vocabulary.txt").write_text("\n".join(words) + "\n")
    (folder / "starts.txt").write_text("w1 w2 w3 w4 w5, w6 w7.\n\nw8 w9 w10 w11.\n")
    settings = "".join(f", {key}: {value}" for key, value in runtime.items())
    (folder / "model.yaml").write_text(
        "task: text-generation\ntext: {starts: starts.txt, window: 20}\n"
        f"runtime: {{max_batch_size: 16, max_queue: 300{settings}}}\n"
    )


@saved_once
def save_tabular_model(
    folder: Path, card: str, *, columns: int, units: int = 1, activation: str | None = None
) -> None:
    """A dense layer over `columns` columns, with a card. Its first unit is the sum of them, the
    others are smaller multiples of it."""
    layer = keras.layers.Dense(units, activation=activation)
    model = keras.Sequential([keras.Input((columns,)), layer])
    layer.set_weights(
        [np.tile(1.0 / np.arange(1, units + 1), (columns, 1)), np.zeros(units)],
    )
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    (folder / "model.yaml").write_text(card, encoding="utf-8")


@saved_once
def save_half_plus_two(folder: Path) -> None:
    """A SavedModel of TensorFlow 1 that answers as the one of TensorFlow Serving's documentation:
    y = x / 2 + 2 to predict, and over `tf.Example`s to classify and to regress; y2 = x / 2 + 3."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=0.5)
        b = v1.get_variable("b", initializer=2.0)
        c = v1.get_variable("c", initializer=3.0)
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        feature = {
            name: tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])
            for name in ("x", "x2")
        }
        parsed = tf.io.parse_example(serialized, feature)
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(tf.multiply(a, x), b, name="y")
        y2 = tf.add(tf.multiply(a, x), c, name="y2")
        y3 = tf.add(tf.multiply(a, tf.identity(parsed["x2"], name="x2")), c, name="y3")

        def definition(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
            return v1.saved_model.build_signature_def(
                {n: v1.saved_model.build_tensor_info(t) for n, t in inputs.items()},
                {n: v1.saved_model.build_tensor_info(t) for n, t in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": definition({"x": x}, {"y": y}, "predict"),
                "regress_x_to_y": definition({"inputs": serialized}, {"outputs": y}, "regress"),
                "regress_x_to_y2": definition({"inputs": serialized}, {"outputs": y2}, "regress"),
                "regress_x2_to_y3": definition({"inputs": serialized}, {"outputs": y3}, "regress"),
                "classify_x_to_y": definition({"inputs": serialized}, {"scores": y}, "classify"),
            },
        )
        builder.save()


@saved_once
def save_constant_model(file: Path, value: float, *, hidden: int = 1) -> None:
    """A Keras file whose four outputs, `y`, are `value` whatever its one input `x` is, so that an
    answer tells which file it is from. hidden: units of each of its two layers, squared the
    weights."""
    layers = keras.layers
    last = layers.Dense(4, name="y")
    model = keras.Sequential(
        [keras.Input((1,), name="x"), layers.Dense(hidden), layers.Dense(hidden), last],
    )
    last.set_weights([np.zeros((hidden, 4)), np.full(4, value)])
    file.parent.mkdir(parents=True, exist_ok=True)
    model.save(file)


# What the echo takes and answers, by the names of the Open Inference Protocol.
ECHOED = {
    "BOOL": tf.bool,
    "UINT8": tf.uint8,
    "UINT16": tf.uint16,
    "UINT32": tf.uint32,
    "UINT64": tf.uint64,
    "INT8": tf.int8,
    "INT16": tf.int16,
    "INT32": tf.int32,
    "INT64": tf.int64,
    "FP16": tf.float16,
    "BF16": tf.bfloat16,
    "FP32": tf.float32,
    "FP64": tf.float64,
    "BYTES": tf.string,
}


@saved_once
def save_echo(folder: Path, *datatypes: str) -> None:
    """A SavedModel with one input of each datatype, of any two dimensions, each answered as it is.
    Input `fp32` becomes output `same_fp32`."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs, outputs = {}, {}
        for datatype in datatypes:
            name = datatype.lower()
            sent = v1.placeholder(ECHOED[datatype], [None, None], name=name)
            inputs[name] = v1.saved_model.build_tensor_info(sent)
            outputs[f"same_{name}"] = v1.saved_model.build_tensor_info(tf.identity(sent))
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": v1.saved_model.build_signature_def(inputs, outputs, "echo")},
        )
        builder.save()


class _Tagged(tf.Module):  # type: ignore[misc]
    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None,), tf.string, name="tag"),
            tf.TensorSpec((None, 5), tf.float32, name="signal"),
            tf.TensorSpec((None, 2, 2), tf.int32, name="sensor"),
        ],
        autograph=False,
    )
    def serve(self, tag: Any, signal: Any, sensor: Any) -> dict[str, Any]:
        """Something of each input."""
        return {
            "loud": tf.strings.upper(tag),
            "raw_bytes": tf.strings.join([tag, tf.constant(b"\xff")]),
            "total": tf.reduce_sum(signal, axis=1),
            "turned": tf.transpose(sensor, (0, 2, 1)),
        }

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((), tf.float64, name="factor"),
            tf.TensorSpec((2,), tf.int64, name="pair"),
        ],
        autograph=False,
    )
    def scale(self, factor: Any, pair: Any) -> dict[str, Any]:
        """Nothing in it counts rows."""
        return {"scaled": tf.cast(pair, tf.float64) * factor, "factor": factor}

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((2, 2), tf.uint8, name="square")], autograph=False
    )
    def turn(self, square: Any) -> dict[str, Any]:
        """Rows, but always two."""
        return {"turned": tf.transpose(square)}

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None,), tf.complex64, name="wave")], autograph=False
    )
    def wave(self, wave: Any) -> dict[str, Any]:
        """Numbers that JSON does not have."""
        return {"length": tf.abs(wave)}


@saved_once
def save_tagged_model(folder: Path) -> None:
    """A SavedModel of three inputs, those of TensorFlow Serving's documentation, and four outputs;
    its other signatures count no rows."""
    module = _Tagged()
    signatures = {
        "serving_default": module.serve,
        "scale": module.scale,
        "turn": module.turn,
        "wave": module.wave,
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


@saved_once
def save_caption_model(folder: Path) -> None:
    """A SavedModel that classifies `tf.Example`s of an image and its caption, as TensorFlow
    Serving's documentation asks one: the classes are the two, their scores half the lengths."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        feature = {n: tf.io.FixedLenFeature([1], tf.string) for n in ("image", "caption")}
        parsed = tf.io.parse_example(serialized, feature)
        classes = tf.concat([parsed["image"], parsed["caption"]], axis=1)
        scores = tf.cast(tf.strings.length(classes), tf.float32) * 0.5

        def definition(outputs: dict[str, Any]) -> Any:
            info = v1.saved_model.build_tensor_info
            return v1.saved_model.build_signature_def(
                {"inputs": info(serialized)},
                {name: info(tensor) for name, tensor in outputs.items()},
                "tensorflow/serving/classify",
            )

        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "classify_objects": definition({"classes": classes, "scores": scores}),
                "labels_only": definition({"classes": classes}),
            },
        )
        builder.save()
