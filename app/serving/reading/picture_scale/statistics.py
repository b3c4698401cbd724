"""Statistics of what reaches a BatchNormalization, compared with those that it keeps of training.

Fed with photographs in the right scale, each channel has about the mean and the variance that the
layer has kept. A wrong scale changes the variance by its square: 4 between 0..1 and -1..1, 65,025
between 0..1 and 0..255.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.serving.pixels import scaled
from app.serving.reading.picture_scale.interception import compiled, innermost
from app.serving.reading.picture_scale.subject import Subject
from app.serving.signature import Order, Scale

Array = NDArray[np.float64]
# Photographs that are fed in every scale, and at most in those whose misfit is then no more than
# so many times the least, unless that is hopeless. The order BGR is tried in so many scales.
FIRST, SECOND = 4, 24
NEAR = 4.0
HOPELESS = 1.5
TURNED = 2
# Multiplications that each of these two comparisons may take, and pixels in one run.
BUDGET = 4_000_000_000
PIXELS = 2_000_000
# Places in each direction of a picture whose values count: neighbours say the same.
PLACES = 24
# A layer starts with mean 0 and variance 1, and keeps a part of these after a short training: with
# Keras's momentum of 0.99, 37 % after 100 steps. Above the last, nothing was learned.
STARTS = np.linspace(0.0, 0.6, 25)[:, None]
# Of the largest variance: channels below it are dead.
DEAD = 1e-6
# A misfit up to which a scale is shown, if every other one's is larger by the factor. From trials:
# docs/decisions/0033-scales-of-pictures.md.
FITS = 0.6
CLEARLY = 2.0

# How pictures are fed: a scale, or one that a card cannot name, and the order of the colours.
Way = tuple[str, Order]
RIVALS: tuple[Way, ...] = (("half", "rgb"), ("standard", "rgb"))


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance of each channel, float64 (channels,)."""

    mean: Array
    variance: Array

    @classmethod
    def of(cls, mean: Any, variance: Any) -> Moments:
        """Take them from arrays or tensors."""
        return cls(np.asarray(mean, np.float64), np.asarray(variance, np.float64))

    @property
    def untrained(self) -> bool:
        """Whether they are those that a layer starts with."""
        return bool((self.mean == 0).all() and (self.variance == 1).all())


def misfit(arrived: Moments, kept: Moments) -> float:
    """Return how far `arrived` is from what the layer has kept: the median over the channels of the
    distance of two normal distributions, for the likeliest remainder of the layer's start. 0 where
    they are the same; infinite where they cannot be compared."""
    alive = kept.variance > DEAD * kept.variance.max(initial=0)
    if not alive.any() or not np.isfinite(arrived.variance).all():
        return float("inf")
    mean, variance = kept.mean[alive], kept.variance[alive]
    left = 1 - STARTS
    shift = (left * arrived.mean[alive] - mean) / np.sqrt(variance)
    ratio = np.log(np.maximum(STARTS + left * arrived.variance[alive], 1e-30) / variance)
    return float(np.median(np.hypot(ratio, shift), axis=1).min())


@dataclass(frozen=True, slots=True)
class Fit:
    """The misfit of a scale, in the better order of the colours. turned: that of the order BGR,
    where it was tried; straight: that of RGB."""

    scale: Scale
    straight: float
    turned: float = math.inf

    @property
    def misfit(self) -> float:
        """The lesser of both."""
        return min(self.straight, self.turned)


@dataclass(frozen=True, slots=True)
class Fits:
    """What the first BatchNormalization shows. by_scale: the best first. other: the least misfit of
    the scales that a card cannot name. frozen: whether the layer took no part in the last training,
    so that it tells of an earlier one."""

    by_scale: tuple[Fit, ...]
    other: float
    frozen: bool

    @property
    def shown(self) -> Fit | None:
        """The scale that fits, if none of the others nearly does."""
        best, second = self.by_scale[:2]
        rival = min(second.misfit, self.other)
        clear = best.misfit <= FITS and rival >= CLEARLY * best.misfit
        return best if clear and not self.frozen else None

    @property
    def order(self) -> Order | None:
        """The order of the colours in the scale that is shown, if the other fits clearly worse."""
        best = self.shown
        if best is None or math.isinf(best.turned):
            return None
        if best.straight >= CLEARLY * best.turned:
            return "bgr"
        return "rgb" if best.turned >= CLEARLY * best.straight else None


def fits(subject: Subject, scales: tuple[Scale, ...]) -> Fits | None:
    """Compare the scales. Returns None for a model without a BatchNormalization that has been
    trained and is within reach."""
    layers = innermost(subject.model)
    if not any(_is_norm(layer) for layer in layers):
        return None
    probe = _Probe(subject, layers)
    ways: list[Way] = [*((scale, "rgb") for scale in scales), *RIVALS]
    found = probe.misfits(ways, FIRST)
    if found is None:
        return None
    least = min(found.values())
    again = [way for way in ways if found[way] <= NEAR * least and least <= HOPELESS]
    if subject.channels == 3:
        likely = sorted(scales, key=lambda scale: found[scale, "rgb"])
        turnable = [scale for scale in likely if scale != "caffe"][:TURNED]
        again += [(scale, "bgr") for scale in turnable if (scale, "rgb") in again]
    if again:
        found |= probe.misfits(again, SECOND) or {}
    each = [
        Fit(scale, found[scale, "rgb"], found.get((scale, "bgr"), math.inf)) for scale in scales
    ]
    return Fits(
        tuple(sorted(each, key=lambda fit: fit.misfit)),
        other=min(found[way] for way in RIVALS),
        frozen=not probe.norm.trainable,
    )


def _fed(pixels: NDArray[np.float32], way: Way) -> Any:
    kind, order = way
    if kind == "half":  # -0.5..0.5
        return pixels / 255 - 0.5
    if kind == "standard":  # each picture by itself, as tf.image.per_image_standardization
        axes = tuple(range(1, pixels.ndim))
        deviation = np.maximum(pixels.std(axes, keepdims=True), math.prod(pixels.shape[1:]) ** -0.5)
        return (pixels - pixels.mean(axes, keepdims=True)) / deviation
    return scaled(pixels, cast(Scale, kind), order)


class _Probe:
    """Feeds photographs to a model as far as its first BatchNormalization."""

    def __init__(self, subject: Subject, layers: list[Any]) -> None:
        self.subject, self.layers = subject, layers
        self.norm: Any = None
        self._cost = 0.0  # multiplications for one picture

    def misfits(self, ways: Sequence[Way], count: int) -> dict[Way, float] | None:
        """Compare what arrives of so many photographs, or of as many as there is time for, fed in
        each of these ways. Returns None if those are fewer than `FIRST`, or no layer is reached
        that has been trained."""
        pixels_of_one = math.prod(self.subject.shape[:2])
        affordable = int(BUDGET / max(1, self._cost * len(ways)))
        count = min(count, PIXELS // pixels_of_one, affordable)
        if count < FIRST:
            return None
        pixels = self.subject.photographs(count).astype(np.float32)
        at_once = max(1, PIXELS // (count * pixels_of_one))
        found: dict[Way, float] = {}
        for start in range(0, len(ways), at_once):
            some = ways[start : start + at_once]
            arrived = self._run(np.stack([_fed(pixels, way) for way in some]), BUDGET // len(ways))
            if arrived is None:
                return None
            kept = Moments.of(self.norm.moving_mean, self.norm.moving_variance)
            if kept.untrained:
                return None
            found |= {way: misfit(each, kept) for way, each in zip(some, arrived, strict=True)}
        return found

    def _run(self, fed: NDArray[Any], budget: float) -> list[Moments] | None:
        """Return what arrives of pictures (ways, n, ...). budget: for each way."""
        ways, count = fed.shape[:2]
        found: list[Moments] = []
        self._cost = 0.0

        def wanted(layer: Any, inputs: Any) -> bool:
            if not _is_norm(layer):
                self._cost += _cost(layer, inputs)
                return bool(self._cost * count > budget)
            rows = np.asarray(inputs)
            # Another input may reach one as well.
            if len(rows) % (ways * count) or (rows[0] == rows[-1]).all():
                return False
            self.norm = layer
            rows = np.moveaxis(rows, int(np.ravel(layer.axis)[0]), -1)
            if rows.ndim == 4:
                down, right = (-(-size // PLACES) for size in rows.shape[1:3])
                rows = rows[:, ::down, ::right]
            values = rows.reshape(ways, -1, rows.shape[-1]).astype(np.float32)
            found.extend(map(Moments.of, values.mean(axis=1), values.var(axis=1)))
            return True

        self.subject.run(fed.reshape(-1, *fed.shape[2:]), self.layers, wanted)
        return found or None


def _is_norm(layer: Any) -> bool:
    return hasattr(layer, "moving_variance")


def _cost(layer: Any, inputs: Any) -> float:
    """Estimate the multiplications of a layer for one picture; infinite where Keras compiles it."""
    if compiled(layer):
        return math.inf
    places = 1
    if len(getattr(inputs, "shape", ())) == 4:
        strides = getattr(layer, "strides", 1)
        places = math.prod(inputs.shape[1:3]) // math.prod(np.broadcast_to(strides, 2).tolist())
    return places * max((math.prod(w.shape) for w in layer.weights), default=0)
