"""A model version that is ready: its task, its session and its queue, as one thing to call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from app.errors import Overloaded
from app.serving.batching import Array, Batcher, Call
from app.serving.card import Card
from app.serving.runtime import ModelSession
from app.serving.signature import Converted, Signature
from app.serving.statistics import Asked, Statistics
from app.serving.tasks import Limits, Payload, Task, make_task
from app.serving.tasks.base import Question


class Model(ABC):
    """Answers requests with one version of one model.

    Raises CardError where card and model do not fit, LoadError where TensorFlow refuses the model.
    """

    task: Question

    def __init__(self, name: str, version: int, card: Card, signature: Signature) -> None:
        self.name = name
        self.version = version
        self.card = card
        self.signature = signature
        self.loaded_at = time.time()
        self.statistics = Statistics()
        self._admitted = 0

    @abstractmethod
    def predict(self, payload: Payload, call: Call) -> list[Any]:
        """One prediction a row. Blocks the greenlet.

        Raises the errors of the task, Overloaded, DeadlineExceeded, NonFiniteOutput,
        InferenceError, and whatever `call` was cancelled with.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what waits, then free the session. Not from the hub while it serves."""

    def details(self) -> dict[str, Any]:
        """What else there is to say of the model."""
        return {}

    @property
    @abstractmethod
    def weight_bytes(self) -> int:
        """What the weights take in memory."""

    @property
    def waiting(self) -> int:
        """Requests between arrival and answer."""
        return self._admitted

    @contextmanager
    def admission(self) -> Iterator[Asked]:
        """Counts the requests between arrival and answer: beyond `max_queue` they are refused
        before any work goes into them. All protocols pass here, so that the statistics are kept
        here as well."""
        with self.statistics.asked() as asked:
            limit = self.card.runtime.max_queue
            if self._admitted >= limit:
                raise Overloaded(f"the model {self.name!r} has {limit} requests waiting, its limit")
            self._admitted += 1
            try:
                yield asked
            finally:
                self._admitted -= 1


class TensorModel(Model):
    """A model that is asked with rows of tensors, in batches."""

    task: Task

    def __init__(
        self, name: str, version: int, card: Card, converted: Converted, limits: Limits
    ) -> None:
        super().__init__(name, version, card, converted.signature)
        self.task = make_task(card, converted.signature, limits)
        self._session = ModelSession(converted, card.runtime, self.task.picture)
        # A model whose batch dimension is fixed gets exactly so many rows, filled up if need be.
        shape = converted.signature.inputs[0].shape if converted.signature.inputs else None
        self._fixed_rows = shape[0] if self.task.picture and shape else None
        self._batcher = Batcher(
            self._run_batch,
            name=name,
            max_batch_size=card.runtime.max_batch_size,
            max_delay_s=card.runtime.max_delay_ms / 1000,
            batchable=self.signature.batchable,
        )

    def predict(self, payload: Payload, call: Call) -> list[Any]:
        """One prediction a row."""
        with self.admission() as asked:
            inputs = self.task.read(payload)
            predictions = self.task.answer(self._run(inputs, call))
            asked.rows = len(predictions)
            return predictions

    def _run(self, inputs: list[Array], call: Call) -> list[Array]:
        """Rows beyond a batch go in part by part, so that a long list shares the model with the
        others instead of filling the queue."""
        most = self._batcher.max_batch_size
        rows = len(inputs[0]) if inputs and inputs[0].ndim else 1
        if not self.signature.batchable:
            if self._fixed_rows is None:
                return self._batcher.submit(inputs, call).wait(call)
            most = self._fixed_rows
        elif rows <= most:
            return self._batcher.submit(inputs, call).wait(call)
        parts = []
        for start in range(0, rows, most):
            part = [a[start : start + most] for a in inputs]
            short = most - len(part[0]) if self._fixed_rows else 0
            if short:
                part = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in part]
            outputs = self._batcher.submit(part, call).wait(call)
            parts.append([out[: most - short] for out in outputs])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _run_batch(self, inputs: Sequence[Array]) -> list[Array]:
        """In the model's thread."""
        self.statistics.count_run(len(inputs[0]) if inputs and inputs[0].ndim else 1)
        return self._session.run(inputs)

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self._session.weight_bytes

    def close(self) -> None:
        """Finish what waits, then free the session. Not from the hub while it serves."""
        self._batcher.close()
        self._session.close()
