"""What a page tells of its model."""

from __future__ import annotations

from typing import Any

import pytest

from app.serving.cards.card import Card
from app.web.about import facts, measured, moment, shape_in_words
from app.web.models.text_page import gap


def about(**changes: Any) -> dict[str, Any]:
    card = Card(task=changes.get("task") or "tensor", labels=changes.pop("labels", None))
    return {
        "task": card.task,
        "card": card.model_dump(mode="json"),
        "signature": {"inputs": [], "outputs": []},
        "parameters": None,
        "version": 2,
        "versions": [{"version": 2, "state": "ready"}],
        "aliases": {},
        "canary": None,
        "metrics": {},
        "guessed": [],
        **changes,
    }


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (None, "any shape"),
        ([], "a single value"),
        ([None], "any number of rows"),
        ([None, None, 3], "any number of rows × any number × 3"),
        ([1, 1_000], "1 × 1,000"),
    ],
)
def test_shapes(shape: list[int | None] | None, words: str) -> None:
    assert shape_in_words(shape) == words


def test_what_is_not_known_is_left_out() -> None:
    assert [term for term, _ in facts(about())] == ["Task", "Precision", "Version"]


@pytest.mark.parametrize(
    ("guessed", "words"),
    [
        (["task", "input.scale"], "0 to 255, as they are (a guess)"),
        (["task"], "0 to 255, as they are"),
    ],
)
def test_a_scale_that_is_a_guess_is_called_one(guessed: list[str], words: str) -> None:
    found = dict(facts(about(task="image-classification", guessed=guessed)))
    assert found["Pixels"] == [words]


def test_a_scale_that_the_page_tries_is_named_where_it_is_a_guess() -> None:
    for guessed, words in (
        (["input.scale"], "0 to 255, as they are (a guess; this page tries -1..1)"),
        ([], "0 to 255, as they are"),
    ):
        found = dict(facts(about(task="image-classification", guessed=guessed), "-1..1"))
        assert found["Pixels"] == [words]


@pytest.mark.parametrize(
    ("count", "words"), [(1, "a number"), (39, "several numbers"), (None, "several numbers")]
)
def test_a_regression_says_how_much_it_predicts(count: int | None, words: str) -> None:
    outputs = {"value": {"kind": "number", "unit": None, "count": count}}
    found = dict(facts(about(task="tabular-regression", outputs=outputs)))
    assert found["Task"] == [f"Predicts {words} from a row of values (tabular-regression)"]


def test_inputs_and_outputs_are_described_by_their_kinds() -> None:
    picture = {"kind": "picture", "size": [8, 8], "color": "rgb", "scale": "0..1"}
    inputs = {"face": picture, "other": {**picture, "scale": "none"}}
    outputs = {
        "age": {"kind": "number", "unit": "years", "count": 1},
        "box": {"kind": "number", "unit": None, "count": 4},
        "features": {"kind": "vector", "length": 5},
    }
    found = dict(
        facts(
            about(
                task=None,
                inputs=inputs,
                outputs=outputs,
                guessed=["inputs.face.scale"],
            )
        )
    )
    assert found["Takes"] == [
        "face: a picture, resized to 8 × 8, rgb, scaled 0..1 (a guess)",
        "other: a picture, resized to 8 × 8, rgb, 0 to 255",
    ]
    assert found["Answers"] == ["age: a number in years", "box: numbers", "features: a vector"]


def test_many_labels_are_counted() -> None:
    labels = [f"thing {i}" for i in range(1000)]
    found = dict(facts(about(task="image-classification", labels=labels)))
    assert found["Labels"][0].startswith("1,000, such as thing 0, thing 1, ")
    assert "thing 12" not in found["Labels"][0]


def test_other_versions_say_their_state() -> None:
    versions = [{"version": 1, "state": "failed"}, {"version": 2, "state": "ready"}]
    assert dict(facts(about(versions=versions)))["Version"] == [
        "1 (failed)",
        "2 (ready, answers by default)",
    ]


def test_versions_say_what_else_they_are_called_and_how_much_they_get() -> None:
    versions = [{"version": n, "state": "ready"} for n in (2, 3)]
    found = facts(
        about(
            versions=versions,
            aliases={"stable": 2, "old": 2, "next": 3},
            canary={"version": 3, "percent": 2.5},
        )
    )
    assert dict(found)["Version"] == [
        "2 (ready, answers by default, called stable and old)",
        "3 (ready, called next, canary with 2.5 % of the requests)",
    ]


def test_the_only_version_says_what_else_it_is_called() -> None:
    assert dict(facts(about()))["Version"] == ["2"]
    assert dict(facts(about(aliases={"stable": 2})))["Version"] == ["2 (called stable)"]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (
            {"accuracy": 0.947, "measured_on": "300 held-out pictures"},
            "94.7 % right on 300 held-out pictures",
        ),
        (
            {"rmse": 2.92, "mae": 1.86, "measured_on": "64 held-out cars"},
            "RMSE 2.92, MAE 1.86 on 64 held-out cars",
        ),
        ({"accuracy": 1}, "100.0 % right"),
        ({"accuracy": 94.7}, "accuracy 94.7"),
        ({"accuracy": -1.0}, "accuracy -1"),
        ({"accuracy": float("nan")}, "accuracy nan"),
        ({"accuracy": "good"}, "accuracy good"),
        ({"val_loss": 0.5, "pictures": 200.0}, "val loss 0.5, pictures 200"),
    ],
)
def test_metrics_in_words(metrics: dict[str, Any], words: str) -> None:
    assert measured(metrics) == words
    assert dict(facts(about(metrics=metrics)))["Measured"] == [words]


@pytest.mark.parametrize("metrics", [{}, {"measured_on": "x"}])
def test_no_metrics_are_left_out(metrics: dict[str, Any]) -> None:
    assert measured(metrics) == ""
    assert "Measured" not in dict(facts(about(metrics=metrics)))


def test_how_texts_are_made_where_the_whole_window_is_read() -> None:
    found = dict(
        facts(
            about(
                task="text-generation",
                generation={"kind": "window", "reason": "the layer reads both ways"},
                input={"level": "character", "vocabulary": 80, "random_starts": 0},
            )
        )
    )
    assert found["How it writes"] == [
        "For each character, the model reads the last 50 characters again, because the layer "
        "reads both ways"
    ]
    assert found["Vocabulary"] == ["80 characters"]


def test_a_moment_is_in_utc() -> None:
    assert moment(0.9).isoformat() == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("level", "seed", "rest", "between"),
    [
        ("word", "a neural", "network", " "),
        ("word", "a neural", ", net", ""),
        ("word", "a (", "neural", ""),
        ("word", "a\n", "neural", ""),
        ("character", "a neu", "ral", ""),
    ],
)
def test_what_stands_between_a_seed_and_the_rest(
    level: str, seed: str, rest: str, between: str
) -> None:
    assert gap(level, seed, rest) == between
