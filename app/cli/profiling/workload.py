"""A loaded model at work: runs of any size, without queues, and answers to the examples of its
card."""

from __future__ import annotations

import io
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, cast

import numpy as np
import orjson

from app.cli.offline import PATIENCE_S
from app.cli.profiling.measurements import Source
from app.errors import KeraportError, LoadError
from app.resources.memory import reset_peak, resident
from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.engine.run_size import RunSize
from app.serving.limits import Limits
from app.serving.models.model import Model
from app.serving.tasks.base import Payload
from app.serving.tasks.decoded import Rows
from app.serving.tasks.examples import Example
from app.serving.tasks.text import TextGeneration

Run = Callable[[], Sequence[Array]]


class Workload(ABC):
    """What is measured of a model. source: of the rows that are run. rows: how many different ones.
    problems: why examples were left out."""

    source: Source
    rows: int

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model = model
        self._limits = limits
        self.problems: list[str] = []

    @abstractmethod
    def sizes(self, most: int, others: Sequence[int]) -> list[int]:
        """Return the sizes of runs to measure, up to `most`: powers of two, and those of `others`
        where the model takes any number of rows."""

    @abstractmethod
    def _prepared(self, size: int) -> Run:
        """Return what runs so many rows once."""

    @abstractmethod
    def _read(self, example: Example) -> int:
        """Make tensors of an example, as a request would be read. Returns its rows."""

    @abstractmethod
    def _answer(self, example: Example) -> Any:
        """Return the answer to an example, to be compared with that of another precision."""

    def _length(self) -> int:
        """Return the length of the longest open dimension of the rows; 1 without any."""
        return 1

    def first(self, size: int) -> tuple[int, int | None]:
        """Run a size for the first time, which builds kernels, and once more. Returns the most rows
        that the server would run at once judging by the second run, and the most resident bytes of
        this process meanwhile."""
        run = self._prepared(size)
        reset_peak(os.getpid())
        outputs = self._tried(run)
        started = time.monotonic_ns()
        self._tried(run)
        took = time.monotonic_ns() - started
        run_size = RunSize(2**31, self._limits.max_answer_bytes)
        run_size.count(None, self._length(), size, took, sum(out.nbytes for out in outputs))
        return run_size.rows(None, self._length()), resident().peak or None

    def run(self, size: int, seconds: float) -> float:
        """Run a size again and again for so long, and at least once. Returns the median of the
        seconds that a run took."""
        run = self._prepared(size)
        return _median_seconds(lambda: self._tried(run), seconds)

    def decode(self, seconds: float) -> float | None:
        """Read the examples again and again for so long, and at least once. Returns the median of
        the seconds a row; None without examples."""
        examples = self._readable()
        if not examples:
            return None
        rows = 0

        def read_all() -> None:
            nonlocal rows
            rows = sum(self._read(each) for each in examples)

        return _median_seconds(read_all, seconds) / rows

    def answers(self) -> list[bytes | None]:
        """Return the answers to the examples of the card, as JSON; None where there is none."""
        return [self._answered(i, example) for i, example in enumerate(self.model.examples)]

    def _readable(self) -> list[Example]:
        """Return the examples that can be read."""
        found = []
        for i, example in enumerate(self.model.examples):
            try:
                self._read(example)
            except KeraportError as error:
                self._note(i, error)
            else:
                found.append(example)
        return found

    def _answered(self, number: int, example: Example) -> bytes | None:
        try:
            answer = self._answer(example)
        except KeraportError as error:
            self._note(number, error)
            return None
        return orjson.dumps(answer, default=_listed, option=orjson.OPT_SERIALIZE_NUMPY)

    def _note(self, number: int, error: KeraportError) -> None:
        name = self.model.examples[number].name
        problem = f"examples[{number}] ({name}) is left out: {error.message}"
        if problem not in self.problems:
            self.problems.append(problem)

    def _tried(self, run: Run) -> Sequence[Array]:
        try:
            return run()
        except KeraportError as error:
            problem = f"the model does not run with the examples of its card: {error.message}"
            if self.source == "made up":
                problem = (
                    f"the model does not run with made-up inputs ({error.message}): add 'examples' "
                    "to its card"
                )
            raise LoadError(problem) from None


class RowWorkload(Workload):
    """A model of rows of tensors. Of examples with rows of different shapes, those of the most
    frequent shape are run."""

    def __init__(self, model: Model, limits: Limits) -> None:
        from app.serving.engine.sessions.session import ModelSession
        from app.serving.models.tensor_model import TensorModel

        super().__init__(model, limits)
        assert isinstance(model, TensorModel)
        self._model = model
        self._session = cast(ModelSession, model.sessions[0])
        self._arrays, self.source = self._of_examples(), "examples"
        if not self._arrays:
            self._arrays, self.source = self._session.made_up(1), "made up"
        self.rows = rows_of(self._arrays)

    def sizes(self, most: int, others: Sequence[int]) -> list[int]:
        """Return the sizes to measure; a compiled model runs with those of its session only."""
        if not self.model.signature.batchable:
            return [self.model.engine.rows_of_a_run(self._arrays)]
        return [s for s in (self._session.sizes or _sizes(most, others)) if s <= most]

    def _of_examples(self) -> list[Array]:
        groups: dict[Any, list[list[Array]]] = {}
        for example in self._readable():
            rows = self._rows(example.payload)
            for at in rows.alike():
                arrays = rows.take(at).arrays
                key = tuple((a.dtype.str, a.shape[1:]) for a in arrays)
                groups.setdefault(key, []).append(arrays)
        if not groups:
            return []
        most = max(groups.values(), key=lambda group: sum(map(rows_of, group)))
        if not self.model.signature.batchable and not self._model.task.pictures:
            return most[0]
        return [np.concatenate(column) for column in zip(*most, strict=True)]

    def _prepared(self, size: int) -> Run:
        arrays = self._arrays
        if self.model.signature.batchable or self._model.task.pictures:
            at = np.arange(size) % self.rows
            arrays = [array[at] for array in arrays]
        return lambda: self._session.run(arrays)

    def _read(self, example: Example) -> int:
        payload, files = example.payload, example.files
        if len(files) == len(example.values) == 1:
            # As a client would send it, not within JSON.
            payload = Payload("files", files=[io.BytesIO(f.data) for f in files.values()])
        return rows_of(self._rows(payload).arrays)

    def _rows(self, payload: Payload) -> Rows:
        """Return the rows of a request, whose room is free again."""
        call = _call()
        try:
            return self._model.read(payload, call)
        finally:
            call.give_back()

    def _answer(self, example: Example) -> Any:
        return [*self._model.predict(example.payload, _call())]

    def _length(self) -> int:
        longest = 1
        for spec, array in zip(self.model.signature.inputs, self._arrays, strict=True):
            longest = max([longest, *(array.shape[d] for d in spec.open_dimensions)])
        return longest


class TextWorkload(Workload):
    """A model that writes texts: each run adds a word to each text."""

    def __init__(self, model: Model, limits: Limits) -> None:
        from app.serving.engine.sessions.text_session import TextSession

        super().__init__(model, limits)
        self._session = cast(TextSession, model.sessions[0])
        self._task = cast(TextGeneration, model.task)
        self._tokens = [self._task.read(each.payload).tokens for each in self._readable()]
        self.source = "examples" if self._tokens else "made up"
        self._tokens = self._tokens or [[0]]
        self.rows = len(self._tokens)

    def sizes(self, most: int, others: Sequence[int]) -> list[int]:
        """Return the numbers of texts to measure."""
        return _sizes(most, others)

    def _prepared(self, size: int) -> Run:
        session, window = self._session, self._session.generation.window
        last = np.array([self._tokens[i % self.rows][-1] for i in range(size)], np.int32)
        if window is not None:
            seeds = [self._tokens[i % self.rows] for i in range(size)]
            last = np.stack([_padded(seed, window) for seed in seeds])
        states = session.zero_states(size)
        middle, one = np.full(size, 0.5, np.float32), np.ones(size, np.float32)
        top_k = np.zeros(size, np.int32)

        def run() -> Sequence[Array]:
            nonlocal states
            drawn, states = session.step(last, states, middle, one, top_k)
            return [drawn]

        return run

    def _read(self, example: Example) -> int:
        self._task.read(example.payload)
        return 1

    def _answer(self, example: Example) -> Any:
        """Return the most likely next word, with the probabilities of all."""
        spec = self.model.signature.inputs[0]
        tokens = self._task.read(example.payload).tokens
        length = None if spec.shape is None or len(spec.shape) < 2 else spec.shape[1]
        row = np.array(tokens, np.int32) if length is None else _padded(tokens, length)
        fed = [row[None].astype(spec.dtype)]
        default = self.model.default_signature
        output = self.model.engine.run(fed, _call(), default)[0]
        probabilities = output[0, -1] if output.ndim > 2 else output[0]
        word = self._task.vocabulary.token(int(probabilities.argmax()))
        return [{"label": word, "probabilities": probabilities}]


def workload_of(model: Model, limits: Limits) -> Workload:
    """Return the workload of a loaded model."""
    if isinstance(model.task, TextGeneration):
        return TextWorkload(model, limits)
    return RowWorkload(model, limits)


def _sizes(most: int, others: Sequence[int]) -> list[int]:
    powers = {2**power for power in range(most.bit_length())}
    return sorted(powers | {most} | {other for other in others if other <= most})


def _median_seconds(work: Callable[[], object], seconds: float) -> float:
    until = time.perf_counter() + seconds
    took: list[float] = []
    while not took or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return median(took)


def _padded(tokens: Sequence[int], length: int) -> Array:
    """Return the last tokens, with 0 on the left."""
    row = np.zeros(length, np.int32)
    last = tokens[-length:]
    row[length - len(last) :] = last
    return row


def _call() -> Call:
    return Call(time.monotonic() + PATIENCE_S)


def _listed(value: Any) -> Any:
    return value.tolist()
