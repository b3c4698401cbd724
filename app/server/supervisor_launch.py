"""Start the supervisor of this process, while the process is still small and has one thread."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from app import logs
from app.server.supervisor import BLOCKED, DUMP, Options

# prctl(2).
_PR_SET_PDEATHSIG = 1
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from app.server import supervisor as s; s.main()"
)
_ROOT = Path(__file__).resolve().parent.parent.parent


class Heartbeat:
    """The sign of life that the hub gives to the supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def beat(self) -> None:
        """Send it. Called on the hub, at least every `app.server.hub_watchdog.every_s` seconds."""
        with suppress(OSError):  # a supervisor that is stopped
            os.write(self._descriptor, b".")


def supervised_server(
    style: logs.Style, destination: logs.Destination, limit_s: float, drain_s: float
) -> Heartbeat:
    """Continue as the child of a supervisor (`app.server.supervisor`): returns in the child only.

    Descriptor 2, and 1 where it is not for people, lead into the log. limit_s, drain_s: see
    `HubWatchdog`.
    """
    heartbeat, beat = os.pipe()
    form = "text" if style.as_text else "json"
    options = Options(
        log=destination.descriptor,
        lock=destination.lock,
        form=form,
        level=style.level,
        replica=style.replica,
        heartbeat=heartbeat,
        limit_s=limit_s,
        drain_s=drain_s,
        renames=True,
    )
    _supervise(options, (2,) if style.as_text else (1, 2))
    os.close(heartbeat)
    faulthandler.register(DUMP, 2)
    return Heartbeat(beat)


def supervised_parent(style: logs.Style, destination: logs.Destination) -> None:
    """Continue as the child of a supervisor, which has servers as children of its own: returns in
    the child only. Its descriptors lead into the log as those of `supervised_server` do."""
    options = Options(
        log=destination.descriptor,
        lock=destination.lock,
        form="text" if style.as_text else "json",
        level=style.level,
        replica=style.replica,
        renames=True,
    )
    _supervise(options, (2,) if style.as_text else (1, 2))


def supervised_command() -> None:
    """Continue a command of the command line as the child of a supervisor.

    What Python writes to `sys.stderr` is for people and stays as it is; lines of native code have
    their level.
    """
    destination = logs.Destination.make()
    log, lock = destination.descriptor, destination.lock
    _supervise(Options(log=log, lock=lock, form="plain", level="debug"), (2,))
    encoding = sys.stderr.encoding
    sys.stderr = os.fdopen(destination.descriptor, "w", 1, encoding, "backslashreplace")


def end_with(parent: int) -> None:
    """End this process, and what it becomes by `exec`, as soon as its parent ends. parent: its
    process id, from before this process was forked."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _supervise(options: Options, descriptors: tuple[int, ...]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    output, into = os.pipe()
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    child = os.fork()
    if child:
        options = replace(options, child=child, output=output)
        for descriptor in (output, options.log, options.lock, options.heartbeat):
            if descriptor is not None:
                os.set_inheritable(descriptor, True)
        # Not as a fork of this program, which is seven times as large.
        python = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, str(_ROOT), options.to_json()]
        os.execv(python[0], python)  # noqa: S606 - no shell is what we want
    # A supervisor that is killed takes this process with it.
    end_with(parent)
    os.close(output)
    for descriptor in descriptors:
        os.dup2(into, descriptor)
    os.close(into)
    faulthandler.enable(2)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
