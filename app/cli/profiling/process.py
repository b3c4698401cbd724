"""A process of its own for a model in one precision: it may end, and its memory is that model's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from app.cli.profiling.measurements import Memory, Source, Stated
from app.errors import KeraportError, LoadError
from app.resources.container import container_memory, memory_advice, usable_cores
from app.resources.memory import resident
from app.serving.cards.card import Card, Precision
from app.serving.limits import Limits
from app.serving.reading.oom import die_first

# Batches are measured up to this size, or to the card's where that is larger.
USUAL_MOST = 128


@dataclass(frozen=True, slots=True)
class Order:
    """What to load: the model `name` of `folder`. most: the largest size to measure; None for the
    usual one. limits: of the server."""

    folder: Path
    name: str
    precision: Precision
    most: int | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is loaded. seconds: that this took. writes: whether it writes texts. sizes: of
    the runs to measure. The rest as in `Profile`."""

    version: int
    stated: Stated
    seconds: float
    memory: Memory
    writes: bool
    sizes: Sequence[int]
    source: Source
    rows: int
    cores: int
    device: str


class MeasuredProcess:
    """Loads and runs a model in a child process. All methods block, and raise LoadError where the
    model fails or ends the process."""

    def __init__(self, order: Order) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        # It starts other processes, as daemons may not.
        arguments = (self._theirs, order)
        self._process = context.Process(target=_serve, args=arguments, daemon=False)

    def start(self) -> None:
        """Start the process, which `close` ends."""
        # Ctrl+C reaches the whole group of a terminal: this process decides what it means. The mask
        # is inherited.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
            self._theirs.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def loaded(self) -> Loaded:
        """Wait until the model is loaded."""
        found: Loaded = self._receive()
        return found

    def first(self, size: int) -> tuple[int, int | None]:
        """See `Workload.first`."""
        found: tuple[int, int | None] = self._ask("first", size)
        return found

    def run(self, size: int, seconds: float) -> float:
        """See `Workload.run`."""
        took: float = self._ask("run", size, seconds)
        return took

    def decode(self, seconds: float) -> float | None:
        """See `Workload.decode`."""
        took: float | None = self._ask("decode", seconds)
        return took

    def answers(self) -> list[bytes | None]:
        """See `Workload.answers`."""
        found: list[bytes | None] = self._ask("answers")
        return found

    def problems(self) -> list[str]:
        """Return the problems of the workload so far."""
        found: list[str] = self._ask("problems")
        return found

    def close(self) -> None:
        """End the process now."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        with suppress(OSError):  # the answer says more
            self._pipe.send((method, arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            failed, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise LoadError(_ended(self._process.exitcode)) from None
        if failed:
            raise LoadError(answer)
        return answer


def _ended(code: int | None) -> str:
    how = f"exit code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            how = signal.Signals(-code).name
    message = f"TensorFlow ended the process ({how})"
    if code == -signal.SIGKILL:
        advice = memory_advice(in_container=container_memory() is not None)
        message += f", probably for lack of memory: use a smaller --max-batch-size, or {advice}"
    return message


def _serve(pipe: Connection, order: Order) -> None:
    """Run in the child: load the model, then answer until the parent disconnects or ends."""
    # What native code prints is no part of the output.
    os.dup2(2, 1)
    die_first()
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    try:
        _measure(pipe, order)
    except KeraportError as error:
        pipe.send((True, error.message))
    except EOFError:
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _measure(pipe: Connection, order: Order) -> None:
    from app.cli.offline import find, load
    from app.cli.profiling.workload import workload_of
    from app.serving.models.text_model import TextModel
    from app.serving.registry.open_model import import_engine

    import_engine()
    before = resident().now or None
    adapted = AdaptedCard(order)
    with load(find(order.folder, order.name), order.limits, adapted) as (model, footprint):
        memory = Memory(before, resident().now or None)
        workload = workload_of(model, order.limits)
        sizes = workload.sizes(adapted.most, [adapted.stated.max_batch_size])
        loaded = Loaded(
            model.version,
            adapted.stated,
            footprint.seconds,
            memory,
            isinstance(model, TextModel),
            sizes,
            workload.source,
            workload.rows,
            usable_cores(),
            model.device,
        )
        pipe.send((False, loaded))
        while True:
            method, arguments = pipe.recv()
            if method == "problems":
                pipe.send((False, workload.problems))
                continue
            try:
                pipe.send((False, getattr(workload, method)(*arguments)))
            except KeraportError as error:
                pipe.send((True, error.message))


class AdaptedCard:
    """A card with the precision of an order, and room for the largest size to measure. stated: what
    the card said. most: the largest size. Both are known once the card is."""

    stated: Stated
    most: int

    def __init__(self, order: Order) -> None:
        self._order = order

    def __call__(self, card: Card | None) -> Card:
        """Return the card to use."""
        written, card = card is not None, card or Card()
        runtime = card.runtime
        self.stated = Stated(written, runtime.precision, runtime.max_batch_size)
        self.most = self._order.most or max(USUAL_MOST, runtime.max_batch_size)
        changes = {"precision": self._order.precision, "max_batch_size": self.most}
        return card.model_copy(update={"runtime": runtime.model_copy(update=changes)})
