"""The status of this replica, and of all replicas together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import gevent
from gevent import get_hub

from app.keys.ring import KeyRing
from app.lifecycle import Lifecycle
from app.serving.hub_rounds import spread
from app.serving.registry.entry import Entry
from app.serving.registry.registry import Registry
from app.settings import Settings
from app.sources.record import troubles
from app.status.journal import Journal, recent
from app.status.memory import memory
from app.status.peers import SIBLING_PATH, Peers
from app.status.schema import (
    Event,
    LostReplica,
    ModelStatus,
    ReplicaStatus,
    SelfStatus,
    SourceProblem,
    Status,
    bounded,
)
from app.status.summary import summarise

# As many as a person reads, and few enough for a page that asks every two seconds.
SHOWN_EVENTS = 100


class StatusBoard:
    """The status of this replica, alone or together with its peers."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        lifecycle: Lifecycle,
        journal: Journal,
        keys: KeyRing | None = None,
        siblings: Sequence[str] = (),
    ) -> None:
        self._name = settings.replica_name
        self._models = settings.models_dir
        self._registry = registry
        self._lifecycle = lifecycle
        self._journal = journal
        self._peers = Peers([str(url) for url in settings.peers], keys)
        self._siblings = Peers(siblings, keys, SIBLING_PATH)
        self._started_at = round(time.time(), 3)
        self._started = time.monotonic()

    def alone(self) -> SelfStatus:
        """Return the status of this process. Blocks the greenlet while files are read."""
        return SelfStatus(
            replicas=[self._replica()],
            events=get_hub().threadpool.apply(self._journal.events),
        )

    def own(self) -> SelfStatus:
        """Return the status of this replica with all its workers that answer. Blocks the greenlet
        as `combined` does."""
        answers = [self.alone(), *self._siblings.ask().answers]
        return SelfStatus(replicas=_all_replicas(answers), events=_all_events(answers))

    def combined(self) -> Status:
        """Return the status of this replica and its peers. Blocks the greenlet until those answer
        or time out."""
        asked = [self._siblings, self._peers]
        found = [group.get() for group in [gevent.spawn(each.ask) for each in asked]]
        answers = [self.alone(), *(answer for group in found for answer in group.answers)]
        lost = [replica for group in found for replica in group.unreachable]
        replicas: list[ReplicaStatus | LostReplica] = [*_all_replicas(answers), *lost]
        replicas.sort(key=lambda replica: replica.name)
        events = _all_events(answers)
        return Status(summary=summarise(replicas), replicas=replicas, events=events[:SHOWN_EVENTS])

    def _replica(self) -> ReplicaStatus:
        loaded = "ready" if self._registry.loaded else "loading"
        return ReplicaStatus(
            name=self._name,
            state="draining" if self._lifecycle.draining else loaded,
            started_at=self._started_at,
            uptime_s=round(time.monotonic() - self._started, 3),
            memory=memory(),
            models=[_model(e) for e in spread(self._versions())],
            sources=[
                SourceProblem(name=bounded(name), reason=bounded(reason))
                for name, reason in get_hub().threadpool.apply(troubles, (self._models,)).items()
            ],
        )

    def _versions(self) -> Iterator[Entry]:
        for entry in self._registry.entries():
            yield from _versions(entry)


def _all_replicas(answers: Sequence[SelfStatus]) -> list[ReplicaStatus]:
    """Return the replicas of all answers, each once: all may have the same list of peers, which
    then names the one that asks as well."""
    found = {(r.name, r.started_at): r for answer in reversed(answers) for r in answer.replicas}
    return [*reversed(found.values())]


def _all_events(answers: Sequence[SelfStatus]) -> list[Event]:
    """Return the events of all answers, each once: replicas that share a file return the same."""
    return recent((event for answer in answers for event in answer.events), time.time())


def _versions(default: Entry) -> list[Entry]:
    """Return the default version, then the other versions that are ready."""
    others = [e for e in default.group.versions.values() if e.model is not None]
    return [default, *(entry for entry in others if entry is not default)]


def _model(entry: Entry) -> ModelStatus:
    model = entry.model
    # A problem of any version is shown once, beside the default version.
    trouble = entry.trouble if entry is entry.group.default else None
    several = len(_versions(entry.group.default)) > 1
    title = f"{entry.title} (version {entry.version})" if several else entry.title
    about = {
        "name": bounded(entry.name),
        "title": bounded(title),
        "state": entry.state,
        "version": entry.version,
        "reason": None if trouble is None else bounded(trouble),
        "hangs": entry.hangs,
    }
    if model is not None:
        about |= asdict(model.statistics.snapshot())
        about |= {"waiting": model.waiting, "memory_bytes": model.weight_bytes}
    return ModelStatus.model_validate(about)
