"""The session and the queue of one model version: arrays in, arrays out, for every kind of model
and every protocol."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from app.errors import DeadlineExceeded
from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.cards.card import Runtime
from app.serving.engine.answer_size import AnswerSize
from app.serving.engine.batcher import Batcher, Route
from app.serving.engine.model_thread import RunCounter, Uncounted
from app.serving.engine.run_size import RunSize
from app.serving.limits import Limits
from app.serving.signature import Converted, PictureFeed, SignatureDef, with_pictures


class RunSession(Protocol):
    """A session that runs a model: `app.serving.engine.session.ModelSession`."""

    sizes: list[int]
    warm_up: dict[str | None, tuple[int, int]]

    def run(
        self, arrays: Sequence[Array], signature: str | None = None, deadline: float | None = None
    ) -> list[Array]:
        """Run the model once. Returns one array per output."""


class Engine:
    """Runs any number of rows, in batches shared with other requests.

    session: runs `converted`. limits: on the answer to a request. pictures: the picture feeds of
    the session, by the names of inputs. counter: counts the runs. signatures: those that requests
    may name; inputs with a picture feed have the size of its pictures. batcher: for callers that
    watch its runs, and close it.
    """

    def __init__(
        self,
        name: str,
        session: RunSession,
        converted: Converted,
        runtime: Runtime,
        limits: Limits,
        *,
        pictures: Mapping[str, PictureFeed] | None = None,
        counter: RunCounter | None = None,
    ) -> None:
        self.default = converted.name
        self.signatures = {converted.name: converted.signature, **converted.others}
        self._pictures = pictures or {}
        if self._pictures:
            sized = with_pictures(converted.signature, self._pictures)
            self.signatures[converted.name] = sized
        self._limits = limits
        self._session = session
        self._answers = {name: AnswerSize(s) for name, s in self.signatures.items()}
        if not self._pictures:
            default = self.signatures[self.default]
            self._answers[self.default] = AnswerSize(default, session.run)
        self._run_size = RunSize(runtime.max_batch_size, limits.max_answer_bytes)
        for signature, (rows, ns) in session.warm_up.items():
            self._run_size.count(signature, 1, rows, ns, 0)
        self._counter = counter or Uncounted()
        self.batcher = Batcher(
            self._run_batch,
            name=name,
            max_batch_size=runtime.max_batch_size,
            most_rows=self._most_rows,
            max_delay_s=runtime.max_delay_ms / 1000,
            counter=self._counter,
        )

    def run(
        self,
        inputs: Sequence[Array],
        call: Call,
        signature: str | None = None,
        *,
        finite: bool = True,
        binary: Collection[str] = (),
    ) -> list[Array]:
        """Run any number of rows. Returns one array per output. Blocks the greenlet.

        inputs, signature: as for `ModelSession.run`. finite: whether NaN and Infinity are errors.
        binary: the names of outputs that will not be written as JSON.
        Rows beyond a batch run part by part, so that a long list shares the model with other
        requests instead of filling the queue. An answer that is too large is refused before the
        first part if shapes show it, else as soon as the parts so far do.
        Raises DeadlineExceeded, NonFiniteOutput, InvalidInput, InferenceError, and the error that
        `call` was cancelled with.
        """
        definition = self.signatures[signature or self.default]
        if signature == self.default and not self._pictures:
            signature = None
        route = Route(signature, definition.batchable, finite)
        rows = rows_of(inputs)
        answer = self._answers[signature or self.default]
        expected = answer.expected_bytes(inputs, rows, binary)
        if expected is not None:
            self._limits.check_answer(expected, rows)
        fixed = self._fixed_rows(definition)
        if not definition.batchable and fixed is None:
            outputs = self.batcher.submit(inputs, call, route).wait(call)
            self._limits.check_answer(answer.actual_bytes(outputs, binary), 1)
            return outputs
        parts: list[list[Array]] = []
        size = done = 0
        while done < rows:
            most = fixed or self._most_rows(inputs, route)
            part = [a[done : done + most] for a in inputs]
            count = len(part[0])
            if fixed is not None and count < fixed:
                part = [_padded(a, fixed) for a in part]
            outputs = self.batcher.submit(part, call, route).wait(call)
            parts.append([out[:count] for out in outputs])
            done += count
            size += answer.actual_bytes(parts[-1], binary)
            # Assumes that the remaining rows are like those so far.
            self._limits.check_answer(size * rows // done, rows)
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _most_rows(self, inputs: Sequence[Array], route: Route) -> int:
        """Return the most rows of one run, for rows like these. Safe from any thread."""
        answer = self._answers[route.signature or self.default]
        most = self._run_size.rows(route.signature, answer.length(inputs))
        row_bytes = answer.expected_bytes(inputs, 1, answer.names)
        if row_bytes:
            most = max(1, min(most, self._limits.max_answer_bytes // row_bytes))
        # A padded batch must not exceed it either.
        return max((size for size in self._session.sizes if size <= most), default=most)

    def _fixed_rows(self, definition: SignatureDef) -> int | None:
        """Return the fixed batch size of a model with pictures, whose batches are padded to it;
        None otherwise."""
        shapes = (t.shape for t in definition.inputs if t.name in self._pictures)
        return next((shape[0] for shape in shapes if shape), None)

    def _run_batch(
        self, inputs: Sequence[Array], signature: str | None, deadline: float
    ) -> list[Array]:
        """Run a batch in the model's thread, padded to a size that the session prefers."""
        name = signature or self.default
        rows = size = rows_of(inputs)
        if self.signatures[name].batchable:
            size = next((s for s in self._session.sizes if s >= rows), rows)
        fed = inputs if size == rows else [_padded(a, size) for a in inputs]
        length = self._answers[name].length(inputs)
        started = time.monotonic_ns()
        try:
            outputs = self._session.run(fed, signature, deadline)
        except DeadlineExceeded:
            self._run_size.count(signature, length, size, time.monotonic_ns() - started, 0)
            raise
        took = time.monotonic_ns() - started
        self._run_size.count(signature, length, size, took, sum(out.nbytes for out in outputs))
        self._counter.count_run(rows, took)
        if size == rows:
            return outputs
        if any(rows_of([out]) != size for out in outputs):
            # The outputs do not have one row per input row, so the padding cannot be removed.
            return self._session.run(inputs, signature, deadline)
        return [out[:rows] for out in outputs]


def _padded(rows: Array, size: int) -> Array:
    """Repeat the last row until there are `size` rows."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
