"""Graphs that write a text: the next token is drawn where its probabilities are, in TensorFlow.

The vocabulary has thousands of words, and the draw looks at each of them: in NumPy it would cost
more than a small model. Two kinds: a step graph, fed with one token and what the model remembers,
and a window graph, fed with the last tokens, for models that `app.serving.stepping` cannot replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from app.errors import LoadError
from app.serving.signature import GenerationRequest
from app.serving.stepping import Stepper, Unsteppable

# The last activation, where the model ends with scores that are not probabilities yet.
LOGITS = ("linear", "log_softmax")
# The smallest normal float32: below it, processors that flush to zero and others differ.
TINY = np.finfo(np.float32).tiny
# In place of log(0): beyond what any diversity lifts, and still finite, so that something is drawn
# from a model that gives nothing but zeros.
LOG_ZERO = -1e9
# A number just below 1, in float64.
BELOW_ONE = 1 - 1e-15
# The steps and the model agree up to rounding: to a part in a million in float32.
CLOSE = 0.01
# How many tokens the model is tried on where it does not say how many it reads.
TRIED = 16


@dataclass(frozen=True, slots=True)
class Traced:
    """A concrete function that is not frozen yet.

    function: takes token or window, the states, uniform, diversity and top_k; gives next_token,
    the probabilities and the new states. units: the width of each state.
    """

    function: Any
    kind: Literal["step", "window"]
    units: list[int]
    vocabulary: int
    window: int | None
    reason: str | None


def trace(model: Any, activation: str, request: GenerationRequest) -> Traced:
    """The model as a graph that draws the next token.

    model: the Keras model. activation: that of its last layer.
    Raises LoadError when it is no model of texts.
    """
    vocabulary = _vocabulary(model)
    says = Drawing(activation in LOGITS, vocabulary, request.never)
    try:
        stepper = Stepper(model)
        traced = _trace_step(stepper, says)
        _check_steps(model, stepper, says, traced)
    except Unsteppable as why:
        window = model.inputs[0].shape[1] or request.window
        function = _trace_window(model, window, says, pad=0 in request.never)
        return Traced(function, "window", [], vocabulary, window, str(why))
    return Traced(traced, "step", stepper.units, vocabulary, None, None)


def _vocabulary(model: Any) -> int:
    """The number of tokens that the model tells apart."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise LoadError("text-generation needs a model with one input and one output")
    source, shape = model.inputs[0], model.outputs[0].shape
    if len(shape) not in (2, 3) or (shape[-1] or 0) < 2:
        raise LoadError(
            "text-generation needs a model that gives a probability for each token, (n, vocabulary)"
            f" or (n, length, vocabulary); this one gives {tuple(shape)}"
        )
    one_hot = len(source.shape) == 3 and source.shape[2] == shape[-1]
    if tf.as_dtype(source.dtype) == tf.string or not (len(source.shape) == 2 or one_hot):
        raise LoadError(
            "text-generation needs a model that reads indices of tokens, (n, length), or one-hot "
            f"vectors of its {shape[-1]} tokens; this one reads {tuple(source.shape)} "
            f"{tf.as_dtype(source.dtype).name}"
        )
    return int(shape[-1])


# --- the graphs -----------------------------------------------------------------------------------


def _spec(dtype: Any, *shape: int | None) -> Any:
    return tf.TensorSpec((None, *shape), dtype)


# uniform, diversity, top_k
_DRAW = (_spec(tf.float32), _spec(tf.float32), _spec(tf.int32))


def _trace_step(stepper: Stepper, says: Drawing) -> Any:
    if stepper.known < says.vocabulary:
        raise LoadError(
            f"the model says {says.vocabulary} tokens, but can read {stepper.known} of them only"
        )
    count = len(stepper.units)

    def step(token: Any, *rest: Any) -> list[Any]:
        output, new = stepper(token, list(rest[:count]))
        return [*says(output, *rest[count:]), *new]

    states = [_spec(tf.float32, units) for units in stepper.units]
    return _traced(step, _spec(tf.int32), *states, *_DRAW)


def _trace_window(model: Any, window: int, says: Drawing, *, pad: bool) -> Any:
    """pad: whether the token 0 is no token, but stands for nothing."""

    def write(tokens: Any, uniform: Any, diversity: Any, top_k: Any) -> list[Any]:
        output = model(_as_read(model, tokens, pad), training=False)
        return list(says(_last(output), uniform, diversity, top_k))

    return _traced(write, _spec(tf.int32, window), *_DRAW)


def _traced(function: Callable[..., list[Any]], *specs: Any) -> Any:
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def _last(output: Any) -> Any:
    """What a model says after the last token: (n, vocabulary)."""
    return output[:, -1] if output.shape.rank == 3 else output


def _as_read(model: Any, tokens: Any, pad: bool) -> Any:
    """Tokens int32 (n, length) as the model takes them."""
    source = model.inputs[0]
    if len(source.shape) == 2:
        return tf.cast(tokens, source.dtype)
    # Index -1 is none of them: a vector of zeros, as padding looks where there is no Embedding.
    return tf.one_hot(tf.where(tokens == 0, -1, tokens) if pad else tokens, source.shape[2])


def _check_steps(model: Any, stepper: Stepper, says: Drawing, step: Any) -> None:
    """Replay a text of random tokens and compare with the model on the whole of it. Raises
    Unsteppable if they differ: better slow than wrong."""
    shape = model.inputs[0].shape
    # A stateful model was built for so many rows at once.
    rows, length = shape[0] or 1, shape[1] or TRIED
    # Not 0, which a mask would take for padding.
    text = np.random.default_rng(0).integers(1, stepper.known, (rows, length)).astype(np.int32)
    states = [tf.zeros((rows, units)) for units in stepper.units]
    draw = (tf.zeros(rows), tf.ones(rows), tf.zeros(rows, tf.int32))
    for token in text.T:
        _, said, *states = step(token, *states, *draw)
    output = model(_as_read(model, tf.constant(text), pad=False), training=False)
    expected = says.probabilities(_last(output)).numpy()
    difference = np.abs(said.numpy() - expected).max()
    if not difference <= CLOSE * np.abs(expected).max():
        raise Unsteppable(
            f"token by token the model says something else than on a whole text of {length}"
        )


# --- the draw -------------------------------------------------------------------------------------


class Drawing:
    """What follows the model in the graph.

    logits: whether the model gives scores in place of probabilities. never: tokens that are not
    drawn whatever the model says.
    """

    def __init__(self, logits: bool, vocabulary: int, never: tuple[int, ...]) -> None:
        self.vocabulary = vocabulary
        self._logits = logits
        excluded = np.isin(np.arange(vocabulary), never)
        # Added, which is faster than to choose.
        self._mask = np.where(excluded, -np.inf, 0.0).astype(np.float32)
        if excluded.all():
            raise LoadError(f"none of the model's {vocabulary} tokens may be said")

    def probabilities(self, output: Any) -> Any:
        """output: what the model says, (n, vocabulary). Returns float32 of that shape."""
        output = tf.cast(output, tf.float32)
        return tf.nn.softmax(output) if self._logits else output

    def __call__(self, output: Any, uniform: Any, diversity: Any, top_k: Any) -> tuple[Any, Any]:
        """Draw a token a row by the inverse of its cumulative distribution.

        output: (n, vocabulary). uniform: float32 (n,) in [0, 1). diversity: float32 (n,), the
        temperature. top_k: int32 (n,), 0 for all tokens. Returns next_token int32 (n,), which is -1
        where the model says NaN, and the model's own probabilities float32 (n, vocabulary).
        """
        probabilities = self.probabilities(output)
        if self._logits:
            logs = tf.cast(output, tf.float32)
        else:
            logs = tf.where(probabilities >= TINY, tf.math.log(probabilities), LOG_ZERO)
        scores = logs / diversity[:, None] + self._mask
        scores = tf.cond(
            tf.reduce_any(top_k > 0), lambda: _most_probable(scores, top_k), lambda: scores
        )
        weights = tf.exp(scores - tf.reduce_max(scores, axis=1, keepdims=True))
        drawn = _first_above(weights, tf.cast(uniform, tf.float64))
        finite = tf.math.is_finite(tf.reduce_sum(probabilities, axis=1))
        return tf.where(finite, drawn, -1), probabilities


def _first_above(weights: Any, uniform: Any) -> Any:
    """The first index at which the sum of the weights so far exceeds its share of all.

    weights: float32 (n, vocabulary), not negative. uniform: float64 (n,) in [0, 1). Returns int32
    (n,), never that of a weight of 0.

    TensorFlow's cumulative sum takes longer than a small model on thousands of tokens; so first
    the block is found, and then the token in it. In float32 the largest `uniform` would meet the
    whole sum, beyond the last token.
    """
    vocabulary = weights.shape[1]
    size = math.isqrt(vocabulary - 1) + 1
    padded = tf.pad(weights, [[0, 0], [0, -vocabulary % size]])
    blocks = tf.reshape(padded, (-1, padded.shape[1] // size, size))
    sums = tf.cumsum(tf.cast(tf.reduce_sum(blocks, axis=2), tf.float64), axis=1)
    limit = uniform[:, None] * sums[:, -1:]
    passed = sums <= limit
    block = _count(passed)
    before = tf.reduce_max(tf.where(passed, sums, 0.0), axis=1, keepdims=True)
    inside = tf.cumsum(tf.cast(tf.gather(blocks, block, batch_dims=1), tf.float64), axis=1)
    # The block's own sum was rounded elsewhere; what is left must not pass its last token.
    left = tf.minimum(limit - before, inside[:, -1:] * BELOW_ONE)
    return block * size + _count(inside <= left)


def _count(true: Any) -> Any:
    """How many of each row are true: int32 (n,)."""
    return tf.reduce_sum(tf.cast(true, tf.int32), axis=1)


def _most_probable(scores: Any, top_k: Any) -> Any:
    """scores (n, vocabulary) with -inf for all but the `top_k` greatest of each row."""
    vocabulary = scores.shape[1]
    k = tf.where(top_k > 0, tf.minimum(top_k, vocabulary), vocabulary)
    values, indices = tf.math.top_k(scores, tf.reduce_max(k))
    least = tf.gather(values, k[:, None] - 1, batch_dims=1)
    index = tf.gather(indices, k[:, None] - 1, batch_dims=1)
    # Of equal ones `top_k` takes those that come first.
    tied = (scores == least) & (tf.range(vocabulary) <= index)
    return tf.where((scores > least) | tied, scores, -np.inf)
