"""The tensors that go into a model and come out, as both processes describe them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

Scale = Literal["none", "0..1", "-1..1", "caffe", "torch"]
Numbers = Literal["softmax", "sigmoid", "logits", "log-probabilities", "values", "unknown"]
Order = Literal["rgb", "bgr"]
# The scales that a picture that comes out of a model may have; none: 0..255.
PixelRange = Literal["none", "0..1", "-1..1"]
Encoded = Literal["pictures", "recordings"]

# As TensorFlow names them (tensorflow/python/saved_model/signature_constants.py).
DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of an input where its shape is open.

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
    encoded: the files that it takes as well, encoded, where it does.
    texts: whether it takes texts: as they are, or as well, for an input of ids.
    bounds: of an input that clients send; None for no limit.
    """

    name: str
    node: str
    dtype: str
    shape: tuple[int | None, ...] | None
    encoded: Encoded | None = None
    texts: bool = False
    bounds: Bounds | None = None

    @property
    def open_dimensions(self) -> tuple[int, ...]:
        """The dimensions that may have any size up to the bounds, that of the batch left out."""
        first = 1 if self.bounds is None or self.bounds.rows else 0
        shape = self.shape or ()
        return tuple(d for d in range(first, len(shape)) if shape[d] is None)

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """The shape without the leading batch dimension; empty if it is unknown."""
        return () if self.shape is None else self.shape[1:]

    @property
    def has_batch(self) -> bool:
        """Whether the first dimension may have any size."""
        return self.shape is None or (len(self.shape) > 0 and self.shape[0] is None)


@dataclass(frozen=True, slots=True)
class PictureEvidence:
    """How a picture becomes an input, as far as the file shows it.

    scale: the likeliest. proven: whether arithmetic or statistics in the file show it; else it is a
    guess. reason: one sentence, such as "the layers are those of VGG16". others: further scales to
    try, the likeliest first. order: of the colours, where the file shows it. size: the usual height
    and width of the model's family, for an input that takes any. cropped: whether training seems
    to have cut the square out of the middle. exported: whether that is certain.
    """

    scale: Scale
    proven: bool
    reason: str
    others: tuple[Scale, ...] = ()
    order: Order | None = None
    size: tuple[int, int] | None = None
    cropped: bool = False
    exported: bool = False


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """What a file shows of an input that takes texts.

    ids: whether it takes the ids of words, or characters, in place of the texts themselves.
    tokens: all ids are less than this; None if the file does not show it.
    """

    ids: bool
    tokens: int | None = None


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

    def run_rows(self, outputs: Collection[TensorSpec]) -> int | None:
        """Return the only number of rows that a run may have, of a signature that is not
        `batchable`: the first dimension of its inputs, or 1 where these leave it open. outputs:
        those that have rows. None where first dimensions do not count the same rows."""
        sizes = {t.shape[0] for t in self.inputs if t.shape and t.shape[0] is not None}
        if len(sizes) > 1:
            return None
        rows = sizes.pop() if sizes else 1
        counted = all(
            t.shape is None or (t.shape != () and t.shape[0] in (None, rows))
            for t in (*self.inputs, *outputs)
        )
        return rows if counted and rows else None

    def bounded(self, length: int, elements: int) -> Self:
        """Return a copy with bounds on its inputs: see `Bounds`."""
        bounds = Bounds(length, elements, rows=self.batchable)
        return replace(self, inputs=tuple(replace(t, bounds=bounds) for t in self.inputs))

    def describe(self) -> dict[str, Any]:
        """Return the signature as the API shows it."""
        return {
            side: [
                {"name": t.name, "dtype": t.dtype, "shape": None if t.shape is None else [*t.shape]}
                for t in tensors
            ]
            for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }


@dataclass(frozen=True, slots=True)
class OutputMeaning:
    """What the numbers of one output are.

    numbers: "softmax": rows of probabilities that sum to 1. "sigmoid": each a probability of its
    own. "logits": numbers that a softmax, or with `multi` a sigmoid, makes probabilities.
    "log-probabilities": logarithms of what a softmax, or with `multi` a sigmoid, gives. "values":
    plain numbers.
    classes: whether the units stand for classes: True or False if the file says or proves it, None
    if it does not tell. proven: False where `numbers` is a guess. reason: one sentence for people,
    such as "the loss is mse". multi: whether any number of the classes may hold at once.
    middle: the value from which on a single unit stands for the second of two classes.
    bounds: the least and the greatest value that the last layer can give; None where unknown.
    """

    numbers: Numbers
    classes: bool | None
    proven: bool
    reason: str
    multi: bool = False
    middle: float = 0.5
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of an output lie in the picture that goes in: the centre of pixel i in
    `first + step * i`, on an axis on which pixels of the input have their centres in 0, 1, 2…

    step, first: (down, across).
    """

    step: tuple[float, float]
    first: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Signature(SignatureDef):
    """The signature that a model is served with.

    meanings: what the numbers of each output are; empty where nothing is known of any.
    `parameters`: the number of weights, of a Keras file. `pictures`: what the file says of its
    inputs that have the shape of a picture, by their names; a SavedModel says nothing. `texts`: of
    those that take texts, or the ids of words. `series`: the names of those that seem to take rows
    in time order. `grids`: of the outputs whose pixels have a place in the input that is certain,
    by their names. `pipeline_tag`: what a model card of the Hugging Face Hub beside the file says
    of a model with one output, such as `image-classification`.
    """

    meanings: tuple[OutputMeaning, ...] = ()
    parameters: int | None = None
    pictures: dict[str, PictureEvidence] = field(default_factory=dict)
    texts: dict[str, TextEvidence] = field(default_factory=dict)
    series: tuple[str, ...] = ()
    grids: dict[str, Grid] = field(default_factory=dict)
    pipeline_tag: str | None = None

    def meaning(self, output: TensorSpec) -> OutputMeaning | None:
        """Return what the numbers of an output are; None where nothing is known."""
        names = [spec.name for spec in self.outputs]
        return self.meanings[names.index(output.name)] if self.meanings else None


@dataclass(frozen=True, slots=True)
class PictureFeed:
    """An input is fed with uint8 pictures of `shape` (height, width, channels), or (height, width)
    of grey ones; height and width are None for pictures of their own sizes. The cast, the scaling
    and the order of the colours happen in the graph, where they cost a quarter of what NumPy
    takes."""

    shape: tuple[int | None, ...]
    scale: Scale
    order: Order = "rgb"

    def sized(self, spec: TensorSpec) -> TensorSpec:
        """Return a copy with the size that a card has chosen for a model that takes any."""
        shape = (None if spec.shape is None else spec.shape[0], *self.shape)
        return replace(spec, shape=shape, encoded="pictures")


def with_pictures(signature: SignatureDef, pictures: Mapping[str, PictureFeed]) -> SignatureDef:
    """Return a copy whose inputs have the sizes of their pictures, by the names of the inputs."""
    inputs = (pictures[t.name].sized(t) if t.name in pictures else t for t in signature.inputs)
    return SignatureDef(tuple(inputs), signature.outputs, signature.method)


def with_texts(signature: Signature, names: Collection[str]) -> Signature:
    """Return a copy whose inputs of these names take texts."""
    inputs = (replace(t, texts=True) if t.name in names else t for t in signature.inputs)
    return replace(signature, inputs=tuple(inputs))


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """The settings for the graph that writes texts.

    never: tokens that must not be drawn, such as padding and the unknown word; a 0 among them
    means that 0 is padding. window: how many tokens are fed to a model that can only read whole
    texts and does not say how long.
    """

    never: tuple[int, ...] = ()
    window: int = 50


@dataclass(frozen=True, slots=True)
class Weight:
    """A large weight of a frozen graph, apart from it.

    node: the name of the placeholder's tensor that it stands for. file: beside the graph, the
    elements row by row. dtype: as TensorFlow names it. mapped: a variable that maps the file, else
    a constant of the session.
    """

    node: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    mapped: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """A frozen GraphDef, with `weights` beside it, that draws the next token of texts, row by row.

    kind: `step` reads one token per row and carries states, `window` reads the last `window` tokens
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
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True, slots=True)
class Converted:
    """A model as `app.serving.reading.convert` leaves it: a frozen GraphDef in one file with
    `weights` beside it, or the directory of a SavedModel with `tags`. name: that of `signature`.
    others: what else a SavedModel may be asked, by name. generation: the graph that writes texts,
    where one was asked for.
    """

    path: Path
    signature: Signature
    frozen: bool
    tags: tuple[str, ...] = ("serve",)
    name: str = DEFAULT_SIGNATURE
    others: dict[str, SignatureDef] = field(default_factory=dict)
    generation: Generation | None = None
    weights: tuple[Weight, ...] = ()

    def bounded(self, length: int, elements: int) -> Converted:
        """Return a copy with bounds on the inputs of all signatures: see `Bounds`."""
        others = {name: s.bounded(length, elements) for name, s in self.others.items()}
        return replace(self, signature=self.signature.bounded(length, elements), others=others)
