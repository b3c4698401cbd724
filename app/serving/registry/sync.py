"""Keeps the registry in step with the models folder: the thread that loads all models at the start,
and changed ones later.

It scans the folder about once a second (a notice from the file system does not cross every mount),
loads new versions beside those that serve, and swaps them when they are ready. A version that fails
changes nothing, and is tried again when its files change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Thread

from app.errors import CardError, LoadError, ModelError
from app.serving.models.model import Model
from app.serving.models.statistics import Statistics
from app.serving.models.stream_limit import StreamLimit
from app.serving.reading.cache import Cache
from app.serving.reading.process import ReaderProcess
from app.serving.registry.crash_guard import CrashGuard
from app.serving.registry.entry import Entry, Group, no_folder
from app.serving.registry.folder import (
    Scan,
    ScannedModel,
    ScannedVersion,
    VersionSource,
    read_cards,
    scan,
)
from app.serving.registry.ignored_files import ignored_files
from app.serving.registry.load_conditions import LoadConditions, Postponed
from app.serving.registry.loading_pool import Loading, LoadingPool
from app.serving.registry.memory_budget import MemoryBudget
from app.serving.registry.open_model import import_engine, open_model
from app.serving.registry.outcomes import OnEvent, Outcomes, ignore_event, log_fields
from app.serving.registry.registry import Registry
from app.serving.registry.state_folder import StateFolder
from app.serving.registry.stillness import Stillness
from app.serving.tasks.base import Limits

log = logging.getLogger(__name__)

POLL_S = 1.0
STILL_S = 2.0
# A process that reads model files is kept for so long, for there may be more to load.
READER_IDLE_S = 60.0

# In the place of the state of files, for a version that has none.
NO_FOLDER = "no folder"


class FolderSync:
    """Keeps the models of `registry` as `folder` has them. A native thread loads them, so that the
    server answers from its first moment.

    poll: scan for changes about once a second; else only on `scan_now`. on_event: called in that
    thread. state: facts of earlier processes. budget: the memory for models. kept: converted
    models.
    """

    def __init__(
        self,
        registry: Registry,
        folder: Path,
        limits: Limits,
        *,
        poll: bool = False,
        on_event: OnEvent = ignore_event,
        state: StateFolder | None = None,
        budget: MemoryBudget | None = None,
        kept: Cache | None = None,
    ) -> None:
        self._registry = registry
        self._folder = folder
        self._limits = limits
        self._stream_limit = StreamLimit(limits.max_streams)
        self._poll = poll
        self._outcomes = Outcomes(registry, on_event)
        state = state or StateFolder(None)
        self._guard = CrashGuard(state)
        self._budget = budget or MemoryBudget(state)
        self._postponed: dict[tuple[str, int], Callable[[], bool]] = {}
        self._stillness: Stillness[tuple[str, int], ScannedVersion] = Stillness(STILL_S)
        self._scanned: Scan = {}
        self._models: dict[str, ScannedModel] = {}
        self._groups: dict[str, Group] = {}
        self._woken = Event()  # to look now, or to stop
        self._now = self._stopping = self._missing = False
        self._pool = LoadingPool(self._open, kept=kept)
        self._conditions = LoadConditions(self._guard, self._budget, self._pool)
        self._thread: Thread | None = None

    def find(self) -> None:
        """List the models. Raises CardError if the folder is missing."""
        self._apply_scan(self._stillness.accept(scan(self._folder)))
        for line in ignored_files(self._folder):
            log.warning("%s", line)

    def start(self) -> None:
        """Start to load the models that were found."""
        self._thread = Thread(target=self._work, name="loading", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Find and load all models, here and now."""
        self.find()
        self.start()
        self._registry.all_tried.wait()

    def scan_now(self) -> None:
        """Scan without waiting for files to be still, and retry what failed. From any thread."""
        self._now = True
        self._woken.set()

    def stop(self, *, hung: bool = False) -> None:
        """Load nothing more, and end the reading processes. Models that are ready stay usable.
        hung: the server is stopping because a run hangs. From any thread."""
        self._stopping = True
        self._woken.set()
        self._pool.close()
        self._guard.end(hung=hung)

    def close(self) -> None:
        """Stop, and wait for the thread to end."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    # --- in the loading thread -----------------------------------------------------------------

    def _work(self) -> None:
        self._load_all()
        if not self._stopping:
            ready = [group.default.state for group in self._groups.values()].count("ready")
            failed = [entry.state for entry in self._entries()].count("failed")
            log.info("%s ready, %s failed", _count(ready, "model"), _count(failed, "version"))
        self._registry.all_tried.set()
        while not self._stopping:
            idle = not (self._poll or self._pool.has_processes or self._postponed)
            self._woken.wait(None if idle else POLL_S)
            self._woken.clear()
            now, self._now = self._now, False
            if (self._poll or now) and not self._stopping:
                try:
                    self._scan(now)
                except Exception:
                    log.exception("looking for changes failed; the models keep serving")
            self._load_postponed()
            self._pool.end_if_idle(READER_IDLE_S)

    def _scan(self, now: bool) -> None:
        try:
            scanned = scan(self._folder)
        except CardError as error:
            # A mount that has gone is no reason to lose the models.
            if not self._missing:
                log.error("%s; the models keep serving", error.message)
            self._missing = True
            return
        self._missing = False
        if now:
            scanned = self._stillness.accept(scanned)
            for entry in self._entries():
                source = self._source(entry.group, entry.version)
                if entry.reason and source is not None:
                    self._guard.forget(source.scanned)
                if entry.reason:
                    entry.tried = None
        else:
            scanned = self._stillness.settle(scanned, time.monotonic())
            if scanned == self._scanned:
                return
        self._apply_scan(scanned)
        self._load_all()

    def _load_postponed(self) -> None:
        """Retry the versions whose conditions are met now."""
        due = [key for key, until in self._postponed.items() if until()]
        for name, version in due:
            del self._postponed[name, version]
            group = self._groups.get(name)
            if group is not None and version in group.versions:
                group.versions[version].tried = None
        if due and not self._stopping:
            self._load_all()

    def _entries(self) -> list[Entry]:
        return [entry for group in self._groups.values() for entry in group.versions.values()]

    def _apply_scan(self, scanned: Scan) -> None:
        """List the scanned models, and follow their cards."""
        found = {each.name: each for each in read_cards(scanned)}
        self._scanned, self._models = scanned, found
        gone = []
        with self._registry.changing() as groups:
            for name in groups.keys() - found.keys():
                gone.append(groups.pop(name))
            for name, each in found.items():
                group = groups.setdefault(name, Group(name))
                group.present, group.problem = frozenset(each.versions), each.problem
                group.policy = each.policy or group.policy
                for version in self._wanted(group):
                    if version not in group.versions:
                        group.put(self._new(group, version))
                self._drop_missing(group)
                group.choose()
            self._groups = dict(sorted(groups.items()))
        for group in gone:
            for entry in group.versions.values():
                self._outcomes.unloaded(entry)
        for entry in self._entries():
            self._clear_undone_failure(entry)

    def _drop_missing(self, group: Group) -> None:
        """Drop versions whose folder is gone and which the card no longer names."""
        wanted = self._wanted(group)
        for version, entry in group.versions.items():
            if entry.model is None and version not in wanted and version not in group.present:
                group.remove(version)

    def _clear_undone_failure(self, entry: Entry) -> None:
        """Clear a failure once the files again match what is being served."""
        source = self._source(entry.group, entry.version)
        if entry.model is None or entry.reason is None or source is None:
            return
        if source.state == entry.made_from:
            entry.reason, entry.tried = None, entry.made_from
            log.info(
                "model %s: the change that failed is undone", entry.label, extra=log_fields(entry)
            )

    def _new(self, group: Group, version: int) -> Entry:
        source = self._source(group, version)
        if source is None:
            return Entry(group, version)
        return Entry(group, version, source.scanned.path, source.scanned.home)

    def _source(self, group: Group, version: int) -> VersionSource | None:
        return self._models[group.name].versions.get(version)

    def _wanted(self, group: Group) -> list[int]:
        failed = {
            version
            for version, entry in group.versions.items()
            if entry.state == "failed" and not self._is_due(entry)
        }
        default = group.default if group.versions else None
        serving = default.version if default is not None and default.state == "ready" else None
        return group.policy.wanted(group.present, failed, serving)

    def _is_due(self, entry: Entry) -> bool:
        """Tell whether a version has something to load that was not tried yet, or has no folder and
        need not be served any longer."""
        source = self._source(entry.group, entry.version)
        if source is not None:
            return entry.tried != source.state
        may_end = entry.model is not None and entry.group.may_unload(entry.version)
        return entry.tried != NO_FOLDER or may_end

    def _load_all(self) -> None:
        """Load the versions that are wanted and due: small files first, several at once where cores
        and memory allow. Then unload those that are not wanted any more."""
        while True:
            while (chosen := self._next()) is not None:
                self._begin(*chosen)
            for group in list(self._groups.values()):
                self._settle(group)
            if not self._pool.running:
                return
            # While the first files are read.
            import_engine()
            self._finish(self._pool.wait())

    def _next(self) -> tuple[Group, int] | None:
        """Return the version to load now; one per model at a time, because its outcome decides the
        next."""
        busy = {loading.group.name for loading in self._pool.running}
        if self._stopping or not self._pool.has_place:
            return None
        due = []
        for group in self._groups.values():
            version = self._due(group) if group.name not in busy else None
            if version is not None:
                turn = self._conditions.turn(self._source(group, version))
                due.append((turn, group.name, version))
        for _, name, version in sorted(due):
            group = self._groups[name]
            if not busy or self._conditions.may_join(self._source(group, version)):
                return group, version
        return None

    def _due(self, group: Group) -> int | None:
        known = group.versions
        due = (v for v in self._wanted(group) if v not in known or self._is_due(known[v]))
        return next(due, None)

    def _settle(self, group: Group) -> None:
        """Once nothing is due, unload the versions that are not wanted, unless that would leave the
        model without an answer."""
        busy = any(loading.group is group for loading in self._pool.running)
        if busy or self._stopping or self._due(group) is not None:
            return
        known = group.versions
        for version in sorted(known.keys() - set(self._wanted(group))):
            if known[version].model is None or group.may_unload(version):
                with self._registry.changing():
                    group.remove(version)
                self._outcomes.unloaded(known[version])
        self._outcomes.card_problem(group)

    def _begin(self, group: Group, version: int) -> None:
        """Load a version beside the one that serves, which it replaces once it is ready."""
        source = self._source(group, version)
        before = group.versions.get(version)
        serving = before if before is not None and before.model is not None else None
        entry = self._new(group, version)
        entry.tried = NO_FOLDER if source is None else source.state
        if serving is None:
            with self._registry.changing():
                group.put(entry)
        self._postponed.pop((group.name, version), None)
        try:
            if source is None:
                raise CardError(no_folder(entry))
            if source.scanned.problem:
                raise CardError(source.scanned.problem)
            loading = Loading(group, entry, source.scanned, serving, time.monotonic())
            loading.alone = self._conditions.must_be_alone(source.scanned)
            loading.need = self._conditions.check(source.scanned)
        except ModelError as error:
            self._not_opened(entry, serving, error)
        else:
            self._pool.begin(loading)

    def _finish(self, loading: Loading) -> None:
        result, entry = loading.result, loading.entry
        if isinstance(result, BaseException):
            if not self._stopping:
                self._budget.forget(loading.scanned)
            self._not_opened(entry, loading.serving, result)
            return
        assert result is not None, "an opening that is done has a result"
        alone = not loading.had_company
        self._budget.remember(loading.scanned, result.loading_bytes, alone=alone)
        self._outcomes.ready(entry, loading.serving, result, time.monotonic() - loading.began)

    def _not_opened(self, entry: Entry, serving: Entry | None, error: BaseException) -> None:
        if isinstance(error, Postponed):
            self._postponed[entry.name, entry.version] = error.until
        if isinstance(error, ModelError):
            reason = error.message
        else:
            log.error("model %s", entry.label, exc_info=error, extra=log_fields(entry))
            reason = f"{type(error).__name__}: {error}"
        if not self._stopping:
            ends = entry.tried == NO_FOLDER and entry.group.may_unload(entry.version)
            self._outcomes.failed(entry, serving, reason, ends=ends)

    def _open(self, loading: Loading, reader: ReaderProcess) -> Model:
        """Open a version, in a thread of its own."""
        scanned, on_card = loading.scanned, partial(setattr, loading.entry, "card")
        before = loading.serving and loading.serving.model
        # Figures of a version outlive its reloads.
        statistics = before.statistics if before else Statistics()
        try:
            with self._guard.loading(scanned):
                model = open_model(
                    scanned, reader, self._limits, self._stream_limit, statistics, on_card
                )
        except FileNotFoundError as error:
            # Its files are being replaced or taken away, which the next look finds out.
            raise LoadError(f"{error.filename} is no longer there") from None
        model.watch_first_run(partial(self._guard.first_run, scanned))
        return model


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
