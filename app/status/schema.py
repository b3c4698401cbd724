"""The schema of `GET /api/status`, by which answers of other replicas are validated as well.

Every field has a limit, since a peer's answer is data from the network: what passes can be shown,
added up and written as JSON.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

MAX_TEXT = 500
BoundedText = Annotated[str, Field(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0, le=2**53)]
NonNegative = Annotated[float, Field(ge=0, le=1e15)]
# Seconds since 1970, within the years that `datetime` can represent.
Timestamp = Annotated[float, Field(ge=0, le=1e11)]
Errors = Annotated[dict[BoundedText, Count], Field(max_length=100)]


def bounded(text: str) -> str:
    """Return `text` shortened and valid as UTF-8, so that other replicas accept it."""
    return text.encode(errors="replace").decode()[:MAX_TEXT]


class _Part(BaseModel):
    # A replica of a later version may send more fields.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Event(_Part):
    """An event of a replica, or of a model in it.

    model: the name of the model, with its version if that has a folder of its own. seconds: how
    long loading took. reason: why the model failed or was given up, or how a stop went, in words.
    """

    time: Timestamp
    replica: BoundedText
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
    model: BoundedText | None = None
    seconds: NonNegative | None = None
    reason: BoundedText | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The event as a sentence."""
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
                model = f"Model {self.model} still serves its previous files"
                return f"{model}, its change failed: {self.reason}"
            case "unloaded":
                return f"Model {self.model} unloaded"
            case "hung":
                return f"Model {self.model} hangs, its server restarts: {self.reason}"


class Memory(_Part):
    """Memory in bytes. rss: of the server process. used, limit: of its container or cgroup, null
    if that has no limit."""

    rss: Count
    used: Count | None = None
    limit: Count | None = None


class ModelStatus(_Part):
    """A model in one replica.

    The figures are those of `app.serving.models.statistics.Snapshot`, and null unless the model is
    ready. hangs: whether the model was ready and was then given up. memory_bytes: of its weights.
    """

    name: BoundedText
    title: BoundedText
    state: Literal["loading", "ready", "failed"]
    version: Count
    reason: BoundedText | None = None
    hangs: bool = False
    requests_per_s: NonNegative | None = None
    rows_per_s: NonNegative | None = None
    words_per_s: NonNegative | None = None
    p50_ms: NonNegative | None = None
    p95_ms: NonNegative | None = None
    p99_ms: NonNegative | None = None
    waiting: Count | None = None
    mean_batch: NonNegative | None = None
    errors: Errors = {}
    requests_total: Count | None = None
    rows_total: Count | None = None
    words_total: Count | None = None
    errors_total: Errors = {}
    memory_bytes: Count | None = None
    history: Annotated[list[Count], Field(max_length=60)] = []


class SourceProblem(_Part):
    """Why the source of a model gives nothing (`python -m app pull`). name: of the model."""

    name: BoundedText
    reason: BoundedText


class ReplicaStatus(_Part):
    """A replica that answers. state: draining once it has received a signal to stop. sources: those
    that fail, of models from elsewhere; what has come from them is served."""

    name: BoundedText
    reachable: Literal[True] = True
    state: Literal["loading", "ready", "draining"]
    started_at: Timestamp
    uptime_s: NonNegative
    memory: Memory
    models: Annotated[list[ModelStatus], Field(max_length=1000)]
    sources: Annotated[list[SourceProblem], Field(max_length=1000)] = []


class LostReplica(_Part):
    """A replica that does not answer. name: its address if it has never answered."""

    name: BoundedText
    reachable: Literal[False] = False
    url: str
    problem: str


class Summary(_Part):
    """Whether everything works. notice: a state that passes by itself, such as loading."""

    level: Literal["ok", "notice", "problem"]
    text: str


class SelfStatus(_Part):
    """The status of a replica by itself: `GET /api/status?replica=self`. replicas: more than one
    where it has several workers."""

    replicas: Annotated[list[ReplicaStatus], Field(min_length=1, max_length=64)]
    events: Annotated[list[Event], Field(max_length=1000)]


class Status(_Part):
    """The status of all replicas. replicas: sorted by name. events: those of the last day, the
    newest first."""

    summary: Summary
    replicas: list[ReplicaStatus | LostReplica]
    events: list[Event]
