"""What `GET /api/status` answers, and what a replica believes of another one's answer.

Limits stand everywhere, since an answer of a peer is data from the network: what passes here can
be shown, added up and written as JSON.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

MAX_TEXT = 500
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Measure = Annotated[float, Field(ge=0, le=1e15)]
# Seconds since 1970, up to a year that a calendar has.
Moment = Annotated[float, Field(ge=0, le=1e11)]
Errors = Annotated[dict[Text, Count], Field(max_length=100)]


def fitting(text: str) -> str:
    """A text of this machine, such as a file's name, as others can take it."""
    return text.encode(errors="replace").decode()[:MAX_TEXT]


class _Part(BaseModel):
    # A replica of a later version may say more.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Event(_Part):
    """Something that happened to a replica, or to a model in it.

    model: its name, with the version where that is one of numbered folders. seconds: how long
    loading took. reason: why it failed or was given up, or how a stop went, in words.
    """

    time: Moment
    replica: Text
    kind: Literal[
        "started",
        "stopped",
        "died",
        "loaded",
        "reloaded",
        "failed",
        "not_reloaded",
        "unloaded",
        "hung",
    ]
    model: Text | None = None
    seconds: Measure | None = None
    reason: Text | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The event in a sentence."""
        match self.kind:
            case "started":
                return "Server started"
            case "stopped":
                return f"Server stopped: {self.reason}"
            case "died":
                return "Server had ended without a stop: killed, crashed or out of memory"
            case "loaded":
                return f"Model {self.model} ready after {self.seconds or 0:.1f} s"
            case "reloaded":
                return f"Model {self.model} replaced after {self.seconds or 0:.1f} s"
            case "failed":
                return f"Model {self.model} failed to load: {self.reason}"
            case "not_reloaded":
                return f"Model {self.model} goes on as it was, its change failed: {self.reason}"
            case "unloaded":
                return f"Model {self.model} unloaded"
            case "hung":
                return f"Model {self.model} hangs, its server restarts: {self.reason}"


class Memory(_Part):
    """Bytes. rss: of the server process. used, limit: of its container or group of processes,
    where it has a limit."""

    rss: Count
    used: Count | None = None
    limit: Count | None = None


class ModelStatus(_Part):
    """A model in one replica. The figures are those of `app.serving.statistics.Snapshot`, and null
    unless the model is ready. hangs: whether it was ready and then given up. memory_bytes: what
    its weights take."""

    name: Text
    title: Text
    state: Literal["loading", "ready", "failed"]
    version: Count
    reason: Text | None = None
    hangs: bool = False
    requests_per_s: Measure | None = None
    rows_per_s: Measure | None = None
    words_per_s: Measure | None = None
    p50_ms: Measure | None = None
    p95_ms: Measure | None = None
    p99_ms: Measure | None = None
    waiting: Count | None = None
    mean_batch: Measure | None = None
    errors: Errors = {}
    requests_total: Count | None = None
    rows_total: Count | None = None
    words_total: Count | None = None
    errors_total: Errors = {}
    memory_bytes: Count | None = None
    history: Annotated[list[Count], Field(max_length=60)] = []


class ReplicaStatus(_Part):
    """A replica that answers. state: draining once it is told to stop."""

    name: Text
    reachable: Literal[True] = True
    state: Literal["loading", "ready", "draining"]
    started_at: Moment
    uptime_s: Measure
    memory: Memory
    models: Annotated[list[ModelStatus], Field(max_length=1000)]


class LostReplica(_Part):
    """A replica that does not answer. name: its address where it never has."""

    name: Text
    reachable: Literal[False] = False
    url: str
    problem: str


class Summary(_Part):
    """Whether all is well. notice: will pass by itself, such as loading."""

    level: Literal["ok", "notice", "problem"]
    text: str


class SelfStatus(_Part):
    """What a replica says of itself: `GET /api/status?replica=self`."""

    replicas: Annotated[list[ReplicaStatus], Field(min_length=1, max_length=1)]
    events: Annotated[list[Event], Field(max_length=1000)]


class Status(_Part):
    """The whole. replicas by name; events of the last day, the newest first."""

    summary: Summary
    replicas: list[ReplicaStatus | LostReplica]
    events: list[Event]
