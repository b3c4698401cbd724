"""Starts the supervisor of this process, while it is still small and has one thread."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from pathlib import Path

from app import logs
from app.supervisor import BLOCKED, Order

# prctl(2).
_PR_SET_PDEATHSIG = 1
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from app import supervisor as s; s.main()"
_ROOT = Path(__file__).resolve().parent.parent


def supervised_server(style: logs.Style, destination: logs.Destination) -> None:
    """Continue as the child of a supervisor (`app.supervisor`): returns in the child only.
    Descriptor 2, and 1 where nothing for people goes there, lead into the log."""
    form = "text" if style.as_text else "json"
    taken = (2,) if style.as_text else (1, 2)
    _supervise(destination, taken, form, style.level, style.replica, serves=True)


def supervised_command() -> None:
    """The same for a command of the command line. What Python writes to `sys.stderr` is for people
    and stays as it is; lines of native code say their level."""
    destination = logs.Destination.make()
    _supervise(destination, (2,), "plain", "debug", "", serves=False)
    encoding = sys.stderr.encoding
    sys.stderr = os.fdopen(destination.descriptor, "w", 1, encoding, "backslashreplace")


def _supervise(
    destination: logs.Destination,
    taken: tuple[int, ...],
    form: str,
    level: str,
    replica: str,
    *,
    serves: bool,
) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    output, into = os.pipe()
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    child = os.fork()
    if child:
        order = Order(
            child=child,
            output=output,
            log=destination.descriptor,
            lock=destination.lock,
            form=form,
            level=level,
            replica=replica,
            serves=serves,
        )
        for descriptor in (output, destination.descriptor, destination.lock):
            os.set_inheritable(descriptor, True)
        # Not as a fork of this program, which is seven times as large.
        python = [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, str(_ROOT), order.to_json()]
        os.execv(python[0], python)  # noqa: S606 - no shell is what we want
    # A supervisor that is killed takes this process with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.close(output)
    for descriptor in taken:
        os.dup2(into, descriptor)
    os.close(into)
    faulthandler.enable(2)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
