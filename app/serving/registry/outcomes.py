"""The outcomes of loading: a version's place in the registry, a line of the log, an event."""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from app.serving.models.model import Model
from app.serving.registry.entry import Entry, Group
from app.serving.registry.registry import Registry

log = logging.getLogger(__name__)

EventKind = Literal["loaded", "reloaded", "failed", "not_reloaded", "unloaded"]


class OnEvent(Protocol):
    """A callback for an event of a version: see `app.status.schema.Event`. seconds: how long
    loading took, or None."""

    def __call__(
        self, kind: EventKind, entry: Entry, seconds: float | None, reason: str | None
    ) -> None:
        """Report an event. Called in the loading thread."""


def ignore_event(kind: EventKind, entry: Entry, seconds: float | None, reason: str | None) -> None:
    """Do nothing, as an OnEvent."""


class Outcomes:
    """Carries the outcomes of loading into `registry`. serving: the entry that a new one would
    replace, where its model is ready. All methods belong to the loading thread."""

    def __init__(self, registry: Registry, on_event: OnEvent) -> None:
        self._registry = registry
        self._on_event = on_event

    def ready(self, entry: Entry, serving: Entry | None, model: Model, seconds: float) -> None:
        """Let `model` answer from now on. seconds: how long loading took."""
        entry.loaded_at, entry.made_from = model.loaded_at, entry.tried
        with self._registry.changing():
            entry.model, entry.state = model, "ready"
            entry.group.put(entry)
        how = "ready" if serving is None else "replaced"
        fields = {"seconds": round(seconds, 3), "from_cache": model.from_cache}
        origin = ", from the cache" if model.from_cache else ""
        extra = log_fields(entry) | fields
        log.info("model %s %s in %.1f s%s", entry.label, how, seconds, origin, extra=extra)
        self._on_event("loaded" if serving is None else "reloaded", entry, seconds, None)
        if serving is not None:
            self._registry.retire(serving)

    def failed(self, entry: Entry, serving: Entry | None, reason: str, *, ends: bool) -> None:
        """Record why a version cannot be loaded. ends: even the one that is serving, whose folder
        is gone."""
        if serving is not None and not ends:
            serving.tried = entry.tried
            serving.reason = f"a change of its files is not served: {reason}"
            extra = log_fields(serving)
            log.error(
                "model %s still serves its previous files: %s",
                entry.label,
                serving.reason,
                extra=extra,
            )
            self._on_event("not_reloaded", serving, None, reason)
            return
        with self._registry.changing():
            entry.reason, entry.state = reason, "failed"
            entry.group.put(entry)
        log.error("model %s failed to load: %s", entry.label, reason, extra=log_fields(entry))
        self._on_event("failed", entry, None, reason)
        if serving is not None:
            self._registry.retire(serving)

    def unloaded(self, entry: Entry) -> None:
        """Free a version that no request can get any more."""
        if entry.model is not None:
            log.info("model %s unloaded", entry.label, extra=log_fields(entry))
            self._on_event("unloaded", entry, None, None)
            self._registry.retire(entry)

    def card_problem(self, group: Group) -> None:
        """Log a problem of the card, unless a failed version already reports it."""
        problem, default = group.problem, group.default
        if problem == group.logged_problem:
            return
        group.logged_problem = problem
        if problem and not any(problem in (e.reason or "") for e in group.versions.values()):
            log.error("model %s: %s", group.name, problem, extra={"model": group.name})
            kind: EventKind = "failed" if default.model is None else "not_reloaded"
            self._on_event(kind, default, None, problem)


def log_fields(entry: Entry) -> dict[str, object]:
    """Return the fields that identify a version in a line of the log."""
    return {"model": entry.name, "version": entry.version}
