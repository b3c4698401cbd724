"""A model that says what it runs, and calls to its queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
import numpy as np

from app.errors import InvalidInput
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.engine.batcher import DEFAULT_ROUTE, Batcher, Route


class Model:
    """Doubles its input, records the rows of each batch, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()

    def run(
        self, inputs: Sequence[Array], signature: str | None = None, deadline: float = 0
    ) -> list[Array]:
        self.started.set()
        self.gate.wait(10)
        (rows,) = inputs
        self.batches.append(len(rows))
        if (rows == 666).any():
            raise InvalidInput("666 is not a number here")
        return [np.where(rows == -1, np.nan, rows * 2)]


Make = Callable[..., Batcher]


@contextmanager
def batchers(model: Model) -> Iterator[Make]:
    """Makes queues of the model, which are closed at the end."""
    made: list[Batcher] = []

    def make(**options: Any) -> Batcher:
        made.append(Batcher(model.run, name="m", **{"max_batch_size": 4, **options}))
        return made[-1]

    yield make
    model.gate.set()
    for batcher in made:
        batcher.close()


def rows(*values: float) -> list[Array]:
    return [np.array(values, np.float32)]


def call(seconds: float = 10) -> Call:
    return Call(time.monotonic() + seconds)


def ask(
    batcher: Batcher, inputs: list[Array], each: Call | None = None, route: Route = DEFAULT_ROUTE
) -> Any:
    """The result as a list, or the error."""
    each = each or call()
    try:
        return batcher.submit(inputs, each, route).wait(each)[0].tolist()
    except Exception as error:
        return error


def held(batcher: Batcher, model: Model) -> gevent.Greenlet[..., Any]:
    """Keep the model busy with a first batch, so that later jobs queue."""
    model.gate.clear()
    model.started.clear()
    first = gevent.spawn(ask, batcher, rows(100))
    while not model.started.is_set():
        gevent.sleep(0.001)
    return first
