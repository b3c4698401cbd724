"""The line that the log has of each request: what was asked, what became of it, and where the time
went. Nothing of what was sent is in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from structlog.types import FilteringBoundLogger

from app.api.protocols import protocol_of
from app.api.record import Record

# What asks how this process is, again and again; so do /status and the other replicas.
HEALTH_PATHS = frozenset(
    {"/livez", "/readyz", "/metrics", "/api/status", "/v2/health/live", "/v2/health/ready"}
)
# nginx's status for a client that did not wait for the answer.
GONE, GONE_CODE = 499, "client_disconnected"
MAX_PATH = 500
MAX_METHOD = 20


class AccessLog:
    """Writes the lines. health_every: of so many health checks of an address that went well the
    first is logged; 0 for none."""

    def __init__(self, logger: FilteringBoundLogger, health_every: int) -> None:
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
        """A request that got as far as the application.

        target: what the client asked for, as it came. status: GONE where it has not waited.
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
            "protocol": protocol_of(path),
        }
        _add_calls(fields, record)
        fields["code"] = GONE_CODE if status == GONE else record.code
        fields["key"] = record.key
        fields["bytes_in"], fields["bytes_out"] = bytes_in, bytes_out
        write = self._log.warning if status >= 500 and not health else self._log.info
        write("request", **{key: value for key, value in fields.items() if value is not None})

    def refused(self, client: Any, status: int, problem: str) -> None:
        """What is no HTTP request, or is too long for one. client: (address, port). problem: in
        our own words, for nothing of what came is known to be harmless."""
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
    """The path that was asked for, as it came but without what follows a `?`, which may be secret;
    None for a target that has more than a path."""
    path = target.partition("?")[0][:MAX_PATH]
    return path if path.startswith("/") else None


def _add_calls(fields: dict[str, Any], record: Record) -> None:
    """Which models, and what became of the calls to them: sums over all of them, for /predict asks
    several at once, but the largest batch. Without what is zero."""
    rows = words = batch = decode = queue = infer = 0
    asked = set()
    for call in record.calls:
        stages = call.stages
        if stages.model is not None:
            asked.add((stages.model, stages.version))
        rows += stages.rows
        words += stages.words
        batch = max(batch, stages.batch)
        decode += stages.decode_ns
        queue += stages.queue_ns
        infer += stages.infer_ns
    if not asked:
        asked = {(entry.name, entry.version) for entry in record.entries}
        if len(asked) > 1:  # a list of what there is
            asked = set()
    if len(asked) == 1:
        ((fields["model"], fields["version"]),) = asked
    elif asked:
        fields["models"] = sorted(name for name, _ in asked)
    fields["rows"] = rows or None
    fields["words"] = words or None
    fields["batch"] = batch or None
    fields["decode_ms"] = round(decode / 1e6, 3) if decode else None
    fields["queue_ms"] = round(queue / 1e6, 3) if queue else None
    fields["infer_ms"] = round(infer / 1e6, 3) if infer else None
