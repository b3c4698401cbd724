"""The thread that loads models: all of them at the start, and later whatever has changed.

It looks at the folder about once a second (a notice from the file system does not cross every
mount), loads what is new beside what is there, and changes places when it is ready. What fails
leaves everything as it was, and is tried again when its files change.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Literal, Protocol

from app.errors import CardError, ModelError
from app.serving.discovery import Found, Seen, Sight, Source, look, understand
from app.serving.entry import Entry, Group, no_folder
from app.serving.loader import Loader
from app.serving.memory import keep_what_is_there
from app.serving.open_model import open_model
from app.serving.overlooked import overlooked
from app.serving.places import Places
from app.serving.stillness import Stillness
from app.serving.tasks.base import Limits

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.serving.registry import Registry

log = logging.getLogger(__name__)

POLL_S = 1.0
STILL_S = 2.0
# The process that reads model files is kept for so long, for there may be more to load.
LOADER_IDLE_S = 60.0

# In the place of the state of files, for a version that has none.
NO_FOLDER = "no folder"

What = Literal["loaded", "reloaded", "failed", "not_reloaded", "unloaded"]


class Note(Protocol):
    """Told of what has happened to a version: see `app.status.shape.Event`. seconds: how long
    loading took, or None."""

    def __call__(self, what: What, entry: Entry, seconds: float | None, reason: str | None) -> None:
        """In the loading thread."""


def nothing(what: What, entry: Entry, seconds: float | None, reason: str | None) -> None:
    """A Note that nobody reads."""


class Reloader:
    """Keeps the models of `registry` as `folder` has them. poll: look by itself, not only when told
    to. loaded: set once all that was there at the start is ready or failed."""

    def __init__(
        self, registry: Registry, folder: Path, limits: Limits, *, poll: bool, note: Note
    ) -> None:
        self._registry = registry
        self._folder = folder
        self._limits = limits
        self._places = Places(limits.max_streams)
        self._poll = poll
        self._note = note
        self.loaded = Event()
        self._stillness: Stillness[tuple[str, int], Seen] = Stillness(STILL_S)
        self._sight: Sight = {}
        self._found: dict[str, Found] = {}
        self._groups: dict[str, Group] = {}
        self._told = Event()  # to look now, or to stop
        self._now = self._stopping = self._imported = self._missing = False
        self._loader = Loader()
        self._thread: Thread | None = None

    def find(self) -> None:
        """List what is there. Raises CardError if there is no such folder."""
        self._take(self._stillness.accept(look(self._folder)))
        for line in overlooked(self._folder):
            log.warning("%s", line)

    def start(self) -> None:
        """Begin to load it."""
        self._thread = Thread(target=self._work, name="loading", daemon=True)
        self._thread.start()

    def look_now(self) -> None:
        """Do not wait for files to be still, and try again what failed. From any thread."""
        self._now = True
        self._told.set()

    def stop(self) -> None:
        """Load nothing more. From any thread."""
        self._stopping = True
        self._told.set()
        self._loader.close()

    def join(self) -> None:
        """Wait for the thread to end."""
        if self._thread is not None:
            self._thread.join()

    # --- in the loading thread -----------------------------------------------------------------

    def _work(self) -> None:
        self._load_all()
        if not self._stopping:
            ready = [group.default.state for group in self._groups.values()].count("ready")
            failed = [entry.state for entry in self._entries()].count("failed")
            log.info("%s ready, %s failed", _count(ready, "model"), _count(failed, "version"))
        self.loaded.set()
        while not self._stopping:
            self._told.wait(POLL_S if self._poll or self._loader.running else None)
            self._told.clear()
            now, self._now = self._now, False
            if (self._poll or now) and not self._stopping:
                try:
                    self._look(now)
                except Exception:
                    log.exception("looking for changes failed; the models go on")
            self._loader.end_if_idle(LOADER_IDLE_S)

    def _look(self, now: bool) -> None:
        try:
            seen = look(self._folder)
        except CardError as error:
            # A mount that has gone is no reason to lose the models.
            if not self._missing:
                log.error("%s; the models go on", error.message)
            self._missing = True
            return
        self._missing = False
        if now:
            sight = self._stillness.accept(seen)
            for entry in self._entries():
                if entry.reason:
                    entry.tried = None
        else:
            sight = self._stillness.settle(seen, time.monotonic())
            if sight == self._sight:
                return
        self._take(sight)
        self._load_all()

    def _entries(self) -> list[Entry]:
        return [entry for group in self._groups.values() for entry in group.versions.values()]

    def _take(self, sight: Sight) -> None:
        """List what is there now, and follow what the cards say."""
        found = {each.name: each for each in understand(sight)}
        self._sight, self._found = sight, found
        gone = []
        with self._registry.changing() as groups:
            for name in groups.keys() - found.keys():
                gone.append(groups.pop(name))
            for name, each in found.items():
                group = groups.setdefault(name, Group(name))
                group.there, group.problem = frozenset(each.versions), each.problem
                group.policy = each.policy or group.policy
                for version in self._wanted(group):
                    if version not in group.versions:
                        group.put(self._new(group, version))
                self._forget(group)
                group.choose()
            self._groups = dict(sorted(groups.items()))
        for group in gone:
            for entry in group.versions.values():
                self._unloaded(entry)
        for entry in self._entries():
            self._mend(entry)

    def _forget(self, group: Group) -> None:
        """What neither lies there nor is named any more."""
        wanted = self._wanted(group)
        for version, entry in group.versions.items():
            if entry.model is None and version not in wanted and version not in group.there:
                group.remove(version)

    def _mend(self, entry: Entry) -> None:
        """Where a change that is not served has been undone."""
        source = self._source(entry.group, entry.version)
        if entry.model is None or entry.reason is None or source is None:
            return
        if source.state == entry.made_from:
            entry.reason, entry.tried = None, entry.made_from
            log.info("model %s: the change that failed is undone", entry.label, extra=_which(entry))

    def _new(self, group: Group, version: int) -> Entry:
        source = self._source(group, version)
        if source is None:
            return Entry(group, version)
        return Entry(group, version, source.seen.path, source.seen.home)

    def _source(self, group: Group, version: int) -> Source | None:
        return self._found[group.name].versions.get(version)

    def _wanted(self, group: Group) -> list[int]:
        failed = {
            version
            for version, entry in group.versions.items()
            if entry.state == "failed" and not self._is_due(entry)
        }
        default = group.default if group.versions else None
        serving = default.version if default is not None and default.state == "ready" else None
        return group.policy.wanted(group.there, failed, serving)

    def _is_due(self, entry: Entry) -> bool:
        """Whether there is something to load that was not tried yet, or a version without a folder
        that is served no longer than it must."""
        source = self._source(entry.group, entry.version)
        if source is not None:
            return entry.tried != source.state
        may_end = entry.model is not None and entry.group.may_unload(entry.version)
        return entry.tried != NO_FOLDER or may_end

    def _load_all(self) -> None:
        for group in list(self._groups.values()):
            self._load_group(group)

    def _load_group(self, group: Group) -> None:
        """Load what is wanted and due, then unload what is not wanted any more, unless that would
        leave the model without an answer."""
        while not self._stopping:
            wanted = self._wanted(group)
            known = group.versions
            due = [v for v in wanted if v not in known or self._is_due(known[v])]
            if due:
                self._load(group, due[0])
                continue
            for version in sorted(known.keys() - set(wanted)):
                if known[version].model is None or group.may_unload(version):
                    with self._registry.changing():
                        group.remove(version)
                    self._unloaded(known[version])
            self._tell_problem(group)
            return

    def _load(self, group: Group, version: int) -> None:
        """Beside the one that is there, whose place it takes once it is ready."""
        source = self._source(group, version)
        before = group.versions.get(version)
        serving = before if before is not None and before.model is not None else None
        entry = self._new(group, version)
        entry.tried = NO_FOLDER if source is None else source.state
        if serving is None:
            with self._registry.changing():
                group.put(entry)
        started = time.monotonic()
        try:
            if source is None:
                raise CardError(no_folder(entry))
            model = self._open(source.seen, entry)
        except ModelError as error:
            self._failed(entry, serving, error.message)
        except Exception as error:
            log.exception("model %s", entry.label, extra=_which(entry))
            self._failed(entry, serving, f"{type(error).__name__}: {error}")
        else:
            self._ready(entry, serving, model, time.monotonic() - started)

    def _open(self, seen: Seen, entry: Entry) -> Model:
        if not self._imported:
            import app.serving.text_model  # noqa: F401 - with all that it needs

            keep_what_is_there()
            self._imported = True

        tell = partial(setattr, entry, "card")
        return open_model(seen, self._loader, self._limits, self._places, tell)

    def _ready(self, entry: Entry, serving: Entry | None, model: Model, seconds: float) -> None:
        entry.loaded_at, entry.made_from = model.loaded_at, entry.tried
        if serving is not None and serving.model is not None:
            model.statistics = serving.model.statistics
        with self._registry.changing():
            entry.model, entry.state = model, "ready"
            entry.group.put(entry)
        how = "ready" if serving is None else "replaced"
        told = _which(entry) | {"seconds": round(seconds, 3)}
        log.info("model %s %s in %.1f s", entry.label, how, seconds, extra=told)
        self._note("loaded" if serving is None else "reloaded", entry, seconds, None)
        if serving is not None:
            self._registry.retire(serving)

    def _failed(self, entry: Entry, serving: Entry | None, reason: str) -> None:
        if self._stopping:
            return
        ends = entry.tried == NO_FOLDER and entry.group.may_unload(entry.version)
        if serving is not None and not ends:
            serving.tried = entry.tried
            serving.reason = f"a change of its files is not served: {reason}"
            told = _which(serving)
            log.error("model %s goes on as it was: %s", entry.label, serving.reason, extra=told)
            self._note("not_reloaded", serving, None, reason)
            return
        with self._registry.changing():
            entry.reason, entry.state = reason, "failed"
            entry.group.put(entry)
        log.error("model %s failed to load: %s", entry.label, reason, extra=_which(entry))
        self._note("failed", entry, None, reason)
        if serving is not None:
            self._registry.retire(serving)

    def _tell_problem(self, group: Group) -> None:
        """What is wrong with the card, where no version that failed for it has said so."""
        problem, default = group.problem, group.default
        if problem == group.told:
            return
        group.told = problem
        if problem and not any(problem in (e.reason or "") for e in group.versions.values()):
            log.error("model %s: %s", group.name, problem, extra={"model": group.name})
            self._note(
                "failed" if default.model is None else "not_reloaded", default, None, problem
            )

    def _unloaded(self, entry: Entry) -> None:
        """Nobody can get it any more."""
        if entry.model is not None:
            log.info("model %s unloaded", entry.label, extra=_which(entry))
            self._note("unloaded", entry, None, None)
            self._registry.retire(entry)


def _which(entry: Entry) -> dict[str, object]:
    """What a program that reads the log knows a version by."""
    return {"model": entry.name, "version": entry.version}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
