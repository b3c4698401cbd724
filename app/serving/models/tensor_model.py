"""A model that takes rows of tensors, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guessed_scales
from app.serving.cards.kinds import kinds_of
from app.serving.engine.engine import Engine
from app.serving.engine.sessions.session import ModelSession
from app.serving.hub_rounds import free_texts
from app.serving.large_bodies import run_large
from app.serving.models.model import Model
from app.serving.models.size_multiple import size_multiple
from app.serving.models.statistics import Statistics
from app.serving.pixels import scaled
from app.serving.signature import Converted, Order, Scale, Signature, with_texts
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.decoded import Rows
from app.serving.tasks.examples import read_examples
from app.serving.tasks.predictions import predictions
from app.serving.tensors import numpy_dtype
from app.serving.threads import in_a_thread

# Bytes of a body that take as long to read as a byte of an output takes to become a place.
_COSTS = 4


class TensorModel(Model):
    """Answers requests with one prediction per row. folder: of the card, with the files of its
    examples."""

    task: RowTask

    def __init__(
        self,
        name: str,
        version: int,
        card: Card,
        converted: Converted,
        limits: Limits,
        statistics: Statistics,
        folder: Path | None = None,
    ) -> None:
        converted = converted.bounded(card.max_length, limits.max_elements)
        converted = replace(converted, signature=_hearing(card, converted.signature))
        super().__init__(name, version, card, converted.signature, statistics)
        self.task = RowTask(card, converted.signature, limits)
        self.examples = read_examples(self.task, card.examples or (), folder, limits)
        texted = with_texts(converted.signature, self.task.texts)
        converted = replace(converted, signature=texted)
        pictures, runtime = self.task.pictures, card.runtime
        reductions = self.task.reductions
        example = self.task.example(self.examples[0].payload if self.examples else None)
        if example is not None and self.task.fixed_rows is not None:
            example = [np.repeat(row, self.task.fixed_rows, axis=0) for row in example]
        session = ModelSession(converted, runtime, pictures, example, reductions)
        if reductions and example is not None:
            self.task.extend_pictures(partial(_multiple, session, converted, example))
        self.engine = Engine(
            name,
            session,
            converted,
            runtime,
            limits,
            pictures=pictures,
            reductions=reductions,
            fixed_rows=self.task.fixed_rows,
            counter=statistics,
        )
        self.threads, self.sessions = [self.engine.batcher], [session]

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Return one prediction per row; if there are many, they are built lazily while they are
        iterated."""
        with self.admission(call) as counted:
            with call.stages.decoding():
                found = self.read(payload, call)
            inputs = found.arrays
            rows = rows_of(inputs)
            self.task.limits.check_answer(rows * self.task.row_bytes, rows)
            self.task.check_drawing(found.placed, payload.drawing)
            if self.task.placed or found.uneven:
                answers = self._by_runs(found, payload, call)
                counted.rows = rows
                return answers
            inputs, signature = self.at_scale(inputs, payload.scale)
            outputs = self.engine.run(inputs, call, signature)
            self.task.check_rows(outputs, rows)
            outputs = [*self._drawn(outputs, found, signature, payload, call), *found.shares]
            answer = predictions(self.task.answer, outputs, rows=self.task.has_rows)
            counted.rows = len(answer)
            free_texts(inputs)
            if isinstance(answer, list):
                free_texts(outputs)
            return answer

    def _drawn(
        self,
        outputs: list[Array],
        rows: Rows,
        signature: str | None,
        payload: Payload,
        call: Call,
    ) -> list[Array]:
        """Return outputs with those that are answered as pictures drawn."""
        if not self.task.drawn:
            return outputs
        reduced = signature is None
        return self.task.draw(outputs, rows.placed, payload.drawing, call, reduced=reduced)

    def _by_runs(self, rows: Rows, payload: Payload, call: Call) -> list[Any]:
        """Return the predictions of rows that are made run by run, because the pictures of the
        rows have different shapes, or because outputs are much larger than what is made of
        them."""
        task, count, scale = self.task, rows_of(rows.arrays), payload.scale
        unwritten = task.unwritten
        hidden = unwritten | task.reductions.keys()
        answers: list[Any] = [None] * count
        size = done = 0
        for alike in rows.alike():
            while alike:
                some = rows.take(alike[:1]).arrays
                most = self.engine.rows_of_a_run(some, scale and self.engine.default)
                at, alike = alike[:most], alike[most:]
                several = rows.uneven and len(at) > 1
                part = in_a_thread(partial(rows.take, at)) if several else rows.take(at)
                inputs, signature = self.at_scale(part.arrays, scale)
                outputs = self.engine.run(
                    inputs, call, signature, finite=not unwritten, binary=unwritten
                )
                task.check_rows(outputs, len(at))
                made = run_large(
                    _COSTS * sum(out.nbytes for out in outputs),
                    partial(task.work, outputs, part.placed),
                    call,
                )
                size += self.engine.written_bytes(outputs, hidden)
                outputs = self._drawn(outputs, part, signature, payload, call)
                found = task.answer([*outputs, *part.shares], made)
                for i, answer in zip(at, found, strict=True):
                    answers[i] = answer
                done += len(at)
                # Assumes that the remaining rows are like those so far.
                task.limits.check_answer(size * count // done, count)
        return answers

    @property
    def guessed_scales(self) -> list[str]:
        """The inputs that take pictures whose scale is a guess."""
        names = [each.name for each in self.task.inputs if each.kind == "picture"]
        return guessed_scales(self.guessed, names)

    def _rescaled(self, inputs: Sequence[Array], scale: Scale | None) -> list[Array]:
        """Raw tensors for pictures: of the scale, if any, where theirs is a guess."""
        arrays = dict(zip((t.name for t in self.signature.inputs), inputs, strict=True))
        for each in self.task.inputs:
            if each.feed is not None:
                (spec,) = each.specs
                wanted = each.feed.scale
                if scale is not None and each.name in self.guessed_scales:
                    wanted = scale
                # This scale puts the colours into the order BGR itself.
                order: Order = "rgb" if wanted == "caffe" else each.feed.order
                pixels = scaled(arrays[spec.name].astype(np.float32), wanted, order)
                arrays[spec.name] = pixels.astype(numpy_dtype(spec.dtype), copy=False)
        return [*arrays.values()]

    def at_scale(self, inputs: list[Array], scale: Scale | None) -> tuple[list[Array], str | None]:
        """Return what to feed, and the signature to run, for pictures at another scale than the
        model's; None for its own. Blocks the greenlet."""
        if scale is None:
            return inputs, None
        # Scaled here, and fed as raw tensors.
        return in_a_thread(partial(self._rescaled, inputs, scale)), self.engine.default

    def read(self, payload: Payload, call: Call) -> Rows:
        """Read a request, its pictures decoded. Blocks the greenlet."""
        self.task.take_room_of_texts(payload.size, call)
        parsed = run_large(payload.size, partial(self.task.parse, payload), call)
        # By threads of their own.
        return self.task.decode(parsed, call)

    def _as_tensors(self, inputs: Sequence[Array]) -> list[Array]:
        return self._rescaled(inputs, None)


def _multiple(
    session: ModelSession, converted: Converted, example: Sequence[Array], name: str
) -> int:
    """What the sides of pictures for an input must be multiples of."""
    names = (spec.name for spec in converted.signature.inputs)
    return size_multiple(session.run, dict(zip(names, example, strict=True)), name)


def _hearing(card: Card, signature: Signature) -> Signature:
    """Return the signature with the inputs that take encoded recordings."""
    heard = {
        kind.specs[0].name for kind in kinds_of(card, signature).inputs if kind.card.kind == "audio"
    }
    inputs = (replace(t, encoded="recordings") if t.name in heard else t for t in signature.inputs)
    return replace(signature, inputs=tuple(inputs))
