"""Reading `model.yaml`: valid cards, and the problems of others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.errors import CardError
from app.serving.cards.card import Card, FieldSpec, ImageInput, Output, Runtime
from app.serving.cards.inference.infer import infer_card
from app.serving.cards.read import dump_card, read_card
from tests.support import ROOT
from tests.unit.signatures import signature, spec


def card(folder: Path, text: str, **files: str) -> Card:
    (folder / "model.yaml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")
    found = read_card(folder)
    assert found is not None
    return found


def refusal(folder: Path, text: str, **files: str) -> str:
    with pytest.raises(CardError) as caught:
        card(folder, text, **files)
    assert "\n" not in caught.value.message
    return caught.value.message


EXAMPLE = """
title: Cat or dog
description: One line for people.
task: image-classification
file: model.h5
labels: [cat, dog]
input: {size: [150, 120], color: rgb, scale: "0..1", resize: crop}
threshold: 0.25
top: 4
fields:
  - {name: weight, min: 1613, max: 5140, unit: lb, example: 3504, help: Curb weight}
  - {name: origin, type: integer, choices: {1: usa, 2: europe}}
  - {name: colour, type: text, choices: [red, green]}
output: {name: mpg, unit: miles per gallon, decimals: 1, activation: sigmoid}
runtime: {precision: bfloat16, max_batch_size: 16, max_delay_ms: 2, max_queue: 9, timeout_s: 3,
          threads: 2}
metrics: {accuracy: 0.89, measured_on: 200 held-out pictures, pictures: 200}
trusted: true
"""


def test_every_key_arrives(tmp_path: Path) -> None:
    assert card(tmp_path, EXAMPLE) == Card(
        task="image-classification",
        title="Cat or dog",
        description="One line for people.",
        file="model.h5",
        labels=["cat", "dog"],
        input=ImageInput(size=(150, 120), color="rgb", scale="0..1", resize="crop"),
        threshold=0.25,
        top=4,
        fields=[
            FieldSpec(
                name="weight", min=1613, max=5140, unit="lb", example=3504, help="Curb weight"
            ),
            FieldSpec(name="origin", type="integer", choices={1: "usa", 2: "europe"}),
            FieldSpec(name="colour", type="text", choices=["red", "green"]),
        ],
        output=Output(name="mpg", unit="miles per gallon", decimals=1, activation="sigmoid"),
        runtime=Runtime(
            precision="bfloat16",
            max_batch_size=16,
            max_delay_ms=2,
            max_queue=9,
            timeout_s=3,
            threads=2,
        ),
        metrics={"accuracy": 0.89, "measured_on": "200 held-out pictures", "pictures": 200},
        trusted=True,
    )


def test_only_the_task_is_needed(tmp_path: Path) -> None:
    found = card(tmp_path, "task: tensor")
    assert found == Card(task="tensor")
    assert (found.threshold, found.top, found.trusted) == (0.5, 5, False)
    assert found.runtime == Runtime(
        precision="float32",
        max_batch_size=32,
        max_delay_ms=0,
        max_queue=256,
        timeout_s=30,
        threads="auto",
    )


def test_the_cards_that_we_ship_are_read() -> None:
    for path in (ROOT / "models").glob("*/model.yaml"):
        assert read_card(path.parent) is not None


def test_without_a_card_there_is_none(tmp_path: Path) -> None:
    assert read_card(tmp_path) is None


# --- what is wrong


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("lables: [a]", "lables"),
        ("input: {sise: 3}", "input.sise"),
        ("output: {nam: a}", "output.nam"),
        ("runtime: {thread: 1}", "runtime.thread"),
        ("fields: [{name: a}, {name: b, maximum: 1}]", "fields[1].maximum"),
        ("5: 1", "5"),
        ("int: 1", "int"),
    ],
)
def test_an_unknown_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    assert refusal(tmp_path, f"task: tensor\n{text}") == f"model.yaml: unknown key '{key}'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: images", "task: expected 'image-classification', .*, found \"images\""),
        ("title: [a]", r'title: expected a text, found \["a"\]'),
        ("description: {a: b}", "description: expected a text"),
        ("file: 5", "file: expected a text, found 5"),
        ("labels: {a: b}", r"labels: expected a list or a text, found \{"),
        ("labels: [a, null]", r"labels\[1\]: expected a text, found null"),
        ("labels: [a, [b]]", r'labels\[1\]: expected a text, found \["b"\]'),
        ("input: 5", "input: expected a mapping, found 5"),
        ("input:", "input: expected a mapping, found null"),
        ("input: {size: 5}", "input.size: expected a list or 'own', found 5"),
        ("input: {size: [5]}", r"'input.size\[1\]' is missing"),
        ("input: {size: [5, 5, 3]}", "input.size: .* at most 2 items"),
        ("input: {size: [0, 5]}", r"input.size\[0\]: expected greater than 0, found 0"),
        ("input: {size: [5, 4097]}", r"input.size\[1\]: expected less than or equal to 4096"),
        ("input: {size: [5.5, 5]}", r"input.size\[0\]: expected a whole number, found 5.5"),
        (
            "input: {color: blue}",
            "input.color: expected 'rgb', 'bgr', 'rgba' or 'grey', found \"blue\"",
        ),
        ("input: {scale: 1}", "input.scale: expected 'none', '0..1'"),
        ("input: {resize: fit}", "input.resize: expected 'stretch', 'crop' or 'pad'"),
        ("threshold: 1", "threshold: expected less than 1, found 1"),
        ("threshold: 0", "threshold: expected greater than 0"),
        ("threshold: half", "threshold: expected a number"),
        ("top: 0", "top: expected greater than or equal to 1"),
        ("top: true", "top: expected a whole number, found true"),
        ("top: '5'", 'top: expected a whole number, found "5"'),
        ("fields: {a: b}", "fields: expected a list"),
        ("fields: [a]", r'fields\[0\]: expected a mapping, found "a"'),
        ("fields: [{min: 1}]", r"the key 'fields\[0\].name' is missing"),
        ("fields: [{name: ''}]", r"fields\[0\].name: .*at least 1 character"),
        ("fields: [{name: a, type: float}]", r"fields\[0\].type: expected 'number', 'integer'"),
        ("fields: [{name: a, min: low}]", r"fields\[0\].min: expected a number"),
        ("fields: [{name: a, min: .nan}]", r"fields\[0\].min: expected a finite number"),
        ("fields: [{name: a, min: 3, max: 1}]", r"fields\[0\]: min 3 is above max 1"),
        ("fields: [{name: a, type: text, max: 1}]", r"fields\[0\]: min and max go with numbers"),
        ("fields: [{name: a, choices: [1], min: 1}]", "min and max go with numbers"),
        ("fields: [{name: a, choices: []}]", "choices is empty"),
        ("fields: [{name: a, choices: {}}]", "choices is empty"),
        ("fields: [{name: a, choices: 5}]", r"fields\[0\].choices: expected a list or a mapping"),
        ("fields: [{name: a, choices: [1, [2]]}]", r"fields\[0\].choices\[1\]: expected .*text"),
        ("fields: [{name: a, choices: {1: [2]}}]", r"fields\[0\].choices\[1\]: expected a text"),
        ("fields: [{name: a, choices: [true, 1]}]", r"choices\[0\]: .*, found true"),
        ("fields: [{name: a, choices: [x, y, x]}]", "choices: 'x' could be more than one"),
        ("fields: [{name: a, choices: {1: x, 2: x}}]", "choices: 'x' could be more than one"),
        ("fields: [{name: a, choices: {0: '1', 1: '0'}}]", "choices: '0' could be more than one"),
        ("fields: [{name: a}, {name: a}]", "fields: the name 'a' is used twice"),
        ("output: {decimals: 13}", "output.decimals: expected less than or equal to 12"),
        ("output: {activation: relu}", "output.activation: expected 'none', 'softmax' or"),
        ("runtime: {precision: int8}", "runtime.precision: expected 'float32' or 'bfloat16'"),
        ("runtime: {max_batch_size: 0}", "runtime.max_batch_size: expected greater than or"),
        ("runtime: {max_delay_ms: -1}", "runtime.max_delay_ms: expected greater than or equal"),
        ("runtime: {max_queue: 100001}", "runtime.max_queue: expected less than or equal"),
        ("runtime: {timeout_s: 0}", "runtime.timeout_s: expected greater than 0"),
        ("runtime: {timeout_s: 30s}", 'runtime.timeout_s: expected a number, found "30s"'),
        ("runtime: {threads: all}", "runtime.threads: expected a whole number or 'auto', found"),
        ("metrics: {a: [1]}", "metrics.a: expected a number or a text"),
        ("metrics: [1]", "metrics: expected a mapping"),
        ("trusted: 1", "trusted: expected true or false, found 1"),
        ("trusted: yes", 'trusted: expected true or false, found "yes"'),
    ],
)
def test_a_wrong_value_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    task = "" if text.startswith("task") else "task: tensor\n"
    assert re.match(f"model.yaml: .*{message}", found := refusal(tmp_path, task + text)), found
    assert "; " not in found


def test_a_card_need_not_say_what_the_model_is(tmp_path: Path) -> None:
    found = card(tmp_path, "trusted: true\ntitle: Flowers\n", labels="a\nb\n")
    assert (found.task, found.inputs, found.outputs, found.labels) == (None, None, None, None)
    assert found.is_open
    assert card(tmp_path, "labels: labels.txt\n").labels == ["a", "b"]


def test_an_unknown_task_is_told_of_the_other_way(tmp_path: Path) -> None:
    found = refusal(tmp_path, "task: image-regression")
    assert found.endswith(" (other models are described by 'inputs' and 'outputs')")


def test_fields_without_keys_get_the_form_to_write(tmp_path: Path) -> None:
    for text in (
        "task: tabular-regression\nfields: [height, weight]",
        "inputs: {x: {kind: fields, fields: [height, weight]}}",
    ):
        found = refusal(tmp_path, text)
        assert 'fields[0]: expected a mapping, found "height": write {name: height}' in found
        assert found.endswith("write {name: weight}")


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = "title: x\ntopp: 1\ntop: 0\ninput: {color: blue}\nruntime: {threads: x}\nlabels: [[]]"
    found = refusal(tmp_path, text).removeprefix("model.yaml: ").split("; ")
    assert sorted(problem.split(": ")[0] for problem in found) == [
        "input.color",
        "labels[0]",
        "runtime.threads",
        "top",
        "unknown key 'topp'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping, such as 'title: Flowers'"),
        ("[task]", "must be a mapping"),
        ("tensor", "must be a mapping"),
        ("task: [", r"cannot be read: .*stream end.* \(line 1, column 8\)"),
        ("task: tensor\n\ttop: 1", r"cannot be read: .*\(line 2, column 1\)"),
        ("task: tensor\ntop: 1\ntop: 2", r"the key 'top' is there twice \(line 3, column 1\)"),
        ("task: tensor\ninput: {color: rgb, color: grey}", "the key 'color' is there twice"),
        ("task: !!python/object/apply:os.getcwd []", "cannot be read: could not determine"),
        ("task: !!timestamp 2020-13-45", "cannot be read: month must be"),
        ("task: \x07", "cannot be read: "),
    ],
)
def test_what_is_no_yaml_or_no_card(tmp_path: Path, text: str, message: str) -> None:
    assert re.match(f"model.yaml .*{message}", found := refusal(tmp_path, text)), found


def test_a_card_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_bytes(b"task: tensor\ntitle: caf\xe9")
    with pytest.raises(CardError, match=r"model.yaml cannot be read: .*utf-8"):
        read_card(tmp_path)


def test_a_card_from_notepad(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_bytes("\ufefftask: tensor\r\ntitle: Ü\r\n".encode())
    assert read_card(tmp_path) == Card(task="tensor", title="Ü")


# --- YAML's own ideas of what a word is


def test_words_stay_words(tmp_path: Path) -> None:
    found = card(
        tmp_path,
        "task: tensor\n"
        "labels: [yes, no, on, off, y, 12:30, 2020-01-01, 007, 0x1F, 1_000, 1e3, =]\n"
        "title: 2048\n"
        "description: 2020-13-45\n"
        "fields: [{name: 1, unit: 2, help: 3, choices: [yes, no]},"
        " {name: b, choices: {1: yes, 0: no}}]\n",
    )
    assert found.labels == [
        *("yes", "no", "on", "off", "y", "12:30", "2020-01-01", "007", "0x1F", "1_000", "1e3", "=")
    ]
    assert (found.title, found.description) == ("2048", "2020-13-45")
    first, second = found.fields or []
    assert (first.name, first.unit, first.help, first.choices) == ("1", "2", "3", ["yes", "no"])
    assert second.choices == {1: "yes", 0: "no"}


def test_numbers_as_labels_are_texts_and_as_choices_numbers(tmp_path: Path) -> None:
    found = card(
        tmp_path,
        "task: tensor\nlabels: [0, 1, -2, 3.5]\nfields: [{name: a, choices: [0, 1.5, -2, .5]}]",
    )
    assert found.labels == ["0", "1", "-2", "3.5"]
    assert (found.fields or [])[0].choices == [0, 1.5, -2, 0.5]


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    found = card(
        tmp_path,
        "task: tensor\nfields:\n  - &a {name: a, min: 1, max: 2}\n  - {<<: *a, name: b, max: 3}\n",
    )
    assert [(f.name, f.min, f.max) for f in found.fields or []] == [("a", 1, 2), ("b", 1, 3)]


# --- labels


def test_labels_from_files(tmp_path: Path) -> None:
    text = "\ufeffcat\r\n\r\n  great dane \r\nÜbü\u2028x\n"
    wanted = ["cat", "great dane", "Übü\u2028x"]
    assert card(tmp_path, "task: tensor", labels=text).labels == wanted
    assert card(tmp_path, "task: tensor\nlabels: names.txt", names=text).labels == wanted
    assert card(tmp_path, "task: tensor\nlabels: labels.txt").labels == wanted
    assert card(tmp_path, "task: tensor\nlabels: [a]").labels == ["a"]
    assert card(tmp_path, "task: tensor\nlabels: imagenet").labels == "imagenet"


def test_without_labels_there_are_none(tmp_path: Path) -> None:
    assert card(tmp_path, "task: tensor").labels is None


def test_labels_in_a_folder_below_and_behind_links(tmp_path: Path) -> None:
    """Kubernetes mounts labels.txt -> ..data/labels.txt -> ..2024_01_01/labels.txt."""
    home = tmp_path / "model"
    (home / "..2024_01_01").mkdir(parents=True)
    (home / "..2024_01_01" / "labels.txt").write_text("a\nb\n")
    (home / "..data").symlink_to("..2024_01_01")
    (home / "labels.txt").symlink_to("..data/labels.txt")
    assert card(home, "task: tensor").labels == ["a", "b"]
    (home / "below").mkdir()
    (home / "below" / "names.txt").write_text("c")
    assert card(home, "task: tensor\nlabels: below/names.txt").labels == ["c"]


@pytest.mark.parametrize("name", ["../names.txt", "/etc/hostname", "a/../../names.txt", "'.'"])
def test_labels_outside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "names.txt").write_text("a")
    home = tmp_path / "model"
    home.mkdir()
    assert "is not a file of this folder" in refusal(home, f"task: tensor\nlabels: {name}")


@pytest.mark.parametrize("name", ["missing.txt", "cat", "folder"])
def test_labels_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    found = refusal(tmp_path, f"task: tensor\nlabels: {name}")
    assert "expected a list, 'imagenet' or a text file of this folder" in found
    assert f"{name} cannot be read" in found


# --- written down


def test_a_card_says_only_what_is_not_the_default(tmp_path: Path) -> None:
    assert dump_card(Card(task="tensor")) == "task: tensor\n"
    text = dump_card(Card(task="tensor", title="Ü", input=ImageInput(size=(3, 4))))
    assert "title: Ü\n" in text
    assert "scale" not in text


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    odd = ["yes", "no", "007", "12:30", "1e3", "1.5", "null", "~", "2020-01-01", "a: b", " x ", "Ü"]
    cards: list[Card] = [
        card(tmp_path, EXAMPLE),
        Card(task="tensor", labels=odd, title="on", description="two\nlines"),
        Card(
            task="tensor",
            fields=[
                FieldSpec(name="a", choices={1: "yes", 2.5: "no", "x": "1e3"}),
                FieldSpec(name="b", choices=[1, 2.5, "no", "1e3", "-.5", "+1"]),
                FieldSpec(name="c", min=-1e-7, max=1e30, example="5"),
            ],
        ),
        infer_card(signature(spec(shape=(None, 3)), activation="linear")),
    ]
    for wanted in cards:
        assert card(tmp_path, dump_card(wanted)) == wanted


def test_a_card_does_not_change() -> None:
    made: Any = Card(task="tensor")
    with pytest.raises(ValueError, match="frozen"):
        made.top = 3
