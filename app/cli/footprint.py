"""The time and the memory that loading a model takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.resources.memory import free_memory, resident
from app.serving.reading.process import ReaderProcess

# Seconds between two looks at the memory.
_PERIOD_S = 0.02


@dataclass(slots=True)
class Footprint:
    """What loading a model takes.

    seconds: until the model was ready, or had failed. peak_bytes: the most memory of the process
    that reads files, and the growth of this one. serving_bytes: the growth of this process once the
    model is ready. Both are None if the system does not report them.
    """

    seconds: float = 0.0
    peak_bytes: int | None = None
    serving_bytes: int | None = None


@contextmanager
def measured(reader: ReaderProcess) -> Iterator[Footprint]:
    """Load a model with `reader` inside this block; the figures are complete when it ends."""
    footprint = Footprint()
    before = resident().now or None
    ended = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(footprint, before, reader, ended), name="footprint"
    )
    watch.start()
    started = time.monotonic()
    try:
        yield footprint
    finally:
        footprint.seconds = time.monotonic() - started
        ended.set()
        watch.join()
        free_memory()
        if before is not None and (after := resident().now):
            footprint.serving_bytes = max(0, after - before)


def _watch(
    footprint: Footprint, before: int | None, reader: ReaderProcess, ended: threading.Event
) -> None:
    if before is None:
        return
    last = False
    while not last:
        last = ended.wait(_PERIOD_S)
        own = max(0, (resident().now or before) - before)
        pid = reader.pid
        theirs = 0 if pid is None else resident(pid).now
        footprint.peak_bytes = max(footprint.peak_bytes or 0, own + theirs)
