"""What the models folder holds, and who may use it."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import gevent
import pytest

from app.errors import ModelNotFound, ModelUnavailable
from app.factory import create_app
from app.serving.call import Call
from app.serving.registry import Registry
from app.serving.tasks.base import Limits, Payload
from app.settings import Settings
from tests.models import save_constant_model, save_text_model

if TYPE_CHECKING:
    from app.serving.model import Model, TensorModel


@contextmanager
def loaded(folder: Path) -> Iterator[Registry]:
    registry = Registry(folder, Limits())
    registry.load()
    try:
        yield registry
    finally:
        registry.close()


def test_what_is_not_ready_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("no model")
    with loaded(tmp_path) as registry:
        assert registry.loaded
        with pytest.raises(ModelUnavailable, match="not a Keras model"), registry.using("m"):
            pass
        with pytest.raises(ModelNotFound, match="the models are: m"), registry.using("n"):
            pass


def test_the_end_of_loading_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models.h5").write_bytes(b"")
    (tmp_path / "with space.h5").write_bytes(b"")
    with caplog.at_level("INFO"), loaded(tmp_path):
        assert "0 models ready, 2 versions failed" in caplog.messages


def test_an_empty_folder_is_loaded_at_once(tmp_path: Path) -> None:
    with loaded(tmp_path) as registry:
        assert (registry.loaded, registry.entries()) == (True, [])


def test_stopping_while_loading_ends_the_loading(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"m{i}.h5").write_text("no model")
    registry = Registry(tmp_path, Limits())
    registry.find()
    registry.start()
    registry.stop()
    registry.close()
    assert registry.loaded


# --- leases ---------------------------------------------------------------------------------------


@pytest.fixture
def one(tmp_path: Path) -> Iterator[tuple[Registry, Path]]:
    """A registry whose model `m` answers 1, and the file that it is from."""
    file = tmp_path / "m" / "model.keras"
    save_constant_model(file, 1)
    (tmp_path / "m" / "model.yaml").write_text("task: tensor\n")
    with loaded(tmp_path) as registry:
        yield registry, file


def _await(happened: Callable[[], bool]) -> None:
    """The hub runs meanwhile, as it does where requests are served."""
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        gevent.sleep(0.01)


def _replace(registry: Registry, file: Path, value: float) -> None:
    before = registry.entry("m").model
    save_constant_model(file, value)
    registry.reload()
    _await(lambda: registry.entry("m").model is not before)


def _ask(model: Model) -> float:
    (answer,) = model.predict(Payload("json", b"[[0.0]]"), Call(time.monotonic() + 30))
    return float(answer[0])


def _closings() -> int:
    return sum("_retire" in thread.name for thread in threading.enumerate())


def test_a_model_in_use_outlives_its_replacement(one: tuple[Registry, Path]) -> None:
    registry, file = one
    with registry.using("m") as first:
        _replace(registry, file, 2)
        with registry.using("m") as second:
            assert (_ask(first), _ask(second)) == (1, 2)
        assert _closings() == 1
    _await(lambda: _closings() == 0)
    with pytest.raises(ModelUnavailable, match="being unloaded"):
        _ask(first)
    assert _ask(second) == 2


def test_a_model_is_kept_for_a_request_so_long_and_no_longer(
    one: tuple[Registry, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry, file = one
    monkeypatch.setattr(registry, "_lease_s", 0.1)
    with registry.using("m") as first:
        _replace(registry, file, 2)
        _await(lambda: _closings() == 0)
        assert "model m is closed under 1 requests" in caplog.messages
        with pytest.raises(ModelUnavailable, match="being unloaded"):
            _ask(first)


def test_a_closed_model_keeps_nothing(one: tuple[Registry, Path]) -> None:
    """Neither its graph with the weights, nor its thread, nor a watcher of the hub."""
    registry, file = one
    with registry.using("m") as model:
        _ask(model)
        graph = weakref.ref(cast("TensorModel", model).engine._session._session.graph)
        gone = weakref.ref(model)
        assert graph() is not None
    assert "model-m" in [thread.name for thread in threading.enumerate()]
    del model
    _replace(registry, file, 2)
    _await(lambda: _closings() == 0)
    assert graph() is None
    # The rest goes once the hub has had its turn.
    _await(lambda: gc.collect() >= 0 and gone() is None)
    assert [thread.name for thread in threading.enumerate()].count("model-m") == 1


def test_statistics_go_on(one: tuple[Registry, Path]) -> None:
    registry, file = one
    with registry.using("m") as model:
        _ask(model)
    _replace(registry, file, 2)
    with registry.using("m") as model:
        _ask(model)
        snapshot = model.statistics.snapshot()
    assert (snapshot.requests_total, snapshot.mean_batch) == (2, 1)


def test_events_use_the_model_until_their_answer_is_closed(tmp_path: Path) -> None:
    save_text_model(tmp_path / "writer")
    with loaded(tmp_path) as registry:
        client = create_app(Settings(uploads_dir=tmp_path), registry).test_client()
        entry = registry.entry("writer")
        response = client.post(
            "/api/writer", json={"seed": "w1", "words": 20}, headers={"Accept": "text/event-stream"}
        )
        assert entry.leases == 1
        assert response.text.count("event: word") == 20
        response.close()
        assert entry.leases == 0
        # What is wrong with the request is no stream, and leaves nothing behind.
        refused = client.post(
            "/api/writer", json={"words": -1}, headers={"Accept": "text/event-stream"}
        )
        assert (refused.status_code, entry.leases) == (422, 0)
