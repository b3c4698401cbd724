"""What is known of a request once it is over, for the log and for the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.serving.call import Call
    from app.serving.entry import Entry

_KEY = "keraport.record"


@dataclass(slots=True)
class Record:
    """Filled while the request is answered, read by the server when it has ended.

    id: as the answer says it. code: of the error that was answered. key: the name of the API key.
    entries: the versions that were asked, in turn. calls: what was asked of them, each with its
    stages.
    """

    id: str | None = None
    code: str | None = None
    key: str | None = None
    entries: list[Entry] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


def record_of(environ: dict[str, Any]) -> Record:
    """The record of the request with this WSGI environment."""
    found: Record | None = environ.get(_KEY)
    if found is None:
        found = environ[_KEY] = Record()
    return found
