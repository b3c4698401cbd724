"""The process that reads model files, apart from the one that serves them.

Crashes in native code, leaks and global state of Keras end with this process. The server only sees
finished graphs, which this process has already run once.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from app import logs
from app.errors import LoadError
from app.native_output import LONGEST, is_chatter
from app.resources.container import container_memory, memory_advice
from app.resources.memory import own_peak, reset_peak, resident
from app.serving.cards.card import Precision
from app.serving.quiet import quiet, quiet_import
from app.serving.reading import cache
from app.serving.reading.cache import Cache
from app.serving.reading.oom import die_first
from app.serving.signature import Converted, GenerationRequest

log = logging.getLogger(__name__)

# Far longer than the largest model takes, to stop a file or a custom.py that never finishes.
TIMEOUT_S = 1800
# These reach the whole process group; the parent decides what they mean.
_OF_THE_PARENT = (signal.SIGINT, signal.SIGHUP)
# Messages of native code that aborts.
_GIVING_UP = re.compile(r"Check failed|terminate called|what\(\):|Fatal")
_LAST_WORDS = 10_000
# How long to wait for the last output: a process that the child has started may hold the pipe.
_LAST_WORDS_S = 2.0
# A child that has read only small models stays below this.
_LARGE_BYTES = 600_000_000

# The model's path, whether it is trusted, how it generates text, its precision.
_Request = tuple[Path, bool, GenerationRequest | None, Precision]


class _WorkFolder:
    """The folder that the child works in, removed if the parent ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        parent = multiprocessing.parent_process()
        assert parent is not None
        self._sentinel = parent.sentinel
        threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def _watch(self) -> None:
        """Remove the folder and exit when the parent ends, even during a conversion."""
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
    """Run in the child: convert what the parent requests until it disconnects.

    output: receives what is written to descriptors 1 and 2. folder: the work folder of the first
    request, which the child receives once its imports are done. style, destination: of the parent's
    log, if that is configured.
    """
    die_first()
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    if style is not None:
        # Messages of Keras and TensorFlow concern the file that they read: log them as the server
        # does.
        logs.configure(style, "app", destination)
    try:
        _convert_all(pipe, folder)
    except Exception:
        log.exception("the process that reads model files has ended")
        sys.exit(1)


def _convert_all(pipe: Connection, folder: Path) -> None:
    for number in _OF_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_PARENT)
    work_folder = _WorkFolder(folder)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    # Keras takes seconds to import and belongs in this process only.
    with quiet_import():
        from app.serving.reading.convert import convert

    while True:
        try:
            out, source, trusted, generation, precision = pipe.recv()
        except EOFError:
            return
        work_folder.folder = out
        # Keras unpacks archives into a folder that the parent removes, even if this process
        # crashes.
        tempfile.tempdir = str(out)
        answer: Converted | str
        with quiet():
            try:
                answer = convert(
                    source, out, trusted=trusted, generation=generation, precision=precision
                )
                answer = _rehearsed(answer)
            except LoadError as error:
                answer = error.message
            except BaseException as error:  # custom.py may even call sys.exit()
                lines = str(error).splitlines() or [""]
                answer = f"{type(error).__name__}: {lines[0][:500]}"
        tempfile.tempdir = None
        pipe.send(answer)


def _rehearsed(model: Converted) -> Converted:
    """Run the model, so that native code that crashes does so here, and return it with what its
    answers tell of its outputs. Errors that TensorFlow reports are left to the server, which may
    have other devices."""
    from app.serving.cards.card import Runtime
    from app.serving.engine.sessions.session import ModelSession
    from app.serving.engine.sessions.text_session import TextSession
    from app.serving.reading.outputs.trial import checked

    if model.generation is not None:
        with suppress(Exception):
            TextSession(model.generation, Runtime(max_batch_size=1)).close()
    with suppress(Exception):
        session = ModelSession(model, Runtime(max_batch_size=1))
        try:
            return checked(model, session)
        finally:
            session.close()
    return model


class _Output:
    """The child's output on descriptors 1 and 2: passed on to descriptor 2 of this process, without
    the chatter of libraries. Keeps its last part."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._tail = b""
        self._thread = threading.Thread(target=self._read, name="reader-output", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Forget the output of earlier conversions."""
        self._tail = b""

    def end(self) -> None:
        """Wait until all output of a child that has ended is passed on."""
        self._thread.join(_LAST_WORDS_S)

    def last_words(self) -> str:
        """Return the message with which native code aborted; empty if it did not."""
        lines = [line.strip() for line in self._tail.decode(errors="replace").splitlines()]
        aborts = [line for line in lines if _GIVING_UP.search(line)]
        return aborts[-1][:300] if aborts else ""

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


class ReaderProcess:
    """Converts model files in a child process. The first conversion starts the child; later ones
    use it again until it has been idle for long, has grown large, or `close` is called. kept: the
    cache of converted models. peak_bytes: most private memory of the child during the last
    conversion; 0 if that needed no child. from_cache: whether the last model came from there."""

    def __init__(self, timeout_s: float = TIMEOUT_S, kept: Cache | None = None) -> None:
        self._timeout_s = timeout_s
        self._cache = kept
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipes: tuple[Connection, _Output] | None = None
        self._closed = False
        self._used_at = 0.0
        self.peak_bytes = 0
        self.from_cache = False
        self._lock = threading.Lock()  # for the attributes above
        self._busy = threading.Lock()  # held during a conversion

    @contextmanager
    def convert(
        self,
        source: Path,
        *,
        trusted: bool,
        generation: GenerationRequest | None = None,
        precision: Precision = "float32",
        files: Callable[[], list[Path]] | None = None,
    ) -> Iterator[Converted]:
        """Convert the model at `source`. The files of the result may be gone after the block.
        generation: also build the graph that generates text. files: lists every file that the model
        may be read from; default: `source` alone. Raises LoadError."""
        self.peak_bytes = 0
        self.from_cache = False
        request = (source.absolute(), trusted, generation, precision)
        if self._cache is None:
            # A child that is being killed may still write here.
            with tempfile.TemporaryDirectory(prefix="keraport-", ignore_cleanup_errors=True) as out:
                yield self._ask(Path(out), request)
            return
        try:
            parts = [source] if files is None else files()
            names = [(os.path.relpath(path, source.parent), path) for path in parts]
            before = cache.stamps(parts)
            key = cache.key(names, trusted, generation, precision, source.name)
        except OSError as error:
            raise LoadError(f"the file cannot be read: {error.strerror}") from None
        with self._cache.lock(key, lambda: not self._closed) as take:
            found = self._cache.find(key)
            if found is None:
                take(True)
                found = self._cache.find(key)  # another process may have kept it meanwhile
            if found is not None:
                self.from_cache = True
                take(False)
                yield found
                return
            with self._cache.work_folder(sum(path.stat().st_size for path in parts)) as out:
                converted = self._ask(out, request)
                # The key is wrong if files were changed, added or removed meanwhile.
                with suppress(OSError):
                    if (files is None or files() == parts) and cache.stamps(parts) == before:
                        converted = self._cache.keep(key, out, converted) or converted
                take(False)
                yield converted

    def _ask(self, out: Path, request: _Request) -> Converted:
        with self._busy:
            pipe, output = self._connect(out)
            output.begin()
            trusted = request[1]
            pid = self._process.pid if self._process is not None else None
            if pid is not None:
                reset_peak(pid)
            try:
                pipe.send((out, *request))
                if not pipe.poll(self._timeout_s):
                    self._end()
                    raise LoadError(f"reading the file took more than {self._timeout_s:g} s")
                answer: Converted | str = pipe.recv()
                self.peak_bytes = own_peak(pid) if pid is not None else 0
            except (EOFError, OSError):
                code = self._end(patience_s=5)
                if self._closed:
                    raise LoadError("the server is shutting down") from None
                raise LoadError(_crashed(code, output.last_words(), trusted)) from None
            if trusted or self.resident_bytes > _LARGE_BYTES:
                # The author's code has run in the child and may have changed anything. And
                # TensorFlow never returns memory that it has used for tensors.
                self._end()
            self._used_at = time.monotonic()
        if isinstance(answer, str):
            raise LoadError(answer)
        return answer

    @property
    def running(self) -> bool:
        """Whether there is a child."""
        return self._process is not None

    @property
    def resident_bytes(self) -> int:
        """Private memory that the child has now."""
        process = self._process
        if process is None or process.pid is None:
            return 0
        _, now, of_files = resident(process.pid)
        return now - of_files

    @property
    def pid(self) -> int | None:
        """Process id of the child; None if there is none."""
        process = self._process
        return None if process is None else process.pid

    def end_if_idle(self, seconds: float) -> None:
        """End the child if it has been idle for that long, but never during a conversion. The next
        conversion starts another."""
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
                # Until the child ignores them itself.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_PARENT)
                try:
                    self._process.start()
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                child.close()
                into.close()
                self._pipes = pipe, _Output(output)
            return self._pipes

    def _end(self, patience_s: float = 0) -> int | None:
        """Disconnect from the child, wait that long for it to end, and kill it if it has not.
        Returns its exit code. Only for the thread that uses the child: two threads cannot wait for
        one process."""
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
        """End the child now, even during a conversion. Safe from any thread, and to call twice."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        # That also ends a running conversion, which then cleans up itself.
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
    message = f"reading the file crashed the reader process ({how})"
    if code == -signal.SIGKILL:
        in_container = container_memory() is not None
        advice = memory_advice(in_container=in_container)
        message += f": it probably needs more memory than there is: {advice}"
    elif trusted:
        version = ".".join(map(str, sys.version_info[:2]))
        message += (
            ": if the model has a Lambda layer, its bytecode was probably written by another "
            f"Python than this one ({version}): write it as a function into custom.py"
        )
    else:
        message += ": it is corrupt, or it makes TensorFlow crash"
    return f"{message}. Last words: {last_words}" if last_words else message
