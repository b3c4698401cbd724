"""The scales of pixels, as models were trained with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.serving.signature import Order, Scale

# Means and deviations of ImageNet, as keras.applications.imagenet_utils uses them.
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
TORCH_MEAN_RGB = (0.485, 0.456, 0.406)
TORCH_STD_RGB = (0.229, 0.224, 0.225)


def scaled(pixels: Any, scale: Scale, order: Order = "rgb") -> Any:
    """Scale pixels of 0..255, float32 (…, channels) in RGB, RGBA or grey, as in the training of the
    model. Takes arrays of NumPy, and tensors of TensorFlow."""
    if order == "bgr":
        return scaled(pixels, scale)[..., ::-1]
    if scale == "0..1":
        return pixels / 255.0
    if scale == "-1..1":
        return pixels / 127.5 - 1.0
    if scale == "caffe":
        return pixels[..., ::-1] - np.array(CAFFE_MEAN_BGR, np.float32)
    if scale == "torch":
        mean, deviation = np.array(TORCH_MEAN_RGB, np.float32), np.array(TORCH_STD_RGB, np.float32)
        return (pixels / 255.0 - mean) / deviation
    return pixels


def scales(channels: int) -> tuple[Scale, ...]:
    """Return the scales that pictures of so many channels may have."""
    plain: tuple[Scale, ...] = ("none", "0..1", "-1..1")
    return (*plain, "caffe", "torch") if channels == 3 else plain
