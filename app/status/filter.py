"""The part of a status that an API key may see."""

from __future__ import annotations

from typing import Any, TypeVar

from app.status.schema import LostReplica, ReplicaStatus, SelfStatus, Status
from app.status.summary import summarise

AnyStatus = TypeVar("AnyStatus", Status, SelfStatus, SelfStatus | Status)


def filter_status(status: AnyStatus, names: frozenset[str]) -> AnyStatus:
    """Return `status` with the models in `names` only, and without events of the others."""
    replicas = [_filter_replica(replica, names) for replica in status.replicas]
    # The event of a version names that as well: `flowers (version 3)`.
    events = [
        event
        for event in status.events
        if event.model is None or event.model.partition(" (version ")[0] in names
    ]
    changes: dict[str, Any] = {"replicas": replicas, "events": events}
    if isinstance(status, Status):
        changes["summary"] = summarise(replicas)
    return status.model_copy(update=changes)


def _filter_replica(
    replica: ReplicaStatus | LostReplica, names: frozenset[str]
) -> ReplicaStatus | LostReplica:
    if isinstance(replica, LostReplica):
        return replica
    models = [model for model in replica.models if model.name in names]
    sources = [source for source in replica.sources if source.name in names]
    return replica.model_copy(update={"models": models, "sources": sources})
