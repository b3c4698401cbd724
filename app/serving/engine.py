"""One model version's session and queue: arrays in, arrays out, for every kind of model and every
protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from app.errors import DeadlineExceeded
from app.serving.answer_size import AnswerSize
from app.serving.batching import Array, Batcher, Route, rows_of
from app.serving.call import Call
from app.serving.card import Runtime
from app.serving.limits import Limits
from app.serving.run_size import RunSize
from app.serving.runtime import ModelSession
from app.serving.signature import Converted, PictureFeed, SignatureDef


class Engine:
    """Runs rows of any number, in batches shared with other requests.

    limits: on the answer to a request. signatures: what may be asked, by name; the pictures of a
    model that is fed with them have the size of `picture`. on_run: told in the model's thread of
    each run, with its rows and how many nanoseconds it took. on_take: as for `Batcher`.
    Raises LoadError where TensorFlow refuses the model.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        converted: Converted,
        limits: Limits,
        *,
        picture: PictureFeed | None = None,
        on_run: Callable[[int, int], None] = lambda rows, ns: None,
        on_take: Callable[[int, int], None] = lambda jobs, ns: None,
    ) -> None:
        self.default = converted.name
        self.signatures = {converted.name: converted.signature, **converted.others}
        self._picture = picture is not None
        if picture is not None:
            self.signatures[converted.name] = _sized(converted.signature, picture)
        self._limits = limits
        self._session = ModelSession(converted, runtime, picture)
        self._answers = {name: AnswerSize(s) for name, s in self.signatures.items()}
        if picture is None:
            default = self.signatures[self.default]
            self._answers[self.default] = AnswerSize(default, self._session.run)
        self._run_size = RunSize(runtime.max_batch_size, limits.max_answer_bytes)
        rows, ns = self._session.warm_up
        if rows:
            self._run_size.count(None, 1, rows, ns, 0)
        self._on_run = on_run
        self._batcher = Batcher(
            self._run_batch,
            name=name,
            max_batch_size=runtime.max_batch_size,
            most_rows=self._most_rows,
            max_delay_s=runtime.max_delay_ms / 1000,
            on_take=on_take,
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
        """One array an output. Blocks the greenlet.

        inputs, signature: as for `ModelSession.run`. finite: whether NaN and Infinity are errors.
        binary: outputs that will not be written as JSON, by name.
        Rows beyond a batch go in part by part, so that a long list shares the model with the
        others instead of filling the queue. An answer that is too large is refused before the
        first part where the shapes tell, else as soon as the parts so far do.
        Raises DeadlineExceeded, NonFiniteOutput, InvalidInput, InferenceError, and whatever `call`
        was cancelled with.
        """
        definition = self.signatures[signature or self.default]
        if signature == self.default and not self._picture:
            signature = None
        route = Route(signature, definition.batchable, finite)
        rows = rows_of(inputs)
        answer = self._answers[signature or self.default]
        known = answer.known(inputs, rows, binary)
        if known is not None:
            self._limits.check_answer(known, rows)
        fixed = self._fixed_rows(definition)
        if not definition.batchable and fixed is None:
            outputs = self._batcher.submit(inputs, call, route).wait(call)
            self._limits.check_answer(answer.written(outputs, binary), 1)
            return outputs
        parts: list[list[Array]] = []
        size = done = 0
        while done < rows:
            most = fixed or self._most_rows(inputs, route)
            part = [a[done : done + most] for a in inputs]
            count = len(part[0])
            if fixed is not None and count < fixed:
                part = [np.concatenate([a, np.repeat(a[-1:], fixed - count, axis=0)]) for a in part]
            outputs = self._batcher.submit(part, call, route).wait(call)
            parts.append([out[:count] for out in outputs])
            done += count
            size += answer.written(parts[-1], binary)
            # The rest will be like what is there.
            self._limits.check_answer(size * rows // done, rows)
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _most_rows(self, inputs: Sequence[Array], route: Route) -> int:
        """The most rows of one run for rows like these. From any thread."""
        answer = self._answers[route.signature or self.default]
        most = self._run_size.rows(route.signature, answer.length(inputs))
        row_bytes = answer.known(inputs, 1, answer.names)
        return max(1, min(most, self._limits.max_answer_bytes // row_bytes)) if row_bytes else most

    def _fixed_rows(self, definition: SignatureDef) -> int | None:
        """A model of pictures whose batch dimension is fixed gets exactly so many rows, filled up
        if need be."""
        shape = definition.inputs[0].shape if self._picture else None
        return shape[0] if shape else None

    def _run_batch(
        self, inputs: Sequence[Array], signature: str | None, deadline: float
    ) -> list[Array]:
        """In the model's thread."""
        rows = rows_of(inputs)
        length = self._answers[signature or self.default].length(inputs)
        started = time.monotonic_ns()
        try:
            outputs = self._session.run(inputs, signature, deadline)
        except DeadlineExceeded:
            self._run_size.count(signature, length, rows, time.monotonic_ns() - started, 0)
            raise
        took = time.monotonic_ns() - started
        self._run_size.count(signature, length, rows, took, sum(out.nbytes for out in outputs))
        self._on_run(rows, took)
        return outputs

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self._session.weight_bytes

    @property
    def running(self) -> list[int]:
        """As `Batcher.running`."""
        return self._batcher.running

    def abandon(self) -> None:
        """As `Batcher.abandon`."""
        self._batcher.abandon()

    def close(self) -> None:
        """Finish what waits, then free the session. Not from the hub while it serves."""
        self._batcher.close()
        self._session.close()


def _sized(signature: SignatureDef, picture: PictureFeed) -> SignatureDef:
    """With the size that a card has chosen for a model that takes any."""
    only = signature.inputs[0]
    shape = (None if only.shape is None else only.shape[0], *picture.shape)
    sized = replace(only, shape=shape, pictures=True)
    return SignatureDef((sized,), signature.outputs, signature.method)
