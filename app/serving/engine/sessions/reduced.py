"""Reductions of outputs, as operations of a model's graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.serving.engine.sessions import tf
from app.serving.reductions import FACTORS, MaskReduction, PictureReduction, Reduction
from app.serving.signature import TensorSpec


def reduced(
    tensors: Sequence[Any], specs: Sequence[TensorSpec], reductions: Mapping[str, Reduction]
) -> list[Any]:
    """Return the tensors of outputs, those with a reduction reduced, and one more: float32 (rows,),
    NaN for a row of which a number that is reduced is NaN or infinite, which bytes do not show."""
    results = []
    finite: list[Any] = []
    for tensor, spec in zip(tensors, specs, strict=True):
        reduction = reductions.get(spec.name)
        if reduction is None:
            results.append(tensor)
            continue
        if tensor.dtype.is_floating:
            rows = tf.reshape(tf.is_finite(tensor), [tf.shape(tensor)[0], -1])
            finite.append(tf.reduce_all(rows, axis=1))
        if isinstance(reduction, MaskReduction):
            results.append(_mask(tensor, reduction))
        else:
            results.append(_picture(tensor, reduction))
    if finite:
        every = finite[0] if len(finite) == 1 else tf.reduce_all(tf.stack(finite), axis=0)
        results.append(tf.where(every, 0.0, float("nan")))
    else:
        results.append(tf.zeros([tf.shape(results[0])[0]]))
    return results


def _mask(tensor: Any, reduction: MaskReduction) -> Any:
    if reduction.how in ("second", "numbers") and tensor.shape.rank == 4:
        tensor = tensor[..., 0]
    if reduction.how == "numbers":
        known = (tensor >= 0) & (tensor < reduction.classes)
        return tf.cast(tf.where(known, tensor, tf.cast(reduction.classes, tensor.dtype)), tf.uint8)
    if reduction.how == "second":
        return tf.cast(tensor >= tf.cast(reduction.threshold, tensor.dtype), tf.uint8)
    highest = _highest(tensor)
    if reduction.how == "several":
        enough = tf.reduce_max(tensor, axis=-1) >= tf.cast(reduction.threshold, tensor.dtype)
        highest = tf.where(enough, highest, tf.cast(reduction.classes, tf.uint8))
    return highest


def _highest(tensor: Any) -> Any:
    """Return the number of the highest channel as uint8, the first of several."""
    return tf.cast(tf.argmax(tensor, axis=-1, output_type=tf.int32), tf.uint8)


def _picture(tensor: Any, reduction: PictureReduction) -> Any:
    factor, offset = FACTORS[reduction.scale]
    pixels = tf.round(tf.cast(tensor, tf.float32) * factor + offset)
    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0), tf.uint8)
