"""Processor time and memory of processes and all that they have started."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import psutil

# A server rests when it takes less than this part of a core, looked at for so long each time. Some
# poll their queues without end.
IDLE = 0.15
LOOK_S = 0.5
REST_S = 60


def tree(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes that live."""
    found = []
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def processor_seconds(pids: Iterable[int]) -> float:
    """Processor time so far, in seconds, of those that have ended and been waited for as well."""
    total = 0.0
    for process in tree(pids):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Proportional set size in megabytes (10^6 bytes): what several processes map counts once."""
    total = 0
    for process in tree(pids):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1e6


def rest(pids: Sequence[int]) -> None:
    """Wait until the processes do nothing: what wrk has broken off must not cost the next one."""
    until = time.monotonic() + REST_S
    while time.monotonic() < until:
        before, start = processor_seconds(pids), time.monotonic()
        time.sleep(LOOK_S)
        if processor_seconds(pids) - before < IDLE * (time.monotonic() - start):
            return
