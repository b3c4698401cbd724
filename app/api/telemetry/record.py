"""The record of a request, for the log and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.api.telemetry.protocols import Protocol, protocol_of
from app.serving.call import Call
from app.serving.registry.entry import Entry

_KEY = "keraport.record"


@dataclass(slots=True)
class CallTotals:
    """The stages of all calls of a request, added up.

    models: names and versions that were called. rows, words: sums. batch: the largest, in rows.
    decode_ns, queue_ns, infer_ns: time in each stage, sums in nanoseconds.
    """

    models: set[tuple[str, int | None]] = field(default_factory=set)
    rows: int = 0
    words: int = 0
    batch: int = 0
    decode_ns: int = 0
    queue_ns: int = 0
    infer_ns: int = 0


@dataclass(slots=True)
class Record:
    """The record of a request, filled while it is answered and read when it has ended.

    id: as the answer has it. protocol: of the address. code: of the error in the answer. key: the
    name of the API key. visible: the names of the models that the key allows, whether or not they
    exist; None for all. entries: the versions that were asked, in turn. calls: one a model, each
    with its stages.
    """

    id: str | None = None
    protocol: Protocol = "other"
    code: str | None = None
    key: str | None = None
    visible: frozenset[str] | None = frozenset()
    entries: list[Entry] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def totals(self) -> CallTotals:
        """Add up the stages of all calls: `/predict` calls several models at once."""
        totals = CallTotals()
        for call in self.calls:
            stages = call.stages
            if stages.model is not None:
                totals.models.add((stages.model, stages.version))
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
