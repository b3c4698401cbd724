"""Texts over HTTP: native, v1, v2, the page, OpenAPI, the command line; each answer is Keras's."""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.answers import predictions, problems
from tests.command_line import CommandLine
from tests.support import ServerProcess, serving
from tests.texts import CHARACTERS, IMDB_LENGTH, IMDB_TOKENS, WORD_INDEX, WORDS, padded, save_texts

# A word that the model does not know, punctuation, capitals, letters beyond ASCII.
REVIEW = "The FILM, was über good; don't miss it!"
SHORT = "good film"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_texts(tmp_path_factory.mktemp("texts") / "models")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(folder, tmp_path_factory.mktemp("texts-uploads")) as found:
        yield found


def filtered(text: str) -> list[str]:
    """What `text_to_word_sequence` of Keras gives."""
    marks = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
    return [w for w in text.lower().translate(dict.fromkeys(map(ord, marks), " ")).split(" ") if w]


def imdb_ids(text: str) -> Any:
    """As `imdb.load_data(num_words=11)` and `pad_sequences` make them."""
    ids = [1, *(WORD_INDEX.get(word, 10**6) + 3 for word in filtered(text))]
    return padded([i if i < IMDB_TOKENS else 2 for i in ids], IMDB_LENGTH)


def stars_ids(text: str) -> Any:
    """As a Tokenizer with `oov_token` makes them."""
    known = {word: i + 2 for i, word in enumerate(WORDS)}
    return padded([known.get(word, 1) for word in filtered(text)], 12)


def letters(text: str) -> Any:
    known = {character: i for i, character in enumerate(CHARACTERS)}
    return padded([known.get(character, 1) for character in text.lower()], 16)


@pytest.fixture(scope="module")
def keras_answers(folder: Path) -> Callable[[str, Any], list[list[float]]]:
    """What Keras itself gives for a model's tensor."""
    import keras
    import tensorflow as tf

    models: dict[str, Any] = {}

    def ask(name: str, tensor: Any) -> list[list[float]]:
        if name not in models:
            models[name] = keras.saving.load_model(folder / name / "model.keras", compile=False)
        given = tf.constant(tensor)
        found: list[list[float]] = models[name](given, training=False).numpy().tolist()
        return found

    return ask


def close(value: Any) -> Any:
    return pytest.approx(value, abs=2e-5)


def chances(prediction: dict[str, Any], labels: list[str]) -> list[float]:
    found = {top["label"]: top["probability"] for top in prediction["top"]}
    return [found[label] for label in labels]


# --- each layout gives what Keras gives


@pytest.mark.parametrize("text", [REVIEW, SHORT, "rare rarest " * 9])
def test_texts_as_they_are(
    server: ServerProcess, keras_answers: Callable[[str, Any], Any], text: str
) -> None:
    wanted = keras_answers("sentiment", [[text]])
    (prediction,) = predictions(server.post("/api/sentiment", json=text))
    assert chances(prediction, ["bad", "fair", "good"]) == close(wanted[0])
    instances = {"instances": [text]}
    answer = server.post("/v1/models/sentiment:predict", json=instances)
    assert predictions(answer)[0] == close(wanted[0])
    encoded = {"inputs": [[{"b64": b64encode(text.encode()).decode()}]]}
    answer = server.post("/v1/models/sentiment:predict", json=encoded)
    assert answer.json()["outputs"][0] == close(wanted[0])
    sent = {"name": "review", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    answer = server.post("/v2/models/sentiment/infer", json={"inputs": [sent]})
    assert answer.json()["outputs"][0]["data"] == close(wanted[0])


def test_a_saved_model_of_texts(server: ServerProcess, folder: Path) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(folder / "exported")
    wanted = loaded.serve(tf.constant([[REVIEW]])).numpy()[0].tolist()
    (prediction,) = predictions(server.post("/api/exported", json={"text": REVIEW}))
    assert chances(prediction, ["0", "1", "2"]) == close(wanted)


@pytest.mark.parametrize("text", [REVIEW, SHORT, "good " * 50, "rare film rarest"])
@pytest.mark.parametrize(
    ("name", "ids"), [("imdb", imdb_ids), ("stars", stars_ids), ("spelling", letters)]
)
def test_ids_of_words_and_characters(
    server: ServerProcess,
    keras_answers: Callable[[str, Any], Any],
    name: str,
    ids: Callable[[str], Any],
    text: str,
) -> None:
    (about,) = server.get(f"/api/models/{name}").json()["signature"]["inputs"]
    tensor = ids(text).astype(about["dtype"])
    wanted = keras_answers(name, tensor)[0]
    (prediction,) = predictions(server.post(f"/api/{name}", json=text))
    if name == "imdb":
        assert chances(prediction, ["yes"]) == close(wanted)
    else:
        value = next(iter(prediction.values()))
        assert value == close(wanted if name == "spelling" else wanted[0])
    # As text, and as the ids themselves.
    for instance in (text, tensor[0].tolist(), {"b64": b64encode(text.encode()).decode()}):
        answer = server.post(f"/v1/models/{name}:predict", json={"instances": [instance]})
        assert predictions(answer)[0] == close(wanted)
    datatype = {"int32": "INT32", "int64": "INT64", "float32": "FP32"}[about["dtype"]]
    for form in (
        {"datatype": "BYTES", "shape": [1], "data": [text]},
        {"datatype": datatype, "shape": [*tensor.shape], "data": tensor.tolist()},
    ):
        sent = {"inputs": [{"name": about["name"], **form}]}
        answer = server.post(f"/v2/models/{name}/infer", json=sent)
        assert answer.json()["outputs"][0]["data"] == close(wanted)


def test_a_text_and_fields(server: ServerProcess, folder: Path) -> None:
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(folder / "advert" / "model.keras")
    facts = {"price": 0.5, "age": -1}
    wanted = model([tf.constant([SHORT]), tf.constant([[0.5, -1.0]])]).numpy()[0].tolist()
    body = {"title": SHORT, "facts": facts}
    files = [("title", (None, SHORT)), ("facts", (None, json.dumps(facts)))]
    table = f"title,price,age\n{SHORT},0.5,-1\n"
    for answer in (
        server.post("/api/advert", json=body),
        server.post("/api/advert", files=files),
        server.post("/api/advert", content=table, headers={"Content-Type": "text/csv"}),
        server.post("/api/advert", files={"file": ("a.csv", table)}),
    ):
        (prediction,) = predictions(answer)
        assert chances(prediction, ["yes"]) == close(wanted)
    bad = [{"title": "", "facts": facts}, {"title": 3, "facts": {"price": 1}}]
    assert problems(server.post("/api/advert", json=bad)) == {
        "[0].title": "empty",
        "[1].title": "wrong type",
        "[1].facts.age": "missing",
    }


# --- bodies


def test_every_form_of_a_text(server: ServerProcess) -> None:
    (alone,) = predictions(server.post("/api/imdb", json=REVIEW))
    table = f'review\n"{REVIEW}"\n{SHORT}\n'
    quoted = {"Content-Type": "text/csv"}
    for answer in (
        server.post("/api/imdb", json=[REVIEW, SHORT]),
        server.post("/api/imdb", json=[[REVIEW], [SHORT]]),
        server.post("/api/imdb", json=[{"review": REVIEW}, {"text": SHORT}]),
        server.post("/api/imdb", content=table, headers=quoted),
        server.post("/api/imdb", content=table.replace("review", "text", 1), headers=quoted),
        server.post("/api/imdb", files={"file": ("texts.csv", table)}),
        server.post("/api/imdb", files=[("review", (None, REVIEW)), ("text", (None, SHORT))]),
        server.post("/api/imdb", files=[("review", ("a.txt", REVIEW)), ("text", (None, SHORT))]),
    ):
        first, second = predictions(answer)
        assert first == alone
        assert second["unknown_share"] == 0
    assert alone["unknown_share"] == 0.25


def test_all_problems_of_all_texts_at_once(server: ServerProcess) -> None:
    bad = ["", " \n", 5, "zebra!", "x" * 10_001, None, ["good"], [1], "good"]
    assert problems(server.post("/api/stars", json=bad)) == {
        "[2]": "wrong type",
        "[5]": "wrong type",
        "[7]": "wrong type",
    }
    bad = ["", " \n", "zebra!", "x" * 10_001, "?", "good"]
    assert problems(server.post("/api/stars", json=bad)) == {
        "[0]": "empty",
        "[1]": "empty",
        "[2]": "no known word",
        "[3]": "too long",
        "[4]": "no known word",
    }
    assert problems(server.post("/api/stars", json={"ids": "good", "other": 1})) == {
        "other": "unexpected"
    }
    assert problems(server.post("/api/stars", json={"ids": "good", "text": "bad"})) == {
        "text": "unexpected"
    }
    assert problems(server.post("/api/stars", json={})) == {"ids": "missing"}
    table = server.post(
        "/api/stars", content="ids,other\ngood,1\n", headers={"Content-Type": "text/csv"}
    )
    assert problems(table) == {"column other": "unexpected"}
    kept = server.post(
        "/api/stars?extra=keep", files={"file": ("a.csv", "other,ids\n1,good\n,good\n")}
    )
    assert len(predictions(kept)) == 2


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"good", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
        (b"none\ngood\n", "text/csv", 400),
        (b"good", "image/png", 415),
    ],
)
def test_other_bodies_are_refused(
    server: ServerProcess, content: bytes, media_type: str, status: int
) -> None:
    answer = server.post("/api/stars", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status, answer.text


def test_a_text_may_have_ten_thousand_characters(server: ServerProcess) -> None:
    for name in ("sentiment", "stars"):
        text = "good " * 2000
        assert len(predictions(server.post(f"/api/{name}", json=text))) == 1
        assert problems(server.post(f"/api/{name}", json=text + "x")).popitem()[1] == "too long"
        v1 = server.post(f"/v1/models/{name}:predict", json={"instances": [text + "x"]})
        assert v1.status_code == 400
        assert "too long" in v1.json()["error"]


def test_many_texts_of_many_tokens_are_refused(server: ServerProcess) -> None:
    most = 4_000_000 // 12
    assert most > 100_000
    answer = server.post("/api/stars", json=["good"] * 100_001)
    assert answer.status_code == 422
    assert "100,001 rows" in answer.json()["error"]["message"]


# --- descriptions


def test_models_of_texts_describe_themselves(server: ServerProcess) -> None:
    about = server.get("/api/models/imdb").json()
    assert about["inputs"]["review"] == {
        "kind": "text",
        "max_characters": 10_000,
        "level": "word",
        "vocabulary": 7,
        "length": 6,
        "lower": True,
        "padding": "pre",
        "truncation": "pre",
        "start": 1,
        "unknown": 2,
    }
    assert about["guessed"] == ["inputs.review.punctuation", "inputs.review.padding"]
    text = server.get("/api/models/sentiment").json()
    assert text["inputs"]["review"] == {"kind": "text", "max_characters": 10_000}
    assert text["guessed"] == []
    assert text["outputs"]["mood"]["labels"] == ["bad", "fair", "good"]
    stars = server.get("/api/models/stars").json()
    assert stars["guessed"][:1] == ["inputs"]
    # Without its words, an Embedding takes lists; the guess says what the card needs.
    ids = server.get("/api/models/ids").json()
    assert ids["task"] == "tensor"
    assert ids["guessed"] == ["inputs.ids.length"]
    assert (
        "the card names their vocabulary and the length of texts" in server.get("/models/ids").text
    )


def test_the_document_is_valid_and_true(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    validate(document)
    for name in ("sentiment", "exported", "imdb", "stars", "spelling", "advert"):
        operation = document["paths"][f"/api/{name}"]["post"]
        content = operation["requestBody"]["content"]
        body = content["application/json"]
        components = {"components": document["components"]}
        OAS31Validator({**body["schema"], **components}).validate(body["example"])
        answer = server.post(f"/api/{name}", json=body["example"])
        assert answer.status_code == 200, answer.text
        given = operation["responses"]["200"]["content"]["application/json"]["schema"]
        OAS31Validator({**given, **components}).validate(answer.json())
        table = content["text/csv"]["example"]
        sent = server.post(f"/api/{name}", content=table, headers={"Content-Type": "text/csv"})
        assert sent.json()["predictions"] == answer.json()["predictions"]
        OAS31Validator({"$ref": "#/components/schemas/Model", **components}).validate(
            server.get(f"/api/models/{name}").json()
        )
    for path in ("/v1/models/{name}:predict", "/v2/models/{name}/infer"):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for name in ("sentiment", "imdb", "stars", "spelling", "advert"):
            body = examples["examples"][name]["value"]
            answer = server.post(path.format(name=name), json=body)
            assert answer.status_code == 200, answer.text


# --- the page without scripts


def test_the_page_answers_a_text(server: ServerProcess) -> None:
    page = server.get("/models/imdb").text
    assert 'name="text" rows="5"' in page
    assert "a text, whose 6 words are looked up among 7" in page
    answer = server.post("/models/imdb", data={"text": REVIEW})
    assert answer.status_code == 200
    for words in ("25.0 % of the words are not known to the model", "<meter", 'class="verdict"'):
        assert words in answer.text
    answer = server.post("/models/imdb", data={"text": "zebra"})
    assert answer.status_code == 422
    assert "no known word: expected a text with at least one word that the model" in answer.text
    answer = server.post("/models/advert", files={"input0": (None, SHORT), "input1_0": (None, "1")})
    assert answer.status_code == 422
    assert "missing: expected a number" in answer.text
    parts = {"input0": (None, SHORT), "input1_0": (None, "1"), "input1_1": (None, "1")}
    assert 'class="verdict"' in server.post("/models/advert", files=parts).text


def test_the_page_answers_a_table(server: ServerProcess) -> None:
    table = f'review\n"{REVIEW}"\n{SHORT}\n'
    answer = server.post("/models/imdb?download", files={"file": ("a.csv", table)})
    # Texts beyond ASCII: with the mark by which spreadsheets recognise UTF-8.
    rows = [*csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))]
    assert [row["review"] for row in rows] == [REVIEW, SHORT]
    assert [row["unknown_share"] for row in rows] == ["0.25", "0"]
    assert {row["label"] for row in rows} <= {"yes", "no"}
    page = server.post("/models/imdb?table", files={"file": ("a.csv", "review\ngood\nzebra\n")})
    assert page.status_code == 422
    assert "line 3: " in page.text


# --- the command line


def test_predict_takes_texts(
    command_line: CommandLine, server: ServerProcess, folder: Path, tmp_path: Path
) -> None:
    wanted = predictions(server.post("/api/imdb", json=[REVIEW, SHORT]))
    run = command_line.run(folder, "predict", "imdb", "--text", REVIEW, "--text", SHORT, "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)["predictions"]
    assert [each["label"] for each in found] == [each["label"] for each in wanted]
    (tmp_path / "a.txt").write_text(REVIEW)
    (tmp_path / "b.csv").write_text(f"review\n{SHORT}\nzebra\n")
    files = [str(tmp_path / "a.txt"), str(tmp_path / "b.csv")]
    run = command_line.run(folder, "predict", "imdb", *files, "--csv")
    assert run.returncode == 1
    assert "line 3: review: no known word, expected a text with at least one word" in run.stderr
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    assert row["unknown_share"] == "0.25"


def test_card_writes_the_guesses(command_line: CommandLine, folder: Path) -> None:
    run = command_line.run(folder, "card", str(folder / "stars" / "model.keras"), "--stdout")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.partition("  ids:\n")[2].splitlines()
    assert lines[:2] == ["    kind: text", "    vocabulary: tokenizer.json"]
    assert lines[2].startswith("    # Check this: that texts of ids are padded before their first")
    assert lines[3] == "    # padding: pre  # remove the first # once you know"
