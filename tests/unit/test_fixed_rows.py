"""Runs that may have one number of rows only, and models of which nothing counts rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.errors import CardError, InvalidInput
from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.signature import Signature
from app.serving.tasks import Limits, Payload, RowTask
from tests.unit.signatures import Shape, signature, spec

FIELDS: dict[str, Any] = {"row": {"kind": "fields"}}
NUMBER: dict[str, Any] = {"y": {"kind": "number"}}


def of(first: Shape, *outputs: Shape, second: Shape = None) -> Signature:
    inputs = [spec("x", shape=first), *([spec("z", shape=second)] if second is not None else [])]
    names = ("y", "other")
    found = tuple(spec(n, shape=s) for n, s in zip(names, outputs, strict=False))
    return signature(*inputs, outputs=found, activation="linear")


def task(of: Signature, outputs: dict[str, Any] = NUMBER, **inputs: Any) -> RowTask:
    return RowTask(Card(task=None, inputs=inputs or FIELDS, outputs=outputs), of, Limits())


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (of((None, 3), (None, 1)), None),
        (of((1, 3), (1, 1)), 1),
        (of((4, 3), (4, 1)), 4),
        (of((4, 3), (None, 1)), 4),
        (of((4, 3), None), 4),
        # One row at a time: no more of them could be told apart.
        (of((None, 3), (1, 1)), 1),
    ],
)
def test_the_rows_of_a_run(model: Signature, rows: int | None) -> None:
    found = task(model)
    assert found.fixed_rows == rows
    assert found.has_rows
    if model.outputs[0].shape is not None:
        inferred = RowTask(completed(None, model)[0], model, Limits())
        assert inferred.fixed_rows == rows


@pytest.mark.parametrize(
    "model",
    [
        of((4, 3), (1, 1)),
        of((4, 3), (3, 1)),
        of((None, 3), (4, 1)),
        of((4, 3), (4, 1), second=(2, 3)),
    ],
)
def test_a_model_without_rows_takes_tensors_alone(model: Signature) -> None:
    tensors: dict[str, Any] = {t.name: {"kind": "tensor"} for t in model.inputs}
    fields = {name: {"kind": "fields"} for name in tensors}
    with pytest.raises(CardError, match=r"do not count the same rows.*use 'task: tensor'"):
        task(model, **fields)
    as_it_is = task(model, {"y": {"kind": "tensor"}}, **tensors)
    assert (as_it_is.fixed_rows, as_it_is.has_rows) == (None, False)
    # A guess never is one that the model contradicts.
    assert completed(None, model)[0].task == "tensor"


def test_boxes_of_one_picture_need_no_rows() -> None:
    shapes = {"boxes": (9, 4), "scores": (9,), "classes": (9,)}
    model = signature(
        spec("image", shape=(1, 8, 8, 3)),
        outputs=tuple(spec(name, shape=shape) for name, shape in shapes.items()),
    )
    outputs: dict[str, Any] = {
        "boxes": {"kind": "boxes", "scores": "scores", "classes": "classes", "format": "xyxy"}
    }
    assert task(model, outputs, image={"kind": "picture", "scale": "none"}).fixed_rows == 1


def test_tensors_beside_rows_may_be_any_number() -> None:
    model = of((4, 3), (4, 1))
    found = task(model, x={"kind": "tensor"})
    assert found.fixed_rows == 4
    (array,) = found.read(Payload("json", b"[[1,2,3],[4,5,6],[1,2,3],[4,5,6],[7,8,9]]"))
    assert array.shape == (5, 3)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (4, 1), (), (0, 1)])
def test_an_answer_has_as_many_rows_as_the_request(shape: tuple[int, ...]) -> None:
    """Models whose file does not tell the number of their outputs' rows."""
    found = task(of((None, 3), (None, 1)))
    found.check_rows([np.zeros((3, 1))], 3)
    with pytest.raises(InvalidInput, match=r"3 rows with outputs of shape.*one row at a time"):
        found.check_rows([np.zeros(shape)], 3)
