"""A model version that is ready: its task, its session and its queue, as one thing to call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from app.errors import ClientDisconnected, DeadlineExceeded, InvalidInput
from app.serving.admission import Admission
from app.serving.batching import Array
from app.serving.call import Call
from app.serving.card import Card
from app.serving.engine import Engine
from app.serving.large import run_large
from app.serving.rounds import free_texts
from app.serving.signature import Converted, Signature, SignatureDef
from app.serving.statistics import Asked, Statistics
from app.serving.tasks import Limits, Payload, Task, make_task
from app.serving.tasks.base import Question, invalid
from app.serving.tasks.image import ImageClassification
from app.serving.tasks.predictions import Predictions, predictions
from app.serving.tensors import (
    PLAIN,
    Wording,
    numpy_dtype,
    picture_files,
    problems,
    row_count,
    unknown_outputs,
)

# Requests that end so were not answered by the model.
_GIVEN_UP = frozenset({DeadlineExceeded.code, ClientDisconnected.code})


class Model(ABC):
    """Answers requests with one version of one model.

    Raises CardError where card and model do not fit, LoadError where TensorFlow refuses the model.
    """

    task: Question
    engine: Engine

    def __init__(self, name: str, version: int, card: Card, signature: Signature) -> None:
        self.name = name
        self.version = version
        self.card = card
        self.signature = signature
        self.loaded_at = time.time()
        self.statistics = Statistics()
        runtime = card.runtime
        self._admission = Admission(name, runtime.max_queue, runtime.max_batch_size)

    @abstractmethod
    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """One prediction a row; of many rows, shaped as they are read. Blocks the greenlet.

        Raises the errors of the task, Overloaded, DeadlineExceeded, NonFiniteOutput,
        InferenceError, and whatever `call` was cancelled with.
        """

    @property
    def signatures(self) -> Mapping[str, SignatureDef]:
        """What may be asked with `infer`, by name."""
        return self.engine.signatures

    @property
    def default_signature(self) -> str:
        """The name of the signature that `infer` asks unless told otherwise."""
        return self.engine.default

    def infer(
        self,
        inputs: Mapping[str, Array],
        call: Call,
        asked: Asked,
        *,
        signature: str | None = None,
        outputs: Sequence[str] | None = None,
        binary: Collection[str] = (),
        wording: Wording = PLAIN,
    ) -> dict[str, Array]:
        """Raw tensors in, raw tensors out, by name; for the standard protocols. Blocks the
        greenlet.

        inputs: arrays of the signature's dtypes and shapes; texts are object arrays of bytes. A
        model of pictures also takes an object array (n,) or (n, 1) of encoded ones.
        asked: of the `admission` within which this is called. outputs: those that are wanted.
        binary: outputs that will not be written as JSON. wording: of problems. NaN and Infinity
        are answered as they are. Raises InvalidInput with all problems at once, and what `predict`
        raises.
        """
        name = signature or self.default_signature
        definition = self.signatures.get(name)
        if definition is None:
            raise InvalidInput(
                f"the model has no signature {name[:100]!r}; it has: {', '.join(self.signatures)}"
            )
        details = unknown_outputs(outputs or (), definition)
        files = picture_files(inputs, definition)
        pixels = None
        if files is not None and name == self.default_signature:
            with call.stages.decoding():
                only = definition.inputs[0].name
                pixels = self.decode(files, only, call, wording.unreadable)
        if pixels is None:
            details += problems(inputs, definition, wording)
        if details:
            raise invalid(details)
        if pixels is not None:
            results = self.engine.run([pixels], call, finite=False, binary=binary)
        else:
            arrays = [inputs[t.name] for t in definition.inputs]
            results = self.engine.run(arrays, call, name, finite=False, binary=binary)
        asked.rows = row_count(results, definition)
        named = zip(definition.outputs, results, strict=True)
        return {
            # Half precision comes out of the session in single.
            t.name: a.astype(numpy_dtype(t.dtype), copy=False)
            for t, a in named
            if outputs is None or t.name in outputs
        }

    def decode(self, files: Sequence[bytes], name: str, call: Call, hint: str = "") -> Array | None:
        """Encoded pictures as the model is fed with them; None for a model of something else.

        name: of the input. Raises InvalidInput for those that cannot be read, with `hint` after
        what is expected of each, or where they are too many, and what ends `call`.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Finish what waits, then free the session. Not from the hub while it serves."""

    @property
    def running(self) -> list[int]:
        """When each run that lasts began, on the clock of `time.monotonic_ns`."""
        return self.engine.running

    def abandon(self) -> None:
        """Wait no longer for runs that do not end, from the hub's thread: who waits in the queue
        gets ModelUnavailable, as whoever comes later, and who is in a run DeadlineExceeded."""
        self.engine.abandon()

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
        return self._admission.waiting

    def check_room(self, seconds: float) -> None:
        """Raise Overloaded where a request that may take so many `seconds` would be refused, for
        callers that have not read its body yet. Counts the refusal."""
        refusal = self._admission.refusal(seconds)
        if refusal is not None:
            with self.statistics.asked():
                raise refusal

    @contextmanager
    def admission(self, call: Call) -> Iterator[Asked]:
        """Counts the requests between arrival and answer; those that are too many, or too late for
        their deadline, are refused before any work goes into them. All protocols pass here, so that
        the statistics are kept here as well."""
        call.stages.model, call.stages.version = self.name, self.version
        with self.statistics.asked() as asked:
            refusal = self._admission.refusal(call.remaining)
            if refusal is not None:
                raise refusal
            self._admission.enter()
            try:
                yield asked
            except BaseException as error:
                asked.fail(error)
                raise
            finally:
                self._admission.leave(answered=asked.error not in _GIVEN_UP)
                call.stages.rows = asked.rows


class TensorModel(Model):
    """A model that is asked with rows of tensors, in batches."""

    task: Task

    def __init__(
        self, name: str, version: int, card: Card, converted: Converted, limits: Limits
    ) -> None:
        converted = converted.bounded(card.max_length, limits.max_elements)
        super().__init__(name, version, card, converted.signature)
        self.task = make_task(card, converted.signature, limits)
        self.engine = Engine(
            name,
            card.runtime,
            converted,
            limits,
            picture=self.task.picture,
            # The statistics of the version before may come to stand in their place.
            on_run=lambda rows, ns: self.statistics.count_run(rows, ns),
            on_take=lambda requests, ns: self.statistics.count_wait(requests, ns),
        )

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """One prediction a row; of many rows, shaped as they are read."""
        with self.admission(call) as asked:
            with call.stages.decoding():
                inputs = self._read(payload, call)
            outputs = self.engine.run(inputs, call)
            batchable = self.signature.batchable
            answer = predictions(self.task.answer, outputs, rows=batchable)
            asked.rows = len(answer)
            free_texts(inputs)
            if not isinstance(answer, Predictions):
                free_texts(outputs)
            return answer

    def _read(self, payload: Payload, call: Call) -> list[Array]:
        if payload.kind == "files":  # decoded by threads of their own
            return self.task.read(payload, call)
        return run_large(len(payload.data), partial(self.task.read, payload, call), call)

    def decode(self, files: Sequence[bytes], name: str, call: Call, hint: str = "") -> Array | None:
        """Pictures as the model is fed with them."""
        if not isinstance(self.task, ImageClassification):
            return None
        return self.task.pixels(files, lambda i: f"{name}[{i}]", call, hint)

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self.engine.weight_bytes

    def close(self) -> None:
        """Finish what waits, then free the session. Not from the hub while it serves."""
        self.engine.close()
