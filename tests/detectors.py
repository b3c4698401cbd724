"""Detectors of a few kilobytes, in the layouts that users have: what they find can be checked by
eye, or computed from their raw tensors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from PIL import Image, ImageDraw

from tests.saved_once import saved_once

Box = tuple[float, float, float, float]
GRID = """\
inputs:
  picture: {kind: picture, scale: "0..1", resize: pad}
outputs:
  things:
    {kind: boxes, format: center_xywh, relative: true, labels: [cat, dog], activation: sigmoid,
     threshold: 0.4, overlap: 0.3, top: 5}
"""
CROWDED = """\
inputs:
  picture: {kind: picture, size: own, scale: none}
outputs:
  things:
    {kind: boxes, format: center_xywh, relative: true, labels: [cat, dog], activation: none,
     threshold: 0.01, overlap: 0.95, top: 1000}
"""
POINTER = """\
inputs:
  scene: {kind: picture, scale: none, resize: crop}
  corner: {kind: fields, fields: [{name: x, example: 4}, {name: y, example: 2}]}
outputs:
  there: {kind: boxes, tensor: where, scores: sure, format: xywh, labels: [here], activation: none}
"""
PERSON = """\
inputs:
  face: {kind: picture, scale: "0..1"}
  person:
    kind: fields
    fields:
    - {name: height, min: 0, max: 250, unit: cm, example: 170}
    - {name: smoker, choices: {0: "no", 1: "yes"}, example: "no"}
outputs:
  age: {kind: number, unit: years, decimals: 1}
  gender: {kind: classes, labels: [female, male]}
"""


def drawing(size: tuple[int, int], *boxes: tuple[Box, str], format: str = "PNG") -> bytes:
    """A black picture with filled boxes: left, top, right, bottom as parts of its size."""
    image = Image.new("RGB", size)
    for box, colour in boxes:
        left, top, right, bottom = np.multiply(box, [*size, *size]).round()
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=colour)
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()


@saved_once
def save_ssd(folder: Path) -> None:
    """Save a detector as TensorFlow's Object Detection API exports them: one picture of any size,
    up to 10 boxes. It finds what is red (class 1, 0.75) and what is blue (class 2, 0.625)."""
    import tensorflow as tf

    class Detector(tf.Module):  # type: ignore[misc]
        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8, name="input_tensor")]
        )
        def __call__(self, input_tensor: Any) -> dict[str, Any]:
            size = tf.cast(tf.shape(input_tensor)[1:3], tf.float32)
            found = [self._around(input_tensor[0, :, :, i] > 127, size) for i in (0, 2)]
            boxes = tf.stack([box for box, _ in found] + [tf.zeros(4)] * 8)
            seen = tf.stack([there for _, there in found] + [0.0] * 8)
            scores = seen * tf.constant([0.75, 0.625] + [0.0] * 8)
            order = tf.argsort(-scores, stable=True)
            return {
                "detection_boxes": tf.gather(boxes, order)[None],
                "detection_scores": tf.gather(scores, order)[None],
                "detection_classes": tf.gather(tf.constant([1.0, 2.0] + [1.0] * 8), order)[None],
                "num_detections": tf.reduce_sum(seen)[None],
                "raw_detection_boxes": tf.fill((1, 50, 4), float("nan")),
            }

        @staticmethod
        def _around(pixels: Any, size: Any) -> Any:
            """The box around these pixels, infinite without any, and whether there is one."""
            box, there = [], tf.reduce_any(pixels)
            for axis in (1, 0):
                at = tf.cast(tf.where(tf.reduce_any(pixels, axis))[:, 0], tf.float32)
                box.append((tf.reduce_min(at), tf.reduce_max(at) + 1))
            (top, bottom), (left, right) = box
            return tf.stack([top, left, bottom, right]) / tf.tile(size, [2]), tf.cast(
                there, tf.float32
            )

    model = Detector()
    tf.saved_model.save(model, str(folder), signatures=model.__call__)


def dictionary() -> keras.Model:
    """A detector that answers as KerasCV's do, with random weights: what it finds follows from the
    means of four parts of the picture. Half of its boxes are padding."""
    keras.utils.set_random_seed(3)
    picture = layers.Input((32, 64, 3), name="images")
    means = layers.Flatten()(layers.AveragePooling2D((16, 32))(picture))
    corners = layers.Reshape((4, 2))(layers.Dense(8, "sigmoid")(means))
    sizes = layers.Reshape((4, 2))(layers.Dense(8, "sigmoid")(means))
    far = np.array([64, 32], np.float32)
    boxes = ops.concatenate([corners * far, (corners + sizes) * far], axis=-1)
    scores = layers.Dense(4, "sigmoid")(means)
    classes = ops.floor(3 * layers.Dense(4, "sigmoid")(means))
    padded = [ops.concatenate([each, 0 * each - 1], axis=1) for each in (boxes, scores, classes)]
    names = ("boxes", "confidence", "classes")
    outputs = dict(zip(names, padded, strict=True))
    outputs["num_detections"] = ops.cast(ops.sum(0 * scores + 1, axis=1), "int32")
    return keras.Model(picture, outputs)


def grid() -> keras.Model:
    """A detector of one tensor, as YOLO has it, with random weights: for each of 8 x 8 places the
    centre and the size of a box, its objectness, and a number for each label."""
    keras.utils.set_random_seed(4)
    picture = layers.Input((64, 64, 3), name="picture")
    x = layers.Conv2D(8, 8, 8, activation="tanh")(picture)
    place = layers.Reshape((64, 4))(layers.Conv2D(4, 3, 1, "same", activation="sigmoid")(x))
    sure = layers.Reshape((64, 3))(layers.Conv2D(3, 3, 1, "same", kernel_initializer="normal")(x))
    out = layers.Concatenate(name="out")([place, 30 * sure])
    return keras.Model(picture, out)


def crowded() -> keras.Model:
    """As `grid`, for pictures of any size: a box for each 8 x 8 pixels, all of which may count."""
    keras.utils.set_random_seed(5)
    picture = layers.Input((None, None, 3), name="picture")
    numbers = layers.Conv2D(7, 8, 8, activation="sigmoid")(picture)
    return keras.Model(picture, layers.Reshape((-1, 7), name="out")(numbers))


@saved_once
def save_crowded(folder: Path) -> None:
    """Save the detector of very many boxes, with its card."""
    folder.mkdir()
    crowded().save(folder / "model.keras")
    (folder / "model.yaml").write_text(CROWDED)


def person() -> keras.Model:
    """age: 100 times the mean of the face (0..1), and the height. gender: softmax of (height - 150,
    smoker)."""
    face, facts = layers.Input((8, 8, 3), name="face"), layers.Input((2,), name="person")
    mean = ops.mean(face, axis=(1, 2, 3), keepdims=False)
    age = layers.Reshape((1,), name="age")(100 * mean[:, None] + facts[:, :1])
    shift = np.array([150, 0], np.float32)
    return keras.Model([face, facts], {"age": age, "gender": layers.Softmax()(facts - shift)})


def pointer() -> keras.Model:
    """A box of 2 x 2 pixels of the input, whose corner is given beside the picture."""
    scene, corner = layers.Input((8, 8, 3), name="scene"), layers.Input((2,), name="corner")
    none = 0 * ops.mean(scene, axis=(1, 2, 3), keepdims=False)[:, None]
    where = ops.concatenate([corner, none + 2, none + 2], axis=1)[:, None]
    return keras.Model([scene, corner], {"where": where, "sure": none + 0.75})


def scalars() -> keras.Model:
    """A number from a picture and two inputs of one number each: mean of 0..255, height and
    weight, added."""
    face = layers.Input((8, 8, 3), name="face")
    height, weight = layers.Input((1,), name="height"), layers.Input((1,), name="weight")
    mean = ops.mean(face, axis=(1, 2, 3))[:, None]
    return keras.Model([face, height, weight], {"sum": mean + height + weight})


def save_detectors(folder: Path) -> Path:
    """Save the models of this module; returns the folder."""
    _save_detectors(folder)
    return folder


@saved_once
def _save_detectors(folder: Path) -> None:
    folder.mkdir(parents=True)
    save_ssd(folder / "ssd")
    dictionary().save(folder / "dictionary.keras")
    for name, model, card in (
        ("grid", grid(), GRID),
        ("person", person(), PERSON),
        ("pointer", pointer(), POINTER),
    ):
        (folder / name).mkdir()
        model.save(folder / name / "model.keras")
        (folder / name / "model.yaml").write_text(card)
    scalars().save(folder / "scalars.keras")


def overlap(a: Any, b: Any) -> float:
    """Of two boxes as corners: what they share of what they cover together."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (areas - width * height))
