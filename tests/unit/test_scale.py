"""Other scales of pixels: who may try them, and what the page says of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Request
from werkzeug.test import EnvironBuilder

from app.api.native.scale import check_without_scale, other_scales, scale_of
from app.errors import BadRequest, InvalidInput
from app.serving.cards.card import Card, PictureInput
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.limits import Limits
from app.serving.signature import PictureEvidence
from app.serving.tasks import RowTask
from app.web.models.model_page import scale_context
from tests.unit.signatures import signature, spec

GUESS = PictureEvidence("0..1", False, "most models take it", ("-1..1", "none"))
SHOWN = PictureEvidence("-1..1", True, "the model begins with arithmetic")
LEFT, RIGHT = (spec(name, shape=(None, 8, 8, 3)) for name in ("left", "right"))


def model(stated: Card | None, *inputs: Any, pictures: PictureEvidence | None = GUESS) -> Any:
    of = signature(*inputs, classes=2, activation="softmax")
    of.pictures.update({each.name: pictures for each in inputs if pictures is not None})
    card, of = completed(stated, of)
    found = guesses(stated, card, of)
    return SimpleNamespace(task=RowTask(card, of, Limits()), guessed=found, signature=of)


def one_known() -> Any:
    known = PictureInput(kind="picture", scale="none")
    inputs: Any = {"left": known, "right": PictureInput(kind="picture")}
    return model(Card(task=None, inputs=inputs), LEFT, RIGHT)


def request(query: str) -> Request:
    return Request(EnvironBuilder(query_string=query).get_environ())


def context(of: Any, query: str = "") -> dict[str, Any]:
    with Flask(__name__).test_request_context(f"/?{query}"):
        return scale_context(of)


def test_the_page_tells_the_scale_of_the_inputs_where_it_is_a_guess() -> None:
    found = context(one_known())
    assert (found["scale"], found["scale_of"]) == ("0..1", ["right"])
    found = context(one_known(), "scale=-1..1")
    assert (found["scale"], found["scale_tried"]) == ("-1..1", True)
    both = context(model(None, LEFT, RIGHT))
    assert (both["scale"], both["scale_of"]) == ("0..1", [])
    settled = context(model(None, LEFT, pictures=SHOWN))
    assert (settled["scale"], settled["scales"]) == ("", [])


@pytest.mark.parametrize(
    "name", ["scal", "scales", "Scale", "SCALE", "scaling", "sclae", "face.scale", "input.scale"]
)
def test_a_parameter_that_looks_like_the_scale_is_refused(name: str) -> None:
    for query in (f"{name}=none", f"scale=none&{name}=none"):
        with pytest.raises(BadRequest, match="scale=none"):
            scale_of(request(query), one_known())
    with pytest.raises(BadRequest, match="POST /api/NAME"):
        check_without_scale(request(f"{name}=none"))


@pytest.mark.parametrize("name", ["", "version=2", "page=2", "size=3", "top=1", "api_key=x", "s=1"])
def test_other_parameters_are_ignored(name: str) -> None:
    assert scale_of(request(name), one_known()) is None
    check_without_scale(request(name))


def test_several_models_have_no_scale_to_try() -> None:
    with pytest.raises(BadRequest, match="goes with one model"):
        check_without_scale(request("scale=none"))


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (model(None, LEFT, pictures=SHOWN), "settled (-1..1, shown by its file)"),
        (
            model(
                Card(
                    task=None,
                    inputs={
                        "left": PictureInput(kind="picture", scale="none"),
                        "right": PictureInput(kind="picture", scale="0..1"),
                    },
                ),
                LEFT,
                RIGHT,
            ),
            "settled (left: none, by its card; right: 0..1, by its card)",
        ),
        (model(None, spec()), "this model takes no pictures"),
    ],
)
def test_a_scale_that_is_settled_is_named(of: Any, words: str) -> None:
    assert other_scales(of) == []
    with pytest.raises(InvalidInput) as caught:
        scale_of(request("scale=none"), of)
    assert words in caught.value.message
    assert words in caught.value.details[0].problem


def test_an_unknown_scale_gets_the_list_of_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"expected one of 0\.\.1, -1\.\.1, none"):
        scale_of(request("scale=2"), one_known())
    assert scale_of(request("scale=caffe"), one_known()) == "caffe"
