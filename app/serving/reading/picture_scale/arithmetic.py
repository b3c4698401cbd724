"""The arithmetic between an input and the first layer with weights: `Rescaling`, `Normalization`,
and the operations that `preprocess_input` leaves in a model.

It is read by its effect, whatever layers it consists of: pictures of one colour each are fed, and
what arrives shows which scale it expects. Pixels of 0..255 that are divided by 255 arrive as 0..1;
pixels of 0..1 would arrive as nearly nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.serving.pixels import CAFFE_MEAN_BGR, TORCH_MEAN_RGB, TORCH_STD_RGB
from app.serving.signature import Order, Scale

Array = NDArray[Any]
# Black and white, and one colour for each channel.
PROBES = 2
# Black and white of each scale that arithmetic can start from.
RANGES: dict[Scale, tuple[float, float]] = {
    "none": (0.0, 255.0),
    "0..1": (0.0, 1.0),
    "-1..1": (-1.0, 1.0),
}
# Of the range: dividing by 128 in place of 127.5 makes 0.004. At most the second, which tells
# pixels from those less one half.
TOLERANCE = 0.005
MOST = 0.1
_MEAN, _STD = np.array(TORCH_MEAN_RGB), np.array(TORCH_STD_RGB)
_CAFFE = np.array(CAFFE_MEAN_BGR)
# Black and white as training usually wants them.
_USUAL: tuple[tuple[Any, Any], ...] = (
    (0.0, 1.0),
    (-1.0, 1.0),
    (-0.5, 0.5),
    (0.0, 255.0),
    (-_MEAN / _STD, (1 - _MEAN) / _STD),
    (-_MEAN[::-1] / _STD[::-1], (1 - _MEAN[::-1]) / _STD[::-1]),
    (-_CAFFE, 255 - _CAFFE),
    (-_CAFFE[::-1], 255 - _CAFFE[::-1]),
)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What arithmetic shows. proven: whether that scale fits, and no other. order: of the colours
    that it expects, where its means tell."""

    scale: Scale
    proven: bool
    order: Order | None = None


def probes(shape: tuple[int, ...]) -> Array:
    """Return float32 pictures (n, *shape) of one colour each, for `read`: for each of `RANGES`
    black, white, and each channel alone at white."""
    channels = shape[2] if len(shape) == 3 else 1
    colours = np.vstack([np.zeros(channels), np.ones(channels), np.eye(channels)])
    pictures = []
    for black, white in RANGES.values():
        for colour in colours:
            value = black + (white - black) * colour
            pictures.append(np.broadcast_to(value if len(shape) == 3 else value[0], shape))
    return np.array(pictures, np.float32)


def read(arrived: Array, shape: tuple[int, ...]) -> Arithmetic | None:
    """Read what arrives of `probes(shape)`. Returns None where that is the picture itself."""
    channels = shape[2] if len(shape) == 3 else 1
    middle = _middle(arrived, channels)
    if middle is None or not np.isfinite(middle).all():
        return None
    each = PROBES + channels
    found = {scale: middle[i * each : (i + 1) * each] for i, scale in enumerate(RANGES)}
    if all(np.allclose(v[:PROBES].T, RANGES[s], atol=1e-3) for s, v in found.items()):
        return None
    fitting = [s for s, values in found.items() if _is_usual(*values[:PROBES])]
    if not fitting:
        fitting = [s for s, values in found.items() if _is_plausible(*values[:PROBES])]
    if len(fitting) != 1:
        return Arithmetic(fitting[0] if fitting else "none", proven=False)
    order = _order(found[fitting[0]]) if channels == 3 else None
    return Arithmetic(fitting[0], proven=True, order=order)


def _middle(arrived: Array, channels: int) -> Array | None:
    """Return the pixel in the middle of each picture, (n, values): at the border, padding would
    be among them."""
    count = len(arrived)
    if arrived.ndim == 4:
        return arrived[:, arrived.shape[1] // 2, arrived.shape[2] // 2]
    if arrived.ndim == 3:
        return arrived[:, arrived.shape[1] // 2, arrived.shape[2] // 2, None]
    if arrived.ndim == 2 and arrived.shape[1] % channels == 0:  # after Flatten
        pixels = arrived.reshape(count, -1, channels)
        return pixels[:, pixels.shape[1] // 2]
    return None


def _is_usual(black: Array, white: Array) -> bool:
    for low, high in _USUAL:
        if np.ndim(low) and len(low) != len(black):
            continue
        near = min(MOST, TOLERANCE * float(np.max(np.subtract(high, low))))
        if (abs(black - low) < near).all() and (abs(white - high) < near).all():
            return True
    return False


def _is_plausible(black: Array, white: Array) -> bool:
    """Whether black and white lie as after the subtraction of a mean, and perhaps a division by the
    deviation, both of the training's own pictures."""
    span = white - black
    if (abs(span - 255) < 1).all():
        return bool(((black > -180) & (black < -50)).all())
    if (abs(span - 1) < TOLERANCE).all():
        return bool(((black > -0.75) & (black < -0.2)).all())
    # A deviation of a sixth to a half of the range, a mean of a tenth to nine tenths.
    mean = -black / span
    return bool(((span > 2) & (span < 6.5) & (mean > 0.1) & (mean < 0.9)).all())


def _order(pixels: Array) -> Order | None:
    """Return the order that the means of ImageNet show: blue has the smallest in `caffe`, and the
    largest offset in `torch`."""
    black, white = pixels[:PROBES]
    if len(black) != 3:
        return None
    flips = int(np.argmax(abs(pixels[PROBES] - black))) == 2
    means = -black / (white - black)
    imagenet = (_MEAN, _CAFFE[::-1] / 255)
    for rgb in imagenet:
        if np.allclose(means, rgb, atol=0.005):
            return "bgr" if flips else "rgb"
        if np.allclose(means, rgb[::-1], atol=0.005):
            return "rgb" if flips else "bgr"
    return None
