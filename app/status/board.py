"""The status of this replica, and of all replicas together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

from gevent import get_hub

from app.keys.ring import KeyRing
from app.lifecycle import Lifecycle
from app.serving.hub_rounds import spread
from app.serving.registry.entry import Entry
from app.serving.registry.registry import Registry
from app.settings import Settings
from app.status.journal import Journal, recent
from app.status.memory import memory
from app.status.peers import Peers
from app.status.schema import (
    LostReplica,
    ModelStatus,
    ReplicaStatus,
    SelfStatus,
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
    ) -> None:
        self._name = settings.replica_name
        self._registry = registry
        self._lifecycle = lifecycle
        self._journal = journal
        self._peers = Peers([str(url) for url in settings.peers], keys)
        self._started_at = round(time.time(), 3)
        self._started = time.monotonic()

    def own(self) -> SelfStatus:
        """Return the status of this replica. Blocks the greenlet while events are read."""
        return SelfStatus(
            replicas=[self._replica()],
            events=get_hub().threadpool.apply(self._journal.events),
        )

    def combined(self) -> Status:
        """Return the status of this replica and its peers. Blocks the greenlet until those answer
        or time out."""
        peers = self._peers.ask()
        own = self.own()
        answers = [own]
        for answer in peers.answers:
            # All replicas may have the same list of peers, which then names this one as well.
            replica = answer.replicas[0]
            if (replica.name, replica.started_at) != (self._name, self._started_at):
                answers.append(answer)
        replicas: list[ReplicaStatus | LostReplica] = [a.replicas[0] for a in answers]
        replicas = sorted([*replicas, *peers.unreachable], key=lambda r: r.name)
        # Replicas that share a file all return the same events.
        events = recent((e for answer in answers for e in answer.events), time.time())
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
        )

    def _versions(self) -> Iterator[Entry]:
        for entry in self._registry.entries():
            yield from _versions(entry)


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
