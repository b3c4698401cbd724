"""A model that writes text: its task, its session and the streams that run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from app.errors import ClientDisconnected
from app.serving.call import Call
from app.serving.cards.card import Card
from app.serving.engine.engine import Engine
from app.serving.engine.sessions.session import ModelSession
from app.serving.engine.sessions.text_session import TextSession
from app.serving.engine.text_queue import Stream, TextQueue
from app.serving.large_bodies import run_large
from app.serving.models.model import Model
from app.serving.models.statistics import CountedRequest, Statistics
from app.serving.models.stream_limit import StreamLimit
from app.serving.signature import Converted
from app.serving.tasks.base import Limits, Payload
from app.serving.tasks.examples import read_examples
from app.serving.tasks.text import TextGeneration, TextRequest


class TextModel(Model):
    """Answers requests for text, all at once and word by word. stream_limit: shared by all
    models of the process. folder: of the card."""

    task: TextGeneration

    def __init__(
        self,
        name: str,
        version: int,
        card: Card,
        converted: Converted,
        limits: Limits,
        statistics: Statistics,
        stream_limit: StreamLimit,
        folder: Path | None = None,
    ) -> None:
        converted = converted.bounded(card.max_length, limits.max_elements)
        super().__init__(name, version, card, converted.signature, statistics)
        self.task = TextGeneration(card, converted.signature, limits)
        self.examples = read_examples(self.task, card.examples or (), folder, limits)
        self._stream_limit = stream_limit
        assert converted.generation is not None, "the reader was asked for it"
        # The whole model besides, for programs that bring their own tokens. Its runs are not
        # counted among the steps.
        whole = ModelSession(converted, card.runtime)
        self.engine = Engine(name, whole, converted, card.runtime, limits)
        session = TextSession(converted.generation, card.runtime)
        self._generation = converted.generation
        self._queue = TextQueue(
            session,
            name=name,
            max_streams=card.runtime.max_batch_size,
            window=converted.generation.window,
            counter=statistics,
        )
        self.threads = [self._queue, self.engine.batcher]
        self.sessions = [session, whole]

    def predict(self, payload: Payload, call: Call) -> list[Any]:
        """Return the finished text, as the only prediction."""
        with self.writing(payload, call) as (request, pieces):
            return [request.answer("".join(filter(None, pieces)).lstrip())]

    @contextmanager
    def writing(
        self, payload: Payload, call: Call, heartbeat_s: float | None = None
    ) -> Iterator[tuple[TextRequest, Iterator[str | None]]]:
        """Yield the request, and its words as they come (None for a heartbeat); leaving the block
        frees the place.

        Raises as `predict` does, before the block or from within the words.
        """
        with self.admission(call) as counted, self._stream_limit.taken():
            with call.stages.decoding():
                read = partial(self.task.read, payload)
                request = run_large(len(payload.data), read, call)
            call.check()
            stream = Stream(
                request.tokens,
                request.words,
                diversity=request.diversity,
                top_k=request.top_k,
                random_seed=request.random_seed,
            )
            self._queue.start(stream)
            # A client that stops reading before the end has disconnected.
            counted.error = ClientDisconnected.code
            try:
                yield (
                    request,
                    self._pieces(request, stream.tokens(call, heartbeat_s), call, counted),
                )
            finally:
                stream.over = True
                call.stages.queue_ns, call.stages.infer_ns = stream.timings()
                call.stages.batch = stream.largest_batch
                call.stages.note_run(stream.arrived_ns, call.stages.queue_ns, call.stages.infer_ns)

    def _pieces(
        self,
        request: TextRequest,
        tokens: Iterator[int | None],
        call: Call,
        counted: CountedRequest,
    ) -> Iterator[str | None]:
        try:
            for index in tokens:
                if index is None:
                    yield None
                    continue
                self.statistics.count_word()
                call.stages.words += 1
                yield request.joiner.piece(self.task.vocabulary.token(index))
        except Exception as error:
            # Events tell it to the client; it never leaves the block of `writing`.
            counted.fail(error)
            raise
        counted.rows, counted.error = 1, None

    def details(self) -> dict[str, Any]:
        """Return how a word is made: by one step, or from the whole window and why."""
        made = self._generation
        return {"generation": {"kind": made.kind, "reason": made.reason}}
