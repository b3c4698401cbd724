"""A model that writes text: its task, its session and the streams that run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from app.errors import ClientDisconnected
from app.serving.call import Call
from app.serving.card import Card
from app.serving.engine import Engine
from app.serving.generation_session import GenerationSession
from app.serving.large import run_large
from app.serving.model import Model
from app.serving.places import Places
from app.serving.signature import Converted
from app.serving.statistics import Asked
from app.serving.streams import Generator, Stream
from app.serving.tasks.base import Limits, Payload
from app.serving.tasks.text import Order, TextGeneration


class TextModel(Model):
    """Answers requests for text, all at once and word by word. places: shared by all models of
    the process."""

    task: TextGeneration

    def __init__(
        self,
        name: str,
        version: int,
        card: Card,
        converted: Converted,
        limits: Limits,
        places: Places,
    ) -> None:
        converted = converted.bounded(card.max_length, limits.max_elements)
        super().__init__(name, version, card, converted.signature)
        self.task = TextGeneration(card, converted.signature, limits)
        self._places = places
        assert converted.generation is not None, "the loader was asked for it"
        # The whole model besides, for programs that bring their own tokens.
        self.engine = Engine(name, card.runtime, converted, limits)
        self._session = GenerationSession(converted.generation, card.runtime)
        self._generator = Generator(
            self._session,
            name=name,
            max_streams=card.runtime.max_batch_size,
            window=converted.generation.window,
            # A model that takes the place of another goes on with its statistics.
            on_step=lambda texts, ns: self.statistics.count_run(texts, ns),
        )

    def predict(self, payload: Payload, call: Call) -> list[Any]:
        """The finished text, as the only prediction."""
        with self.writing(payload, call) as (order, pieces):
            return [order.answer("".join(filter(None, pieces)).lstrip())]

    @contextmanager
    def writing(
        self, payload: Payload, call: Call, heartbeat_s: float | None = None
    ) -> Iterator[tuple[Order, Iterator[str | None]]]:
        """The order, and its words as they come (None for a heartbeat); leaving the block frees the
        place.

        Raises as `predict` does, before the block or from within the words.
        """
        with self.admission(call) as asked, self._places.taken():
            with call.stages.decoding():
                read = partial(self.task.read, payload)
                order = run_large(len(payload.data), read, call)
            call.check()
            stream = Stream(
                order.tokens,
                order.words,
                diversity=order.diversity,
                top_k=order.top_k,
                random_seed=order.random_seed,
            )
            self._generator.start(stream)
            # Whoever stops reading before the end is gone.
            asked.error = ClientDisconnected.code
            try:
                yield order, self._pieces(order, stream.tokens(call, heartbeat_s), call, asked)
            finally:
                stream.over = True
                call.stages.queue_ns, call.stages.infer_ns = stream.spent()
                call.stages.batch = stream.largest

    def _pieces(
        self, order: Order, tokens: Iterator[int | None], call: Call, asked: Asked
    ) -> Iterator[str | None]:
        try:
            for index in tokens:
                if index is None:
                    yield None
                    continue
                self.statistics.count_word()
                call.stages.words += 1
                yield order.joiner.piece(self.task.vocabulary.token(index))
        except Exception as error:
            # Events tell it to the client; it never leaves the block of `writing`.
            asked.fail(error)
            raise
        asked.rows, asked.error = 1, None

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self._session.weight_bytes + self.engine.weight_bytes

    @property
    def running(self) -> list[int]:
        """When each run or step that lasts began."""
        return [*self._generator.stepping, *super().running]

    def abandon(self) -> None:
        """Wait no longer for runs and steps that do not end."""
        self._generator.abandon()
        super().abandon()

    def details(self) -> dict[str, Any]:
        """How a word is made: by one step, or from the whole window and why."""
        made = self._session.generation
        return {"generation": {"kind": made.kind, "reason": made.reason}}

    def close(self) -> None:
        """Finish the texts that run, then free the session."""
        self._generator.close()
        self._session.close()
        self.engine.close()
