"""`python -m app` with a clock in its hub: how late its timers are, and how long it works without a
turn. Run by `tests.pauses`, which says in PAUSES_FILE where the figures go."""

from __future__ import annotations

import faulthandler
import mmap
import os
import time
from pathlib import Path

from gevent import get_hub

from app.cli.main import main

TICK_S = 0.002
# Places of the figures, each a double, in seconds.
LATE, BUSY, LIVEZ, CONTROL = range(4)
SIZE = 8 * 4


def figures(file: Path) -> memoryview[float]:
    """The figures of a file of SIZE bytes, shared with all that open it."""
    with file.open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), SIZE)).cast("d")


def start_clock(shared: memoryview[float], stacks_above_s: float) -> None:
    """Note the longest lateness of a timer of this thread's hub (wall time), and the longest that
    the thread has worked between two (its CPU time, which other processes do not lengthen).

    stacks_above_s: after so long without a turn all stacks go to stderr; 0 for never.
    """
    last, worked = time.monotonic(), time.thread_time()

    def tick() -> None:
        nonlocal last, worked
        now, work = time.monotonic(), time.thread_time()
        shared[LATE] = max(shared[LATE], now - last - TICK_S)
        shared[BUSY] = max(shared[BUSY], work - worked)
        last, worked = now, work
        if stacks_above_s:
            faulthandler.dump_traceback_later(stacks_above_s)

    timer = get_hub().loop.timer(TICK_S, TICK_S, ref=False)
    timer.start(tick)


# The guard matters: the reader process (`multiprocessing` spawn) imports this module again.
if __name__ == "__main__":
    start_clock(
        figures(Path(os.environ["PAUSES_FILE"])), float(os.environ.get("PAUSES_STACKS_ABOVE", 0))
    )
    main(prog_name="python -m app")
