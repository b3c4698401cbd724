"""Which requests share a batch, by when they arrive."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gevent
import numpy as np
from gevent import socket

from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.engine.batcher import Batcher, Job


def test_a_request_that_is_on_its_way_joins_the_batch() -> None:
    """Its client was answered last, so it arrives a moment after all others."""
    batches: list[int] = []

    def run(inputs: Sequence[Array], signature: str | None, deadline: float) -> list[Array]:
        batches.append(len(inputs[0]))
        return [inputs[0]]

    def submit(value: float) -> tuple[Job, Call]:
        call = Call(time.monotonic() + 10)
        return batcher.submit([np.array([value], np.float32)], call), call

    def come_first() -> list[float]:
        job, call = submit(1.0)
        theirs.sendall(b"2")
        # Time for the model's thread to take what is in the queue, before the hub sees the other.
        gevent.get_hub().loop.run_callback(time.sleep, 0.05)
        return list(job.wait(call)[0])

    def come_late() -> list[float]:
        job, call = submit(float(ours.recv(1)))
        return list(job.wait(call)[0])

    batcher = Batcher(run, name="m", max_batch_size=4)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        late = gevent.spawn(come_late)
        gevent.sleep(0.01)  # it waits for its request
        first = gevent.spawn(come_first)
        gevent.joinall([first, late], timeout=10)
    batcher.close()
    assert (first.value, late.value) == ([1.0], [2.0])
    assert batches == [2]
