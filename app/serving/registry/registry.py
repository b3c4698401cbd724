"""The registry of models and versions, with leases that keep one open while requests use it."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition, Event, Lock, Thread, current_thread

from app.errors import ModelNotFound
from app.resources.memory import free_memory
from app.serving.models.model import Model
from app.serving.registry.entry import Entry, Group, ModelLease

log = logging.getLogger(__name__)


class Registry:
    """The models and the requests that use them. Versions replace others while these are in use:
    `leased` keeps a model from being closed under a request.

    lease_s: how long a request may use a model at most, in seconds. all_tried: set once every model
    that was there at the start is ready or failed; `FolderSync` sets it.
    """

    def __init__(self, lease_s: float = 30) -> None:
        self._groups: Mapping[str, Group] = {}
        # Held for a moment only, never while a model is loaded or closed: the hub waits for it.
        self._lock = Condition(Lock())
        self._lease_s = lease_s
        self._retiring: dict[Thread, Entry] = {}
        self.all_tried = Event()

    @property
    def loaded(self) -> bool:
        """Whether every model that was present at the start is ready or failed."""
        return self.all_tried.is_set()

    def close(self) -> None:
        """Close every model. Not from the hub while it serves."""
        for group in self._groups.values():
            for entry in group.versions.values():
                self.retire(entry)
        self._groups = {}
        for thread in list(self._retiring):
            thread.join()

    # --- for requests, in the hub's thread -----------------------------------------------------

    def entries(self) -> list[Entry]:
        """List the default version of each model, by name."""
        return [group.default for group in self._groups.values()]

    def entry(self, name: str, version: int | str | None = None) -> Entry:
        """Return a version of the model called `name`, in any state. version: its number or an
        alias; None for the default. Raises ModelNotFound."""
        group = self._groups.get(name)
        if group is None:
            raise no_model(name, self._groups)
        return group.default if version is None else group.pick(version)

    def leased(
        self, name: str, version: int | str | None = None, *, canary: bool = True
    ) -> ModelLease:
        """Lease a version of the model called `name`, from now until the block of the lease ends.
        version: as `entry` takes it. canary: whether that may be it where none is named. Raises
        ModelNotFound, or ModelUnavailable unless it is ready."""
        # No swap may come between the choice and the count.
        with self._lock:
            entry = self.entry(name, version)
            if version is None and canary:
                entry = _by_chance(entry)
            lease = ModelLease(entry, entry.ready_model(), self._end_lease)
            entry.leases += 1
        return lease

    def _end_lease(self, entry: Entry) -> None:
        with self._lock:
            entry.leases -= 1
            if not entry.leases:
                self._lock.notify_all()

    # --- for the watchdog, in the hub's thread -------------------------------------------------

    def alive(self) -> list[Entry]:
        """List the versions whose models may run, those included that no request can get any
        more."""
        served = [entry for group in self._groups.values() for entry in group.versions.values()]
        return [e for e in (*served, *list(self._retiring.values())) if e.model is not None]

    def abandon(self, entry: Entry, reason: str) -> None:
        """Give up a version that hangs: requests for it get ModelUnavailable from now on."""
        with self._lock:
            entry.state, entry.reason = "failed", reason
        if entry.model is not None:
            entry.model.abandon()

    # --- for the folder sync, in its thread ----------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[dict[str, Group]]:
        """Change the models by name within the block, which must be short."""
        with self._lock:
            groups = dict(self._groups)
            yield groups
            self._groups = dict(sorted(groups.items()))

    def retire(self, entry: Entry) -> None:
        """Close the model of `entry`, which no request can get any more, once the last one that
        uses it is done. Does not wait for that."""
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
    """Return the error for an unknown model. known: the names of all models."""
    models = ", ".join(known) or "none"
    return ModelNotFound(f"there is no model {name[:100]!r}; the models are: {models}")


def _by_chance(entry: Entry) -> Entry:
    """Return the canary in as many of a hundred cases as the card says, if it is ready."""
    canary = entry.group.policy.canary
    if canary is None or random.random() * 100 >= canary.percent:  # noqa: S311 - no secret
        return entry
    chosen = entry.group.versions.get(canary.version)
    return entry if chosen is None or chosen.model is None else chosen
