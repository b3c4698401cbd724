"""Labels in files beside a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.errors import CardError
from app.serving.cards.labels import (
    LABEL_FILES,
    is_teachable_machine,
    label_map_beside,
    labels_beside,
    labels_in,
)

CATS = ["cat", "dog", "red panda"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "cat\ndog\nred panda\n"),
        ("labels.txt", "\ufeffcat\r\ndog\r\n\r\nred panda"),
        ("labels.txt", "0 cat\n1 dog\n2 red panda\n"),  # Teachable Machine
        ("labels.txt", "0: cat\n1: dog\n2: red panda\n"),
        ("labels.txt", "0,cat\n1,dog\n2,red panda\n"),
        ("labels.txt", "0\tcat\n1\tdog\n2\tred panda\n"),
        ("class_names.txt", "cat\ndog\nred panda\n"),
        ("classes.json", json.dumps(CATS)),
        ("classes.json", json.dumps({"0": "cat", "1": "dog", "2": "red panda"})),
        ("class_indices.json", json.dumps({"red panda": 2, "dog": 1, "cat": 0})),
        ("class_indices.json", json.dumps({"red panda": "2", "dog": "1", "cat": "0"})),
    ],
)
def test_labels_are_read_in_every_form(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert labels_beside(tmp_path) == CATS


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("1 cat\n2 dog", ["1 cat", "2 dog"]),  # not from 0
        ("0 cat\n2 dog", ["0 cat", "2 dog"]),  # with a gap
        ("0 cat\ndog", ["0 cat", "dog"]),
        ("0 stars\n1 stars", ["0 stars", "1 stars"]),  # nothing else distinguishes them
        ("0\n1\n2", ["0", "1", "2"]),
        ("", []),
    ],
)
def test_numbers_that_are_no_indices_stay(text: str, labels: list[str], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert labels_beside(tmp_path) == labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"0": "7", "1": "3"}', ["7", "3"]),
        ('{"0": 1, "1": 0}', ["1", "0"]),
        ('{"7": 0, "3": 1}', ["7", "3"]),
        ("[7, 3]", ["7", "3"]),
    ],
)
def test_labels_that_are_numbers(text: str, labels: list[str], tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(text)
    assert labels_beside(tmp_path) == labels


def test_no_file_no_labels(tmp_path: Path) -> None:
    assert labels_beside(tmp_path) is None


def test_the_first_file_counts(tmp_path: Path) -> None:
    for name in LABEL_FILES[1:]:
        (tmp_path / name).write_text(json.dumps(["other"]))
    (tmp_path / LABEL_FILES[0]).write_text("cat")
    assert labels_beside(tmp_path) == ["cat"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", b"\xff\xfe"),
        ("classes.json", b"[1, 2"),
        ("classes.json", b"{}"),
        ("classes.json", b"[]"),
        ("classes.json", b'"cat"'),
        ("classes.json", b'[["cat"]]'),
        ("classes.json", b'{"cat": 1, "dog": 2}'),  # not from 0
        ("classes.json", b'{"cat": 0, "dog": 0}'),
        ("classes.json", b'{"cat": true}'),
        ("classes.json", b"[" * 100_000),
    ],
)
def test_a_file_without_labels_is_an_error_that_names_it(
    name: str, text: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(CardError, match=name):
        labels_beside(tmp_path)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"keras_model.h5": "", "labels.txt": "0 a\n1 b\n"}, True),
        ({"keras_model.h5": "", "labels.txt": "a\nb\n"}, False),
        ({"keras_model.h5": ""}, False),
        ({"model.h5": "", "labels.txt": "0 a\n1 b\n"}, False),
    ],
)
def test_a_teachable_machine_export(files: dict[str, str], found: bool, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert is_teachable_machine(tmp_path) == found


LABEL_MAP = """\
# COCO
item {
  name: "/m/01g317"
  id: 1
  display_name: "person"
}
item { id: 3 name: 'car' }
item {
  display_name: "it's a \\"dog\\"" id: 4
}
item { id: 0 name: "background" }
"""


def test_a_label_map_is_read_with_its_gaps(tmp_path: Path) -> None:
    (tmp_path / "coco_label_map.pbtxt").write_text(LABEL_MAP)
    assert label_map_beside(tmp_path) == ["person", "2", "car", 'it\'s a "dog"']
    (tmp_path / "other.pbtxt").write_text(LABEL_MAP)
    assert label_map_beside(tmp_path) is None


@pytest.mark.parametrize("text", ["", "item { id: 1 }", 'item { id: 100001 name: "x" }', "cat\n"])
def test_what_is_no_label_map(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.pbtxt").write_text(text)
    with pytest.raises(CardError, match=r"a.pbtxt: expected a label map, of items with an id"):
        labels_in(tmp_path / "a.pbtxt")
