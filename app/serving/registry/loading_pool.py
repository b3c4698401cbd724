"""Loads versions side by side: each in a thread with a process that reads its files."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

from app.resources.container import own_cores
from app.serving.models.model import Model
from app.serving.reading.cache import Cache
from app.serving.reading.process import ReaderProcess
from app.serving.registry.entry import Entry, Group
from app.serving.registry.folder import ScannedVersion

# The most processes, whatever the number of cores: each takes half a gigabyte.
MOST = 4


@dataclass(eq=False)
class Loading:
    """A version that loads for `entry`, or has loaded: then `result` is the model, or the error.
    serving: the entry of the model that it is to replace. need: bytes of memory that it may take.
    alone: nothing else may load beside it."""

    group: Group
    entry: Entry
    scanned: ScannedVersion
    serving: Entry | None
    began: float
    need: int = 0
    alone: bool = False
    had_company: bool = False
    result: Model | BaseException | None = None


class LoadingPool:
    """Threads that call `open_one`, each with a process of its own. kept: converted models. All
    methods but `close` belong to one thread."""

    def __init__(
        self,
        open_one: Callable[[Loading, ReaderProcess], Model],
        most: int = MOST,
        kept: Cache | None = None,
    ) -> None:
        self._open_one = open_one
        self._readers = [ReaderProcess(kept=kept) for _ in range(max(1, min(most, own_cores())))]
        # Those that nothing uses; the one that was used last comes first, for it has a process.
        self._free = list(reversed(self._readers))
        self._done: queue.SimpleQueue[tuple[Loading, ReaderProcess]] = queue.SimpleQueue()
        self.running: list[Loading] = []

    @property
    def has_place(self) -> bool:
        """Whether one more version may load."""
        return bool(self._free) and not any(loading.alone for loading in self.running)

    @property
    def resident_bytes(self) -> int:
        """The memory of the process that would read the next version."""
        return self._free[-1].resident_bytes if self._free else 0

    def begin(self, loading: Loading) -> None:
        """Start to load a version; there must be a place."""
        reader = self._free.pop()
        self.running.append(loading)
        for each in self.running:
            each.had_company |= len(self.running) > 1
        Thread(
            target=self._open,
            args=(loading, reader),
            name=f"open-{loading.entry.name}",
            daemon=True,
        ).start()

    def wait(self) -> Loading:
        """Wait for the next version that is done."""
        loading, reader = self._done.get()
        self._free.append(reader)
        self.running.remove(loading)
        return loading

    def _open(self, loading: Loading, reader: ReaderProcess) -> None:
        try:
            loading.result = self._open_one(loading, reader)
        except BaseException as error:
            loading.result = error
        finally:
            self._done.put((loading, reader))

    @property
    def has_processes(self) -> bool:
        """Whether any reading process is running."""
        return any(reader.running for reader in self._readers)

    def end_if_idle(self, seconds: float) -> None:
        """End the processes that have been idle for `seconds`."""
        for reader in self._free:
            reader.end_if_idle(seconds)

    def close(self) -> None:
        """End all processes now, which fails what is loading. From any thread."""
        for reader in self._readers:
            reader.close()
