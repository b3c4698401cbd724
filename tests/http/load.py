"""Ten models of every kind, and requests whose answers were computed beforehand."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

from app.serving.tasks.files.pictures import PictureSpec, decode
from tests.support import DATA, ROOT, picture

# Batches of another size round differently.
RTOL, ATOL = 1e-4, 2e-6
FIXTURES = (
    "tf1_savedmodel",
    "keras2_lstm.h5",
    "keras3_text.keras",
    "tf2_two_inputs.h5",
    "nan.keras",
)
LEGACY = ROOT.parent / "shared" / "data" / "legacy" / "fer2013_mini_XCEPTION.hdf5"


@dataclass(frozen=True)
class Question:
    """A request and what its answer must be."""

    path: str
    body: bytes
    kind: str
    check: Callable[[list[Any]], bool]


def build(folder: Path) -> list[Question]:
    """Fill `folder` with ten models and return questions for all of them."""
    questions: list[Question] = []
    for name in ("cats-dogs", "cats-dogs-copy", "pets"):
        shutil.copytree(ROOT / "models" / "cats-dogs", folder / name)
        questions += _pictures(name)
    for name in ("mpg", "cars"):
        shutil.copytree(ROOT / "models" / "mpg", folder / name)
        card = yaml.safe_load((folder / name / "model.yaml").read_text())
        del card["output"]["decimals"]  # compare what the model really said
        (folder / name / "model.yaml").write_text(yaml.safe_dump(card))
        questions += _cars(name, card)
    for file in FIXTURES:
        questions += _fixture(file, folder)
    if LEGACY.exists():
        shutil.copy(LEGACY, folder / "faces.hdf5")
        questions += _faces("faces")
    return questions


def _close(answer: Any, expected: Any) -> bool:
    return np.allclose(np.asarray(answer, np.float64), expected, rtol=RTOL, atol=ATOL)


def _pictures(name: str) -> list[Question]:
    model = keras.models.load_model(ROOT / "models" / "cats-dogs" / "model.h5", compile=False)
    questions = []
    for seed in range(6):
        data = picture(seed)
        pixels = decode(io.BytesIO(data), PictureSpec((150, 150), "RGB", "stretch", 10**8))
        dog = float(model(pixels[None].astype(np.float32) / 255.0, training=False)[0, 0])

        def check(predictions: list[Any], dog: float = dog) -> bool:
            by_label = {t["label"]: t["probability"] for t in predictions[0]["top"]}
            return len(predictions) == 1 and _close(by_label["dog"], dog)

        questions.append(Question(f"/api/{name}", data, "image/jpeg", check))
    return questions


def _faces(name: str) -> list[Question]:
    # Trained on pixels of -1..1, as the statistics of its first BatchNormalization show.
    model = keras.models.load_model(LEGACY, compile=False)
    questions = []
    for seed in range(3):
        data = picture(seed)
        pixels = decode(io.BytesIO(data), PictureSpec((64, 64), "L", "stretch", 10**8))
        scores = np.asarray(model([pixels[None].astype(np.float32) / 127.5 - 1], training=False))[0]

        def check(predictions: list[Any], best: float = float(scores.max())) -> bool:
            return _close(predictions[0]["probability"], best)

        questions.append(Question(f"/api/{name}", data, "image/jpeg", check))
    return questions


def _cars(name: str, card: dict[str, Any]) -> list[Question]:
    model = keras.models.load_model(ROOT / "models" / "mpg" / "model.keras", compile=False)
    questions = []
    for share in (0.0, 0.3, 0.5, 1.0):
        row = {}
        for field in card["fields"]:
            if "choices" in field:
                row[field["name"]] = 1 + int(share * 2)
                continue
            value = field["min"] + share * (field["max"] - field["min"])
            row[field["name"]] = round(value) if field.get("type") == "integer" else value
        expected = float(model(np.array([list(row.values())], np.float32), training=False)[0, 0])

        def check(predictions: list[Any], expected: float = expected) -> bool:
            return [*predictions[0]] == ["mpg"] and _close(predictions[0]["mpg"], expected)

        body = json.dumps(row).encode()
        questions.append(Question(f"/api/{name}", body, "application/json", check))
    return questions


def _fixture(file: str, folder: Path) -> list[Question]:
    """A model of tests/data as `task: tensor`, with the outputs that its own library computed."""
    name = Path(file).stem.replace("_", "-")
    source = DATA / "models" / file
    (folder / name).mkdir()
    if source.is_dir():
        shutil.copytree(source, folder / name / "saved_model")
    else:
        shutil.copy(source, folder / name / file)
    (folder / name / "model.yaml").write_text("task: tensor\n")
    arrays = np.load(DATA / "expected" / f"{Path(file).stem}.npz")
    inputs = {k.removeprefix("in_"): arrays[k] for k in arrays.files if k.startswith("in_")}
    outputs = {k.removeprefix("out_"): arrays[k] for k in arrays.files if k.startswith("out_")}
    questions = []
    for i in range(len(next(iter(inputs.values())))):
        rows = {k: _plain(v[i : i + 1]) for k, v in inputs.items()}
        body = json.dumps(next(iter(rows.values())) if len(rows) == 1 else rows).encode()
        expected = {k: v[i] for k, v in outputs.items()}

        def check(predictions: list[Any], expected: dict[str, Any] = expected) -> bool:
            (row,) = predictions
            if len(expected) == 1:
                return _close(row, next(iter(expected.values())))
            return set(row) == set(expected) and all(_close(row[k], expected[k]) for k in row)

        if all(np.isfinite(v).all() for v in expected.values()):
            questions.append(Question(f"/api/{name}", body, "application/json", check))
    assert questions
    return questions


def _plain(array: Any) -> Any:
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8").tolist()
    return array.tolist()


class Load:
    """Threads that ask questions and note what went wrong. Loopback only, bounded by `stop_after`
    (seconds), `count` (requests) or `stop`."""

    def __init__(self, port: int, questions: list[Question]) -> None:
        self._port = port
        self._questions = questions
        self.answered: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Ask no more, from another thread than the one that waits for `run`."""
        self._stopped = True

    def run(self, clients: int, *, stop_after: float = 3600.0, count: int = 10**9) -> None:
        until = time.monotonic() + stop_after
        share = -(-count // clients)
        threads = [
            threading.Thread(target=self._client, args=(seed, until, share), daemon=True)
            for seed in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, seed: int, until: float, count: int) -> None:
        rng = np.random.default_rng(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        answered: Counter[str] = Counter()
        wrong: list[str] = []
        try:
            while count and time.monotonic() < until and not (wrong or self._stopped):
                count -= 1
                question = self._questions[rng.integers(len(self._questions))]
                connection.request(
                    "POST", question.path, question.body, {"Content-Type": question.kind}
                )
                response = connection.getresponse()
                text = response.read()
                if response.status != 200 or not question.check(json.loads(text)["predictions"]):
                    wrong.append(f"{question.path}: {response.status} {text[:500]!r}")
                answered[question.path] += 1
        except (OSError, http.client.HTTPException) as error:
            wrong.append(repr(error))
        finally:
            connection.close()
            with self._lock:
                self.answered += answered
                self.wrong += wrong
