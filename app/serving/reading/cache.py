"""A cache of converted models, keyed by their sources, so that a later start reads no model again.

Processes that share the folder share its entries and the memory of the weights that they map. A new
entry is written beside its final place and renamed. Entries are checked before use, and made again
if anything about them is wrong. If the folder cannot be written, models load without it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter

from app import __version__
from app.serving.signature import Converted
from app.settings import Settings

log = logging.getLogger(__name__)

ENTRY_FILE = "entry.json"
_LOCK = ".lock"
_WORK_PREFIX = "making-"
_LOCK_EVERY_S = 0.1
# Disk space for each byte of a model: its conversion takes about as much, for a moment twice.
_DISK_FACTOR = 2.5
_SPARE_BYTES = 50_000_000
# Packages that read models or influence the graph.
_PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "tf-keras", "numpy", "h5py", "ml-dtypes")
_ENVIRONMENT = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "TF_ENABLE_MLIR_BRIDGE")
_CONVERTED = TypeAdapter(Converted)


class Cache:
    """The entries in `folder`, at most `max_bytes` of them: the least recently used are removed
    first. Safe from any thread and any number of processes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._warned = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            self._warn(error)

    @classmethod
    def of(cls, settings: Settings) -> Cache | None:
        """Return the cache that the settings name; None if they name none."""
        if settings.cache_dir is None:
            return None
        return cls(settings.cache_dir.expanduser().absolute(), int(settings.cache_mb * 1_000_000))

    def find(self, key: str) -> Converted | None:
        """Return the model kept under the key; None if there is none or its entry is damaged."""
        folder = self._folder / key
        try:
            converted = _read(folder, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("a cached model is damaged and will be converted again: %s", error)
            self._drop(folder)
            return None
        with suppress(OSError):
            os.utime(folder)  # the time of its last use
        return converted

    @contextmanager
    def work_folder(self, source_bytes: int) -> Iterator[Path]:
        """Give an empty folder for converting a model of `source_bytes`, in the cache if there is
        room. The folder is removed afterwards."""
        with ExitStack() as stack:
            try:
                room = shutil.disk_usage(self._folder).free
                if room < _DISK_FACTOR * source_bytes + _SPARE_BYTES:
                    raise OSError(f"no room for this model: {room / 1e6:,.0f} MB are free")
                folder = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=self._folder))
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                stack.enter_context(_locked_folder(folder))
            except OSError as error:
                self._warn(error)
                folder = Path(
                    stack.enter_context(
                        tempfile.TemporaryDirectory(prefix="keraport-", ignore_cleanup_errors=True)
                    )
                )
            yield folder

    def keep(self, key: str, folder: Path, converted: Converted) -> Converted | None:
        """Turn a work folder into an entry, with the exclusive lock of its key held. Returns the
        model with its new paths; None if it cannot be kept."""
        if folder.parent != self._folder or not converted.path.is_relative_to(folder):
            return None
        place = self._folder / key
        try:
            size = _write(folder, key, converted)
            if size > self._max_bytes:
                log.warning(
                    "a converted model of %.0f MB is not kept: raise KERAPORT_CACHE_MB", size / 1e6
                )
                return None
            self._drop(place)
            folder.rename(place)
        except OSError as error:
            self._warn(error)
            return None
        with suppress(OSError):
            self._sweep()
        return _moved(converted, folder, place)

    @contextmanager
    def lock(self, key: str, keep_waiting: Callable[[], bool]) -> Iterator[Callable[[bool], None]]:
        """Keep other processes from removing or writing the entry within the block. Gives a
        function that takes the lock exclusively (True) or shares it (False), and waits for it while
        `keep_waiting()` is true. The kernel frees the lock of a process that ends."""
        path = self._folder / f"{key}{_LOCK}"
        handle: int | None = None

        def take(exclusive: bool) -> None:
            nonlocal handle
            while keep_waiting():
                if handle is None:
                    try:
                        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                    except OSError:
                        return  # the folder cannot be written
                try:
                    how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                    fcntl.flock(handle, how | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_LOCK_EVERY_S)
                    continue
                if _is_same_file(handle, path):
                    return
                os.close(handle)  # removed by another process meanwhile
                handle = None

        try:
            take(False)
            yield take
        finally:
            if handle is not None:
                os.close(handle)

    def _sweep(self) -> None:
        """Remove unfinished entries of processes that have ended, and entries beyond the limit, but
        for those whose lock is held."""
        now, entries = time.time(), []
        for path in self._folder.iterdir():
            if path.name.startswith(_WORK_PREFIX):
                with suppress(OSError), _locked_folder(path):
                    shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == _LOCK:
                if not path.with_suffix("").exists() and now - path.stat().st_mtime > 3600:
                    self._remove_unused_lock(path)
            elif path.is_dir():
                entries.append((path.stat().st_mtime, _size(path), path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._max_bytes:
                break
            if self._drop_unused(path):
                total -= size

    def _drop_unused(self, entry: Path) -> bool:
        path = entry.with_name(f"{entry.name}{_LOCK}")
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._drop(entry)
            path.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True

    def _remove_unused_lock(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except OSError:
            pass
        finally:
            os.close(handle)

    def _drop(self, entry: Path) -> None:
        """Move the entry aside as a whole, then remove it, so that no process finds a part of
        it."""
        try:
            aside = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=self._folder))
            with suppress(FileNotFoundError):
                entry.rename(aside / "entry")
        except OSError as error:
            self._warn(error)
        else:
            shutil.rmtree(aside, ignore_errors=True)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            log.warning("converted models are not kept in %s: %s", self._folder, error)
            self._warned = True


# --- keys of entries ---------------------------------------------------------------------------


def stamps(files: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """Return the inode, size and times of each file, which change whenever the file does."""
    found = (path.stat() for path in files)
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in found)


def key(files: Iterable[tuple[str, Path]], *options: object) -> str:
    """Return the name of an entry. files: every file that the model is read from, with its name in
    the model's folder. options: everything else that the conversion depends on. Raises OSError."""
    digest = hashlib.sha256(_fingerprint())
    digest.update(repr(options).encode())
    for name, path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(repr((name, content)).encode())
    return digest.hexdigest()[:40]


@cache
def _fingerprint() -> bytes:
    """Describe this program and this machine, as far as they influence a conversion."""
    versions = []
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append((package, version(package)))
    code = hashlib.sha256()
    serving = Path(__file__).parents[1]
    for path in sorted(p for p in serving.rglob("*") if p.suffix in (".py", ".webp")):
        code.update(path.read_bytes())
    about = (
        __version__,
        code.hexdigest(),
        sys.version,
        versions,
        [(name, os.environ.get(name)) for name in _ENVIRONMENT],
        _cpu(),
    )
    return repr(about).encode()


def _cpu() -> str:
    """Return the features of this CPU, by which TensorFlow optimises graphs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return os.uname().machine
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


# --- entries on the disk -----------------------------------------------------------------------


def _write(folder: Path, key: str, converted: Converted) -> int:
    """List the files of an entry, with their checksums. Returns the size of the entry in bytes."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
        elif path.is_file() and not path.is_symlink():
            path.chmod(0o600)
            files[str(path.relative_to(folder))] = _checksum(path)
    model = _CONVERTED.dump_python(_moved(converted, folder, Path()), mode="json")
    body = json.dumps({"key": key, "files": files, "converted": model})
    digest = hashlib.sha256(body.encode()).hexdigest()
    (folder / ENTRY_FILE).write_text(f"{digest}\n{body}\n", encoding="utf-8")
    (folder / ENTRY_FILE).chmod(0o600)
    return _size(folder)


def _read(folder: Path, key: str) -> Converted:
    """Raises OSError or ValueError if the entry is not what this program wrote."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    path = folder / ENTRY_FILE
    _check_owner(path)
    digest, _, body = path.read_text(encoding="utf-8").partition("\n")
    body = body.removesuffix("\n")
    if hashlib.sha256(body.encode()).hexdigest() != digest:
        raise ValueError(f"{path} fails its checksum")
    found = json.loads(body)
    if found["key"] != key:
        raise ValueError(f"{path} belongs to another entry")
    below = {folder / place for name in found["files"] for place in (name, *Path(name).parents)}
    for place in below:
        _check_owner(place)
    for name, expected in found["files"].items():
        if _checksum(folder / name) != expected:
            raise ValueError(f"{folder / name} fails its checksum")
    return _moved(_CONVERTED.validate_python(found["converted"]), Path(), folder)


def _check_owner(path: Path) -> None:
    found = path.lstat()
    # The mode of a link is 0o777.
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ValueError(f"{path} can be written by other users")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def _moved(converted: Converted, old: Path, new: Path) -> Converted:
    """Return the model with the paths that it has in another folder."""
    generation = converted.generation
    if generation is not None:
        generation = replace(generation, path=new / generation.path.relative_to(old))
    return replace(converted, path=new / converted.path.relative_to(old), generation=generation)


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Lock a work folder. Raises BlockingIOError if another process or thread works in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
