"""Small programs that speak, and die, as native code does."""

from __future__ import annotations

from pathlib import Path

import pytest

# For any Python: `say` writes to descriptor 2 past Python, as C and C++ do.
SAYS = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None)
libc.calloc.restype = ctypes.c_void_p
def say(text, descriptor=2):
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[libc.write(descriptor, data, len(data)) :]
"""
# The ways to die a moment after the last words, and the exit codes that they have.
DEATHS = {
    "abort": ("libc.abort()", 134),
    "segfault": ("ctypes.string_at(0)", 139),
    "corrupted heap": ("libc.free(ctypes.c_void_p(libc.calloc(1, 100) + 8))", 134),
    "_exit": ("libc._exit(7)", 7),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", 137),
    "exit": ("sys.exit(3)", 3),
}
# Runs in each process that starts with it: what forks, which is what the supervisor's child does,
# then waits for code to run.
_OBEYS = f"""
import os, pathlib, threading, time
ORDER = pathlib.Path(__file__).with_name("order.py")
def obey(stderr):
    while os.fstat(2).st_ino == stderr:  # until it leads to the supervisor
        time.sleep(0.01)
    while True:
        try:
            code = ORDER.read_text()
        except FileNotFoundError:
            time.sleep(0.02)
            continue
        ORDER.unlink()
        exec({SAYS!r} + code, {{}})
def begin():
    threading.Thread(target=obey, args=(os.fstat(2).st_ino,), daemon=True).start()
os.register_at_fork(after_in_child=begin)
"""


class Orders:
    """Makes a server or a command run code that it does not have. folder: an empty one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._order = folder / "order.py"
        (folder / "sitecustomize.py").write_text(_OBEYS)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    def give(self, code: str) -> None:
        """What the next process, or the one that runs, does in a thread of its own, with `say`."""
        new = self._order.with_suffix(".new")
        new.write_text(code)
        new.rename(self._order)
