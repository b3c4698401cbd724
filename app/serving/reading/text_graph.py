"""Graphs that generate text: TensorFlow itself samples the next token from its probabilities.

A vocabulary has thousands of words, and sampling looks at each of them: in NumPy it would cost more
than a small model. There are two kinds of graph: a step graph, fed with one token and the state
after the tokens before it, and a window graph, fed with the last tokens, for models that
`app.serving.reading.text_step` cannot replay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from app.errors import LoadError
from app.serving.reading.outputs.meaning import judged
from app.serving.reading.text_step import Stepper, Unsteppable
from app.serving.signature import GenerationRequest, OutputMeaning

# The smallest normal float32: below it, processors that flush to zero differ from others.
TINY = np.finfo(np.float32).tiny
# In place of log(0): too low for any diversity to lift, yet finite, so that a token is sampled even
# if all probabilities are zero.
LOG_ZERO = -1e9
# A number just below 1, in float64.
BELOW_ONE = 1 - 1e-15
# Largest difference between steps and model. Rounding in float32 is about a millionth.
TOLERANCE = 0.01
# Tokens of the trial text for a model that takes any length.
TRIAL_LENGTH = 16


@dataclass(frozen=True, slots=True)
class TracedText:
    """A concrete function that is not frozen yet.

    function: takes the token or window, the states, uniform, diversity and top_k; returns
    next_token, the probabilities and the new states. units: the width of each state.
    """

    function: Any
    kind: Literal["step", "window"]
    units: list[int]
    vocabulary: int
    window: int | None
    reason: str | None


def trace(model: Any, meaning: OutputMeaning, request: GenerationRequest) -> TracedText:
    """Trace the model as a graph that samples the next token.

    model: the Keras model. meaning: that of its output.
    Raises LoadError if it is not a text model.
    """
    vocabulary = _vocabulary(model)
    sampler = TokenSampler(_gives_logits(model, meaning), vocabulary, request.never)
    try:
        stepper = Stepper(model)
        traced = _trace_step(stepper, sampler)
        _check_steps(model, stepper, sampler, traced)
    except Unsteppable as why:
        window = model.inputs[0].shape[1] or request.window
        function = _trace_window(model, window, sampler, pad=0 in request.never)
        return TracedText(function, "window", [], vocabulary, window, str(why))
    return TracedText(traced, "step", stepper.units, vocabulary, None, None)


def _vocabulary(model: Any) -> int:
    """Return the number of tokens in the model's vocabulary. Raises LoadError if it is not a text
    model."""
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


def _gives_logits(model: Any, meaning: OutputMeaning) -> bool:
    """Tell whether the model's output is a softmax's input, or has the same softmax."""
    if meaning.numbers != "unknown":
        return meaning.numbers not in ("softmax", "sigmoid")
    text = _trial_text(model, int(model.outputs[0].shape[-1]))
    output = np.asarray(_last(model(_as_read(model, tf.constant(text), pad=False), training=False)))
    return judged(meaning, output).numbers != "softmax"


# --- the graphs -----------------------------------------------------------------------------------


def _spec(dtype: Any, *shape: int | None) -> Any:
    return tf.TensorSpec((None, *shape), dtype)


# uniform, diversity, top_k
_DRAW = (_spec(tf.float32), _spec(tf.float32), _spec(tf.int32))


def _trace_step(stepper: Stepper, sampler: TokenSampler) -> Any:
    if stepper.num_tokens < sampler.vocabulary:
        raise LoadError(
            f"the model outputs {sampler.vocabulary} tokens, but can read only "
            f"{stepper.num_tokens} of them"
        )
    count = len(stepper.units)

    def step(token: Any, *rest: Any) -> list[Any]:
        output, new = stepper(token, list(rest[:count]))
        return [*sampler(output, *rest[count:]), *new]

    states = [_spec(tf.float32, units) for units in stepper.units]
    return _traced(step, _spec(tf.int32), *states, *_DRAW)


def _trace_window(model: Any, window: int, sampler: TokenSampler, *, pad: bool) -> Any:
    """Trace a window graph. pad: whether token 0 is padding."""

    def write(tokens: Any, uniform: Any, diversity: Any, top_k: Any) -> list[Any]:
        output = model(_as_read(model, tokens, pad), training=False)
        return list(sampler(_last(output), uniform, diversity, top_k))

    return _traced(write, _spec(tf.int32, window), *_DRAW)


def _traced(function: Callable[..., list[Any]], *specs: Any) -> Any:
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def _last(output: Any) -> Any:
    """Return the model's output after the last token: (n, vocabulary)."""
    return output[:, -1] if output.shape.rank == 3 else output


def _as_read(model: Any, tokens: Any, pad: bool) -> Any:
    """Return tokens, int32 (n, length), in the form that the model reads."""
    source = model.inputs[0]
    if len(source.shape) == 2:
        return tf.cast(tokens, source.dtype)
    # Index -1 gives a vector of zeros, which is what padding is without an Embedding.
    return tf.one_hot(tf.where(tokens == 0, -1, tokens) if pad else tokens, source.shape[2])


def _check_steps(model: Any, stepper: Stepper, sampler: TokenSampler, step: Any) -> None:
    """Replay a random text token by token and compare the result with the model's on the whole
    text. Raises Unsteppable if they differ: better slow than wrong."""
    text = _trial_text(model, stepper.num_tokens)
    rows, length = text.shape
    states = [tf.zeros((rows, units)) for units in stepper.units]
    draw = (tf.zeros(rows), tf.ones(rows), tf.zeros(rows, tf.int32))
    for token in text.T:
        _, probabilities, *states = step(token, *states, *draw)
    output = model(_as_read(model, tf.constant(text), pad=False), training=False)
    expected = sampler.probabilities(_last(output)).numpy()
    difference = np.abs(probabilities.numpy() - expected).max()
    if not difference <= TOLERANCE * np.abs(expected).max():
        raise Unsteppable(
            f"token by token, the model gives another result than on a whole text of {length}"
        )


def _trial_text(model: Any, tokens: int) -> Any:
    """Return random tokens, int32, of a shape that the model reads."""
    shape = model.inputs[0].shape
    # A stateful model was built for a fixed number of rows.
    rows, length = shape[0] or 1, shape[1] or TRIAL_LENGTH
    # Not 0, which a mask would take for padding.
    return np.random.default_rng(0).integers(1, tokens, (rows, length)).astype(np.int32)


# --- sampling -------------------------------------------------------------------------------------


class TokenSampler:
    """Samples a token from the model's output, at the end of the graph.

    logits: whether the model outputs scores in place of probabilities. never: tokens that are never
    sampled.
    """

    def __init__(self, logits: bool, vocabulary: int, never: tuple[int, ...]) -> None:
        self.vocabulary = vocabulary
        self._logits = logits
        excluded = np.isin(np.arange(vocabulary), never)
        # Added to the scores, which is faster than selecting.
        self._mask = np.where(excluded, -np.inf, 0.0).astype(np.float32)
        if excluded.all():
            raise LoadError(f"none of the model's {vocabulary} tokens may be sampled")

    def probabilities(self, output: Any) -> Any:
        """Return probabilities, float32. output: the model's, (n, vocabulary)."""
        output = tf.cast(output, tf.float32)
        return tf.nn.softmax(output) if self._logits else output

    def __call__(self, output: Any, uniform: Any, diversity: Any, top_k: Any) -> tuple[Any, Any]:
        """Sample a token for each row by inverting its cumulative distribution.

        output: (n, vocabulary). uniform: float32 (n,) in [0, 1). diversity: float32 (n,), the
        temperature. top_k: int32 (n,), 0 for all tokens. Returns next_token int32 (n,), which is -1
        if the model gives NaN, and the model's own probabilities float32 (n, vocabulary).
        """
        probabilities = self.probabilities(output)
        logits = output if self._logits else _before_softmax(output)
        if logits is None:
            # A NaN is not below TINY: it stays, and makes the total of its row NaN.
            logits = tf.where(probabilities < TINY, LOG_ZERO, tf.math.log(probabilities))
        # Multiplying takes half as long as dividing.
        scores = tf.cast(logits, tf.float32) * (1 / diversity)[:, None] + self._mask
        scores = tf.cond(
            tf.reduce_any(top_k > 0), lambda: _most_probable(scores, top_k), lambda: scores
        )
        # One operation where the exponential of differences from the highest would be three.
        drawn, total = _first_above(tf.nn.softmax(scores), tf.cast(uniform, tf.float64))
        return tf.where(tf.math.is_finite(total), drawn, -1), probabilities


def _before_softmax(probabilities: Any) -> Any:
    """Return the scores of which the graph makes these probabilities; None if no softmax does.

    They differ from the logarithm of the probabilities by the same number for all tokens, which no
    draw depends on, and cost no logarithm of each token.
    """
    if not tf.is_symbolic_tensor(probabilities) or probabilities.op.type != "Softmax":
        return None
    return probabilities.op.inputs[0]


def _first_above(weights: Any, uniform: Any) -> tuple[Any, Any]:
    """Return the first index at which the cumulative sum of the weights exceeds `uniform` times
    their total, and that total.

    weights: float32 (n, vocabulary), not negative. uniform: float64 (n,) in [0, 1). Returns int32
    (n,), never the index of a weight of 0, and float64 (n,).

    On thousands of tokens, TensorFlow's cumulative sum takes longer than a small model; so the
    block is found first, then the token in it. In float32, the largest `uniform` would reach the
    total, beyond the last token.
    """
    vocabulary = weights.shape[1]
    size = _block_size(vocabulary)
    if vocabulary % size:
        weights = tf.pad(weights, [[0, 0], [0, -vocabulary % size]])
    blocks = tf.reshape(weights, (-1, weights.shape[1] // size, size))
    sums = tf.cumsum(tf.cast(tf.reduce_sum(blocks, axis=2), tf.float64), axis=1)
    limit = uniform[:, None] * sums[:, -1:]
    passed = sums <= limit
    block = _count(passed)
    before = tf.reduce_max(tf.where(passed, sums, 0.0), axis=1, keepdims=True)
    inside = tf.cumsum(tf.cast(tf.gather(blocks, block, batch_dims=1), tf.float64), axis=1)
    # The block's sum was rounded differently; the rest must not exceed its last token.
    left = tf.minimum(limit - before, inside[:, -1:] * BELOW_ONE)
    return block * size + _count(inside <= left), sums[:, -1]


def _block_size(vocabulary: int) -> int:
    """Return a number of tokens near the square root of the vocabulary: one that divides it, for
    padding is a copy of all, or the next higher."""
    root = math.isqrt(vocabulary - 1) + 1
    near = range(root // 4 + 1, 4 * root)
    divisors = [size for size in near if vocabulary % size == 0]
    return min(divisors, key=lambda size: size + vocabulary // size, default=root)


def _count(true: Any) -> Any:
    """Count the true values of each row: int32 (n,)."""
    return tf.reduce_sum(tf.cast(true, tf.int32), axis=1)


def _most_probable(scores: Any, top_k: Any) -> Any:
    """Return scores (n, vocabulary) with -inf for all but the `top_k` greatest of each row, and
    NaN where it is."""
    vocabulary = scores.shape[1]
    k = tf.where(top_k > 0, tf.minimum(top_k, vocabulary), vocabulary)
    values, indices = tf.math.top_k(scores, tf.reduce_max(k))
    least = tf.gather(values, k[:, None] - 1, batch_dims=1)
    index = tf.gather(indices, k[:, None] - 1, batch_dims=1)
    # Among equal scores, `top_k` takes the first ones.
    tied = (scores == least) & (tf.range(vocabulary) <= index)
    return tf.where((scores > least) | tied | tf.math.is_nan(scores), scores, -np.inf)
