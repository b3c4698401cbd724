"""The session of a model that generates text: each run adds a token to several texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.errors import InferenceError, InvalidInput
from app.serving.arrays import Array
from app.serving.cards.card import Runtime
from app.serving.engine.sessions import tf
from app.serving.engine.sessions.config import session_config
from app.serving.engine.sessions.device import device_name
from app.serving.engine.sessions.session import (
    add_graph,
    closed_on_failure,
    constant_bytes,
    first_line,
)
from app.serving.engine.sessions.weights import nbytes
from app.serving.signature import Generation


class TextSession:
    """A graph that samples tokens, in a session of its own, warmed up. weight_bytes: the size of
    its constants.

    Raises LoadError if TensorFlow refuses the graph.
    """

    def __init__(self, generation: Generation, runtime: Runtime) -> None:
        self.generation = generation
        graph = tf.Graph()
        config = session_config(runtime, optimised=True)
        self._session = tf.Session(graph=graph, config=config)
        self.device = device_name(self._session)
        with closed_on_failure(self._session):
            with graph.as_default():
                graph_def, assignments = add_graph(generation.path, generation.weights)
            self.weight_bytes = constant_bytes(graph_def) + sum(map(nbytes, generation.weights))
            if assignments:
                self._session.run(assignments)
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

    def zero_states(self, rows: int) -> list[Array]:
        """Return the states before the first token of `rows` texts: float32 (rows, units) each;
        empty for a window graph."""
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
        """Read one token per row and sample the next, from any native thread.

        tokens: int32 (n,); for a window graph the last tokens, int32 (n, window), 0 before the
        first. states: as `zero_states` or the last step returned them. uniform: float32 (n,) in [0,
        1). diversity: float32 (n,), more than 0. top_k: int32 (n,), 0 for all tokens.
        Returns the sampled tokens int32 (n,), and the new states.
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
        """Free the session and its memory. No step may be running."""
        self._session.close()
        # The graph holds the weights, too.
        del self._call, self._session

    def _warm_up(self, rows: int) -> None:
        """Run both branches of the sampling: the first run of a shape builds kernels and plans
        memory."""
        window = self.generation.window
        tokens: Array = np.zeros((rows,) if window is None else (rows, window), np.int32)
        uniform, diversity = np.zeros(rows, np.float32), np.ones(rows, np.float32)
        for k in (0, 1):
            top_k = np.full(rows, k, np.int32)
            self._call(tokens, *self.zero_states(rows), uniform, diversity, top_k)
