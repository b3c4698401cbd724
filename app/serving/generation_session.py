"""The session of a model that writes texts: a token for each of several texts in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InferenceError, InvalidInput, LoadError
from app.serving.card import Runtime
from app.serving.quiet import quiet_import
from app.serving.runtime import constant_bytes, first_line, session_config
from app.serving.signature import Generation

with quiet_import():
    import tensorflow as tf

Array = NDArray[Any]


class GenerationSession:
    """A graph that draws tokens, in a session of its own, warmed up. weight_bytes: what its
    constants take.

    Raises LoadError when TensorFlow refuses the graph.
    """

    def __init__(self, generation: Generation, runtime: Runtime) -> None:
        self.generation = generation
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config(runtime))
        try:
            with graph.as_default():
                definition = tf.compat.v1.GraphDef.FromString(generation.path.read_bytes())
                tf.import_graph_def(definition, name="")
            self.weight_bytes = constant_bytes(definition)
            self._call: Callable[..., list[Array]] = self._session.make_callable(
                [generation.next_token, *generation.next_states],
                feed_list=[
                    generation.token,
                    *(state.node for state in generation.states),
                    generation.uniform,
                    generation.diversity,
                    generation.top_k,
                ],
            )
            for rows in sorted({1, runtime.max_batch_size}):
                self._warm_up(rows)
        except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
            self._session.close()
            raise LoadError(f"TensorFlow cannot run the model: {first_line(error)}") from None
        except BaseException:
            self._session.close()
            raise

    def zero_states(self, rows: int) -> list[Array]:
        """What the model remembers before the first token of so many texts: float32 (rows, units)
        each; empty for a window graph."""
        states = self.generation.states
        return [np.zeros((rows, state.row_shape[0] or 0), np.float32) for state in states]

    def step(
        self,
        tokens: Array,
        states: Sequence[Array],
        uniform: Array,
        diversity: Array,
        top_k: Array,
    ) -> tuple[Array, list[Array]]:
        """Read a token a row and draw the one after it, from any native thread.

        tokens: int32 (n,); for a window graph the last tokens, int32 (n, window), 0 before the
        first. states: as `zero_states` or the last step gave them. uniform: float32 (n,) in
        [0, 1). diversity: float32 (n,), more than 0. top_k: int32 (n,), 0 for all tokens.
        Returns the drawn tokens int32 (n,), and the new states.
        Raises InvalidInput for a token that the model does not know, InferenceError.
        """
        try:
            drawn, *new = self._call(tokens, *states, uniform, diversity, top_k)
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, ValueError) as error:
            raise InvalidInput(f"the model refuses this input: {first_line(error)}") from None
        except tf.errors.OpError as error:
            raise InferenceError(f"TensorFlow: {first_line(error)}") from None
        return drawn, new

    def close(self) -> None:
        """Free the session and what it holds. No step may be under way."""
        self._session.close()
        # The weights are in the graph, too.
        del self._call, self._session

    def _warm_up(self, rows: int) -> None:
        """The first run of a shape builds kernels and plans memory. Both branches of the draw."""
        window = self.generation.window
        tokens: Array = np.zeros((rows,) if window is None else (rows, window), np.int32)
        uniform, diversity = np.zeros(rows, np.float32), np.ones(rows, np.float32)
        for k in (0, 1):
            top_k = np.full(rows, k, np.int32)
            self._call(tokens, *self.zero_states(rows), uniform, diversity, top_k)
