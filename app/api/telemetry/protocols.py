"""The protocol of an address, for the log and the metrics."""

from __future__ import annotations

from typing import Literal

Protocol = Literal["native", "v1", "v2", "grpc-tfs", "grpc-v2", "page", "other"]

_FIRST: dict[str, Protocol] = {
    "api": "native",
    "predict": "native",
    "v1": "v1",
    "v2": "v2",
    "": "page",
    "models": "page",
    "compare": "page",
    "status": "page",
    "docs": "page",
    "login": "page",
}


def protocol_of(path: str) -> Protocol:
    """Return the protocol of a path: "other" for health checks, files, metrics and unknown
    paths."""
    if not path.startswith("/") or path == "/api/status" or path.startswith("/v2/health/"):
        return "other"
    return _FIRST.get(path[1:].partition("/")[0], "other")


def speaks_protocol(path: str) -> bool:
    """Whether a path belongs to v1 or v2, where an error is its message alone."""
    return f"{path}/".startswith(("/v1/", "/v2/"))
