"""Answers to photographs in each scale: those of a wrong one are often saturated, or flat.

Pixels of 0..255 drive a model of 0..1 to answers of 0 and 1; pixels of 0..1 hardly move one of
0..255, which says the same of every picture. That rules out scales, and proves none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from app.serving.pixels import scaled
from app.serving.reading.picture_scale.interception import compiled, innermost
from app.serving.reading.picture_scale.subject import Subject, rows_of
from app.serving.signature import Scale

# Scales whose pixels are of one size.
LARGE: tuple[Scale, ...] = ("none", "caffe")
SMALL: tuple[Scale, ...] = ("0..1", "-1..1", "torch")
# Multiplications that may be spent on all scales.
BUDGET = 2_000_000_000
PHOTOGRAPHS = 12
# A probability so near to 0 or 1 is saturated; a scale where so many are is a wrong one.
SATURATED = 0.001
MOST_SATURATED = 0.9
# Answers that deviate less from picture to picture are flat.
FLAT = 0.01


def plausible(subject: Subject, scales: tuple[Scale, ...]) -> tuple[Scale, ...]:
    """Return the scales in whose answers nothing is wrong, then the others, each in their order.
    All of them in their order where it would take long, or the answers are no probabilities."""
    if len(scales) * PHOTOGRAPHS * _cost(subject) > BUDGET:
        return scales
    pixels = subject.photographs(PHOTOGRAPHS)
    wrong = {}
    for scale in scales:
        answers = subject.run(scaled(tf.constant(pixels, tf.float32), scale), [], lambda *_: False)
        rows = rows_of(tf.nest.flatten(answers)[0])
        if rows.ndim != 2 or not ((rows >= 0) & (rows <= 1)).all():
            return scales
        wrong[scale] = _is_saturated(rows) or float(rows.std(axis=0).max()) < FLAT
    # Between scales of one size, answers differ too little to tell.
    ruled_out = [
        scale
        for group in (LARGE, SMALL)
        if all(wrong.get(s, True) for s in group)
        for scale in group
    ]
    return tuple(sorted(scales, key=lambda scale: scale in ruled_out))


def _is_saturated(rows: Any) -> bool:
    near = (rows < SATURATED) | (rows > 1 - SATURATED)
    return bool(near.all(axis=1).mean() > MOST_SATURATED)


def _cost(subject: Subject) -> float:
    """Estimate the multiplications for one picture; infinite where shapes are not known, or Keras
    compiles a layer."""
    total = 0
    for layer in innermost(subject.model):
        if compiled(layer):
            return math.inf
        try:
            places = layer.output.shape[1:-1]
        except (AttributeError, ValueError, RuntimeError):  # a layer that is used several times
            return math.inf
        if None in places:
            return math.inf
        weights = max((int(np.prod(weight.shape)) for weight in layer.weights), default=0)
        total += math.prod(places) * weights
    return total
