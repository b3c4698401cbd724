"""Every route of the application after the port is closed, from its own routing table."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.factory import create_app
from app.keys.file import key_lines, new_key
from app.lifecycle import Lifecycle
from app.serving.registry.registry import Registry
from app.settings import Settings
from tests.unit.test_gate import address

# Health checks, files, the metrics, the status, the document, and nginx's question about a key:
# what still answers.
ANSWERED = {
    *("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"),
    *("/static/<path:filename>", "/bootstrap/static/<path:filename>"),
    *("/metrics", "/api/status", "/openapi.json", "/key"),
}


@pytest.mark.parametrize("refusing", [False, True])
def test_all_but_what_watches_the_server_is_refused(tmp_path: Path, refusing: bool) -> None:
    app, headers = served(tmp_path, Lifecycle(draining=True, refusing=refusing))
    answered = set()
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            answer = app.test_client().open(address(rule.rule), method=method, headers=headers)
            # `/readyz` and the like answer 503 by themselves.
            if b"shutting down: send the request again" in answer.data:
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) >= 1
            else:
                answered.add(rule.rule)
            answer.close()
    everything = {rule.rule for rule in app.url_map.iter_rules()}
    assert answered == (ANSWERED if refusing else everything)


def served(folder: Path, lifecycle: Lifecycle | None = None) -> tuple[Flask, dict[str, str]]:
    key, digest = new_key()
    (folder / "keys.yaml").write_text(key_lines("a", digest))
    settings = Settings(api_keys_file=folder / "keys.yaml", uploads_dir=folder)
    app = create_app(settings, Registry(), lifecycle)
    return app, {"Authorization": f"Bearer {key}", "Sec-Fetch-Site": "same-origin"}
