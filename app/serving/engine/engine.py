"""The session and the queue of one model version: arrays in, arrays out, for every kind of model
and every protocol."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.errors import DeadlineExceeded, InvalidInput
from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.cards.card import Runtime
from app.serving.engine.answer_size import AnswerSize, Probe
from app.serving.engine.batcher import Batcher, Route
from app.serving.engine.model_thread import RunCounter, Uncounted
from app.serving.engine.run_size import RunSize
from app.serving.limits import Limits
from app.serving.reductions import Reduction, reduced_signature
from app.serving.signature import Converted, PictureFeed, SignatureDef, with_pictures

# Rows of a run in the background: at most so many, and this part of those that others may have.
BACKGROUND_ROWS = 8
BACKGROUND_PART = 4


class RunSession(Protocol):
    """A session that runs a model: `app.serving.engine.sessions.session.ModelSession`."""

    sizes: list[int]
    warm_up: dict[str | None, tuple[int, int]]

    def run(
        self, arrays: Sequence[Array], signature: str | None = None, deadline: float | None = None
    ) -> list[Array]:
        """Run the model once. Returns one array per output."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a signature is run, found out once. fixed: the only number of rows that a run may have,
    to which fewer are padded; None otherwise."""

    batchable: bool
    fixed: int | None
    answer: AnswerSize


class Engine:
    """Runs any number of rows, in batches shared with other requests.

    session: runs `converted`. limits: on the answer to a request. pictures: the picture feeds of
    the session, by the names of inputs. reductions: those of its outputs, by their names; without
    a signature, `run` returns what they leave. fixed_rows: the only number of rows that a run of
    the model as it is served may have; None where any will do, or where nothing counts rows.
    counter: counts the runs. signatures: those that requests may name; inputs with a picture feed
    have the size of its pictures. batcher: for callers that watch its runs, and close it.
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
        reductions: Mapping[str, Reduction] | None = None,
        fixed_rows: int | None = None,
        counter: RunCounter | None = None,
    ) -> None:
        self.default = converted.name
        self.signatures = {converted.name: converted.signature, **converted.others}
        self._pictures = pictures or {}
        if self._pictures:
            sized = with_pictures(converted.signature, self._pictures)
            self.signatures[converted.name] = sized
        self.limits = limits
        self.fixed_rows = fixed_rows
        self._session = session
        self._reductions = reductions or {}
        # Without a signature, the model as it is served.
        self._plans: dict[str | None, _Plan] = {
            name: self._plan(s, fixed_rows if name == self.default else None)
            for name, s in self.signatures.items()
        }
        default = self.signatures[self.default]
        self._plans[None] = self._plans[self.default]
        if self._reductions:
            self._plans[None] = self._plan(reduced_signature(default, self._reductions), fixed_rows)
        elif not self._pictures:
            plan = self._plan(default, fixed_rows, session.run)
            self._plans[None] = self._plans[self.default] = plan
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

    @property
    def reduces(self) -> bool:
        """Whether `run` without a signature returns less than the model's outputs."""
        return bool(self._reductions)

    def run(
        self,
        inputs: Sequence[Array],
        call: Call,
        signature: str | None = None,
        *,
        finite: bool = True,
        binary: Collection[str] = (),
        background: bool = False,
    ) -> list[Array]:
        """Run any number of rows. Returns one array per output. Blocks the greenlet.

        inputs, signature: as for `ModelSession.run`. finite: whether NaN and Infinity are errors.
        binary: the names of outputs that will not be written as JSON. background: whether all
        other rows come first, which wait for a short run at the most.
        Rows beyond a batch run part by part, so that a long list shares the model with other
        requests instead of filling the queue. An answer that is too large is refused before the
        first part if shapes show it, else as soon as the parts so far do.
        Raises DeadlineExceeded, NonFiniteOutput, InvalidInput, InferenceError, and the error that
        `call` was cancelled with.
        """
        if signature == self.default and not self._pictures and not self._reductions:
            signature = None
        if signature is None and self._reductions:
            # They are not written as lists of numbers.
            binary = [*binary, *self._reductions]
        plan = self._plans[signature]
        route = Route(signature, plan.batchable, finite, background)
        rows = rows_of(inputs)
        answer, fixed = plan.answer, plan.fixed
        expected = answer.expected_bytes(inputs, rows, binary)
        if expected is not None:
            self.limits.check_answer(expected, rows)
        if fixed is None and (rows == 1 or not plan.batchable):
            outputs = self._submitted(inputs, call, route)
            self.limits.check_answer(answer.actual_bytes(outputs, binary), 1)
            return outputs
        parts: list[list[Array]] = []
        size = done = 0
        while done < rows:
            most = fixed or self._most_rows(inputs, route)
            if background and fixed is None:
                most = min(BACKGROUND_ROWS, max(1, most // BACKGROUND_PART))
            part = [a[done : done + most] for a in inputs]
            count = len(part[0])
            if fixed is not None and count < fixed:
                part = [_padded(a, fixed) for a in part]
            outputs = self._submitted(part, call, route)
            if fixed is not None and count < fixed:
                # Those that are no part of an answer need not have rows.
                outputs = [
                    out[:count] if out.ndim and len(out) == fixed else out for out in outputs
                ]
            parts.append(outputs)
            done += count
            size += answer.actual_bytes(parts[-1], binary)
            # Assumes that the remaining rows are like those so far.
            self.limits.check_answer(size * rows // done, rows)
        if len(parts) == 1:
            return parts[0]
        if any(_unlike(column, rows) for column in zip(*parts, strict=True)):
            raise InvalidInput(
                "the model's answers to these rows have different shapes: send one row at a time"
            )
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def rows_of_a_run(self, inputs: Sequence[Array], signature: str | None = None) -> int:
        """Return the most rows like these that one run takes. signature: as for `run`."""
        plan = self._plans[signature]
        if plan.fixed is not None or not plan.batchable:
            return plan.fixed or 1
        if signature == self.default and not self._pictures and not self._reductions:
            signature = None
        return self._most_rows(inputs, Route(signature))

    def written_bytes(self, outputs: Sequence[Array], hidden: Collection[str]) -> int:
        """Return the bytes of an answer with these outputs of the default signature. hidden: the
        names of outputs that it does not have."""
        names = [t.name for t in self.signatures[self.default].outputs]
        shown = [
            out.reshape(-1)[:0] if name in hidden else out
            for name, out in zip(names, outputs, strict=True)
        ]
        return self._plans[self.default].answer.actual_bytes(shown)

    def _submitted(self, inputs: Sequence[Array], call: Call, route: Route) -> list[Array]:
        """Return the outputs of one run, without what showed the batcher their NaN."""
        outputs = self.batcher.submit(inputs, call, route).wait(call)
        return outputs[: len(self.signatures[route.signature or self.default].outputs)]

    def _most_rows(self, inputs: Sequence[Array], route: Route) -> int:
        """Return the most rows of one run, for rows like these. Safe from any thread."""
        answer = self._plans[route.signature].answer
        most = self._run_size.rows(route.signature, answer.length(inputs))
        row_bytes = answer.expected_bytes(inputs, 1, answer.names)
        if row_bytes:
            most = max(1, min(most, self.limits.max_answer_bytes // row_bytes))
        # A padded batch must not exceed it either.
        return max((size for size in self._session.sizes if size <= most), default=most)

    @staticmethod
    def _plan(definition: SignatureDef, fixed: int | None, probe: Probe | None = None) -> _Plan:
        rows = definition.batchable or fixed is not None
        return _Plan(definition.batchable, fixed, AnswerSize(definition, probe, rows=rows))

    def _run_batch(
        self, inputs: Sequence[Array], signature: str | None, deadline: float
    ) -> list[Array]:
        """Run a batch in the model's thread, padded to a size that the session prefers."""
        rows = size = rows_of(inputs)
        if self._plans[signature].batchable:
            size = next((s for s in self._session.sizes if s >= rows), rows)
        fed = inputs if size == rows else [_padded(a, size) for a in inputs]
        length = self._plans[signature].answer.length(inputs)
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


def _unlike(parts: Sequence[Array], rows: int) -> bool:
    """Tell whether the outputs of several runs cannot be so many rows of one array."""
    if any(not part.ndim or part.shape[1:] != parts[0].shape[1:] for part in parts):
        return True
    return sum(map(len, parts)) != rows


def _padded(rows: Array, size: int) -> Array:
    """Repeat the last row until there are `size` rows."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
