"""Models for the tests of TensorFlow Serving's REST API, and how they are asked."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from tests.models import (
    save_caption_model,
    save_constant_model,
    save_half_plus_two,
    save_picture_model,
    save_slow_model,
    save_tagged_model,
    save_text_model,
)
from tests.models.fixtures import fixture
from tests.support import ROOT, ServerProcess

# TensorFlow Serving's own, where it is at hand; else one that answers the same.
REAL_HALF = ROOT.parent / "shared" / "data" / "tfserving" / "half_plus_two"
LIMIT_MB = 3
MODELS = [
    *("broken", "captions", "half_plus_two", "hasty", "nan", "numbered", "own", "pictures"),
    *("slow", "tagged", "text", "words"),
]


def save_v1_models(folder: Path) -> None:
    """Models with signatures, pictures, texts and versions, and `broken`, which fails to load."""
    save_half_plus_two(folder / "own" / "00000123")
    if REAL_HALF.exists():
        (folder / "half_plus_two").symlink_to(REAL_HALF)
    else:
        (folder / "half_plus_two").symlink_to(folder / "own")
    save_tagged_model(folder / "tagged")
    save_caption_model(folder / "captions")
    save_picture_model(folder / "pictures.keras", rescales=False)
    save_text_model(folder / "text")
    (folder / "nan.keras").symlink_to(fixture("nan"))
    (folder / "words").symlink_to(fixture("tf1_table_savedmodel"))
    for version in (1, 2):
        save_constant_model(folder / "numbered" / str(version) / "model.keras", version)
    (folder / "numbered" / "3").mkdir()
    (folder / "numbered" / "3" / "model.keras").write_text("no model")
    (folder / "numbered" / "model.yaml").write_text(
        "task: tensor\nversions: all\naliases: {stable: 1, next: 3}\n"
    )
    (folder / "slow").mkdir()
    save_slow_model(folder / "slow", max_queue=2)
    (folder / "hasty").mkdir()
    save_slow_model(folder / "hasty", timeout_s=0.3)
    (folder / "broken.keras").write_text("no model")


def ask(server: ServerProcess, what: str, body: Any, status: int = 200) -> Any:
    """The answer to a POST below `/v1/models/`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.post(f"/v1/models/{what}", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    return answer.json()


def refusal(server: ServerProcess, what: str, body: Any, status: int = 400) -> str:
    answer = ask(server, what, body, status)
    assert answer.keys() == {"error"}
    assert isinstance(answer["error"], str)
    return answer["error"]


def got(server: ServerProcess, path: str, status: int = 200) -> Any:
    answer = server.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}
