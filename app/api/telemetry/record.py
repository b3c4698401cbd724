"""The record of a request, for the log and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.api.telemetry.protocols import Protocol, protocol_of
from app.serving.call import Call, Stages
from app.serving.registry.entry import Entry

_KEY = "keraport.record"


@dataclass(slots=True)
class Record:
    """The record of a request, filled while it is answered and read when it has ended.

    id: as the answer has it. protocol: of the address. code: of the error in the answer. key: the
    name of the API key. user: whom a trusted proxy has signed in. visible: the names of the models
    that the key allows, whether or not they exist; None for all. traced: whether spans are made of
    it. trace_id: of these spans. entries: the versions that were asked, in turn. calls: one a
    model, each with its stages.
    """

    id: str | None = None
    protocol: Protocol = "other"
    code: str | None = None
    key: str | None = None
    user: str | None = None
    visible: frozenset[str] | None = frozenset()
    traced: bool = False
    trace_id: str | None = None
    entries: list[Entry] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def models(self) -> set[tuple[str, int | None]]:
        """Return the names and versions of the models that were called."""
        found = (call.stages for call in self.calls)
        return {(each.model, each.version) for each in found if each.model is not None}

    def totals(self) -> Stages:
        """Add up the stages of all calls: `/predict` calls several models at once."""
        if len(self.calls) == 1:
            return self.calls[0].stages
        totals = Stages()
        for call in self.calls:
            stages = call.stages
            totals.rows += stages.rows
            totals.words += stages.words
            totals.batch = max(totals.batch, stages.batch)
            totals.decode_ns += stages.decode_ns
            totals.queue_ns += stages.queue_ns
            totals.infer_ns += stages.infer_ns
        return totals


def record_of(environ: dict[str, Any]) -> Record:
    """Return the record of the request with this WSGI environment."""
    found: Record | None = environ.get(_KEY)
    if found is None:
        protocol = protocol_of(environ.get("PATH_INFO", ""))
        found = environ[_KEY] = Record(protocol=protocol)
    return found
