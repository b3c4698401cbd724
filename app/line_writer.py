"""A writer of whole lines to a descriptor that several threads and processes share."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress


class LineWriter:
    """Writes whole lines, one after the other whichever threads they come from.

    Where they cannot be written, as on a full disk, no one is left to report it to, and serving
    continues.

    lock: a descriptor, the same in each process that writes there, which a process locks for a
    line: a pipe that is full takes a long one in pieces.
    """

    def __init__(self, descriptor: int, lock: int | None = None) -> None:
        self.descriptor = descriptor
        self.lock = lock
        # Python may collect garbage, and warn of it, while a line is written.
        self._threads = threading.RLock()

    def write(self, line: bytes) -> None:
        """Write a line. line: without its end."""
        left = line + b"\n"
        with self._threads, suppress(OSError):
            if self.lock is not None:
                fcntl.lockf(self.lock, fcntl.LOCK_EX)
            try:
                while left:
                    left = left[os.write(self.descriptor, left) :]
            finally:
                if self.lock is not None:
                    fcntl.lockf(self.lock, fcntl.LOCK_UN)

    # What structlog calls.
    info = warning = write
