"""Listing hundreds of models does not hold up the hub."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
import yaml
from flask import Flask
from gevent import get_hub

from app.factory import create_app
from app.serving.cards.card import Card
from app.serving.models.statistics import Statistics
from app.serving.registry.entry import Entry, Group
from app.serving.registry.registry import Registry
from app.serving.signature import Signature, SignatureDef, TensorSpec
from app.serving.tasks import RowTask
from app.serving.tasks.base import Limits
from app.settings import Settings
from tests.support import ROOT

MANY = 200
# What lists all models, or all that is known of them.
LISTS = (
    "/",
    "/?q=no-such-model",
    "/api/models",
    "/openapi.json",
    "/metrics",
    "/status",
    "/api/status",
    "/readyz",
    "/v1/models",
    "/v2/models/stats",
    "/docs",
)
# CPU time of the hub between two turns; 200 models took 120 to 180 ms.
BUSY_S = 0.06


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application over models that are ready, but cannot run."""
    folder = tmp_path_factory.mktemp("many")
    settings = Settings(models_dir=folder, uploads_dir=folder)
    limits = Limits.of(settings)
    registry = Registry()
    card = Card.model_validate(yaml.safe_load((ROOT / "models/mpg/model.yaml").read_text()))
    definition = SignatureDef(
        (TensorSpec("x", "x:0", "float32", (None, 7)),),
        (TensorSpec("y", "y:0", "float32", (None, 1)),),
    )
    signature = Signature(definition.inputs, definition.outputs)
    groups = {}
    for i in range(MANY):
        model: Any = SimpleNamespace(
            name=f"mpg-{i}",
            version=1,
            card=card,
            signature=signature,
            signatures={"serving_default": definition},
            default_signature="serving_default",
            task=RowTask(card, signature, limits),
            engine=SimpleNamespace(fixed_rows=None),
            statistics=Statistics(),
            weight_bytes=1000,
            device="CPU",
            waiting=0,
            loaded_at=1.0,
            details=dict,
            guessed=(),
            examples=(),
        )
        group = groups[model.name] = Group(model.name)
        group.put(Entry(group, 1, Path("x"), None, "ready", None, model, card, 1.0))
    registry._groups = groups
    return create_app(settings, registry)


@pytest.fixture
def busy() -> Iterator[list[float]]:
    """CPU time of this thread between the ticks of a timer in its hub."""
    found: list[float] = []
    last = time.thread_time()

    def tick() -> None:
        nonlocal last
        now = time.thread_time()
        found.append(now - last)
        last = now

    timer = get_hub().loop.timer(0.001, 0.001)
    timer.start(tick)
    # What the tests before have left is looked through by no server.
    gc.collect()
    gc.disable()
    try:
        yield found
    finally:
        gc.enable()
        timer.stop()


@pytest.mark.parametrize("path", LISTS)
def test_lists_of_many_models(app: Flask, busy: list[float], path: str) -> None:
    # Templates are compiled once.
    assert app.test_client().get(path).status_code in (200, 503)
    gevent.sleep(0.01)
    busy.clear()
    asked = [gevent.spawn(lambda: app.test_client().get(path).status_code) for _ in range(8)]
    gevent.joinall(asked, raise_error=True)
    gevent.sleep(0.01)
    assert max(busy) < BUSY_S
