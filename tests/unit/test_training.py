"""What the compile configurations of Keras 1, 2 and 3 say of each output."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.reading.outputs.training import read_training


def keras3(name: str, **settings: Any) -> dict[str, Any]:
    """A loss as Keras 3 writes the object of a class."""
    return {
        "module": "keras.losses",
        "class_name": name,
        "config": {"name": name.lower(), **settings},
        "registered_name": None,
    }


def keras2(name: str, **settings: Any) -> dict[str, Any]:
    return {"class_name": name, "config": {"reduction": "auto", **settings}}


FUNCTION = {
    "module": "builtins",
    "class_name": "function",
    "config": "huber",
    "registered_name": "function",
}


@pytest.mark.parametrize(
    ("loss", "aim", "from_logits"),
    [
        ("mse", "numbers", False),
        ("MSE", "numbers", False),
        ("mean_squared_error", "numbers", False),
        ("mae", "numbers", False),
        ("logcosh", "numbers", False),
        ("log_cosh", "numbers", False),
        ("huber_loss", "numbers", False),
        ("poisson", "numbers", False),
        ("cosine_proximity", "numbers", False),
        ("binary_crossentropy", "any", False),
        ("sparse_categorical_crossentropy", "one", False),
        ("kullback_leibler_divergence", "one", False),
        ("hinge", "margin", False),
        (FUNCTION, "numbers", False),
        (keras3("MeanAbsoluteError"), "numbers", False),
        (keras3("SparseCategoricalCrossentropy", from_logits=True), "one", True),
        (keras3("BinaryFocalCrossentropy", from_logits=False), "any", False),
        (keras2("CategoricalCrossentropy", from_logits=True), "one", True),
        (keras2("Huber"), "numbers", False),
        ({"class_name": "LossFunctionWrapper", "config": {"fn": "mse"}}, "numbers", False),
        # Of the author's own.
        ("weighted_binary_crossentropy", "any", None),
        ("Custom>masked_sparse_categorical_crossentropy", "one", None),
        ("softmax_cross_entropy_with_logits_v2", "one", True),
        ("root_mean_squared_error", "numbers", None),
        ("my_loss", None, None),
    ],
)
def test_a_loss(loss: Any, aim: str | None, from_logits: bool | None) -> None:
    (found,) = read_training({"loss": loss}, ["y"])
    assert found is not None
    assert (found.aim, found.from_logits) == (aim, from_logits)


@pytest.mark.parametrize(
    "losses",
    [
        {"a": "mse", "b": "binary_crossentropy"},
        {"b": keras3("BinaryCrossentropy"), "a": FUNCTION},
        ["mse", "binary_crossentropy"],
        ("mse", "binary_crossentropy"),
        {"class_name": "__tuple__", "items": ["mse", "binary_crossentropy"]},
    ],
)
def test_a_loss_for_each_output(losses: Any) -> None:
    found = read_training({"loss": losses}, ["a", "b"])
    assert [each and each.aim for each in found] == ["numbers", "any"]


def test_a_loss_for_all_or_some_of_the_outputs() -> None:
    both = read_training({"loss": "mse"}, ["a", "b"])
    assert [each and each.aim for each in both] == ["numbers", "numbers"]
    assert read_training({"loss": {"a": "mse"}}, ["a", "b"])[1] is None
    assert read_training({"loss": ["mse", None]}, ["a", "b"])[1] is None
    assert read_training({"loss": ["mse"]}, ["a", "b"]) == [None, None]
    # A Sequential model's file may call its output otherwise.
    (only,) = read_training({"loss": {"dense_3": "mse"}}, ["dense"])
    assert only is not None
    assert only.aim == "numbers"


@pytest.mark.parametrize(
    ("metrics", "aim", "counted"),
    [
        (["accuracy"], "classes", True),
        (["acc", "mae"], "classes", True),
        ([["sparse_categorical_accuracy"]], "classes", True),
        ({"y": ["AUC"]}, "classes", True),
        ([keras3("Precision"), keras3("Recall")], "classes", True),
        ([keras2("MeanMetricWrapper", fn="categorical_accuracy")], "classes", True),
        (["mae"], "numbers", False),
        ([keras3("RootMeanSquaredError")], "numbers", False),
        ([keras3("Mean")], None, False),
        ([], None, False),
        (None, None, False),
    ],
)
def test_metrics_tell_where_the_loss_does_not(metrics: Any, aim: str | None, counted: bool) -> None:
    (found,) = read_training({"loss": None, "metrics": metrics}, ["y"])
    assert (found and found.aim, bool(found and found.counted)) == (aim, counted)


def test_a_loss_counts_more_than_a_metric() -> None:
    (found,) = read_training({"loss": "mse", "metrics": ["accuracy"]}, ["y"])
    assert found is not None
    assert (found.aim, found.counted) == ("numbers", True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["mse", "fn"]),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["class_name", "config", "items", "fn", "a", "loss", "metrics"]),
                inner,
            )
        ),
    ),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
)
def test_whatever_a_file_holds_it_can_be_read(config: Any, names: list[str]) -> None:
    assert len(read_training(config, names)) == len(names)
    assert len(read_training({"loss": config, "metrics": config}, names)) == len(names)
