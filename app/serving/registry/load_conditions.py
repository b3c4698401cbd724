"""The conditions for loading a version now: it fits into memory, and has not crashed the server."""

from __future__ import annotations

from collections.abc import Callable

from app.errors import LoadError
from app.resources.memory import free_memory
from app.serving.registry.crash_guard import CrashGuard
from app.serving.registry.folder import ScannedVersion, VersionSource
from app.serving.registry.loading_pool import LoadingPool
from app.serving.registry.memory_budget import MemoryBudget, MemoryLeft, refusal, weights_size


class Postponed(LoadError):
    """The error for a version that is not loaded now. until: tells whether to try again."""

    def __init__(self, message: str, until: Callable[[], bool]) -> None:
        super().__init__(message)
        self.until = until


class LoadConditions:
    """Decides for the loading thread. pool: the versions that are loading meanwhile."""

    def __init__(self, guard: CrashGuard, budget: MemoryBudget, pool: LoadingPool) -> None:
        self._guard = guard
        self._budget = budget
        self._pool = pool

    def turn(self, source: VersionSource | None) -> tuple[bool, int]:
        """Return a sort key for the order of loading: small files first, suspects last."""
        if source is None:
            return False, 0
        return self._guard.is_suspected(source.scanned), weights_size(source.scanned)

    def may_join(self, source: VersionSource | None) -> bool:
        """Tell whether a version may load beside others: no suspect, and only where the memory
        holds what all of them need."""
        left = self._budget.left()
        if source is None or left is None:
            return True
        taken = sum(loading.need for loading in self._pool.running)
        suspected = self._guard.is_suspected(source.scanned)
        return not suspected and self._need(source.scanned) <= left.bytes - taken

    def must_be_alone(self, scanned: ScannedVersion) -> bool:
        """Tell whether nothing else may load beside a version."""
        return self._guard.is_suspected(scanned)

    def check(self, scanned: ScannedVersion) -> int:
        """Return the bytes that the version needs. Raises Postponed if they are not left, and
        for a version that is set aside."""

        def released() -> bool:
            gone = self._guard.is_released(scanned)
            if gone:
                self._guard.forget(scanned)
            return gone

        if reason := self._guard.set_aside(scanned):
            raise Postponed(reason, released)
        if self._lacks_room(scanned):
            # What processes that read have kept for the next file.
            self._pool.end_if_idle(0)
            free_memory()
        left = self._lacks_room(scanned)
        if left is not None:
            raise Postponed(
                refusal(self._need(scanned), left), lambda: not self._lacks_room(scanned)
            )
        return self._need(scanned)

    def _lacks_room(self, scanned: ScannedVersion) -> MemoryLeft | None:
        """Return what is left if that is too little."""
        left = self._budget.left()
        return left if left is not None and self._need(scanned) > left.bytes else None

    def _need(self, scanned: ScannedVersion) -> int:
        """Beyond what the process that will read has already."""
        return max(0, self._budget.need(scanned) - self._pool.resident_bytes)
