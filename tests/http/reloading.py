"""Models in a running server, and the folders that they are loaded from."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.models import save_constant_model
from tests.support import ServerProcess, eventually, running

# Far beyond what anything here takes.
PATIENCE_S = 60
ROWS = [[float(i)] for i in range(64)]  # two batches


def put(folder: Path, value: float, **card: Any) -> None:
    """A model that answers `value`, with a card. Each file is there at once, as a whole."""
    staging = folder.parent / f".{folder.name}"
    save_constant_model(staging / "model.keras", value)
    folder.mkdir(parents=True, exist_ok=True)
    if card:
        write_card(folder, **card)
    (staging / "model.keras").replace(folder / "model.keras")
    staging.rmdir()


def write_card(folder: Path, **card: Any) -> None:
    new = folder / ".model.yaml"
    new.write_text(yaml.safe_dump({"task": "tensor", **card}))
    new.replace(folder / "model.yaml")


class PromptServer(ServerProcess):
    """Without the seconds in which a change has to stand still (tests/unit/test_stillness.py)."""

    module = "tests.http.prompt"


@contextmanager
def serving(models: Path, folder: Path, **settings: object) -> Iterator[ServerProcess]:
    """A server over `models` that notices changes soon, ready."""
    (folder / "uploads").mkdir(exist_ok=True)
    with running(PromptServer(models, folder / "uploads", **settings)) as server:
        yield server


class Served:
    """A model called `name` in a running server, and its folder."""

    def __init__(self, server: ServerProcess, models: Path, name: str) -> None:
        self.server = server
        self.name = name
        self.folder = models / name

    def about(self, query: str = "") -> dict[str, Any]:
        """What the API says of the model, or the error."""
        body: dict[str, Any] = self.server.get(f"/api/models/{self.name}{query}").json()
        return body

    @property
    def is_known(self) -> bool:
        return self.server.get(f"/api/models/{self.name}").status_code == 200

    @property
    def states(self) -> dict[int, str]:
        return {each["version"]: each["state"] for each in self.about()["versions"]}

    def ask(self, query: str = "") -> tuple[int, float]:
        """Which version answers, and what."""
        response = self.server.post(f"/api/{self.name}{query}", json=ROWS)
        assert response.status_code == 200, response.text
        body = response.json()
        (value,) = {number for row in body["predictions"] for number in row}
        return body["version"], value

    def await_ready(self) -> None:
        eventually(lambda: self.about().get("state") == "ready", said=self.name)

    def await_answer(self, version: int, value: float) -> None:
        eventually(lambda: self.ask() == (version, value), said=f"{self.name}: {version} {value}")

    @property
    def events(self) -> list[str]:
        """The oldest first, without the name and how long they took."""
        told = self.server.get("/api/status").json()["events"]
        texts = [event["text"].partition(" after ")[0] for event in reversed(told)]
        start = f"Model {self.name} "
        return [text.removeprefix(start) for text in texts if text.startswith(start)]

    def reload(self) -> None:
        self.server.process.send_signal(signal.SIGHUP)


@contextmanager
def always_ready(server: ServerProcess) -> Iterator[None]:
    """Fails if the server is not ready all the while."""
    unready: list[int] = []
    over = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not over.wait(0.1):
                status = client.get("/readyz").status_code
                if status != 200:
                    unready.append(status)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
        watching.result()
    assert unready == []
    assert "Traceback" not in server.log()
