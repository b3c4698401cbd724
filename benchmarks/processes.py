"""Starting what is measured, and ending it whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 15
LOG_LINES = 20


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(
    arguments: list[str],
    log: Path,
    environment: dict[str, str] | None = None,
    python: str = sys.executable,
    *,
    talks: bool = True,
) -> Iterator[subprocess.Popen[str]]:
    """`python ARGUMENTS` in the repository, its stderr in `log`, until the block ends. talks:
    whether the caller reads its stdout; what it prints goes into `log` otherwise.

    Settings of Keraport that are in our own environment do not reach it.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KERAPORT_")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [python, *arguments],
            cwd=ROOT,
            # No GPU: the machine next door may have none.
            env={**clean, "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if talks else stderr,
            stderr=stderr,
            text=True,
            # Its own group, so that Ctrl-C reaches us alone and we end it in good order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask, then insist, with all that the process has started and not ended itself. Some of that
    has left its group."""
    started: list[psutil.Process] = []
    with suppress(psutil.Error):
        started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in started:
        with suppress(psutil.Error):
            child.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def wait_until_ready(process: subprocess.Popen[str], url: str, log: Path, below: int = 500) -> None:
    """Wait for an answer from `url` whose status is below this one. Raises ClickException with the
    end of the log."""
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, timeout=5).status_code < below:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise failed(url, log)


def failed(what: str, log: Path) -> click.ClickException:
    """The error for a process that did not do its work, with the end of its log."""
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return click.ClickException("\n".join([f"{what} does not answer; its log ends:", *lines]))
