"""No single model takes the site down: not a large one, not one that cannot fit, not one that kills
its process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.models.fixtures import fixture
from tests.stack.compose import Stack, eventually, run
from tests.support import CAR, picture

APPS = ("app-1", "app-2")
ADDED = ("resnet50.h5", "huge.h5", "greedy")
# More than the container has, touched.
GREED = 'taken = b"x" * 8_000_000_000\n'
STATES = """
import json, urllib.request
base = "http://127.0.0.1:5000/api/models"
names = ("resnet50", "huge", "greedy", "mpg")
print(json.dumps({n: json.load(urllib.request.urlopen(f"{base}/{n}")) for n in names}))
"""

# Empty where there is no such model.
REASON = """
import json, urllib.error, urllib.request
try:
    about = json.load(urllib.request.urlopen("http://127.0.0.1:5000/api/models/kills"))
except urllib.error.HTTPError:
    print()
else:
    print(about.get("reason", "served"))
"""


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Iterator[Stack]:
    """The stack, started with three more models and its defaults of memory and of patience: while
    memory runs out, all of a container stands still for some time."""
    import keras

    models = stack.folder / "models"
    stack.compose("down")
    patience = stack.environ.pop("KERAPORT_WATCHDOG_S")
    keras.applications.ResNet50(weights=None).save(models / "resnet50.h5")
    with (models / "huge.h5").open("wb") as file:
        file.truncate(3_000_000_000)  # no block of the disk is taken
    (models / "greedy").mkdir()
    shutil.copy(fixture("keras3_custom"), models / "greedy" / "model.keras")
    (models / "greedy" / "custom.py").write_text(GREED)
    (models / "greedy" / "model.yaml").write_text("task: tensor\ntrusted: true\n")
    try:
        stack.up()
        yield stack
    finally:
        for name in ADDED:
            path = models / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        stack.environ["KERAPORT_WATCHDOG_S"] = patience
        stack.up()
        with stack.client() as client:
            for _ in APPS:  # each is asked in turn, sooner or later
                eventually(lambda: client.get("/api/models/huge").status_code == 404, 120)


@pytest.fixture(scope="module")
def states(loaded: Stack) -> dict[str, dict[str, Any]]:
    """What each application says of the models."""
    return {app: json.loads(loaded.exec(app, "python", "-c", STATES)) for app in APPS}


def restarts(stack: Stack, app: str) -> int:
    return int(stack.inspect(app)["RestartCount"])


def errors(stack: Stack, app: str) -> str:
    """What the application logs of its ends, for the message of a test that fails."""
    lines = stack.logs(app).splitlines()
    return "\n".join(line for line in lines if json.loads(line)["level"] in ("error", "critical"))


def test_resnet50_is_served_with_the_defaults(
    loaded: Stack, states: dict[str, dict[str, Any]]
) -> None:
    assert {app: states[app]["resnet50"]["state"] for app in APPS} == dict.fromkeys(APPS, "ready")
    with loaded.client() as client:
        for _ in range(4):  # each is asked
            answer = client.post(
                "/api/resnet50", content=picture(), headers={"Content-Type": "image/jpeg"}
            )
            assert answer.status_code == 200
    for app in APPS:
        used = run(
            "docker", "stats", "--no-stream", "--format", "{{.MemPerc}}", loaded.container(app)
        )
        assert float(used.strip().removesuffix("%")) < 100


def test_what_cannot_fit_says_so(loaded: Stack, states: dict[str, dict[str, Any]]) -> None:
    for app in APPS:
        reason = states[app]["huge"]["reason"]
        assert "needs about 11.5 GB to load" in reason
        assert reason.endswith("of 4 GB are left: raise KERAPORT_APP_MEMORY")


def test_memory_that_runs_out_costs_the_process_that_reads(
    states: dict[str, dict[str, Any]],
) -> None:
    """And no restart: see the test of those."""
    for app in APPS:
        assert states[app]["greedy"]["reason"].endswith(
            "reading the file crashed the reader process (SIGKILL): it probably needs more memory "
            "than there is: raise KERAPORT_APP_MEMORY"
        )


def test_the_others_answer(loaded: Stack, states: dict[str, dict[str, Any]]) -> None:
    assert {states[app]["mpg"]["state"] for app in APPS} == {"ready"}
    for app in APPS:
        assert restarts(loaded, app) == 0, errors(loaded, app)
    with loaded.client() as client:
        for _ in range(10):
            assert client.post("/api/mpg", json=CAR).status_code == 200
        for name in ("huge", "greedy"):
            answer = client.post(f"/api/{name}", json=[[1.0]])
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "model_unavailable"


def test_what_ends_the_process_costs_two_restarts(loaded: Stack) -> None:
    """Of each application: the site is up again by itself, without the model. Of one that ends the
    process while it is loaded: tests/http/test_crash_guard.py."""
    from tests.models import save_killing_model

    models = loaded.folder / "models"
    before = {app: restarts(loaded, app) for app in APPS}
    save_killing_model(models / ".kills")
    (models / ".kills").rename(models / "kills")

    def reason(app: str) -> str | None:
        try:
            return loaded.exec(app, "python", "-c", REASON).strip()
        except AssertionError:  # the application is down just now
            return None

    def set_aside(app: str) -> bool:
        said = reason(app) or ""
        return said.startswith("set aside: the server ended twice while it ran for the first time;")

    def set_aside_everywhere() -> bool:
        with loaded.client() as client:
            client.post("/api/kills", json=[[-1.0]])  # either application may take it
        return all(map(set_aside, APPS))

    try:
        eventually(set_aside_everywhere, 400, every=1)
        for app in APPS:
            assert restarts(loaded, app) - before[app] == 2, errors(loaded, app)
            eventually(lambda app=app: loaded.health(app) == "healthy", 240)  # type: ignore[misc]
        with loaded.client() as client:
            assert client.post("/api/mpg", json=CAR).status_code == 200
            assert client.post("/api/kills", json=[[1.0]]).status_code == 503
    finally:
        shutil.rmtree(models / "kills")
        for app in APPS:
            eventually(lambda app=app: reason(app) == "", 240)  # type: ignore[misc]
