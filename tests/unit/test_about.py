"""What a page tells of its model."""

from __future__ import annotations

from typing import Any

import pytest

from app.serving.card import Card
from app.web.about import facts, moment, shape_in_words
from app.web.text import gap


def about(**changes: Any) -> dict[str, Any]:
    card = Card(task=changes.get("task", "tensor"), labels=changes.pop("labels", None))
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


def test_metrics_without_a_place_of_measure() -> None:
    assert dict(facts(about(metrics={"val_loss": 0.5})))["Measured"] == ["val loss 0.5"]
    assert "Measured" not in dict(facts(about(metrics={"measured_on": "x"})))


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
