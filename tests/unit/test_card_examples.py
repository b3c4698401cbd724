"""The examples of cards: what they may be, what is wrong with others, and what they become."""

from __future__ import annotations

import os
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image

from app.errors import CardError
from app.serving.cards.card import Card
from app.serving.cards.examples import MOST_EXAMPLES
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import parse_card
from app.serving.signature import Signature
from app.serving.tasks import Limits, RowTask
from app.serving.tasks.examples import MOST_BYTES, MOST_TOGETHER, Example, read_examples
from app.serving.tasks.files.thumbnails import SIDE
from app.serving.tasks.text import TextGeneration
from tests.support import picture
from tests.unit.signatures import signature, spec

FIELDS = [{"name": "a", "min": 0, "max": 9}, {"name": "b", "choices": {1: "one", 2: "two"}}]
ROWS = (
    Card.model_validate({"task": "tabular-regression", "fields": FIELDS}),
    signature(spec(shape=(None, 2)), activation="linear"),
)
PICTURES = (
    Card(task="image-classification"),
    signature(spec(shape=(None, 8, 8, 3)), classes=2, activation="softmax"),
)
LISTS = Card(task="tensor"), signature(spec(shape=(None, None, 2)))
TWO_LISTS = Card(task="tensor"), signature(spec("p", shape=(None, 2)), spec("q", shape=(None,)))
SEVERAL = (
    Card.model_validate(
        {
            "inputs": {
                "face": {"kind": "picture"},
                "facts": {"kind": "fields", "fields": FIELDS},
                "state": {"kind": "tensor"},
            }
        }
    ),
    signature(
        spec("face", shape=(None, 8, 8, 3)),
        spec("facts", shape=(None, 2)),
        spec("state", shape=(None, 2)),
        activation="linear",
    ),
)
VOCABULARY = ["", "<unk>", "a", "network"]
Kind = tuple[Card, Signature]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "red cat.jpg").write_bytes(picture(1))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "dog_2.jpg").write_bytes(picture(2))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def task(kind: Kind) -> RowTask:
    return RowTask(completed(*kind)[0], kind[1], Limits())


def read(kind: Kind, folder: Path, *stated: Any, **limits: Any) -> list[Example]:
    return read_examples(task(kind), stated, folder, Limits(**limits))


def problem(kind: Kind, folder: Path, *stated: Any, **limits: Any) -> str:
    with pytest.raises(CardError) as caught:
        read(kind, folder, *stated, **limits)
    assert caught.value.message.startswith("model.yaml: ")
    return caught.value.message.removeprefix("model.yaml: ")


def test_a_picture_is_a_file_of_the_folder(folder: Path) -> None:
    first, second = read(
        PICTURES, folder, "red cat.jpg", {"name": "Rex", "input": "deep/dog_2.jpg"}
    )
    assert (first.name, second.name) == ("Red cat", "Rex")
    (file,) = first.files.values()
    assert (file.name, file.media_type, file.data) == ("red cat.jpg", "image/jpeg", picture(1))
    assert first.thumbnail is not None
    with Image.open(BytesIO(first.thumbnail)) as small:
        assert (small.format, small.size) == ("WEBP", (SIDE, SIDE))
    head, _, text = first.body["image"].partition(",")
    assert (head, b64decode(text)) == ("data:image/jpeg;base64", picture(1))


@pytest.mark.parametrize(
    ("kind", "stated", "body", "name"),
    [
        (ROWS, {"a": 1, "b": 2}, {"a": 1, "b": 2}, "Example 1"),
        (ROWS, {"name": "N", "input": {"a": 1, "b": "two"}}, {"a": 1, "b": "two"}, "N"),
        (LISTS, [[1, 2], [3, 4]], [[[1, 2], [3, 4]]], "Example 1"),
        (TWO_LISTS, {"p": [1, 2], "q": 3}, {"p": [[1, 2]], "q": [3]}, "Example 1"),
    ],
)
def test_a_value_becomes_a_request(
    tmp_path: Path, kind: Kind, stated: Any, body: Any, name: str
) -> None:
    (example,) = read(kind, tmp_path, stated)
    assert example.body == body
    assert example.name == name
    assert not example.files
    task(kind).check_request(example.payload)


def test_a_text_is_the_beginning_of_another() -> None:
    card = Card.model_validate({"task": "text-generation", "text": {"vocabulary": VOCABULARY}})
    writer = TextGeneration(card, signature(spec(shape=(None, 5)), classes=4), Limits())
    (short, long) = read_examples(writer, ["A  network", "a network " * 9], None, Limits())
    assert (short.name, short.body) == ("A network", {"seed": "A  network"})
    assert len(long.name) <= 60
    assert long.name.endswith("…")
    with pytest.raises(CardError, match=r"examples\[0\]: seed: .*; examples\[1\]: seed: "):
        read_examples(writer, ["elephants", 3], None, Limits())


def test_a_value_of_each_of_several_inputs(folder: Path) -> None:
    stated = {"face": "red cat.jpg", "facts": {"a": 1, "b": 1}, "state": [1, 2]}
    (example,) = read(SEVERAL, folder, stated)
    assert example.body["face"].startswith("data:image/jpeg;base64,")
    assert {n: example.body[n] for n in ("facts", "state")} == {
        "facts": {"a": 1, "b": 1},
        "state": [1, 2],
    }
    assert [*example.files] == ["face"]
    parsed = task(SEVERAL).parse(example.payload)
    assert parsed.arrays["facts"].tolist() == [[1, 1]]
    assert problem(SEVERAL, folder, {"face": "x.jpg", "fact": {}}, "red cat.jpg") == (
        "examples[0].fact: expected one of face, facts, state; "
        "examples[0]: a value for facts is missing; examples[0]: a value for state is missing; "
        "examples[0].face: x.jpg cannot be read: No such file or directory; "
        "examples[1]: expected a value for each of face, facts, state"
    )


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("none.jpg", "none.jpg cannot be read: No such file"),
        ("../secret.jpg", "expected the name of a file of this folder, found '../secret.jpg'"),
        ("/etc/passwd", "expected the name of a file of this folder, found '/etc/passwd'"),
        ("deep/../../x.jpg", "expected the name of a file of this folder"),
        ("", "expected the name of a file of this folder, found ''"),
        ("deep", "deep cannot be read: Is a directory"),
        ("pipe", "pipe is no file"),
        ("nul\0.jpg", "cannot be read: embedded null byte"),
        ("notes.txt", "notes.txt: not a picture in a supported format, expected JPEG"),
        ("damaged.jpg", "damaged.jpg: the picture is damaged"),
        ("large.jpg", "large.jpg has more than 1.0 MB, the most of an example"),
        (7, "expected the name of a file of this folder, found 7"),
        ({"name": "x"}, "expected the name of a file"),
        ({"name": "", "input": "red cat.jpg"}, ".name: expected a text of at most 100 characters"),
        ({"name": "x" * 101, "input": "red cat.jpg"}, ".name: expected a text of at most 100"),
        ({"name": 3, "input": "red cat.jpg"}, ".name: expected a text of at most 100"),
    ],
)
def test_files_that_are_refused(folder: Path, stated: Any, message: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "damaged.jpg").write_bytes(picture(1)[:60])
    (folder / "large.jpg").write_bytes(picture(1) + bytes(MOST_BYTES))
    found = problem(PICTURES, folder, "red cat.jpg", stated)
    assert found.startswith("examples[1]")
    assert message in found


def test_a_file_may_be_a_link_as_kubernetes_mounts_them(folder: Path) -> None:
    (folder / "link.jpg").symlink_to(folder / "deep" / "dog_2.jpg")
    (example,) = read(PICTURES, folder, "link.jpg")
    (file,) = example.files.values()
    assert file.data == picture(2)
    (folder / "lost.jpg").symlink_to(folder / "gone")
    assert "lost.jpg cannot be read" in problem(PICTURES, folder, "lost.jpg")


def test_the_limits_have_two_sides(folder: Path) -> None:
    (folder / "most.jpg").write_bytes(picture(1).ljust(MOST_BYTES, b"\0"))
    count = MOST_TOGETHER // MOST_BYTES
    assert len(read(PICTURES, folder, *["most.jpg"] * count)) == count
    more = problem(PICTURES, folder, *["most.jpg"] * count, "red cat.jpg")
    assert more == "examples: 8.0 MB of files, expected at most 8.0 MB"


def test_examples_beyond_a_limit_of_the_settings_are_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are no fault of the card: the model is served."""
    (example,) = read(PICTURES, folder, "red cat.jpg")
    size = len(example.payload.data)
    assert len(read(PICTURES, folder, "red cat.jpg", max_body_bytes=size)) == 1
    assert caplog.messages == []
    assert read(PICTURES, folder, "red cat.jpg", max_body_bytes=size - 1) == []
    assert "(KERAPORT_MAX_BODY_MB)" in caplog.text
    card, of = PICTURES
    limits = Limits(max_pixels=11)
    task = RowTask(completed(card, of)[0], of, limits)
    assert read_examples(task, ["red cat.jpg"], folder, limits) == []
    assert "at most 11 pixels (KERAPORT_MAX_PIXELS)" in caplog.text
    lists = RowTask(completed(*LISTS)[0], LISTS[1], Limits(max_json_depth=1))
    assert read_examples(lists, [[[1, 2], [3, 4]]], folder, Limits()) == []


@pytest.mark.parametrize(
    ("kind", "stated", "message"),
    [
        (
            ROWS,
            {"a": 10, "b": 3},
            "a: out of range, expected a number from 0 to 9; examples[0]: b: ",
        ),
        (ROWS, {"a": 1}, "examples[0]: b: missing, expected one of 1 (one), 2 (two)"),
        (ROWS, [1, 2], "examples[0]: body: a list without objects"),
        (ROWS, "rows.csv", "examples[0]: body: not an object"),
        (ROWS, {"a": float("nan"), "b": 1}, "examples[0]: a: "),
        (ROWS, {"a": 2**70, "b": 1}, "examples[0]: JSON cannot carry it: Integer exceeds 64-bit"),
        (LISTS, [1, 2], "examples[0]: x: "),
        (TWO_LISTS, {"p": [1, 2]}, "examples[0]: q: missing"),
    ],
)
def test_values_that_are_refused(tmp_path: Path, kind: Kind, stated: Any, message: str) -> None:
    assert message in problem(kind, tmp_path, stated)


def test_how_many_a_card_may_have(tmp_path: Path) -> None:
    for count, fits in ((0, False), (1, True), (MOST_EXAMPLES, True), (MOST_EXAMPLES + 1, False)):
        text = f"examples: [{', '.join(['a.jpg'] * count)}]\n"
        (tmp_path / "model.yaml").write_text(text)
        if fits:
            card = parse_card(tmp_path)
            assert card is not None
            assert len(card.examples or ()) == count
        else:
            with pytest.raises(CardError, match="examples: "):
                parse_card(tmp_path)


def test_changed_files_of_examples_load_the_model_again() -> None:
    stated = ["a.jpg", {"name": "B", "input": "./deep/b.jpg"}, {"face": "c.jpg", "facts": {"x": 1}}]
    card = Card.model_validate({"examples": stated})
    assert card.files() >= {"a.jpg", "deep/b.jpg", "c.jpg"}


def test_the_first_example_warms_the_model_up(folder: Path) -> None:
    (example,) = read(LISTS, folder, [[1, 2]] * 7)
    arrays = task(LISTS).example(example.payload)
    assert arrays is not None
    assert arrays[0].shape == (1, 7, 2)
    stated = {"face": "red cat.jpg", "facts": {"a": 3, "b": 1}, "state": [1, 2]}
    (mixed,) = read(SEVERAL, folder, stated)
    face, facts, state = task(SEVERAL).example(mixed.payload) or []
    assert (face.shape, facts.tolist(), state.tolist()) == ((1, 8, 8, 3), [[3, 1]], [[1, 2]])


def test_values_are_those_of_json(folder: Path) -> None:
    fields = [{"name": "1"}, {"name": "2"}]
    kind = Card.model_validate({"task": "tabular-regression", "fields": fields}), ROWS[1]
    (example,) = read(kind, folder, {1: 5, 2: 6})
    assert orjson.loads(example.payload.data) == {"1": 5, "2": 6}
