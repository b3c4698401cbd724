"""What clients of the shipped models rely on stays as it was recorded: answers, descriptions, the
OpenAPI document. New keys may come; what was there keeps its value and its place.

`RECORD=1` writes the record again, for a change that is meant.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from typing import Any

import httpx
import pytest

from tests.support import CAR, ROOT, ServerProcess, picture

RECORD = ROOT / "tests" / "data" / "shipped.json"
MODELS = ("cats-dogs", "membranes", "mpg", "patents", "spam")
MESSAGE = "FREE entry! Text WIN to 80086 now"
# Of a moment, of a release, or of the training.
# Pixels at the edge of a threshold may differ from one CPU to the next.
VOLATILE = {"id", "loaded_at", "X-Request-ID", "metrics", "png", "share"}
# Cards may have inputs and outputs in place of a task.
_SCHEMAS = "/openapi.json.body.components.schemas"
MEANT = (
    f"{_SCHEMAS}.Card.description:",
    f"{_SCHEMAS}.Card.properties.task:",
    f"{_SCHEMAS}.Model.properties.task.description:",
    # Cards have examples since, and the operation a parameter more.
    "/openapi.json.body.paths./api/mpg.post.requestBody.content.application/json:",
    "/openapi.json.body.paths./api/patents.post.requestBody.content.application/json:",
    *(f"/openapi.json.body.paths./api/{name}.post.parameters:" for name in MODELS),
    f"{_SCHEMAS}.ModelSummary.properties.task.description:",
)
ROWS = f"{','.join(CAR)}\n{','.join(map(str, CAR.values()))}\n"
PNG = picture(3)
SLICE = (ROOT / "models" / "membranes" / "slice1.png").read_bytes()


def asked(server: ServerProcess) -> dict[str, Any]:
    """Every recorded question and its answer."""
    table = {"Content-Type": "text/csv"}
    text = {"seed": "a neural network", "words": 10, "random_seed": 1}
    pixels = {"instances": [[[[0.5, 0.5, 0.5]] * 150] * 150]}
    encoded = {"instances": [{"b64": b64encode(PNG).decode()}]}
    cars = [list(CAR.values())]
    answers: dict[str, httpx.Response] = {
        **{f"/api/models/{name}": server.get(f"/api/models/{name}") for name in MODELS},
        "/api/models": server.get("/api/models"),
        "/openapi.json": server.get("/openapi.json"),
        "a picture as the body": server.post("/api/cats-dogs", content=PNG),
        "two pictures": server.post("/api/cats-dogs", files=[("image", PNG), ("image", PNG)]),
        "/predict": server.post("/predict", files={"image": PNG}),
        "a mask": server.post("/api/membranes", content=SLICE),
        "a mask of the model's size": server.post("/api/membranes?size=model", content=SLICE),
        "no picture": server.post("/api/cats-dogs", content=b"no"),
        "text for a picture": server.post("/api/cats-dogs", files={"image": (None, "no")}),
        "a form without a picture": server.post("/api/cats-dogs", files={"other": PNG}),
        "a car": server.post("/api/mpg", json=CAR),
        "two cars": server.post("/api/mpg", json=[CAR, CAR]),
        "a table": server.post("/api/mpg", content=ROWS, headers=table),
        "a table in a form": server.post("/api/mpg", files={"file": ("a.csv", ROWS)}),
        "a car without its weight": server.post("/api/mpg", json={**CAR, "weight": None}),
        "a list without cars": server.post("/api/mpg", json=[1, 2]),
        "a picture for a car": server.post(
            "/api/mpg", content=PNG, headers={"Content-Type": "image/png"}
        ),
        "a form for a car": server.post("/api/mpg", files={"image": PNG}),
        "a text": server.post("/api/patents", json=text),
        "no text": server.post("/api/patents", json={"words": "many"}),
        "a message": server.post("/api/spam", json=MESSAGE),
        "messages": server.post("/api/spam", json=[{"message": MESSAGE}, {"text": "See you"}]),
        "no message": server.post("/api/spam", json=["", 1]),
        "v1 messages": server.post("/v1/models/spam:predict", json={"instances": [MESSAGE]}),
        "v1 pixels": server.post("/v1/models/cats-dogs:predict", json=pixels),
        "v1 an encoded picture": server.post("/v1/models/cats-dogs:predict", json=encoded),
        "v1 cars": server.post("/v1/models/mpg:predict", json={"instances": cars}),
        "v2 cars": server.post(
            "/v2/models/mpg/infer",
            json={"inputs": [{"name": "car", "datatype": "FP32", "shape": [1, 7], "data": cars}]},
        ),
        **{f"/v1/models/{n}/metadata": server.get(f"/v1/models/{n}/metadata") for n in MODELS},
        **{f"/v2/models/{n}": server.get(f"/v2/models/{n}") for n in MODELS},
    }
    return {
        name: {"status": answer.status_code, "body": steady(answer.json())}
        for name, answer in answers.items()
    }


def steady(value: Any) -> Any:
    """Without what differs from one run to the next."""
    if isinstance(value, dict):
        kept = {key: steady(each) for key, each in value.items() if key not in VOLATILE}
        # The version of the release, in the document.
        return kept | ({"version": "-"} if "description" in kept and "license" in kept else {})
    return [steady(each) for each in value] if isinstance(value, list) else value


def differences(was: Any, now: Any, where: str = "") -> list[str]:
    """Where `now` is not `was`, new keys aside."""
    if isinstance(was, dict) and isinstance(now, dict):
        common = [key for key in now if key in was]
        if common != [*was]:
            return [f"{where}: had the keys {[*was]}, has {[*now]}"]
        return [line for key in was for line in differences(was[key], now[key], f"{where}.{key}")]
    if isinstance(was, list) and isinstance(now, list):
        if len(was) != len(now):
            return [f"{where}: was {was}, is {now}"]
        pairs = zip(was, now, strict=True)
        return [
            line for i, (a, b) in enumerate(pairs) for line in differences(a, b, f"{where}[{i}]")
        ]
    if isinstance(was, float) and isinstance(now, float):
        # Another CPU adds in another order.
        return [] if now == pytest.approx(was, rel=1e-4, abs=1e-5) else [f"{where}: {was}, {now}"]
    return [] if type(was) is type(now) and was == now else [f"{where}: was {was!r}, is {now!r}"]


def test_what_clients_see_of_the_shipped_models_is_as_recorded(shipped: ServerProcess) -> None:
    found = asked(shipped)
    if os.environ.get("RECORD"):
        RECORD.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    assert found.keys() == recorded.keys()
    lines = [line for name in recorded for line in differences(recorded[name], found[name], name)]
    assert [line for line in lines if not line.startswith(MEANT)] == []


@pytest.mark.parametrize(
    ("was", "now", "differ"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"b": 2}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": [1]}, {"a": [1, 2]}, True),
        ({"a": 0.5}, {"a": 0.500001}, False),
        ({"a": 0.5}, {"a": 0.51}, True),
        ({"a": 1}, {"a": True}, True),
    ],
)
def test_the_comparison_sees_what_is_gone_or_other(was: Any, now: Any, differ: bool) -> None:
    assert bool(differences(was, now)) is differ
