"""A model that hangs in one of the two applications: only that one is restarted, and requests for
other models are not affected."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.stack.compose import Stack, eventually
from tests.stack.conftest import WATCHDOG_S
from tests.support import CAR

APPS = ("app-1", "app-2")
HANG, GOOD = [[-1.0]], [[1.0]]


@pytest.fixture
def hanging(stack: Stack) -> Iterator[None]:
    """The model `hangs`, put into the running stack, and taken away again."""
    from tests.models import save_hanging_model

    models = stack.folder / "models"
    save_hanging_model(models / ".hangs")
    (models / ".hangs").rename(models / "hangs")
    try:
        for app in APPS:
            eventually(lambda app=app: "model hangs ready" in stack.logs(app), 120)  # type: ignore[misc]
        yield
    finally:
        shutil.rmtree(models / "hangs")
        with stack.client() as client:
            for _ in APPS:  # each is asked in turn, sooner or later
                eventually(lambda: client.get("/api/models/hangs").status_code == 404, 120)


def _restarts(stack: Stack) -> dict[str, int]:
    return {app: int(stack.inspect(app)["RestartCount"]) for app in APPS}


@pytest.mark.usefixtures("hanging")
def test_one_bad_request_restarts_one_application(stack: Stack) -> None:
    before = _restarts(stack)

    def ask() -> httpx.Response:
        with stack.client() as own:
            return own.post("/api/hangs", json=HANG)

    with stack.client(http2=False) as client, ThreadPoolExecutor(1) as pool:
        assert client.post("/api/hangs", json=GOOD).status_code == 200
        bad = pool.submit(ask)
        until = time.monotonic() + WATCHDOG_S + 30
        while _restarts(stack) == before:
            assert time.monotonic() < until
            assert client.post("/api/mpg", json=CAR).status_code == 200
            time.sleep(0.05)
        # It was not sent on to the other one.
        assert bad.result().status_code == 504
        for app in APPS:
            eventually(lambda app=app: stack.health(app) == "healthy", 120)  # type: ignore[misc]
        # As long as the other one would have taken to notice.
        until = time.monotonic() + WATCHDOG_S + 5
        while time.monotonic() < until:
            assert client.post("/api/mpg", json=CAR).status_code == 200
            assert client.post("/api/hangs", json=GOOD).status_code == 200
            time.sleep(0.05)
    after = _restarts(stack)
    assert sorted(after[app] - before[app] for app in APPS) == [0, 1]
    logs = "".join(stack.logs(app) for app in APPS)
    assert logs.count("model hangs hangs: a run has not ended") == 1
