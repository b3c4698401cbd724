"""The process that reads model files, apart from the one that serves them.

A crash in native code, a leak or global state of Keras ends with this process; the server only
ever sees finished graphs.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from app.errors import LoadError
from app.serving.quiet import quiet_import
from app.serving.signature import Converted


def _serve(pipe: Connection) -> None:
    """Runs in the child: convert whatever is asked for until the parent hangs up."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    # Keras takes seconds to import and belongs into this process only.
    with quiet_import():
        from app.serving.loading import convert

    while True:
        try:
            source, out, trusted = pipe.recv()
        except EOFError:
            return
        answer: Converted | str
        try:
            answer = convert(source, out, trusted=trusted)
        except LoadError as error:
            answer = error.message
        except Exception as error:
            lines = str(error).splitlines() or [""]
            answer = f"{type(error).__name__}: {lines[0][:500]}"
        pipe.send(answer)


class Loader:
    """Converts model files in a child process, which starts with the first and is kept for the
    next until `close`."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._closed = False

    @contextmanager
    def convert(self, source: Path, *, trusted: bool) -> Iterator[Converted]:
        """The converted model; its files are gone when the block ends. Raises LoadError."""
        with tempfile.TemporaryDirectory(prefix="keraport-") as out:
            pipe = self._connect()
            try:
                pipe.send((source.resolve(), Path(out), trusted))
                answer = pipe.recv()
            except (EOFError, OSError):
                code = self._reap()
                raise LoadError(
                    "reading the file crashed the loader process "
                    f"(exit code {code}): it is corrupt or needs more memory than there is"
                ) from None
            if isinstance(answer, str):
                raise LoadError(answer)
            yield answer

    def _connect(self) -> Connection:
        if self._closed:
            raise LoadError("the server is shutting down")
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, child = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(child,), name="keraport-loader", daemon=True
            )
            self._process.start()
            child.close()
        return self._pipe

    def _reap(self) -> int | None:
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if process is None:
            return None
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode

    def close(self) -> None:
        """End the child now, whatever it is doing. Safe from any thread, and twice."""
        self._closed = True
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()
