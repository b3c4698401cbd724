"""What API keys add to the OpenAPI document."""

from __future__ import annotations

from typing import Any

from app.api.openapi_parts import PROTOCOL_ERROR

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
# What answers without a key.
_OPEN = ("/livez", "/readyz")


def add_keys(document: dict[str, Any]) -> None:
    """Say of each operation that it takes a key, and what it answers without a good one."""
    document["components"]["securitySchemes"] = SCHEMES
    document["security"] = [{name: []} for name in SCHEMES]
    for path, item in document["paths"].items():
        prefix = path[1:3] + PROTOCOL_ERROR if path.startswith(("/v1/", "/v2")) else "Error"
        statuses = [401, 403, 429] if _names_a_model(path) else [401, 429]
        for method in ("get", "post"):
            if method not in item:
                continue
            # Parts of the document are shared with others made before.
            operation = item[method] = {**item[method]}
            if path in _OPEN:
                operation["security"] = []
                continue
            operation["responses"] = {
                **operation["responses"],
                **{str(s): {"$ref": f"#/components/responses/{prefix}{s}"} for s in statuses},
            }


def _names_a_model(path: str) -> bool:
    return "{name}" in path or (
        path.startswith("/api/") and path not in ("/api/models", "/api/status")
    )
