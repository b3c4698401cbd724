"""Where the pixels of outputs lie in the picture, by what models answer to its coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from app.serving.reading.outputs.grid import grids

SIZE = 44
Layers = Callable[[Any], Any]


def conv(size: int = 3, stride: int = 1, padding: str = "valid", dilation: int = 1) -> Any:
    """The mean of `size` x `size` pixels, so that coordinates stay those of the middle."""
    return layers.Conv2D(
        2,
        size,
        stride,
        padding,
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=lambda shape, dtype: (
            tf.reshape(tf.eye(2, dtype=dtype) / size**2, (1, 1, 2, 2))
            * tf.ones((size, size, 1, 1), dtype)
        ),
    )


def up(size: int, padding: str, weights: list[float]) -> Any:
    """Twice as high and wide."""
    return layers.Conv2DTranspose(
        2,
        size,
        2,
        padding,
        use_bias=False,
        kernel_initializer=lambda shape, dtype: (
            tf.reshape(tf.eye(2, dtype=dtype), (1, 1, 2, 2))
            * tf.reshape(np.outer(weights, weights).astype(np.float32), (size, size, 1, 1))
        ),
    )


def chain(*steps: Layers) -> Layers:
    def built(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return built


def unet(x: Any) -> Any:
    """One level of the original U-Net."""
    skip = chain(conv(), conv())(x)
    deep = chain(layers.AveragePooling2D(2), conv(), up(2, "valid", [1, 1]))(skip)
    joined = layers.Average()([layers.Cropping2D(2)(skip), deep])
    return chain(conv(), layers.Activation("relu"))(joined)


CASES: dict[str, Layers] = {
    "valid": conv(5),
    "same": conv(3, padding="same"),
    "even": conv(4),
    "even same": conv(4, padding="same"),
    "stride": chain(conv(3, 2), conv(3)),
    "stride same": conv(3, 2, "same"),
    "stride same, odd": chain(conv(4), conv(3, 2, "same")),
    "dilated": conv(3, dilation=3),
    "pooled": layers.AveragePooling2D(2),
    "pooled same": chain(conv(4), layers.AveragePooling2D(3, 2, "same")),
    "nearest": chain(conv(), layers.AveragePooling2D(2), layers.UpSampling2D()),
    "bilinear": chain(conv(), layers.UpSampling2D(2, interpolation="bilinear")),
    "transposed": chain(conv(), up(2, "valid", [1, 1])),
    "transposed same": chain(conv(), up(3, "same", [0.5, 1, 0.5])),
    "transposed beyond": chain(up(4, "valid", [0.25, 0.75, 0.75, 0.25])),
    "cropped": layers.Cropping2D(((3, 1), (0, 7))),
    "padded": chain(layers.ZeroPadding2D(((2, 0), (1, 3))), conv()),
    "scaled": chain(layers.Rescaling(1.0), conv(), layers.BatchNormalization(epsilon=0)),
    "unet": unet,
}


# What models of any size do not tell, or Keras cannot trace.
SIZED = {"stride same", "stride same, odd", "dilated", "pooled same", "bilinear"}


def traced(model: keras.Model) -> Any:
    spec = tf.TensorSpec(model.inputs[0].shape, tf.float32)
    return tf.function(lambda x: model(x, training=False), input_signature=[spec])


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize("case", CASES)
def test_pixels_are_where_coordinates_say(case: str, size: int | None) -> None:
    if size is None and case in SIZED:
        pytest.skip("the size decides")
    inputs = layers.Input((size, size, 2))
    model = keras.Model(inputs, CASES[case](inputs))
    function = traced(model).get_concrete_function()
    grid = grids({"out": function.outputs[0]})["out"]
    # The coordinates of each pixel, down and across.
    places = np.stack(np.meshgrid(*[np.arange(SIZE)] * 2, indexing="ij"), -1)
    found = model(places[None].astype(np.float32))[0].numpy()
    # Padding has other values; an even number, for pixels are enlarged in pairs.
    inner = [slice(8, size - 8 - size % 2) for size in found.shape[:2]]
    for axis in (0, 1):
        wanted = grid.first[axis] + grid.step[axis] * np.arange(found.shape[axis])[inner[axis]]
        assert found[*inner, axis].mean() == pytest.approx(wanted.mean(), abs=1e-3)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Permute((2, 1, 3)),
        chain(layers.Flatten(), layers.Reshape((SIZE, SIZE, 2))),
        lambda x: layers.Add()([conv(3)(x), layers.Cropping2D(((2, 0), (1, 1)))(x)]),
    ],
)
def test_what_is_not_certain_is_left_open(layer: Layers) -> None:
    inputs = layers.Input((SIZE, SIZE, 2))
    function = traced(keras.Model(inputs, layer(inputs))).get_concrete_function()
    assert grids({"out": function.outputs[0]}) == {}
