"""Pictures in JSON: what a body may look like, its limits and its problems."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest, InvalidInput
from app.serving.cards.card import Card
from app.serving.tasks import Limits, Payload, RowTask
from tests.support import picture
from tests.unit.signatures import problems, signature, spec
from tests.unit.test_image import flat, payload

TEXT = "base64, or a data URL: data:image/png;base64,…"
ONE = f"an object with 'image': {TEXT}"


def task(**limits: Any) -> RowTask:
    shape = signature(spec(shape=(None, 6, 8, 3)), classes=2, activation="softmax")
    return RowTask(Card(task="image-classification"), shape, Limits(**limits))


def body(value: Any) -> Payload:
    return Payload("json", data=json.dumps(value).encode())


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


def test_every_form_is_the_same_picture() -> None:
    files = [picture(i) for i in range(4)]
    made = task()
    wanted = made.read(payload(*files))[0]
    texts = [
        url(files[0]),
        b64encode(files[1]).decode(),
        urlsafe_b64encode(files[2]).decode().rstrip("="),
        "\n".join(url(files[3], "text/plain")[i : i + 76] for i in range(0, 2 * len(files[3]), 76)),
    ]
    assert np.array_equal(made.read(body([{"image": text} for text in texts]))[0], wanted)
    for i, text in enumerate(texts):
        assert np.array_equal(made.read(body({"image": text}))[0], wanted[i : i + 1])


@pytest.mark.parametrize(
    ("item", "field", "problem", "expected"),
    [
        (3, "", "wrong type", ONE),
        ("data:image/png;base64,YQ==", "", "wrong type", ONE),
        ([1], "", "wrong type", ONE),
        (None, "", "wrong type", ONE),
        ({}, "image", "missing", TEXT),
        ({"image": 7}, "image", "wrong type", TEXT),
        ({"image": None}, "image", "wrong type", TEXT),
        ({"image": ["YQ=="]}, "image", "wrong type", TEXT),
        ({"image": "cat.jpg"}, "image", "not base64", TEXT),
        ({"image": "data:image/png,abc"}, "image", "a data URL without ';base64,'", TEXT),
        ({"image": "YQ=="}, "image", "not a picture in a supported format", None),
        ({"image": ""}, "image", "not a picture in a supported format", None),
        ({"image": "YQ==", "x": 1}, "x", "unexpected", ONE),
    ],
)
def test_a_problem_has_its_place(item: Any, field: str, problem: str, expected: str | None) -> None:
    good = {"image": url(picture())}
    (found,) = problems(task(), body([good, good, good, item]))
    wanted = f"[3].{field}" if field else "[3]"
    assert (found.field, found.problem) == (wanted, problem)
    assert expected in (None, found.expected)
    if not isinstance(item, list):
        (found,) = problems(task(), body(item))
        assert (found.field, found.problem) == (field or "body", problem)


def test_all_problems_at_once_and_the_text_is_cut() -> None:
    found = problems(task(), body([{"image": "!" * 1000}, 1, {"image": "YQ=="}, {}]))
    assert [d.field for d in found] == ["[0].image", "[1]", "[3].image"]
    assert len(found[0].value) < 110


def test_bodies_without_a_picture() -> None:
    with pytest.raises(BadRequest, match="the list is empty"):
        task().read(body([]))
    with pytest.raises(BadRequest, match="the body is empty"):
        task().read(Payload("json"))
    with pytest.raises(BadRequest, match="not JSON"):
        task().read(Payload("json", data=b"{"))
    (found,) = problems(task(), body([1, "data:image/png;base64,YQ=="]))
    assert (found.field, found.problem) == ("body", "a list without objects")


@pytest.mark.parametrize(("limits", "most"), [({}, 1000), ({"max_rows": 5}, 5)])
def test_pictures_are_counted_before_any_is_decoded(
    limits: dict[str, int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, item = task(**limits), {"image": url(flat(8, 8))}
    assert made.read(body([item] * most))[0].shape == (most, 6, 8, 3)
    asked: list[str] = []
    monkeypatch.setattr("app.serving.tasks.files_json.decode_base64", asked.append)
    with pytest.raises(InvalidInput, match=f"{most + 1} pictures in one request"):
        made.read(body([item] * (most + 1)))
    assert asked == []


def test_pixels_count_up_to_the_limit() -> None:
    made, most = task(max_pixels=10_000), {"image": url(flat(100, 100))}
    assert made.read(body([most] * 8))[0].shape == (8, 6, 8, 3)
    with pytest.raises(InvalidInput, match="9 pictures with 80,048 pixels"):
        made.read(body([most] * 8 + [{"image": url(flat(1, 1))}]))
    (found,) = problems(made, body({"image": url(flat(100, 101))}))
    assert (found.field, found.problem) == ("image", "the picture has 100x101 pixels")
    assert made.read(body({"image": url(flat(100, 100))}))[0].shape == (1, 6, 8, 3)
