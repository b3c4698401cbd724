"""How answers in two precisions differ."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.cli.profiling.comparison import compare
from app.cli.profiling.measurements import Difference


def cat(probability: float, label: str = "cat") -> dict[str, Any]:
    other = 1 - probability
    top = [{"label": "cat", "probability": probability}, {"label": "dog", "probability": other}]
    return {"label": label, "probability": max(probability, other), "top": top}


def one(a: Any, b: Any) -> Difference:
    return compare([([a], [b])])


def test_probabilities_differ_but_labels_do_not() -> None:
    found = one(cat(0.75), cat(0.625))
    assert (found.numbers, found.where) == (0.125, "probability")
    assert (found.labels, found.other_labels, found.unlabelled) == (1, 0, False)


def test_labels_differ_in_one_of_two_examples() -> None:
    found = compare([([cat(0.75)], [cat(0.75)]), ([cat(0.51)], [cat(0.49, "dog")])])
    assert (found.examples, found.labels, found.other_labels) == (2, 2, 1)
    assert found.numbers == pytest.approx(0.02)


def test_the_order_below_the_first_may_change() -> None:
    a, b = cat(0.5), cat(0.5)
    b["top"].reverse()
    assert one(a, b) == Difference(1, 0.0, "probability", 1)


@pytest.mark.parametrize(("other", "unlabelled"), [(16.0, False), (16.1, True)])
def test_a_number_is_compared_as_it_is_answered(other: float, unlabelled: bool) -> None:
    found = one({"mpg": 16.0}, {"mpg": other})
    assert (found.labels, found.unlabelled) == (0, unlabelled)
    assert found.numbers == pytest.approx(other - 16)
    assert found.where == "mpg"


def test_several_outputs_have_labels_of_their_own() -> None:
    """A label beside a number says nothing of it."""
    a, b = ({"age": age, "gender": cat(p)} for age, p in ((34.0, 0.9), (35.0, 0.8)))
    found = one(a, b)
    assert (found.numbers, found.where, found.unlabelled) == (1.0, "age", True)
    assert (found.labels, found.other_labels) == (1, 0)


def test_plain_lists() -> None:
    found = one([1, [2.5, 3]], [1, [2.5, 3.5]])
    assert (found.numbers, found.unlabelled, found.labels) == (0.5, True, 0)


def test_boxes() -> None:
    box = {"label": "cat", "score": 0.9, "box": [1, 2, 3, 4]}
    moved = {**box, "score": 0.8, "box": [1, 2, 3.5, 4]}
    found = one([box], [moved])
    assert (found.numbers, found.where) == (0.5, "box")
    assert (found.other_labels, found.unlabelled) == (0, False)
    assert one([box], [box, moved]).other_labels == 1
    assert one([box], []).other_labels == 1
    assert one([box], [{**box, "label": "dog"}]).other_labels == 1


def test_nothing_but_texts() -> None:
    assert one({"text": "a"}, {"text": "a"}) == Difference(1, labels=1)
    assert one({"text": "a"}, {"text": "b"}).other_labels == 1
    assert one({"on": True}, {"on": False}).other_labels == 1


def test_nothing_at_all() -> None:
    assert compare([]) == Difference(0)
    assert one(None, None) == Difference(1)
    assert one({"x": float("nan")}, {"x": float("nan")}) == Difference(1)


def drawn(pixels: Any, mode: str = "P") -> dict[str, Any]:
    image = Image.fromarray(np.array(pixels, np.uint8))
    if mode == "P":
        image.putpalette(bytes(range(30)))
    out = io.BytesIO()
    image.save(out, "PNG")
    url = f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"
    return {"size": [*image.size], "png": url}


def test_masks_are_compared_pixel_by_pixel() -> None:
    a, b = drawn([[0, 1], [1, 1]]), drawn([[0, 1], [1, 0]])
    for mask, share in ((a, 0.75), (b, 0.5)):
        mask["classes"] = [{"label": "cell", "share": share}]
    found = one(a, b)
    assert found.pixels == 0.25
    # The label of a class is there whatever the mask shows; its share is not without one.
    assert (found.numbers, found.other_labels, found.unlabelled) == (0.25, 0, False)
    assert one(a, a).pixels == 0


def test_pictures_are_compared_pixel_by_pixel() -> None:
    a = drawn([[[0, 1, 2], [3, 4, 5]]], "RGB")
    b = drawn([[[0, 1, 2], [3, 4, 6]]], "RGB")
    assert one({"out": a}, {"out": b}).pixels == 0.5
    assert one({"out": a}, {"out": drawn([[[0, 1, 2]]], "RGB")}).pixels == 1
