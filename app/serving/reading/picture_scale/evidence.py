"""What a Keras model shows of the pictures that it was trained on: their scale, and the order of
their colours.

By weight: arithmetic that the model begins with, the statistics that its first BatchNormalization
keeps, the family that its layers are of, and what is common.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import tensorflow as tf

from app.serving.reading.picture_scale import arithmetic
from app.serving.reading.picture_scale.answers import plausible
from app.serving.reading.picture_scale.arithmetic import Arithmetic
from app.serving.reading.picture_scale.families import Family, family_of, seems_exported
from app.serving.reading.picture_scale.interception import outermost
from app.serving.reading.picture_scale.statistics import fits
from app.serving.reading.picture_scale.subject import Call, Subject, rows_of
from app.serving.signature import PictureEvidence, Scale, TensorSpec

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# Without anything that tells, in the order in which they are common.
COMMON: tuple[Scale, ...] = ("0..1", "-1..1", "none", "caffe", "torch")
# Of pixels in a picture: beyond, trials would take long, and much memory.
LARGEST = 1_000_000
# The side of pictures for a model that takes any size.
ANY_SIDE = 128
# Rows of rows are grey pictures from this side on, if one side is no longer than twice the other.
LEAST_SIDE = 8
# Parts of the names of layers for series, whose inputs are rows of rows as well.
SERIES = ("RNN", "LSTM", "GRU", "Conv1D", "Pooling1D", "Attention", "Embedding", "Bidirectional")


def picture_evidence(
    model: Any, call: Call, specs: Sequence[TensorSpec]
) -> dict[str, PictureEvidence]:
    """Return the evidence for each input of a Keras model that has the shape of a picture, by name.

    call: calls the model with one tensor for each input. specs: of the inputs.
    """
    found = {}
    layers = list(model._flatten_layers(include_self=True))
    family = family_of(layer.name for layer in layers)
    for position, spec in enumerate(specs):
        shape = _picture_shape(spec, layers)
        if shape is None:
            continue
        sizes = (*(side or ANY_SIDE for side in shape[:2]), *(n or 3 for n in shape[2:]))
        subject = Subject(model, call, specs, position, sizes)
        evidence = _evidence(subject, family)
        if (not evidence.proven or evidence.scale == "-1..1") and seems_exported(model):
            evidence = _exported(evidence)
        if family and None in shape[:2]:
            evidence = replace(evidence, size=(family.size, family.size))
        found[spec.name] = evidence
    return found


def _exported(evidence: PictureEvidence) -> PictureEvidence:
    """The evidence for what Teachable Machine seems to have built: its programs cut the square out
    of the middle of a picture and scale it to -1..1."""
    if not evidence.proven:
        evidence = _guess("-1..1", "its layers are those of Teachable Machine", COMMON)
    return replace(evidence, cropped=True)


def _picture_shape(spec: TensorSpec, layers: list[Any]) -> tuple[int | None, ...] | None:
    """Return the shape of a picture, (height, width) or (height, width, channels), if the input
    seems to take any."""
    shape = spec.row_shape
    if not spec.dtype.startswith(("float", "bfloat", "uint8")):
        return None
    if len(shape) == 3 and shape[2] in (None, 1, 3, 4):
        return (*shape[:2], shape[2] or 3)
    if len(shape) == 2 and shape[0] and shape[1]:
        short, long = sorted((shape[0], shape[1]))
        kinds = [type(layer).__name__ for layer in layers]
        series = any(part in kind for part in SERIES for kind in kinds)
        if short >= LEAST_SIDE and long <= 2 * short and not series:
            return shape
    return None


def _evidence(subject: Subject, family: Family | None) -> PictureEvidence:
    scales = COMMON if subject.channels == 3 else COMMON[:3]
    if subject.specs[subject.position].dtype == "uint8":
        return PictureEvidence("none", True, "its input takes whole numbers")
    if math.prod(subject.shape[:2]) > LARGEST:
        return _guess(family.scale if family else scales[0], "its pictures are large", scales)
    read, measured = _tried(_arithmetic, subject), _tried(partial(fits, scales=scales), subject)
    if measured is not None:
        scales = tuple(fit.scale for fit in measured.by_scale)
    if read is not None and read.proven:
        if measured is not None and measured.shown and measured.shown.scale != read.scale:
            # Such as pictures that were divided by 255 before the model divided them again.
            reason = f"its statistics do not fit its arithmetic, which is for {read.scale}"
            return _guess(measured.shown.scale, reason, scales)
        reason = "the model begins with arithmetic on pixels in this scale"
        return PictureEvidence(read.scale, True, reason, _others(read.scale, scales), read.order)
    if measured is not None and measured.shown:
        scale = measured.shown.scale
        reason = "its first BatchNormalization has the statistics of photographs in this scale"
        return PictureEvidence(scale, True, reason, _others(scale, scales), measured.order)
    if read is not None:
        return _guess(read.scale, "the model begins with arithmetic of its own", scales)
    if family is not None:
        reason = f"its layers are those of {family.name}, which was made for it"
        return _guess(family.scale, reason, scales)
    if measured is not None:
        reason = "it fits the statistics of the first BatchNormalization best"
        return _guess(scales[0], reason, scales)
    likeliest = _tried(partial(plausible, scales=scales), subject) or scales
    if likeliest[0] != scales[0]:
        reason = f"the answers to photographs in {scales[0]} are all alike, or of full certainty"
        return _guess(likeliest[0], reason, likeliest)
    return _guess(scales[0], "the file does not show it", likeliest)


def _tried(look: Callable[[Subject], _T | None], subject: Subject) -> _T | None:
    try:
        return look(subject)
    except Exception as error:  # a layer may raise anything when it is called
        log.debug("no evidence of the scale of pictures: %s", error)
        return None


def _guess(scale: Scale, reason: str, scales: Sequence[Scale]) -> PictureEvidence:
    return PictureEvidence(scale, False, reason, _others(scale, scales))


def _others(scale: Scale, scales: Sequence[Scale]) -> tuple[Scale, ...]:
    return tuple(each for each in scales if each != scale)


def _arithmetic(subject: Subject) -> Arithmetic | None:
    """Read the arithmetic before the first layer with weights."""
    reached: list[Any] = []

    def wanted(layer: Any, inputs: Any) -> bool:
        if type(layer).__name__ == "Normalization" or not hasattr(inputs, "shape"):
            return False
        rows = rows_of(inputs)
        if (rows == rows[:1]).all():  # another input
            return False
        reached.append(rows)
        return True

    probes = tf.constant(arithmetic.probes(subject.shape))
    subject.run(probes, outermost(subject.model), wanted)
    return arithmetic.read(reached[0], subject.shape) if reached else None
