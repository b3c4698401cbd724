"""The access log: a line for each request, with its outcome and where its time went.

Of what the client sent, only the method, the path and a valid request id are logged.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.api.telemetry.record import Record
from app.api.telemetry.trace_context import given_trace_id
from app.logs import EventLogger

# Endpoints that monitors poll; so do /status and the other replicas.
HEALTH_PATHS = frozenset(
    {
        *("/livez", "/readyz", "/metrics", "/api/status", "/v2/health/live", "/v2/health/ready"),
        *("/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ServerLive"),
        "/inference.GRPCInferenceService/ServerReady",
    }
)
# nginx's status for a client that disconnected before the answer.
GONE, GONE_CODE = 499, "client_disconnected"
MAX_PATH = 500
MAX_METHOD = 20


class AccessLog:
    """Writes the lines. health_every: log the first of every `health_every` successful health
    checks of an address; 0 for none."""

    def __init__(self, logger: EventLogger, health_every: int) -> None:
        self._log = logger
        self._every = health_every
        self._healthy: Counter[str] = Counter()

    def answered(
        self,
        environ: dict[str, Any],
        record: Record,
        target: str,
        status: int,
        *,
        seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Log a request that reached the application.

        target: what the client asked for, as it came. status: GONE if the client has disconnected.
        bytes_in: of the body, as far as it was read. bytes_out: the head of the answer included.
        """
        path: str = environ.get("PATH_INFO", "")
        health = path in HEALTH_PATHS
        if health and status == 200 and not self._is_due(path):
            return
        fields = {
            "id": record.id,
            "client": environ.get("REMOTE_ADDR"),
            "method": environ.get("REQUEST_METHOD", "")[:MAX_METHOD],
            "path": shown_path(target),
            "status": status,
            "ms": round(seconds * 1000, 2),
            "protocol": record.protocol,
            "trace_id": record.trace_id or given_trace_id(environ),
        }
        _add_calls(fields, record)
        fields["code"] = GONE_CODE if status == GONE else record.code
        fields["key"], fields["user"] = record.key, record.user
        fields["bytes_in"], fields["bytes_out"] = bytes_in, bytes_out
        write = self._log.warning if status >= 500 and not health else self._log.info
        write("request", **{key: value for key, value in fields.items() if value is not None})

    def refused(self, client: Any, status: int, problem: str) -> None:
        """Log bytes that are no HTTP request, or too many for one.

        client: (address, port). problem: in our own words; what was received may be harmful.
        """
        address = client[0] if isinstance(client, tuple) else "-"
        self._log.info(
            "request",
            client=address,
            status=status,
            protocol="other",
            code="bad_request",
            problem=problem,
        )

    def _is_due(self, path: str) -> bool:
        self._healthy[path] += 1
        return bool(self._every) and (self._healthy[path] - 1) % self._every == 0


def shown_path(target: str) -> str | None:
    """Return the path of a target, unchanged but without the query, which may be secret; None for a
    target that has more than a path."""
    path = target.partition("?")[0][:MAX_PATH]
    return path if path.startswith("/") else None


def _add_calls(fields: dict[str, Any], record: Record) -> None:
    """Add the models and what became of the calls to them, without what is zero."""
    totals = record.totals()
    asked = record.models()
    if not asked:
        asked = {(entry.name, entry.version) for entry in record.entries}
        if len(asked) > 1:  # a list of models
            asked = set()
    if len(asked) == 1:
        ((fields["model"], fields["version"]),) = asked
    elif asked:
        fields["models"] = sorted(name for name, _ in asked)
    fields["rows"] = totals.rows or None
    fields["words"] = totals.words or None
    fields["batch"] = totals.batch or None
    for stage, ns in (
        ("decode_ms", totals.decode_ns),
        ("queue_ms", totals.queue_ns),
        ("infer_ms", totals.infer_ns),
    ):
        fields[stage] = round(ns / 1e6, 3) if ns else None
