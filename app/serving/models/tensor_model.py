"""A model that takes rows of tensors, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.cards.card import Card
from app.serving.cards.guesses import guessed_scales
from app.serving.engine.engine import Engine
from app.serving.engine.session import ModelSession
from app.serving.hub_rounds import free_texts
from app.serving.large_bodies import run_large
from app.serving.models.model import Model
from app.serving.models.statistics import Statistics
from app.serving.pixels import scaled
from app.serving.signature import Converted, Order, Scale
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.predictions import Predictions, predictions
from app.serving.tensors import numpy_dtype
from app.serving.threads import in_a_thread


class TensorModel(Model):
    """Answers requests with one prediction per row."""

    task: RowTask

    def __init__(
        self,
        name: str,
        version: int,
        card: Card,
        converted: Converted,
        limits: Limits,
        statistics: Statistics,
    ) -> None:
        converted = converted.bounded(card.max_length, limits.max_elements)
        super().__init__(name, version, card, converted.signature, statistics)
        self.task = RowTask(card, converted.signature, limits)
        pictures, runtime = self.task.pictures, card.runtime
        session = ModelSession(converted, runtime, pictures, self.task.example())
        self.engine = Engine(
            name, session, converted, runtime, limits, pictures=pictures, counter=statistics
        )
        self.threads, self.sessions = [self.engine.batcher], [session]

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Return one prediction per row; if there are many, they are built lazily while they are
        iterated."""
        with self.admission(call) as counted:
            with call.stages.decoding():
                inputs = self._read(payload, call)
            rows = rows_of(inputs)
            self.task.limits.check_answer(rows * self.task.row_bytes, rows)
            signature = None
            if payload.scale is not None:
                # Scaled here, and fed as raw tensors.
                inputs = in_a_thread(partial(self._rescaled, inputs, payload.scale))
                signature = self.engine.default
            outputs = self.engine.run(inputs, call, signature)
            batchable = self.signature.batchable
            answer = predictions(self.task.answer, outputs, rows=batchable)
            counted.rows = len(answer)
            free_texts(inputs)
            if not isinstance(answer, Predictions):
                free_texts(outputs)
            return answer

    @property
    def guessed_scales(self) -> list[str]:
        """The inputs that take pictures whose scale is a guess."""
        names = [each.name for each in self.task.inputs if each.kind == "picture"]
        return guessed_scales(self.guessed, names)

    def _rescaled(self, inputs: Sequence[Array], scale: Scale) -> list[Array]:
        """Raw tensors for pictures: of the scale where theirs is a guess."""
        arrays = dict(zip((t.name for t in self.signature.inputs), inputs, strict=True))
        for each in self.task.inputs:
            if each.feed is not None:
                (spec,) = each.specs
                wanted = scale if each.name in self.guessed_scales else each.feed.scale
                # This scale puts the colours into the order BGR itself.
                order: Order = "rgb" if wanted == "caffe" else each.feed.order
                pixels = scaled(arrays[spec.name].astype(np.float32), wanted, order)
                arrays[spec.name] = pixels.astype(numpy_dtype(spec.dtype), copy=False)
        return [*arrays.values()]

    def _read(self, payload: Payload, call: Call) -> list[Array]:
        parsed = run_large(payload.size, partial(self.task.parse, payload), call)
        # By threads of their own.
        return self.task.decode(parsed, call)
