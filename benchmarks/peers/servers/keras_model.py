"""One Keras model as a careful author of a server runs it: loaded once, called through a
`tf.function` that is traced once for batches of any size, with pictures read by Pillow as
`keras.utils.load_img` reads them and scaled in the graph."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.applications.imagenet_utils import preprocess_input

from benchmarks.peers.servers.card import card, fields, folder

Array = np.ndarray[Any, np.dtype[Any]]


class Model:
    """The model that the benchmark asks to be served. size: height and width, for pictures."""

    def __init__(self) -> None:
        (file,) = (p for p in folder().iterdir() if p.suffix in (".keras", ".h5", ".hdf5"))
        self._model: Any = keras.models.load_model(file, compile=False)
        self._fields, about = fields(), card()
        self._labels = about.get("labels") or list(map(str, range(self._model.output_shape[-1])))
        self._scale = about.get("input", {}).get("scale", "none")
        self._pictures = about["task"] == "image-classification"
        shape = self._model.input_shape
        self.size: tuple[int, int] = tuple(shape[1:3])
        # Bytes are a quarter of what floats take on the way into the graph.
        dtype = tf.uint8 if self._pictures else tf.float32
        self._run = tf.function(self._call, input_signature=[tf.TensorSpec(shape, dtype)])
        self.run(np.zeros((1, *shape[1:]), dtype.as_numpy_dtype))

    def _call(self, batch: Any) -> Any:
        if not self._pictures:
            return self._model(batch, training=False)
        pixels = tf.cast(batch, tf.float32)
        if self._scale == "0..1":
            pixels /= 255
        elif self._scale != "none":
            pixels = preprocess_input(pixels, mode="tf" if self._scale == "-1..1" else self._scale)
        scores = self._model(pixels, training=False)
        activation = getattr(self._model.layers[-1], "activation", None)
        return tf.sigmoid(scores) if activation is keras.activations.linear else scores

    def run(self, batch: Array) -> Array:
        """Rows, pictures or tensors of shape (batch, …) to float32 (batch, outputs)."""
        output: Array = self._run(tf.constant(batch)).numpy()
        return output

    def row(self, values: Mapping[str, float]) -> Array:
        """A row by names to float32 (fields,)."""
        return np.array([values[name] for name in self._fields], np.float32)

    def picture(self, file: bytes) -> Array:
        """A file to uint8 (height, width, 3)."""
        picture = keras.utils.load_img(io.BytesIO(file), target_size=self.size)
        return np.asarray(picture)

    def label(self, scores: Array) -> tuple[str, float]:
        """The label and its probability from the scores of one picture."""
        if len(scores) == 1:  # the probability of the second label
            second = float(scores[0])
            return (self._labels[1], second) if second >= 0.5 else (self._labels[0], 1 - second)
        best = int(scores.argmax())
        return self._labels[best], float(scores[best])
