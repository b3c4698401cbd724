"""What goes into a model and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

Scale = Literal["none", "0..1", "-1..1", "caffe", "torch"]

# As TensorFlow names them (tensorflow/python/saved_model/signature_constants.py).
DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an input may have where its shape is open.

    length: of each open dimension, but of the first one where it counts `rows`. elements: of an
    input of any rank, and of one that is written as JSON.
    """

    length: int
    elements: int
    rows: bool = True


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    name: the name in the model's signature.
    node: the tensor's name in the TensorFlow graph, such as `serve_x:0`.
    dtype: a NumPy name (`float32`, `int64`…), or `string`.
    shape: one entry a dimension, `None` where any size goes; `None` where even the rank is open.
    pictures: whether it takes encoded pictures as well.
    bounds: of an input that clients send; None for no limit.
    """

    name: str
    node: str
    dtype: str
    shape: tuple[int | None, ...] | None
    pictures: bool = False
    bounds: Bounds | None = None

    @property
    def open_dimensions(self) -> tuple[int, ...]:
        """Which dimensions may have any size up to the bounds', that of the batch left out."""
        first = 1 if self.bounds is None or self.bounds.rows else 0
        shape = self.shape or ()
        return tuple(d for d in range(first, len(shape)) if shape[d] is None)

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """The shape without the leading batch dimension; empty where it is unknown."""
        return () if self.shape is None else self.shape[1:]

    @property
    def has_batch(self) -> bool:
        """Whether the first dimension may have any size."""
        return self.shape is None or (len(self.shape) > 0 and self.shape[0] is None)


@dataclass(frozen=True, slots=True)
class SignatureDef:
    """A way to ask a model: its inputs and outputs, in the model's own order.

    method: `tensorflow/serving/predict`, `…/classify` or `…/regress`; the latter two take
    serialised `tf.Example`s.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    method: str = PREDICT_METHOD

    @property
    def batchable(self) -> bool:
        """Whether rows of several requests may share one run: all inputs and outputs have an
        open first dimension."""
        return all(t.has_batch and t.shape != () for t in (*self.inputs, *self.outputs)) and all(
            t.shape is not None for t in self.inputs
        )

    def bounded(self, length: int, elements: int) -> Self:
        """With bounds on its inputs: see `Bounds`."""
        bounds = Bounds(length, elements, rows=self.batchable)
        return replace(self, inputs=tuple(replace(t, bounds=bounds) for t in self.inputs))

    def describe(self) -> dict[str, Any]:
        """The signature as the API shows it."""
        return {
            side: [
                {"name": t.name, "dtype": t.dtype, "shape": None if t.shape is None else [*t.shape]}
                for t in tensors
            ]
            for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }


@dataclass(frozen=True, slots=True)
class Signature(SignatureDef):
    """The signature that a model is served with.

    activation: that of the last layer (`softmax`, `sigmoid`, `linear`…) where the file tells, as
    Keras files do; it decides how scores are read. `parameters`: the number of weights.
    `rescales`: whether the model itself begins with a Rescaling or Normalization layer.
    """

    activation: str | None = None
    parameters: int | None = None
    rescales: bool = False


@dataclass(frozen=True, slots=True)
class PictureFeed:
    """The only input is fed with uint8 pictures of `shape` (height, width, channels); the cast and
    the scaling happen in the graph, where they cost a quarter of what NumPy takes."""

    shape: tuple[int, int, int]
    scale: Scale


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to convert a model of texts for.

    never: tokens that must not be drawn, such as padding and the unknown word; a 0 among them
    means that 0 is padding. window: how many tokens are fed to a model that can only read whole
    texts and does not say how long.
    """

    never: tuple[int, ...] = ()
    window: int = 50


@dataclass(frozen=True, slots=True)
class Generation:
    """A frozen GraphDef that draws the next token of texts, row by row.

    kind: `step` reads one token a row and carries states, `window` reads the last `window` tokens
    with 0 before the first. token: the node of int32 (n,), or (n, window). states: float32
    (n, units) each, all zeros before the first token; next_states: the nodes of their new values.
    uniform, diversity: nodes of float32 (n,); uniform in [0, 1). top_k: the node of int32 (n,),
    0 for all tokens. next_token: the node of int32 (n,). probabilities: the node of float32
    (n, vocabulary), what the model itself says. vocabulary: tokens are less than this.
    reason: why it is no step graph, in words.
    """

    path: Path
    kind: Literal["step", "window"]
    token: str
    states: tuple[TensorSpec, ...]
    next_states: tuple[str, ...]
    uniform: str
    diversity: str
    top_k: str
    next_token: str
    probabilities: str
    vocabulary: int
    window: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Converted:
    """A model as `app.serving.loading` leaves it: a frozen GraphDef in one file, or the directory
    of a SavedModel with `tags`. name: that of `signature`. others: what else a SavedModel may be
    asked, by name. generation: the graph that writes texts, where one was asked for.
    """

    path: Path
    signature: Signature
    frozen: bool
    tags: tuple[str, ...] = ("serve",)
    name: str = DEFAULT_SIGNATURE
    others: dict[str, SignatureDef] = field(default_factory=dict)
    generation: Generation | None = None

    def bounded(self, length: int, elements: int) -> Converted:
        """With bounds on the inputs of all signatures: see `Bounds`."""
        others = {name: s.bounded(length, elements) for name, s in self.others.items()}
        return replace(self, signature=self.signature.bounded(length, elements), others=others)
