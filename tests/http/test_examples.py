"""Examples of cards and explanations of answers over HTTP: native, the pages, OpenAPI, reloads."""

from __future__ import annotations

import io
import re
import socket
import time
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from PIL import Image

from tests.examples import SIDE, save_examples, save_slow, spot_picture
from tests.kinds import grey
from tests.support import ServerProcess, eventually, serving

MODELS = ("spot", "couple", "tables", "lists", "writer", "review")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_examples(tmp_path_factory.mktemp("examples") / "models")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(folder, tmp_path_factory.mktemp("examples-uploads")) as found:
        yield found


# --- examples


@pytest.mark.parametrize("name", MODELS)
def test_each_example_can_be_sent_as_it_is(server: ServerProcess, name: str) -> None:
    names = server.get(f"/api/models/{name}").json()["examples"]
    assert names
    for number in range(len(names)):
        example = server.get(f"/api/models/{name}/example?n={number}")
        assert example.status_code == 200
        assert example.headers["Content-Type"] == "application/json"
        headers = {"Content-Type": "application/json"}
        answer = server.post(f"/api/{name}", content=example.content, headers=headers)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == 1
    first = server.get(f"/api/models/{name}/example")
    assert first.content == server.get(f"/api/models/{name}/example?n=0").content


def test_the_examples_are_those_of_the_card(server: ServerProcess) -> None:
    names = {name: server.get(f"/api/models/{name}").json()["examples"] for name in MODELS}
    assert names == {
        "spot": ["Spot", "All grey"],
        "couple": ["Example 1"],
        "tables": ["Small", "Example 2"],
        "lists": ["Example 1"],
        "writer": ["w1 w2", "Another"],
        "review": ["the film was good"],
    }
    example = server.get("/api/models/tables/example?n=1").json()
    assert example == {"first": {"a": 10, "b": 20}, "second": {"c": 30}}
    assert server.get("/api/models/lists/example").json() == [[[1, 2], [3, 4], [5, 6]]]
    assert "examples" not in server.get("/api/models/tables").json()["card"]


def test_a_model_without_examples_has_one_of_made_up_values(server: ServerProcess) -> None:
    example = server.get("/api/models/mean/example").json()
    assert server.post("/api/mean", json=example).status_code == 200
    assert server.get("/api/models/mean").json()["examples"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/models/spot/example?n=2", 404),
        ("/api/models/spot/example?n=-1", 422),
        ("/api/models/spot/example?n=x", 422),
        ("/api/models/spot/example?n=", 422),
        ("/api/models/spot/example?n=99999999999999999999", 404),
        ("/api/models/mean/example?n=0", 404),
        ("/api/models/nothing/example", 404),
        ("/api/models/spot/example?version=7", 404),
        ("/models/spot/examples/0/0", 200),
        ("/models/spot/examples/0/0/small", 200),
        ("/models/spot/examples/2/0", 404),
        ("/models/spot/examples/0/1", 404),
        ("/models/spot/examples/-1/0", 404),
        ("/models/tables/examples/0/0", 404),
        ("/models/spot/examples/0/spot.png", 404),
        ("/models/spot/examples/../model.yaml", 404),
        ("/models/spot/examples/%2e%2e%2fmodel.yaml/0", 404),
    ],
)
def test_only_what_the_card_names_is_answered(
    server: ServerProcess, path: str, status: int
) -> None:
    assert server.get(path).status_code == status


def test_files_are_served_as_what_they_are(server: ServerProcess) -> None:
    file = server.get("/models/spot/examples/0/0")
    assert (file.content, file.headers["Content-Type"]) == (spot_picture(), "image/png")
    assert file.headers["Cache-Control"] == "no-cache"
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    again = server.get("/models/spot/examples/0/0", headers={"If-None-Match": file.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    small = server.get("/models/spot/examples/0/0/small")
    assert small.headers["Content-Type"] == "image/webp"
    assert len(small.content) < 20_000


def test_pages_offer_examples_and_answer_them(server: ServerProcess) -> None:
    home = server.get("/").text
    assert 'src="/models/spot/examples/0/0/small"' in home
    for name in MODELS:
        page = server.get(f"/models/{name}").text
        assert f'formaction="/models/{name}?example=0#answer"' in page
    answers = {
        ("spot", 0): '<p class="verdict">light</p>',
        ("spot", 1): '<p class="verdict">dark</p>',
        ("couple", 0): "37.2",
        ("tables", 1): "60.00",
        ("lists", 0): "21",
        ("writer", 1): "w3",
        ("review", 0): "the film was good",
    }
    for (name, number), said in answers.items():
        answer = server.post(f"/models/{name}?example={number}")
        assert answer.status_code == 200, name
        assert said in answer.text.partition("Use this from code")[0], name
    assert 'value="10"' in server.post("/models/tables?example=1").text
    wrong = server.post("/models/spot?example=9")
    assert wrong.status_code == 404
    assert "expected a whole number from 0 to 1" in wrong.text


def test_examples_are_in_programs_and_in_the_document(server: ServerProcess) -> None:
    page = server.get("/models/tables").text
    assert re.search(r"&#34;a&#34;: 1, &#34;b&#34;: 2", page)
    assert "/api/models/spot/example" in server.get("/models/spot").text
    document = server.get("/openapi.json").json()
    validate(document)
    body = document["paths"]["/api/tables"]["post"]["requestBody"]["content"]["application/json"]
    assert [*body["examples"]] == ["Small", "Example 2"]
    assert body["examples"]["Small"]["value"]["second"] == {"c": 3}
    assert "/api/models/{name}/example" in document["paths"]


# --- explanations


def light(pixels: np.ndarray[Any, Any]) -> float:
    """What the model `spot` computes."""
    mean = float(pixels[:4, :4].astype(np.float64).mean())
    return float(1 / (1 + np.exp(-(mean - 100) / 40)))


def test_the_drops_are_what_the_model_computes_without_each_patch(server: ServerProcess) -> None:
    answer = server.post("/api/spot?explain=occlusion", content=spot_picture()).json()
    assert [*answer] == ["id", "model", "version", "predictions", "explanation"]
    assert answer["predictions"][0]["label"] == "light"
    found = answer["explanation"]
    assert (found["method"], found["rows"]) == ("occlusion", 65)
    (target,) = found["outputs"].values()
    pixels = np.asarray(Image.open(io.BytesIO(spot_picture())))
    whole = light(pixels)
    assert target == {"label": "light", "probability": pytest.approx(whole, abs=1e-5)}
    (picture,) = found["inputs"].values()
    assert (picture["size"], picture["grid"], picture["patch"]) == ([SIDE, SIDE], [8, 8], [2, 2])
    (drops,) = picture["drops"].values()
    mean = pixels.mean((0, 1)).round()
    for y in range(8):
        for x in range(8):
            changed = pixels.copy()
            changed[2 * y : 2 * y + 2, 2 * x : 2 * x + 2] = mean
            assert drops[y][x] == pytest.approx(whole - light(changed), abs=2e-5)
    assert min(drops[0][:2]) > 0.03
    assert drops[5][5] == 0
    shown = picture["picture"]
    assert shown.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(b64decode(shown.partition(",")[2]))) as image:
        assert image.size == (SIDE, SIDE)


def test_the_prediction_is_that_of_an_ordinary_request(server: ServerProcess) -> None:
    for content in (spot_picture(), grey(90), grey(110)):
        plain = server.post("/api/spot", content=content).json()
        explained = server.post("/api/spot?explain=occlusion", content=content).json()
        assert explained["predictions"] == plain["predictions"]


def test_all_forms_of_one_picture(server: ServerProcess) -> None:
    example = server.get("/api/models/spot/example").json()
    in_json = server.post("/api/spot?explain=occlusion", json=example).json()
    files = {"image": ("a.png", spot_picture())}
    in_form = server.post("/api/spot?explain=occlusion", files=files).json()
    assert in_json["explanation"] == in_form["explanation"]


def test_a_number_and_several_inputs_and_outputs(server: ServerProcess) -> None:
    found = server.post("/api/mean?explain=occlusion", content=grey(100)).json()["explanation"]
    assert found["outputs"] == {"mean": {"value": 100.0, "unit": "grey"}}
    assert np.abs(found["inputs"]["picture"]["drops"]["mean"]).max() == 0
    row = server.get("/api/models/couple/example").json()
    found = server.post("/api/couple?explain=occlusion", json=row).json()["explanation"]
    assert [*found["inputs"]] == ["left", "right"]
    # 32 patches at most for each: 5 by 5 are asked for, as many as fit the pixels are there.
    assert found["rows"] == 1 + sum(np.prod(each["grid"]) for each in found["inputs"].values())
    assert found["rows"] <= 65
    assert [*found["outputs"]] == ["age", "gender"]
    assert {*found["inputs"]["left"]["drops"]} == {"age", "gender"}


@pytest.mark.parametrize("name", ["review", "mood"])
def test_the_drops_are_what_the_model_answers_without_each_word(
    server: ServerProcess, name: str
) -> None:
    text = "The film\n was  good, not bad!"
    answer = server.post(f"/api/{name}?explain=occlusion", json=text).json()
    plain = server.post(f"/api/{name}", json=text).json()["predictions"]
    assert answer["predictions"] == plain
    found = answer["explanation"]
    (taken,) = found["inputs"].values()
    assert taken["words"] == ["The", "film", "was", "good,", "not", "bad!"]
    assert found["rows"] == 7
    (target,) = found["outputs"].values()
    (drops,) = taken["drops"].values()
    for word, drop in zip(taken["words"], drops, strict=True):
        without = server.post(f"/api/{name}", json=text.replace(word, "")).json()
        tops = without["predictions"][0]["top"]
        (left,) = [top["probability"] for top in tops if top["label"] == target["label"]]
        assert drop == pytest.approx(target["probability"] - left, abs=3e-6)
    assert max(map(abs, drops)) > 0


def test_a_long_text_has_groups_of_words_and_a_short_one_may_become_empty(
    server: ServerProcess,
) -> None:
    words = [f"good{i % 7}" if i % 3 else "good" for i in range(150)]
    found = server.post("/api/review?explain=occlusion", json=" ".join(words)).json()["explanation"]
    (taken,) = found["inputs"].values()
    assert len(taken["words"]) <= 64
    assert " ".join(taken["words"]) == " ".join(words)
    found = server.post("/api/review?explain=occlusion", json=" good ").json()["explanation"]
    assert found["inputs"]["review"]["words"] == ["good"]
    page = server.post("/models/review?explain=occlusion", data={"text": "the film was good"})
    assert page.status_code == 200
    assert page.text.count('<span class="falls-') + page.text.count('<span class="rises-') == 4


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/spot?explain=gradients", None, 422, "explain: not a method, expected occlusion"),
        ("/api/spot?explain=", None, 422, "explain: not a method"),
        ("/api/quiet?explain=occlusion", None, 400, "turns explanations off"),
        ("/api/tables?explain=occlusion", {}, 400, "takes fields, fields and answers number"),
        ("/api/lists?explain=occlusion", [], 400, "takes tensor and answers tensor"),
        ("/api/writer?explain=occlusion", {}, 400, "this one writes texts"),
        ("/predict?explain=occlusion", None, 400, "goes with one model"),
    ],
)
def test_where_there_is_no_explanation(
    server: ServerProcess, path: str, body: Any, status: int, message: str
) -> None:
    sent: dict[str, Any] = {"content": spot_picture()} if body is None else {"json": body}
    answer = server.post(path, **sent)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_one_row_at_a_time(server: ServerProcess) -> None:
    files = [("image", ("a.png", spot_picture()))] * 2
    answer = server.post("/api/spot?explain=occlusion", files=files)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "explain: 2 rows, expected one at a time"
    bad = server.post("/api/spot?explain=occlusion", content=b"no picture")
    assert bad.status_code == 422


def test_more_at_once_than_a_model_explains_are_refused(server: ServerProcess) -> None:
    def ask(_: int) -> httpx.Response:
        return server.post("/api/spot?explain=occlusion", content=spot_picture())

    with ThreadPoolExecutor(12) as pool:
        answers = [*pool.map(ask, range(36))]
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 503}
    assert 200 in statuses
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "overloaded"
            assert int(answer.headers["Retry-After"]) >= 1
    # They take no places of others.
    assert server.waiting("spot") == 0
    assert server.post("/api/spot", content=spot_picture()).status_code == 200


def test_an_explanation_ends_with_its_request(tmp_path: Path) -> None:
    """Clients that hang up, and deadlines: those after them are answered."""
    save_slow(tmp_path / "models" / "slow", "timeout_s: 30")
    save_slow(tmp_path / "models" / "late", "timeout_s: 0.05")
    body = spot_picture()
    with serving(tmp_path / "models", tmp_path) as server:
        line = "POST /api/slow?explain=occlusion HTTP/1.1\r\nHost: a\r\n"
        head = f"{line}Content-Length: {len(body)}\r\n\r\n"
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(head.encode() + body)
                time.sleep(0.2)
        eventually(lambda: len(server.requests(status=499)) == 2, said=server.log())
        # Else the two would be as many as there may be at once.
        assert server.post("/api/slow?explain=occlusion", content=body).status_code == 200
        for _ in range(3):
            answer = server.post("/api/late?explain=occlusion", content=body)
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "deadline_exceeded"
        assert server.waiting("late") == 0
        assert "Traceback" not in server.log()


def test_the_document_describes_explanations(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    operation = document["paths"]["/api/couple"]["post"]
    assert "explain" in [p.get("name") for p in operation["parameters"]]
    quiet = document["paths"]["/api/quiet"]["post"]["parameters"]
    assert "explain" not in [p.get("name") for p in quiet]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    row = server.get("/api/models/couple/example").json()
    OAS31Validator(whole).validate(server.post("/api/couple?explain=occlusion", json=row).json())
    OAS31Validator(whole).validate(server.post("/api/couple", json=row).json())
    assert server.get("/api/models/spot").json()["explain"] == ["occlusion"]
    assert server.get("/api/models/quiet").json()["explain"] == []


def test_pages_draw_where_the_model_looks(server: ServerProcess) -> None:
    files = {"image": ("a.png", spot_picture())}
    page = server.post("/models/spot?explain=occlusion", files=files).text
    assert page.count("<rect ") == 64
    assert "The redder a patch, the more is taken from light" in page
    assert "Where does it look?" not in server.get("/models/quiet").text
    two = [("image", ("a.png", spot_picture()))] * 2
    answer = server.post("/models/spot?explain=occlusion", files=two)
    assert answer.status_code == 422
    assert "one picture at a time" in answer.text
    form = {
        "input0": ("a.png", grey(51)),
        "input1": ("b.png", grey(7)),
        "input2_0": (None, "40"),
        "input2_1": (None, "1.5"),
    }
    page = server.post("/models/couple?explain=occlusion", files=form).text
    assert page.count('<figure class="heat">') == 4


# --- changes and the command line


def test_changed_examples_load_the_model_again_but_not_its_file(
    server: ServerProcess, folder: Path
) -> None:
    def loaded() -> Any:
        return server.get("/api/models/spot").json()["loaded_at"]

    before, start = loaded(), len(server.log())
    (folder / "spot" / "spot.png").write_bytes(grey(200))
    eventually(lambda: loaded() != before, said="it was not loaded again")
    assert server.get("/models/spot/examples/0/0").content == grey(200)
    assert '"from_cache":true' in server.log()[start:].replace(" ", "")
    before = loaded()
    card = folder / "spot" / "model.yaml"
    card.write_text(card.read_text().replace("spot.png", "gone.png"))
    eventually(
        lambda: "gone.png cannot be read" in server.get("/api/models/spot").text,
        said="a missing file was not reported",
    )
    # What served so far keeps serving.
    assert server.post("/api/spot", content=spot_picture()).status_code == 200
    card.write_text(card.read_text().replace("gone.png", "spot.png"))
    eventually(lambda: "reason" not in server.get("/api/models/spot").json(), said="still failed")
