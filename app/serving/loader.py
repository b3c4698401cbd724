"""The process that reads model files, apart from the one that serves them.

A crash in native code, a leak or global state of Keras ends with this process; the server only
ever sees finished graphs, which have run once there.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from app import logs
from app.errors import LoadError
from app.native_output import LONGEST, is_chatter
from app.serving.quiet import quiet, quiet_import
from app.serving.signature import Converted, GenerationRequest

log = logging.getLogger(__name__)

# Far beyond what the largest model takes; a file or a custom.py that never ends must end here.
TIMEOUT_S = 1800
# What native code says when it gives up, among its last words.
_GIVING_UP = re.compile(r"Check failed|terminate called|what\(\):|Fatal")
_LAST_WORDS = 10_000
# How long those may take to arrive: a process that the child has started may hold the pipe.
_LAST_WORDS_S = 2.0


class _Workplace:
    """The folder that the child is busy in, which goes when its parent is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        parent = multiprocessing.parent_process()
        assert parent is not None
        self._sentinel = parent.sentinel
        threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def _watch(self) -> None:
        """The parent may be killed while a conversion runs, which nobody would wait for."""
        wait([self._sentinel])
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(1)


def _serve(
    pipe: Connection,
    output: Connection,
    folder: Path,
    style: logs.Style | None,
    destination: logs.Destination | None,
) -> None:
    """Runs in the child: convert whatever is asked for until the parent hangs up.

    output: takes what is written to descriptors 1 and 2. folder: that of the first request, which
    comes once the imports are done. style, destination: of the parent's log, if it has one.
    """
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    if style is not None:
        # What Keras and TensorFlow have to say belongs to the file that they read.
        logs.configure(style, "app", destination)
    try:
        _convert_all(pipe, folder)
    except Exception:
        log.exception("the process that reads model files has ended")
        sys.exit(1)


def _convert_all(pipe: Connection, folder: Path) -> None:
    # These reach the whole group of processes; the parent decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    workplace = _Workplace(folder)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    # Keras takes seconds to import and belongs into this process only.
    with quiet_import():
        from app.serving.loading import convert

    while True:
        try:
            source, out, trusted, generation = pipe.recv()
        except EOFError:
            return
        workplace.folder = out
        # What Keras unpacks on the way lies where the parent clears up, whatever happens here.
        tempfile.tempdir = str(out)
        answer: Converted | str
        with quiet():
            try:
                answer = convert(source, out, trusted=trusted, generation=generation)
                _rehearse(answer)
            except LoadError as error:
                answer = error.message
            except BaseException as error:  # custom.py may even call sys.exit()
                lines = str(error).splitlines() or [""]
                answer = f"{type(error).__name__}: {lines[0][:500]}"
        tempfile.tempdir = None
        pipe.send(answer)


def _rehearse(model: Converted) -> None:
    """Run the model once, so that what crashes in native code crashes here. Whatever TensorFlow
    merely refuses, the server finds out by itself, on the devices that it has."""
    from app.serving.card import Runtime
    from app.serving.generation_session import GenerationSession
    from app.serving.runtime import ModelSession

    if model.generation is not None:
        with suppress(Exception):
            GenerationSession(model.generation, Runtime(max_batch_size=1)).close()
    with suppress(Exception):
        ModelSession(model, Runtime(max_batch_size=1)).close()


class _Output:
    """What the child writes to descriptors 1 and 2: passed on to descriptor 2 of this process
    without the chatter, and the end of it kept."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._tail = b""
        self._thread = threading.Thread(target=self._read, name="reader-output", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Forget what came before this conversion."""
        self._tail = b""

    def end(self) -> None:
        """Once the child has ended: wait until all of it is passed on."""
        self._thread.join(_LAST_WORDS_S)

    def last_words(self) -> str:
        """What C++ said when it gave up, if it did."""
        lines = [line.strip() for line in self._tail.decode(errors="replace").splitlines()]
        told = [line for line in lines if _GIVING_UP.search(line)]
        return told[-1][:300] if told else ""

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._pipe.fileno(), 65536):
            *whole, rest = (rest + data).split(b"\n")
            self._pass_on(b"".join(line + b"\n" for line in whole if not is_chatter(line)))
            if len(rest) > LONGEST:
                self._pass_on(rest)
                rest = b""
        if not is_chatter(rest):
            self._pass_on(rest)
        self._pipe.close()

    def _pass_on(self, text: bytes) -> None:
        self._tail = (self._tail + text)[-_LAST_WORDS:]
        with suppress(OSError):
            while text:
                text = text[os.write(2, text) :]


class Loader:
    """Converts model files in a child process, which starts with the first and is kept for the
    next until it is idle for long, or `close`."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipes: tuple[Connection, _Output] | None = None
        self._closed = False
        self._used_at = 0.0
        self._lock = threading.Lock()  # for the attributes above
        self._busy = threading.Lock()  # held as long as a conversion takes

    @contextmanager
    def convert(
        self, source: Path, *, trusted: bool, generation: GenerationRequest | None = None
    ) -> Iterator[Converted]:
        """The converted model; its files are gone when the block ends. generation: also make the
        graph that writes texts. Raises LoadError."""
        # Not in the way of a child that is killed while it writes there.
        with tempfile.TemporaryDirectory(prefix="keraport-", ignore_cleanup_errors=True) as folder:
            out = Path(folder)
            answer = self._ask(source, out, trusted, generation)
            if isinstance(answer, str):
                raise LoadError(answer)
            yield answer

    def _ask(
        self, source: Path, out: Path, trusted: bool, generation: GenerationRequest | None
    ) -> Converted | str:
        with self._busy:
            pipe, output = self._connect(out)
            output.begin()
            try:
                pipe.send((source.absolute(), out, trusted, generation))
                if not pipe.poll(self._timeout_s):
                    self._end()
                    raise LoadError(f"reading the file took more than {self._timeout_s:g} s")
                answer: Converted | str = pipe.recv()
            except (EOFError, OSError):
                code = self._end(patience_s=5)
                if self._closed:
                    raise LoadError("the server is shutting down") from None
                raise LoadError(_crashed(code, output.last_words(), trusted)) from None
            if trusted:
                # Code of this model's author has run in there, and may have changed anything.
                self._end()
            self._used_at = time.monotonic()
            return answer

    @property
    def running(self) -> bool:
        """Whether there is a child."""
        return self._process is not None

    def end_if_idle(self, seconds: float) -> None:
        """End the child if it has had nothing to do for so long; the next conversion starts
        another. Not while one is under way."""
        if self.running and time.monotonic() - self._used_at >= seconds:
            with self._busy:
                self._end()

    def _connect(self, folder: Path) -> tuple[Connection, _Output]:
        with self._lock:
            if self._closed:
                raise LoadError("the server is shutting down")
            if self._pipes is None:
                context = multiprocessing.get_context("spawn")
                pipe, child = context.Pipe()
                output, into = context.Pipe(duplex=False)
                self._process = context.Process(
                    target=_serve,
                    args=(child, into, folder, logs.style(), logs.destination()),
                    name="keraport-loader",
                    daemon=True,
                )
                self._process.start()
                child.close()
                into.close()
                self._pipes = pipe, _Output(output)
            return self._pipes

    def _end(self, patience_s: float = 0) -> int | None:
        """Take leave of the child, which is killed unless it ends by itself in that time; its
        exit code. Only for whoever is busy with it: two cannot wait for one process."""
        with self._lock:
            process, self._process = self._process, None
            pipes, self._pipes = self._pipes, None
        if process is None or pipes is None:
            return None
        pipe, output = pipes
        pipe.close()
        if patience_s:
            process.join(patience_s)
        process.kill()
        process.join()
        output.end()
        return process.exitcode

    def close(self) -> None:
        """End the child now, whatever it is doing. Safe from any thread, and twice."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        # A conversion under way ends by that, and cleans up.
        if self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()


def _crashed(code: int | None, last_words: str, trusted: bool) -> str:
    how = f"exit code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            how = signal.Signals(-code).name
    message = f"reading the file crashed the loader process ({how})"
    if code == -signal.SIGKILL:
        message += ": it probably needs more memory than there is"
    elif trusted:
        version = ".".join(map(str, sys.version_info[:2]))
        message += (
            ": if the model has a Lambda layer, its bytecode was probably written by another "
            f"Python than this one ({version}); export the model there with model.export()"
        )
    else:
        message += ": it is corrupt, or does what TensorFlow cannot stand"
    return f"{message}. Last words: {last_words}" if last_words else message
