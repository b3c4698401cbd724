"""A model version that is ready: its task, its queues and its sessions, as one thing to call."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Protocol

from app.errors import ClientDisconnected, DeadlineExceeded, InvalidInput, Overloaded
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import Guess
from app.serving.engine.admission import Admission
from app.serving.engine.engine import Engine
from app.serving.engine.model_thread import ModelThread
from app.serving.large_bodies import run_large
from app.serving.models.statistics import CountedRequest, Statistics
from app.serving.signature import Signature, SignatureDef
from app.serving.tasks.base import Payload, Task, invalid
from app.serving.tasks.examples import Example
from app.serving.tensors import (
    PLAIN,
    Wording,
    encoded_files,
    numpy_dtype,
    tensor_problems,
    text_values,
    unknown_outputs,
)
from app.serving.threads import in_a_thread

# Seconds after which clients may ask again for what takes no place in the queue.
RETRY_S = 2
# Requests that end so were not answered by the model.
_GIVEN_UP = frozenset({DeadlineExceeded.code, ClientDisconnected.code})


class Session(Protocol):
    """A graph that runs. weight_bytes: what its weights take in memory. device: what it runs on."""

    weight_bytes: int
    device: str

    def close(self) -> None:
        """Free the session. No run may be under way."""


class AdmittedRequest:
    """The context of a request that a model answers. Raises Overloaded at its start."""

    __slots__ = ("_admission", "_call", "_counted")

    def __init__(self, call: Call, admission: Admission, counted: CountedRequest) -> None:
        self._call = call
        self._admission = admission
        self._counted = counted

    def __enter__(self) -> CountedRequest:
        counted = self._counted.__enter__()
        refusal = self._admission.refusal(self._call.remaining)
        if refusal is not None:
            counted.__exit__(type(refusal), refusal, None)
            raise refusal
        self._admission.enter()
        return counted

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        counted = self._counted
        counted.__exit__(kind, error, trace)
        self._call.give_back()
        self._admission.leave(answered=counted.error not in _GIVEN_UP)
        self._call.stages.rows = counted.rows


class Model(ABC):
    """Answers requests with one version of one model.

    statistics: where its requests and runs are counted. threads, sessions: all that it has.
    Raises CardError if card and model do not fit, LoadError where TensorFlow refuses the model.
    """

    task: Task
    engine: Engine
    threads: Sequence[ModelThread[Any]]
    sessions: Sequence[Session]

    def __init__(
        self, name: str, version: int, card: Card, signature: Signature, statistics: Statistics
    ) -> None:
        self.name = name
        self.version = version
        self.card = card
        self.signature = signature
        self.loaded_at = time.time()
        self.statistics = statistics
        # What loading it took of the memory at most, in this process and the one that reads.
        self.loading_bytes = 0
        # Those of its card.
        self.examples: Sequence[Example] = ()
        # What nothing proves of its card.
        self.guessed: Sequence[Guess] = ()
        # Whether its files were converted by an earlier start.
        self.from_cache = False
        runtime = card.runtime
        self._beside = 0
        self._admission = Admission(name, runtime.max_queue, runtime.max_batch_size)

    @abstractmethod
    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Return one prediction per row; if there are many, they are built lazily while they are
        iterated. Blocks the greenlet.

        Raises the errors of the task, Overloaded, DeadlineExceeded, NonFiniteOutput,
        InferenceError, and whatever `call` was cancelled with.
        """

    @property
    def signatures(self) -> Mapping[str, SignatureDef]:
        """The signatures that `infer` may run, by name."""
        return self.engine.signatures

    @property
    def default_signature(self) -> str:
        """The name of the signature that `infer` runs unless another is named."""
        return self.engine.default

    def infer(
        self,
        inputs: Mapping[str, Array],
        call: Call,
        counted: CountedRequest,
        *,
        signature: str | None = None,
        outputs: Sequence[str] | None = None,
        binary: Collection[str] = (),
        wording: Wording = PLAIN,
    ) -> dict[str, Array]:
        """Run raw tensors, by name, for the standard protocols. Blocks the greenlet.

        inputs: arrays of the signature's dtypes and shapes; texts are object arrays of bytes.
        Inputs that take pictures or recordings also take an object array (n,) or (n, 1) of encoded
        ones; all that take pictures, or none of them. Those of ids of tokens also take texts.
        counted: of the `admission` within which this is called. outputs: those that are wanted.
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
        files = encoded_files(inputs, definition) if name == self.default_signature else {}
        texts = text_values(inputs, definition) if name == self.default_signature else {}
        details += tensor_problems(inputs, definition, wording, files, texts)
        for field, some in {**files, **texts}.items():
            details += self.engine.limits.excess(field, len(some))
        if details:
            raise invalid(details)
        if files or texts:
            counts = {field: len(some) for field, some in {**files, **texts}.items()}
            self.task.take_room(counts, call)
        decoded, tokens = {}, {}
        if files:
            with call.stages.decoding():
                decoded = self.task.decoded(files, call, wording.unreadable)
        if texts:
            size = sum(sum(map(len, some)) for some in texts.values())
            with call.stages.decoding():
                tokens = run_large(size, partial(self.task.tokens, texts), call)
        read = {**inputs, **decoded, **tokens}
        arrays = [read[t.name] for t in definition.inputs]
        pictures = any(t.encoded == "pictures" and t.name in files for t in definition.inputs)
        run = None if pictures else name
        if pictures and self.engine.reduces:
            # Clients of these protocols want the model's own numbers.
            arrays, run = in_a_thread(partial(self._as_tensors, arrays)), name
        results = self.engine.run(arrays, call, run, finite=False, binary=binary)
        rows = definition.batchable or (name == self.default_signature and self.engine.fixed_rows)
        counted.rows = len(results[0]) if rows and results else 1
        named = zip(definition.outputs, results, strict=True)
        return {
            # Half precision comes out of the session in single.
            t.name: a.astype(numpy_dtype(t.dtype), copy=False)
            for t, a in named
            if outputs is None or t.name in outputs
        }

    def _as_tensors(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the raw tensors of inputs, some of which are pictures as the model is fed."""
        return [*inputs]

    def watch_first_run(self, watch: Callable[[], AbstractContextManager[None]]) -> None:
        """Enter `watch` around each run, in its thread, until one has ended well. To be called
        before the first request."""
        for thread in self.threads:
            thread.first_run = watch

    @property
    def running(self) -> list[int]:
        """When each current run began, on the clock of `time.monotonic_ns`."""
        began = [thread.running_since for thread in self.threads]
        return [ns for ns in began if ns is not None]

    def abandon(self) -> None:
        """Wait no longer for runs that do not end, from the hub's thread: requests in the queue,
        and later ones, get ModelUnavailable, those in a run DeadlineExceeded."""
        for thread in self.threads:
            thread.abandon()

    def close(self) -> None:
        """Finish what waits, then free the sessions. Not from the hub while it serves."""
        for thread in self.threads:
            thread.close()
        for session in self.sessions:
            session.close()

    def details(self) -> dict[str, Any]:
        """Return further facts about the model, for its description."""
        return {}

    @property
    def weight_bytes(self) -> int:
        """The bytes that the weights take in memory."""
        return sum(session.weight_bytes for session in self.sessions)

    @property
    def device(self) -> str:
        """What the model runs on: the name of a GPU, or CPU."""
        return self.sessions[0].device

    @property
    def waiting(self) -> int:
        """The number of requests between arrival and answer."""
        return self._admission.waiting

    def check_room(self, seconds: float) -> None:
        """Raise Overloaded if a request that may take `seconds` would be refused, for callers
        that have not read its body yet. Counts the refusal."""
        refusal = self._admission.refusal(seconds)
        if refusal is not None:
            with self.statistics.counting():
                raise refusal

    @contextmanager
    def beside(self, call: Call, most: int, what: str) -> Iterator[CountedRequest]:
        """Count a request of which a model has at most `most` at a time, and which takes no place
        in the queue of the others. It is refused where these are. what: it is, in the plural."""
        call.stages.model, call.stages.version = self.name, self.version
        with self.statistics.counting() as counted:
            refusal = self._admission.refusal(call.remaining)
            if refusal is None and self._beside >= most:
                problem = f"the model {self.name!r} has {most} {what} in progress, its limit"
                refusal = Overloaded(problem, RETRY_S)
            if refusal is not None:
                raise refusal
            self._beside += 1
            try:
                yield counted
            except BaseException as error:
                counted.fail(error)
                raise
            finally:
                self._beside -= 1
                call.give_back()
                call.stages.rows = counted.rows

    def admission(self, call: Call) -> AdmittedRequest:
        """Return a context that counts a request from arrival to answer; one too many, or too late
        for its deadline, is refused at its start, before any work goes into it. All protocols pass
        here, so that the statistics are kept here as well."""
        call.stages.model, call.stages.version = self.name, self.version
        return AdmittedRequest(call, self._admission, self.statistics.counting())
