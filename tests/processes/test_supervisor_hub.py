"""A hub that stands still is ended by the supervisor, and only that."""

from __future__ import annotations

import re
import time

import psutil
import pytest

from tests.processes.supervised import is_in, lines, run, running, server
from tests.support import eventually

STILL = {
    "in Python": "while True: pass",
    "in C, with Python's lock": "while True: ctypes.PyDLL(None).sleep(100)",
    "in C, without it": "time.sleep(600)",
    "in a lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
}


def stands_still(way: str) -> str:
    """On the hub of a server, which has handlers of its own for signals."""
    return (
        f"def stands_still():\n    {STILL[way]}\n"
        "signal.signal(35, lambda *_: None)\nheartbeat.beat()\nlog.info('on')\nstands_still()\n"
    )


@pytest.mark.parametrize("way", STILL)
def test_a_hub_that_stands_still_ends_the_process(way: str) -> None:
    done = run(server(limit_s=2) + stands_still(way))
    assert done.returncode == 70
    first, last = lines(done)
    assert first["event"] == "on"
    assert (last["level"], last["logger"]) == ("critical", "app.server.supervisor")
    assert "stood still for 2 s (KERAPORT_WATCHDOG_S)" in last["event"]
    assert re.search(r"(Current t|T)hread 0x.*:\n  File .* in stands_still\n", last["stack"])


def test_the_stack_for_people() -> None:
    done = run(server(limit_s=1, as_text=True) + stands_still("in Python"))
    assert done.returncode == 70
    assert re.search(r"\[critical \] the hub .* \[app.server.supervisor\]\n.*hread 0x", done.stderr)


@pytest.mark.parametrize("way", STILL)
def test_a_hub_that_stands_still_is_stopped(way: str) -> None:
    """When it was asked to stop, after the time of the drain."""
    with running(server(drain_s=2) + stands_still(way)) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 70
        assert b"asked to stop" in process.stderr.read()


def test_a_second_signal_stops_it_at_once() -> None:
    with running(server() + stands_still("in Python")) as process:
        assert process.stderr is not None
        process.stderr.readline()
        until = time.monotonic() + 60
        while process.poll() is None:  # two that come close together may be one
            assert time.monotonic() < until
            process.terminate()
            time.sleep(0.2)
        assert process.returncode == 70


def test_a_log_that_takes_nothing_does_not_keep_it() -> None:
    """The hub stands still in a write, with the lock of the log."""
    program = server(limit_s=2) + "heartbeat.beat()\nwhile True: log.error('x' * 1000)\n"
    with running(program) as process:
        assert process.wait(100) == 70


def test_a_hub_that_runs_is_left_alone() -> None:
    """Now and then with a pause, and for longer than the limit after it was asked to stop."""
    turns = (
        "signal.signal(35, lambda *_: None)\nlog.info('on')\n"
        "for pause in [0.1] * 40 + [1.2] + [0.1] * 40:\n"
        "    heartbeat.beat()\n    time.sleep(pause)\n"
    )
    with running(server(limit_s=4, drain_s=1) + turns) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_a_process_that_was_suspended_is_left_alone() -> None:
    turns = "for _ in range(60):\n    heartbeat.beat()\n    time.sleep(0.1)\n"
    with running(server(limit_s=2) + turns) as process:
        child = eventually(psutil.Process(process.pid).children)[0]
        eventually(lambda: is_in(child, "nanosleep"))
        for stopped in ([child], [child, psutil.Process(process.pid)]):
            for each in stopped:
                each.suspend()
            time.sleep(4)
            for each in stopped:
                each.resume()
            time.sleep(0.5)
        assert process.wait(60) == 0
