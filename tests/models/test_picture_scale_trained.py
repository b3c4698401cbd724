"""Small models are trained on pictures in a known scale, and the reader finds it out.

The pictures are dead leaves: discs that cover each other, whose sizes follow an inverse cube. They
have the statistics of photographs (Lee, Mumford and Huang 2001, "Occlusion models for natural
images"), and none of them has been seen by the reader. `training/picture_scales.py` does the same
with many models and photographs of cats and dogs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from app.serving.pixels import scaled
from app.serving.reading.picture_scale.evidence import picture_evidence
from app.serving.reading.picture_scale.statistics import Moments, misfit
from app.serving.signature import Order, PictureEvidence, Scale, TensorSpec
from training.photographs import EIGENVALUES, EIGENVECTORS, MEAN

Array = NDArray[Any]
SIDE, COUNT, DISCS = 32, 400, 150


@cache
def leaves() -> tuple[Array, Array]:
    """uint8 pictures (COUNT, SIDE, SIDE, 3), and whether the upper half of each is the brighter."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    root = EIGENVECTORS @ np.diag(np.sqrt(EIGENVALUES))
    pictures = np.zeros((COUNT, SIDE, SIDE, 3))  # black where no disc lies
    for picture in pictures:
        radii = 1.5 / np.sqrt(1 - draw.random(DISCS) * (1 - (1.5 / SIDE) ** 2))
        for radius, middle in zip(radii, draw.uniform(-5, SIDE + 5, (DISCS, 2)), strict=True):
            inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 <= radius**2
            picture[inside] = MEAN + root @ draw.normal(size=3)
    pixels = np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
    upper, lower = pixels[:, : SIDE // 2].mean((1, 2, 3)), pixels[:, SIDE // 2 :].mean((1, 2, 3))
    return pixels, (upper > lower).astype(np.float32)


def trained(
    library: Any,
    layout: str,
    scale: Scale,
    order: Order = "rgb",
    channels: int = 3,
    momentum: float = 0.99,
) -> Any:
    """A model after a hundred steps. momentum: of its BatchNormalization."""
    library.utils.set_random_seed(1)
    pixels, labels = leaves()
    if channels == 1:
        pixels = pixels[..., 1:2]
    pictures = np.asarray(scaled(tf.constant(pixels, tf.float32), scale, order))
    layers = library.layers
    x = library.Input(pictures.shape[1:])
    y = layers.Rescaling(1 / 255)(x) if layout == "rescaling" else x
    y = layers.BatchNormalization(momentum=momentum)(y) if layout == "norm-first" else y
    y = layers.Conv2D(16, 3, activation="relu" if layout == "relu-norm" else None)(y)
    y = y if layout == "plain" else layers.BatchNormalization(momentum=momentum)(y)
    y = layers.Flatten()(layers.MaxPooling2D(4)(layers.ReLU()(y)))
    model = library.Model(x, layers.Dense(1, activation="sigmoid")(y))
    model.compile(library.optimizers.Adam(0.003), "binary_crossentropy")
    model.fit(pictures, labels, batch_size=20, epochs=5, verbose=0)
    return model


def found(model: Any) -> PictureEvidence:
    spec = TensorSpec("x", "x:0", "float32", tuple(model.input_shape))
    return picture_evidence(model, lambda tensors: model(tensors[0], training=False), [spec])["x"]


@pytest.mark.parametrize("scale", ["none", "0..1", "-1..1", "caffe"])
def test_a_scale_is_shown_by_what_a_normalization_keeps(scale: Scale) -> None:
    evidence = found(trained(keras, "norm", scale))
    assert (evidence.scale, evidence.proven) == (scale, True)
    assert evidence.order != "bgr"


@pytest.mark.parametrize(
    ("library", "layout", "scale", "channels"),
    [
        (tf_keras, "norm", "-1..1", 3),
        (keras, "norm-first", "0..1", 3),
        (keras, "relu-norm", "none", 3),
        (keras, "norm", "0..1", 1),
        pytest.param(keras, "norm", "none", 1, marks=pytest.mark.slow),
    ],
)
def test_in_other_layouts_and_libraries(
    library: Any, layout: str, scale: Scale, channels: int
) -> None:
    evidence = found(trained(library, layout, scale, channels=channels))
    assert (evidence.scale, evidence.proven) == (scale, True)


def test_arithmetic_and_statistics_agree() -> None:
    evidence = found(trained(keras, "rescaling", "none"))
    assert (evidence.scale, evidence.proven) == ("none", True)
    assert "arithmetic" in evidence.reason


def test_pixels_that_were_divided_twice_are_a_guess() -> None:
    """The model divides them by 255, and so did the script that trained it."""
    evidence = found(trained(keras, "rescaling", "0..1", momentum=0.5))
    assert (evidence.scale, evidence.proven) == ("0..1", False)
    assert "do not fit its arithmetic" in evidence.reason


@pytest.mark.parametrize("scale", [pytest.param("0..1", marks=pytest.mark.slow), "-1..1"])
def test_the_order_bgr_is_shown(scale: Scale) -> None:
    evidence = found(trained(keras, "norm-first", scale, "bgr"))
    assert (evidence.scale, evidence.proven, evidence.order) == (scale, True, "bgr")


def test_an_order_that_is_not_clear_is_left_open() -> None:
    """`caffe` is BGR less the mean, and not far from it."""
    evidence = found(trained(keras, "norm-first", "none", "bgr"))
    assert (evidence.scale, evidence.proven, evidence.order) == ("none", True, None)


@pytest.mark.parametrize(
    "scale", [*(pytest.param(scale, marks=pytest.mark.slow) for scale in ("none", "0..1")), "-1..1"]
)
def test_without_a_normalization_it_is_a_guess(scale: Scale) -> None:
    assert not found(trained(keras, "plain", scale)).proven


def test_what_an_earlier_training_left_is_a_guess() -> None:
    """A frozen backbone tells of its own training, not of that of the layers behind it."""
    model = trained(keras, "norm", "-1..1")
    next(layer for layer in model.layers if "batch" in layer.name).trainable = False
    evidence = found(model)
    assert (evidence.scale, evidence.proven) == ("-1..1", False)


def test_random_weights_show_nothing() -> None:
    x = keras.Input((32, 32, 3))
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    y = keras.layers.Dense(2)(keras.layers.Flatten()(y))
    assert not found(keras.Model(x, y)).proven


# --- the measure ----------------------------------------------------------------------------------


def moments(mean: list[float], variance: list[float]) -> Moments:
    return Moments.of(mean, variance)


def test_the_same_statistics_fit_and_others_do_not() -> None:
    kept = moments([0.2, -0.1, 3.0], [0.04, 0.5, 2.0])
    assert misfit(kept, kept) == 0
    for factor in (4, 255**2):
        wrong = Moments(kept.mean, kept.variance * factor)
        assert misfit(wrong, kept) > 0.4
        assert misfit(kept, wrong) > 0.4


@pytest.mark.parametrize("start", [0.0, 0.1, 0.37, 0.6])
def test_what_is_left_of_the_start_is_taken_into_account(start: float) -> None:
    arrived = moments([0.2, -0.1, 3.0], [0.04, 0.5, 2.0])
    kept = Moments((1 - start) * arrived.mean, start + (1 - start) * arrived.variance)
    assert misfit(arrived, kept) < 0.05


def test_dead_channels_do_not_count() -> None:
    kept = moments([0.2, -0.1, 0.0], [0.04, 0.5, 0.0])
    assert misfit(moments([0.2, -0.1, 9.0], [0.04, 0.5, 9.0]), kept) == 0
    assert misfit(kept, moments([0.0] * 3, [0.0] * 3)) == float("inf")
    assert misfit(moments([0.0] * 3, [np.nan] * 3), kept) == float("inf")
