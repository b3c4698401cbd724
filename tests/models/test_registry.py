"""What the models folder contains, and which requests may use it."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import gevent
import pytest

from app.errors import ModelNotFound, ModelUnavailable
from app.factory import create_app
from app.serving.call import Call
from app.serving.cards.card import Card
from app.serving.models.model import Model
from app.serving.reading.model_files import find_model
from app.serving.registry.registry import Registry
from app.serving.registry.sync import FolderSync
from app.serving.tasks.base import Payload
from app.settings import Settings
from tests.conversions import converted
from tests.models import save_constant_model, save_text_model
from tests.registries import loaded, syncing

if TYPE_CHECKING:
    from app.serving.engine.sessions.session import ModelSession


def test_what_is_not_ready_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("no model")
    with loaded(tmp_path) as registry:
        assert registry.loaded
        with pytest.raises(ModelUnavailable, match="not a Keras model"), registry.leased("m"):
            pass
        with pytest.raises(ModelNotFound, match="the models are: m"), registry.leased("n"):
            pass


def test_the_end_of_loading_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models.h5").write_bytes(b"")
    (tmp_path / "with space.h5").write_bytes(b"")
    with caplog.at_level("INFO"), loaded(tmp_path):
        assert "0 models ready, 2 versions failed" in caplog.messages


def test_a_folder_that_goes_while_it_is_read_is_no_fault_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "m"
    save_constant_model(folder / "model.keras", 1)
    (folder / "model.yaml").write_text("task: tensor\n")

    def gone(path: Path, card: Card | None) -> Path:
        shutil.rmtree(path)
        return find_model(path, card)

    monkeypatch.setattr("app.serving.registry.open_model.find_model", gone)
    gone_too = pytest.raises(ModelUnavailable, match="is no longer there")
    with syncing(tmp_path) as (registry, _):
        registry.all_tried.wait()
        with gone_too, registry.leased("m"):
            pass
    assert not any(record.exc_info for record in caplog.records)


def test_an_empty_folder_is_loaded_at_once(tmp_path: Path) -> None:
    with loaded(tmp_path) as registry:
        assert (registry.loaded, registry.entries()) == (True, [])


def test_stopping_while_loading_ends_the_loading(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"m{i}.h5").write_text("no model")
    with syncing(tmp_path) as (registry, sync):
        sync.stop()
    assert registry.loaded


# --- leases ---------------------------------------------------------------------------------------


class One(NamedTuple):
    """A registry with one model, what keeps it up to date, and the model's file."""

    registry: Registry
    sync: FolderSync
    file: Path


@pytest.fixture
def one(tmp_path: Path) -> Iterator[One]:
    """A registry whose model `m` answers 1."""
    file = tmp_path / "m" / "model.keras"
    save_constant_model(file, 1)
    (tmp_path / "m" / "model.yaml").write_text("task: tensor\n")
    with syncing(tmp_path, kept=converted(tmp_path)) as (registry, sync):
        registry.all_tried.wait()
        yield One(registry, sync, file)


@contextmanager
def using(registry: Registry) -> Iterator[Model]:
    """The model `m`, as a request has it."""
    with registry.leased("m") as lease:
        yield lease.model


def _await(happened: Callable[[], bool]) -> None:
    """The hub runs meanwhile, as it does where requests are served."""
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        gevent.sleep(0.01)


def _replace(one: One, value: float) -> None:
    registry = one.registry
    before = registry.entry("m").model
    save_constant_model(one.file, value)
    one.sync.scan_now()
    _await(lambda: registry.entry("m").model is not before)


def _ask(model: Model) -> float:
    (answer,) = model.predict(Payload("json", b"[[0.0]]"), Call(time.monotonic() + 30))
    return float(answer[0])


def _closings() -> int:
    return sum("_retire" in thread.name for thread in threading.enumerate())


def test_a_model_in_use_outlives_its_replacement(one: One) -> None:
    registry = one.registry
    with using(registry) as first:
        _replace(one, 2)
        with using(registry) as second:
            assert (_ask(first), _ask(second)) == (1, 2)
        assert _closings() == 1
    _await(lambda: _closings() == 0)
    with pytest.raises(ModelUnavailable, match="being unloaded"):
        _ask(first)
    assert _ask(second) == 2


def test_a_model_is_kept_for_a_request_so_long_and_no_longer(
    one: One, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = one.registry
    monkeypatch.setattr(registry, "_lease_s", 0.1)
    with using(registry) as first:
        _replace(one, 2)
        _await(lambda: _closings() == 0)
        assert "model m is closed under 1 requests" in caplog.messages
        with pytest.raises(ModelUnavailable, match="being unloaded"):
            _ask(first)


def test_a_closed_model_keeps_nothing(one: One) -> None:
    """Neither its graph with the weights, nor its thread, nor a watcher of the hub."""
    registry = one.registry
    with using(registry) as model:
        _ask(model)
        graph = weakref.ref(cast("ModelSession", model.sessions[0])._session.graph)
        gone = weakref.ref(model)
        assert graph() is not None
    assert "model-m" in [thread.name for thread in threading.enumerate()]
    del model
    _replace(one, 2)
    _await(lambda: _closings() == 0)
    assert graph() is None
    # The rest goes once the hub has had its turn.
    _await(lambda: gc.collect() >= 0 and gone() is None)
    assert [thread.name for thread in threading.enumerate()].count("model-m") == 1


def test_statistics_continue(one: One) -> None:
    registry = one.registry
    with using(registry) as model:
        _ask(model)
    _replace(one, 2)
    with using(registry) as model:
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
