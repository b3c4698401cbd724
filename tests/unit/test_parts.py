"""Parts of a picture that are left out, and the numbers of answers that are followed."""

from __future__ import annotations

import io
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.models.explanation import LEAST_PARTS, MOST_PARTS, explanation_problem, most_parts
from app.serving.signature import Signature
from app.serving.tasks import Limits, RowTask
from app.serving.tasks.outputs.output import Output
from app.serving.tasks.parts import MOST_SIDE, patches, words
from tests.unit.signatures import signature, spec

SIZES = st.integers(1, 70)


@given(SIZES, SIZES, st.sampled_from([(), (1,), (3,), (4,)]), st.integers(1, MOST_PARTS))
def test_patches_cover_each_pixel_once(
    height: int, width: int, channels: tuple[int, ...], most: int
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, height, width, *channels), np.uint8)
    parts = patches("x", pixels, most)
    about = parts.about()
    assert 1 <= parts.count <= most
    assert about["grid"] == [*parts.shape]
    assert about["size"] == [height, width]
    mean = pixels[0].mean(axis=(0, 1)).round()
    covered = np.zeros((height, width), int)
    for start in range(0, parts.count, 3):
        stop = min(parts.count, start + 3)
        rows = parts.without(start, stop)["x"]
        assert rows.shape == (stop - start, *pixels.shape[1:])
        for number, row in enumerate(rows, start):
            down, across = about["patch"]
            top, left = number // parts.shape[1] * down, number % parts.shape[1] * across
            patch = np.s_[top : top + down, left : left + across]
            assert (row[patch] == mean.astype(np.uint8)).all()
            covered[patch] += 1
            restored = row.copy()
            restored[patch] = pixels[0][patch]
            assert (restored == pixels[0]).all()
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("shape", "mode", "size"),
    [
        ((8, 9, 3), "RGB", (9, 8)),
        ((8, 9, 1), "L", (9, 8)),
        ((8, 9), "L", (9, 8)),
        ((8, 9, 4), "RGBA", (9, 8)),
        ((2 * MOST_SIDE, MOST_SIDE, 3), "RGB", (MOST_SIDE // 2, MOST_SIDE)),
    ],
)
def test_the_picture_of_an_answer(shape: Any, mode: str, size: tuple[int, int]) -> None:
    parts = patches("x", np.full((1, *shape), 99, np.uint8), 64)
    url = parts.about()["picture"]
    with Image.open(io.BytesIO(b64decode(url.partition(",")[2]))) as image:
        assert (image.mode, image.size) == (mode, size)


def task(of: Signature, **card: Any) -> RowTask:
    return RowTask(completed(Card.model_validate(card), of)[0], of, Limits())


PICTURE = spec("picture", shape=(None, 8, 8, 3))


def output(of: Signature, **said: Any) -> Output:
    (out,) = task(of, inputs={"picture": {"kind": "picture"}}, outputs={"y": said}).outputs
    return out


def test_the_number_of_the_label_is_followed() -> None:
    of = signature(PICTURE, classes=3, activation="softmax")
    out = output(of, kind="classes", labels=["a", "b", "c"])
    target = out.target(np.array([[0.2, 0.7, 0.1]], np.float32))
    assert target.about == {"label": "b", "probability": 0.7}
    rows = np.array([[0.2, 0.7, 0.1], [0.9, 0.1, 0.0]], np.float32)
    assert target.of(rows) == pytest.approx([0.7, 0.1], abs=1e-6)
    assert target.digits(1 / 3) == 0.333333


@pytest.mark.parametrize(("value", "label", "own"), [(0.4, "cat", 0.6), (0.8, "dog", 0.8)])
def test_the_number_of_either_of_two_labels(value: float, label: str, own: float) -> None:
    of = signature(PICTURE, activation="sigmoid")
    out = output(of, kind="classes", labels=["cat", "dog"])
    target = out.target(np.array([[value]], np.float32))
    assert target.about["label"] == label
    assert target.about["probability"] == pytest.approx(own, abs=1e-6)
    other = target.of(np.array([[0.1]], np.float32))
    assert other == pytest.approx([0.9 if label == "cat" else 0.1])


def test_a_label_below_the_threshold_is_not_followed() -> None:
    of = signature(PICTURE, activation="sigmoid")
    out = output(of, kind="classes", labels=["no", "yes"], threshold=0.3)
    assert out.target(np.array([[0.35]], np.float32)).about["label"] == "yes"


def test_scores_and_numbers_are_followed_as_they_are() -> None:
    of = signature(PICTURE, classes=2, activation="linear")
    scores = output(of, kind="classes", labels=["a", "b"], activation="none")
    assert scores.target(np.array([[5, 9]], np.float32)).about == {"label": "b", "score": 9.0}
    one = output(signature(PICTURE, activation="linear"), kind="number", unit="kg", decimals=1)
    target = one.target(np.array([[12.345]], np.float32))
    assert target.about == {"value": 12.35, "unit": "kg"}
    assert target.of(np.array([[1], [2]], np.float32)) == [1, 2]
    assert target.digits(1.23456) == 1.23


def model(of: Signature, **card: Any) -> Any:
    class Fake:
        pass

    fake: Any = Fake()
    fake.task = task(of, **card)
    fake.card = fake.task.card
    return fake


def test_what_can_be_explained() -> None:
    of = signature(PICTURE, classes=2, activation="linear")
    inputs = {"picture": {"kind": "picture"}}
    classes = {"y": {"kind": "classes", "labels": ["a", "b"]}}
    assert explanation_problem(model(of, inputs=inputs, outputs=classes)) is None
    off = model(of, inputs=inputs, outputs=classes, explain=False)
    assert explanation_problem(off) == "the card of this model turns explanations off"
    for outputs, gives in (
        ({"y": {"kind": "vector"}}, "vector"),
        ({"y": {"kind": "tensor"}}, "tensor"),
        ({"y": {"kind": "number", "names": ["a", "b"]}}, "number"),
    ):
        found = explanation_problem(model(of, inputs=inputs, outputs=outputs)) or ""
        assert found.endswith(f"this one takes picture and answers {gives}")
    rows = signature(spec(shape=(None, 2)), activation="linear")
    found = explanation_problem(model(rows, task="tabular-regression")) or ""
    assert found.endswith("this one takes fields and answers number")


@pytest.mark.parametrize(
    ("run_s", "left_s", "parts"),
    [
        (0, 30, MOST_PARTS),
        (0.23, 30, MOST_PARTS),
        (0.5, 30, 30),
        (3, 30, 5),
        (60, 30, LEAST_PARTS),
        (1, 0, LEAST_PARTS),
    ],
)
def test_slow_models_have_fewer_parts(run_s: float, left_s: float, parts: int) -> None:
    assert most_parts(run_s, left_s) == parts


@given(st.text(st.sampled_from("ab\u00e9 \n,"), max_size=60), st.integers(1, MOST_PARTS))
def test_a_text_without_each_of_its_words(text: str, most: int) -> None:
    text = f"x{text}"
    made: list[str] = []

    def encode(texts: list[str]) -> dict[str, Any]:
        made.extend(texts)
        return {}

    parts = words(text, most, encode)
    assert 1 <= parts.count <= most
    found = parts.about()["words"]
    assert len(found) == parts.count
    assert [word for part in found for word in part.split()] == text.split()
    for start in range(0, parts.count, 3):
        parts.without(start, min(parts.count, start + 3))
    assert len(made) == parts.count
    for part, left in zip(found, made, strict=True):
        assert len(left) == len(text) - len(part)
        assert sorted(left + part) == sorted(text)
