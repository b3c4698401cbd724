"""Two pictures, fields and three heads over HTTP: native, v1, v2, the page and OpenAPI."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.answers import predictions, problems
from tests.couple import FACTS, check, row, text
from tests.kinds import grey, save_kinds
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kinds(tmp_path_factory.mktemp("kinds") / "models")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(folder, tmp_path_factory.mktemp("kinds-uploads")) as found:
        yield found


# --- native


def test_an_object_has_a_value_for_each_input(server: ServerProcess) -> None:
    (prediction,) = predictions(server.post("/api/couple", json=row()))
    check(prediction)


def test_pictures_are_base64_of_either_alphabet_or_data_urls(server: ServerProcess) -> None:
    data = grey(51)
    plain = text(data)
    for left in (
        plain,
        plain.rstrip("="),
        urlsafe_b64encode(data).decode(),
        "\n".join(plain[i : i + 76] for i in range(0, len(plain), 76)),
        f"data:image/png;base64,{plain}",
        f"DATA:;BASE64,{plain}",
    ):
        check(*predictions(server.post("/api/couple", json={**row(), "left": left})))


def test_a_list_has_a_row_an_object(server: ServerProcess) -> None:
    rows = [row(left=i * 10, right=i, weight=i) for i in range(1, 20)]
    for i, prediction in enumerate(predictions(server.post("/api/couple", json=rows)), 1):
        check(prediction, i * 10, i, i)


def test_a_form_has_a_part_for_each_input_and_row(server: ServerProcess) -> None:
    files = [
        ("left", ("a.png", grey(51))),
        ("right", ("b.png", grey(7))),
        ("facts", (None, json.dumps(FACTS))),
    ]
    check(*predictions(server.post("/api/couple", files=files)))
    more = [
        ("facts", (None, json.dumps({**FACTS, "weight": 1}))),
        ("right", ("b.jpg", grey(9, format="JPEG"))),
        ("left", ("a.png", grey(102))),
    ]
    first, second = predictions(server.post("/api/couple", files=files + more))
    check(first)
    check(second, 102, 9, 1)


def test_all_problems_of_all_inputs_at_once(server: ServerProcess) -> None:
    bad = [
        {**row(), "left": "###", "colour": "red"},
        {"left": text(b"no picture"), "facts": {"weight": 101}},
        row(),
    ]
    assert problems(server.post("/api/couple", json=bad)) == {
        "[0].colour": "unexpected",
        "[1].right": "missing",
        "[0].left": "not base64",
        "[1].facts.weight": "out of range",
        "[1].facts.height": "missing",
    }
    bad[0] = row()
    assert problems(server.post("/api/couple", json=bad)) == {
        "[1].right": "missing",
        "[1].facts.weight": "out of range",
        "[1].facts.height": "missing",
        "[1].left": "not a picture in a supported format",
    }
    unreadable = {**row(), "left": text(b"no"), "right": text(grey(1)[:45])}
    found = problems(server.post("/api/couple", json=unreadable))
    assert found["left"] == "not a picture in a supported format"
    assert found["right"].startswith("the picture is damaged")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], {"left": "missing", "right": "missing", "facts": "missing"}),
        (
            [("left", ("a.png", grey(1))), ("right", ("", b"")), ("facts", (None, "{"))],
            {"right": "missing", "facts": "not JSON"},
        ),
        (
            [
                ("left", ("a.png", grey(1))),
                ("left", ("b.png", grey(2))),
                ("right", ("c.png", grey(3))),
                ("facts", (None, json.dumps(FACTS))),
                ("other", (None, "x")),
            ],
            {"other": "unexpected", "body": "different numbers of rows"},
        ),
    ],
)
def test_problems_of_a_form(
    server: ServerProcess, files: list[Any], expected: dict[str, str]
) -> None:
    files = files or [("none", (None, ""))]
    found = problems(server.post("/api/couple", files=files))
    found = {field: problem.partition(":")[0] for field, problem in found.items()}
    found.pop("none", None)
    assert found == expected


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"3", "application/json", 422),
        (grey(1), "image/png", 415),
        (b"a\n1\n", "text/csv", 415),
    ],
)
def test_other_bodies_are_refused(
    server: ServerProcess, content: bytes, media_type: str, status: int
) -> None:
    headers = {"Content-Type": media_type}
    answer = server.post("/api/couple", content=content, headers=headers)
    assert answer.status_code == status, answer.text


def test_pictures_of_all_inputs_count_against_the_limit(server: ServerProcess) -> None:
    # Not one is decoded: 501 rows of two pictures are more than a request may have.
    rows = [row()] * 501
    answer = server.post("/api/couple", json=rows)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("1002 pictures in one request")


def test_a_number_from_a_picture(server: ServerProcess) -> None:
    answer = server.post("/api/ages", content=grey(34))
    (prediction,) = predictions(answer)
    # Without a card's word on the scale pixels are 0..1.
    assert prediction == {"age": 0.0}
    assert server.get("/api/models/ages").json()["guessed"] == ["inputs", "inputs.face.scale"]
    form = server.post("/api/ages", files={"face": grey(34)})
    assert predictions(form) == [prediction]


@pytest.mark.parametrize(
    ("scale", "age"),
    [("none", 200.0), ("0..1", 1.0), ("-1..1", 1.0), ("torch", 1.0), ("caffe", 85.0)],
)
def test_another_scale_may_be_tried_where_it_is_a_guess(
    server: ServerProcess, scale: str, age: float
) -> None:
    answer = server.post(f"/api/ages?scale={scale}", content=grey(200))
    assert predictions(answer) == [{"age": age}]
    page = server.post(f"/models/ages?scale={scale}", files={"image": ("a.png", grey(200))})
    assert f'<p class="reading-value">{age:.0f} ' in page.text
    assert f'data-scale="{scale}" aria-current="true"' in page.text
    assert page.text.count(f"/api/ages?scale={scale}") == 4
    assert f"scaled 0..1 (a guess; this page tries {scale})" in page.text
    for similar in (f"/api/ages?scal={scale}", f"/predict?scale={scale}"):
        assert server.post(similar, content=grey(200)).status_code == 400


def test_a_scale_that_the_card_states_is_not_for_trying(server: ServerProcess) -> None:
    answer = server.post("/api/couple?scale=none", json=row())
    settled = "left: 0..1, by its card; right: none, by its card"
    assert problems(answer) == {"scale": f"the scale of this model is settled ({settled})"}
    assert problems(server.post("/api/ages?scale=2", content=grey(1))) == {
        "scale": "not a scale of this model"
    }
    # Of the two pictures of a bare file both are guesses.
    body = {**row(), "facts": {"x0": 40, "x1": 1.5}}
    (answered,) = predictions(server.post("/api/bare?scale=none", json=body))
    assert answered["age"] == pytest.approx(51 + 7 + 40)
    about = server.get("/openapi.json").json()["paths"]
    names = [p.get("name") for p in about["/api/ages"]["post"]["parameters"]]
    assert "scale" in names
    assert "scale" not in [p.get("name") for p in about["/api/couple"]["post"]["parameters"]]


def test_fields_of_several_inputs_are_one_table(server: ServerProcess) -> None:
    table = "a;c;b\n1;3;2\n4;6;5\n"
    expected = [
        {"sum": 6.0, "corner": {"x": 1.0, "y": 3.0}},
        {"sum": 15.0, "corner": {"x": 4.0, "y": 6.0}},
    ]
    headers = {"Content-Type": "text/csv"}
    assert predictions(server.post("/api/tables", content=table, headers=headers)) == expected
    assert predictions(server.post("/api/tables", files={"file": ("t.csv", table)})) == expected
    rows = [{"first": {"a": 1, "b": 2}, "second": {"c": 3}}]
    assert predictions(server.post("/api/tables", json=rows)) == expected[:1]
    wrong = server.post("/api/tables", content="a,b,c,d\n1,x,3,4\n", headers=headers)
    assert problems(wrong) == {"column d": "unexpected", "[0].b": "wrong type"}


# --- descriptions


def test_a_model_is_described_by_its_kinds(server: ServerProcess) -> None:
    about = server.get("/api/models/couple").json()
    assert about["task"] is None
    assert {name: each["kind"] for name, each in about["inputs"].items()} == {
        "left": "picture",
        "right": "picture",
        "facts": "fields",
    }
    assert about["inputs"]["right"]["color"] == "grey"
    age = {"kind": "number", "unit": "years", "decimals": 1, "count": 1}
    assert about["outputs"]["age"] == age
    assert about["outputs"]["gender"]["labels"] == ["female", "male"]
    assert about["outputs"]["features"] == {"kind": "vector", "length": 3}


def test_a_bare_file_has_guesses(server: ServerProcess) -> None:
    about = server.get("/api/models/bare").json()
    assert about["state"] == "ready", about
    assert {name: each["kind"] for name, each in about["inputs"].items()} == {
        "left": "picture",
        "right": "picture",
        "facts": "fields",
    }
    assert {"inputs", "inputs.left.scale", "inputs.right.scale"} <= {*about["guessed"]}
    # Its softmax is proven; what a sum of numbers is, is not.
    kinds = [key for key in about["guessed"] if key.endswith(".kind")]
    assert kinds == ["outputs.age.kind", "outputs.features.kind"]
    page = server.get("/models/bare")
    assert "the input scale 0..1 of left (the file does not show it); the input" in page.text
    assert "scaled 0..1 (a guess)" in page.text


def test_the_document_is_valid_and_true(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    validate(document)
    schemas = document["components"]["schemas"]

    def fits(value: Any, schema: dict[str, Any]) -> None:
        OAS31Validator({**schema, "components": document["components"]}).validate(value)

    operation = document["paths"]["/api/couple"]["post"]
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    example = content["application/json"]["example"]
    fits(example, schemas["couple.input"])
    fits(row(), schemas["couple.input"])
    answer = server.post("/api/couple", json=example)
    fits(
        answer.json(),
        operation["responses"]["200"]["content"]["application/json"]["schema"],
    )
    for name in ("couple", "bare", "ages", "tables"):
        about = server.get(f"/api/models/{name}").json()
        fits(about, schemas["Model"])


def test_the_examples_of_v1_and_v2_are_answered(server: ServerProcess) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    for path in ("/v1/models/{name}:predict", "/v2/models/{name}/infer"):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        for name in ("couple", "bare", "tables"):
            body = content["examples"][name]["value"]
            answer = server.post(path.format(name=name), json=body)
            assert answer.status_code == 200, answer.text


# --- v1 and v2


def test_v1_takes_encoded_pictures_or_tensors(server: ServerProcess) -> None:
    encoded = {
        "left": {"b64": text(grey(51))},
        "right": {"b64": text(grey(7))},
        "facts": [40, 1.5],
    }
    raw = {
        "left": [[[0.2] * 3] * 8] * 6,
        "right": [[[7.0]] * 4] * 4,
        "facts": [40, 1.5],
    }
    answers = [
        predictions(server.post("/v1/models/couple:predict", json={"instances": [each, each]}))
        for each in (encoded, raw)
    ]
    for answer in answers:
        for one in answer:
            assert one["age"] == pytest.approx([47.2], abs=1e-3)
            assert one["features"] == pytest.approx([0.2, 40, 1.5], abs=1e-5)
    mixed = {**raw, "left": encoded["left"]}
    refused = server.post("/v1/models/couple:predict", json={"instances": [mixed]})
    assert refused.status_code == 400
    assert "right: numbers beside encoded pictures" in refused.json()["error"]


def test_v2_takes_encoded_pictures_or_tensors(server: ServerProcess) -> None:
    facts = {"name": "facts", "datatype": "FP32", "shape": [1, 2], "data": [40, 1.5]}
    raw = [
        {"name": "left", "datatype": "FP32", "shape": [1, 6, 8, 3], "data": [0.2] * 144},
        {"name": "right", "datatype": "FP32", "shape": [1, 4, 4, 1], "data": [7] * 16},
        facts,
    ]
    age = {"outputs": [{"name": "age"}]}
    answer = server.post("/v2/models/couple/infer", json={"inputs": raw, **age})
    assert answer.json()["outputs"][0]["data"] == pytest.approx([47.2], abs=1e-3)
    pictures = [grey(51), grey(7)]
    sizes = [len(data) + 4 for data in pictures]
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": size},
                }
                for name, size in zip(("left", "right"), sizes, strict=True)
            ]
            + [facts],
            **age,
        }
    ).encode()
    body = head + b"".join(len(d).to_bytes(4, "little") + d for d in pictures)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = server.post("/v2/models/couple/infer", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == pytest.approx([47.2], abs=1e-3)
    wanted = [{"name": "gender", "parameters": {"classification": 1}}]
    answer = server.post("/v2/models/couple/infer", json={"inputs": raw, "outputs": wanted})
    assert answer.json()["outputs"][0]["data"] == ["1.000000:0:female"]


# --- the page without scripts


def test_the_page_has_a_part_for_each_input(server: ServerProcess) -> None:
    page = server.get("/models/couple").text
    for name in ("input0", "input1", "input2_0", "input2_1"):
        assert f'name="{name}"' in page
    files = {
        "input0": ("a.png", grey(51)),
        "input1": ("b.png", grey(7)),
        "input2_0": (None, "40"),
        "input2_1": (None, "1.5"),
    }
    answer = server.post("/models/couple", files=files)
    assert answer.status_code == 200
    for words in ("47.2", "years", "female", "100.0 %", "3 numbers, length"):
        assert words in answer.text
    files["input2_0"] = (None, "400")
    files["input1"] = ("", b"")
    answer = server.post("/models/couple", files=files)
    assert answer.status_code == 422
    assert "out of range: expected a number from 0 to 100 (kg)" in answer.text
    assert 'id="input1-problem">missing' in answer.text


def test_the_pages_of_other_pairs(server: ServerProcess) -> None:
    answer = server.post("/models/ages", files={"image": ("a.png", grey(200))})
    assert answer.status_code == 200
    assert '<p class="reading-value">1 <span class="reading-unit">years</span></p>' in answer.text
    texts = {"input0_0": (None, "1"), "input0_1": (None, "2"), "input1_0": (None, "3")}
    answer = server.post("/models/tables", files=texts)
    assert answer.status_code == 200
    assert "6.00" in answer.text
    assert "x: 1" in answer.text
    compared = server.post("/compare", files={"image": grey(200)})
    assert compared.status_code == 200
    assert "years" in compared.text
    everyone = server.post("/predict", files={"image": grey(200)}).json()
    assert everyone["ages"]["predictions"] == [{"age": 1.0}]


def test_the_code_of_the_page_names_every_input(server: ServerProcess) -> None:
    page = server.get("/models/couple").text
    for words in ("-F left=@left.jpg", "-F right=@right.jpg", "json.dumps", "openAsBlob"):
        assert words in page
