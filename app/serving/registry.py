"""Which models there are, and who uses which."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Lock, Thread, current_thread
from typing import TYPE_CHECKING

from app.errors import ModelNotFound
from app.serving.entry import Entry, Group
from app.serving.memory import free_memory
from app.serving.reload import Note, Reloader, nothing
from app.serving.tasks.base import Limits

if TYPE_CHECKING:
    from app.serving.model import Model

log = logging.getLogger(__name__)


class Registry:
    """The models of one folder. A native thread loads them, so that the server answers from its
    first moment, and puts versions in the place of others while they are in use: `using` keeps a
    model from being closed under a request.

    reload: look for changes about once a second; else only when told to. lease_s: how long a
    request may use a model at most, in seconds. note: told in that thread of what has happened.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        reload: bool = False,
        lease_s: float = 30,
        note: Note = nothing,
    ) -> None:
        self._groups: Mapping[str, Group] = {}
        # Held for a moment only, never while a model is loaded or closed: the hub waits for it.
        self._lock = Condition(Lock())
        self._lease_s = lease_s
        self._retiring: dict[Thread, Entry] = {}
        self._reloader = Reloader(self, folder, limits, poll=reload, note=note)

    def find(self) -> None:
        """List the models. Raises CardError if the folder is missing."""
        self._reloader.find()

    def start(self) -> None:
        """Begin to load what was found."""
        self._reloader.start()

    def load(self) -> None:
        """Find and load all models, here and now."""
        self.find()
        self.start()
        self._reloader.loaded.wait()

    def reload(self) -> None:
        """Look at once for what has changed, and load what failed once more. Returns at once."""
        self._reloader.look_now()

    @property
    def loaded(self) -> bool:
        """Whether every model that was there at the start is ready or failed."""
        return self._reloader.loaded.is_set()

    def stop(self) -> None:
        """Load nothing more; the loader process ends. Models that are ready stay usable."""
        self._reloader.stop()

    def close(self) -> None:
        """Stop, then free every model. Not from the hub while it serves."""
        self.stop()
        self._reloader.join()
        for group in self._groups.values():
            for entry in group.versions.values():
                self.retire(entry)
        self._groups = {}
        for thread in list(self._retiring):
            thread.join()

    # --- for requests, in the hub's thread -----------------------------------------------------

    def entries(self) -> list[Entry]:
        """Of each model the version that answers by default, by name."""
        return [group.default for group in self._groups.values()]

    def entry(self, name: str, version: int | str | None = None) -> Entry:
        """A version of the model called `name`, in whatever state. version: its number or an alias;
        None for the default. Raises ModelNotFound."""
        group = self._groups.get(name)
        if group is None:
            raise no_model(name, self._groups)
        return group.default if version is None else group.pick(version)

    @contextmanager
    def using(self, name: str, version: int | str | None = None) -> Iterator[Model]:
        """The model called `name`, which stays usable until the block ends. version: as `entry`
        takes it; without one the canary has its share. Raises ModelNotFound, or ModelUnavailable
        unless it is ready."""
        with self.leased(name, version) as entry:
            yield entry.ready_model()

    @contextmanager
    def leased(
        self, name: str, version: int | str | None = None, *, canary: bool = True
    ) -> Iterator[Entry]:
        """As `using`, but with all that is known of the version. canary: whether that may be it
        where none is named."""
        # Between the choice and the count nobody may swap.
        with self._lock:
            entry = self.entry(name, version)
            if version is None and canary:
                entry = _by_chance(entry)
            entry.ready_model()
            entry.leases += 1
        try:
            yield entry
        finally:
            with self._lock:
                entry.leases -= 1
                if not entry.leases:
                    self._lock.notify_all()

    # --- for the watchdog, in the hub's thread -------------------------------------------------

    def alive(self) -> list[Entry]:
        """The versions whose models may run, those too that nobody can get any more."""
        served = [entry for group in self._groups.values() for entry in group.versions.values()]
        return [e for e in (*served, *list(self._retiring.values())) if e.model is not None]

    def abandon(self, entry: Entry, reason: str) -> None:
        """Give up a version that hangs: whoever wants it gets ModelUnavailable from now on."""
        with self._lock:
            entry.state, entry.reason = "failed", reason
        if entry.model is not None:
            entry.model.abandon()

    # --- for the reloader, in its thread -------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[dict[str, Group]]:
        """The models by name, to be changed within the block, and not for long."""
        with self._lock:
            groups = dict(self._groups)
            yield groups
            self._groups = dict(sorted(groups.items()))

    def retire(self, entry: Entry) -> None:
        """Close the model of `entry`, which nobody can get any more, once the last request is done
        with it. Does not wait for that."""
        if entry.model is not None:
            thread = Thread(target=self._retire, args=(entry, entry.model), daemon=True)
            self._retiring[thread] = entry
            thread.start()

    def _retire(self, entry: Entry, model: Model) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not entry.leases, self._lease_s)
        if entry.leases:
            log.warning("model %s is closed under %d requests", entry.label, entry.leases)
        model.close()
        del model
        free_memory()
        self._retiring.pop(current_thread(), None)


def no_model(name: str, known: Iterable[str]) -> ModelNotFound:
    """The error for a model that is not there. known: the names of those that are."""
    models = ", ".join(known) or "none"
    return ModelNotFound(f"there is no model {name[:100]!r}; the models are: {models}")


def _by_chance(entry: Entry) -> Entry:
    """The canary in as many of a hundred cases as the card says, where it is ready."""
    canary = entry.group.policy.canary
    if canary is None or random.random() * 100 >= canary.percent:  # noqa: S311 - no secret
        return entry
    chosen = entry.group.versions.get(canary.version)
    return entry if chosen is None or chosen.model is None else chosen
