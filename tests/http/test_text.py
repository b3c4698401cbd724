"""Texts over HTTP: at once, word by word, many at a time, and cancelled."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.models import save_text_model
from tests.support import ServerProcess, serving

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("text-models")
    save_text_model(folder / "models" / "writer")
    save_text_model(folder / "models" / "two-way", kind="bidirectional")
    save_text_model(folder / "models" / "hasty", kind="bidirectional", units=512, timeout_s=0.5)
    with serving(folder / "models", folder) as server:
        yield server


def order(**changes: Any) -> dict[str, Any]:
    return {"seed": "w1 w2", "words": 30, "random_seed": 7, **changes}


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """What an EventSource would see."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def streamed(server: ServerProcess, body: dict[str, Any], model: str = "writer") -> list[Any]:
    url = f"{server.url}/api/{model}"
    with httpx.stream("POST", url, json=body, headers=EVENTS, timeout=60) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        return list(events(response.iter_lines()))


@pytest.mark.parametrize("model", ["writer", "two-way"])
def test_a_text_in_one_piece_and_word_by_word(server: ServerProcess, model: str) -> None:
    whole = server.post(f"/api/{model}", json=order()).json()
    (answer,) = whole["predictions"]
    assert answer["seed"] == "w1 w2"
    assert set(answer) == {"seed", "generated"}
    assert len(answer["generated"].replace(".", " .").replace(",", " ,").split()) == 30
    told = streamed(server, order(), model)
    assert [name for name, _ in told] == ["start", *["word"] * 30, "done"]
    assert told[0][1]["seed"] == "w1 w2"
    assert "".join(data["text"] for name, data in told if name == "word") == answer["generated"]
    assert told[-1][1]["predictions"] == [answer]
    assert told[0][1]["id"] == told[-1][1]["id"]


def test_a_random_seed_repeats_itself_and_others_do_not(server: ServerProcess) -> None:
    def text(**changes: Any) -> str:
        answer = server.post("/api/writer", json=order(**changes)).json()
        return str(answer["predictions"][0]["generated"])

    assert text() == text()
    assert text() != text(random_seed=8)
    assert text(random_seed=None) != text(random_seed=None)
    assert text() != text(diversity=5)
    # Only the likeliest word, again and again: chance has no say.
    assert text(top_k=1) == text(top_k=1, random_seed=8)


def test_words_that_are_not_known_are_named(server: ServerProcess) -> None:
    body = order(seed="w1 zebra w2 quagga")
    (answer,) = server.post("/api/writer", json=body).json()["predictions"]
    assert answer["unknown_words"] == ["zebra", "quagga"]
    assert streamed(server, body)[0][1]["unknown_words"] == ["zebra", "quagga"]


def test_a_random_start_and_its_continuation(server: ServerProcess) -> None:
    found = set()
    for _ in range(20):
        (answer,) = server.post("/api/writer", json={"seed": None}).json()["predictions"]
        found.add((answer["seed"], answer["actual"]))
    assert found == {("w1 w2 w3 w4", "w5, w6 w7."), ("w8 w9", "w10 w11.")}


def test_everything_that_is_wrong_at_once(server: ServerProcess) -> None:
    body = {"seed": "", "diversity": 0.4, "words": "ten", "colour": "red"}
    for headers in ({}, EVENTS):
        answer = server.post("/api/writer", json=body, headers=headers)
        assert answer.status_code == 422
        details = answer.json()["error"]["details"]
        assert {d["field"] for d in details} == set(body)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"seed": "\xff\xfe"}', 400, "not JSON"),
        (b"[]", 400, "object"),
        (json.dumps({"seed": "a " * 50_000}).encode(), 422, "10,000 characters"),
        (b'{"seed": "zebra"}', 422, "known word"),
    ],
    ids=["utf-8", "list", "long", "unknown"],
)
def test_bad_input(server: ServerProcess, body: bytes, status: int, says: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = server.post("/api/writer", content=body, headers=headers)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_a_deadline_ends_a_text(server: ServerProcess) -> None:
    long = order(words=100)
    answer = server.post("/api/hasty", json=long)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    # Begun, it can only be told in an event.
    told = streamed(server, long, "hasty")
    assert told[-1][0] == "error"
    assert told[-1][1]["error"]["code"] == "deadline_exceeded"


def _none_left(server: ServerProcess) -> None:
    until = time.monotonic() + 20
    while server.get("/api/models/writer").json()["waiting"]:
        assert time.monotonic() < until, "a place was not given back"
        time.sleep(0.05)


def test_texts_that_are_cut_off_do_not_affect_others(server: ServerProcess) -> None:
    """Two hundred texts over sixteen places, a hundred of them cut at random points: the rest read
    as they would alone."""
    rng = random.Random(1)
    bodies = [order(random_seed=i, words=40, seed=f"w{i % 190} w3") for i in range(200)]
    cuts = {i: rng.randrange(40) for i in rng.sample(range(200), 100)}
    alone = {
        i: server.post("/api/writer", json=body).json()["predictions"][0]["generated"]
        for i, body in enumerate(bodies)
        if i not in cuts
    }

    def ask(i: int) -> str | None:
        url = f"{server.url}/api/writer"
        seen, text = 0, ""
        with httpx.stream("POST", url, json=bodies[i], headers=EVENTS, timeout=120) as response:
            for name, data in events(response.iter_lines()):
                assert name != "error", data
                if i in cuts and seen >= cuts[i]:
                    return None
                if name == "word":
                    seen, text = seen + 1, text + data["text"]
        return text

    with ThreadPoolExecutor(50) as pool:
        texts = dict(enumerate(pool.map(ask, range(200))))
    assert {i: text for i, text in texts.items() if i not in cuts} == alone
    _none_left(server)


def test_a_reader_that_stops_holds_up_no_others(server: ServerProcess) -> None:
    url = f"{server.url}/api/writer"
    with httpx.stream("POST", url, json=order(words=100), headers=EVENTS, timeout=60) as slow:
        assert slow.status_code == 200  # and nothing is read of it
        start = time.monotonic()
        assert server.post("/api/writer", json=order()).status_code == 200
        assert time.monotonic() - start < 10
    _none_left(server)


def test_the_model_tells_how_it_is_asked(server: ServerProcess) -> None:
    about = server.get("/api/models/writer").json()
    assert about["task"] == "text-generation"
    assert about["input"]["properties"]["words"] == {
        "type": "integer",
        "minimum": 10,
        "maximum": 100,
        "default": 50,
    }
    assert about["input"]["vocabulary"] == 204
    assert "vocabulary" not in about["card"]["text"]
    assert about["generation"] == {"kind": "step", "reason": None}
    two_way = server.get("/api/models/two-way").json()["generation"]
    assert two_way["kind"] == "window"
    assert "both directions" in two_way["reason"]


def test_the_page_works_without_a_script(server: ServerProcess) -> None:
    page = server.get("/models/writer").text
    for name in ("start", "seed", "diversity", "words"):
        assert f'name="{name}"' in page
    done = server.post("/models/writer", data={"seed": "w1 w2", "diversity": "1", "words": "10"})
    assert done.status_code == 200
    assert "<mark>w" in done.text
    assert '<article class="actual" hidden>' in done.text
    start = server.post("/models/writer", data={"start": "random", "diversity": "1", "words": "10"})
    assert '<article class="actual">' in start.text
    wrong = server.post("/models/writer", data={"seed": "", "diversity": "9", "words": "ten"})
    assert wrong.status_code == 422
    assert "expected a number from 0.5 to 5" in wrong.text
    assert "<mark></mark>" in wrong.text
    empty = server.post("/models/writer", data={"seed": "zebra", "diversity": "1", "words": "10"})
    assert empty.status_code == 422
    assert "no known word" in empty.text
    assert server.get("/models/none").status_code == 404


def test_the_shipped_model_writes_english(shipped: ServerProcess) -> None:
    order = {"seed": "a neural network for", "diversity": 0.8, "words": 50, "random_seed": 1}
    (answer,) = shipped.post("/api/patents", json=order).json()["predictions"]
    words = re.findall(r"\w+", answer["generated"])
    assert len(words) > 35, "the rest are signs"
    # Of all known words a hundredth part; of English ones, a third.
    small = {"a", "the", "of", "to", "and", "is", "in", "for", "by", "with", "each", "one", "an"}
    assert len([w for w in words if w in small]) > len(words) / 6
    begin = shipped.post("/api/patents", json={"seed": None}).json()["predictions"][0]
    assert begin["actual"]
