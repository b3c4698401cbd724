"""Converted text models, and the output of their graphs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from app.serving.cards.card import Runtime
from app.serving.engine.sessions.text_session import TextSession
from app.serving.reading.convert import convert
from app.serving.signature import Generation, GenerationRequest
from tests.models.fixtures import Array

VOCABULARY = 12


def saved(model: Any, path: Path, seed: int = 0) -> Any:
    """Save the model at `path`, with weights that make a difference."""
    rng = np.random.default_rng(seed)
    # Positive, as variances must be; and biases of 0 would hide that they are added.
    model.set_weights([w + 0.3 * abs(rng.normal(size=w.shape)) for w in model.get_weights()])
    model.save(path)
    return model


def converted(path: Path, request: GenerationRequest | None = None) -> Generation:
    """Return the graph that generates text, beside the file at `path`."""
    generation = convert(
        path, path.parent, trusted=False, generation=request or GenerationRequest()
    ).generation
    assert generation is not None
    return generation


class Replay(TextSession):
    """A session that also returns the probabilities from which it draws."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(generation, Runtime(max_batch_size=3))
        self._tell = self._session.make_callable(
            [generation.probabilities, *generation.next_states],
            [
                generation.token,
                *(state.node for state in generation.states),
                generation.uniform,
                generation.diversity,
                generation.top_k,
            ],
        )

    def probabilities(self, tokens: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        """Return the model's output, (n, vocabulary), and the new states."""
        probabilities, *new = self._tell(tokens, *states, *draw(len(tokens)))
        return probabilities, new

    def each(self, text: Array) -> Iterable[Array]:
        """Return the model's output after each token of the texts, (n, length)."""
        states = self.zero_states(len(text))
        for token in text.T:
            said, states = self.probabilities(token, states)
            yield said


def draw(rows: int, k: int = 0) -> tuple[Array, Array, Array]:
    """Return uniform, diversity and top_k for so many rows."""
    uniform = np.random.default_rng(rows).uniform(size=rows).astype(np.float32)
    return uniform, np.ones(rows, np.float32), np.full(rows, k, np.int32)


def texts(rows: int, length: int, vocabulary: int = VOCABULARY) -> Array:
    """Return random tokens, none of them 0."""
    return np.random.default_rng(1).integers(1, vocabulary, (rows, length)).astype(np.int32)


def answer(model: Any, text: Array) -> Array:
    """Return the output of the Keras model after the last token of the texts, (n, vocabulary)."""
    whole = tf.one_hot(text, VOCABULARY) if len(model.inputs[0].shape) == 3 else tf.constant(text)
    said = np.asarray(model(whole, training=False))
    return said[:, -1] if said.ndim == 3 else said
