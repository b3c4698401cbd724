"""What a model card of the Hugging Face Hub decides, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.inference.model_card import MODEL_CARD, pipeline_tag
from app.serving.limits import Limits
from app.serving.signature import OutputMeaning, Signature
from app.serving.tasks import RowTask
from tests.unit.signatures import signature, spec

PICTURE, ROW = spec("x", shape=(None, 32, 32, 3)), spec("x", shape=(None, 7))


def beside(folder: Path, tag: str) -> list[Path]:
    (folder / MODEL_CARD).write_text(f"---\nlicense: mit\npipeline_tag: {tag}\n---\n# Flowers\n")
    return [folder]


def kind_of(of: Signature, folders: list[Path]) -> tuple[str, bool]:
    """The kind of the output of a model without a card, and whether it is called a guess. It can
    be served."""
    card, of = completed(None, of, folders)
    RowTask(card, of, Limits())
    found = [g for g in guesses(None, card, of) if g.key in ("task", "outputs.y.kind")]
    if card.task is not None:
        return card.task, bool(found[0].reason)
    return (card.outputs or {})["y"].kind, bool(found)


@pytest.mark.parametrize(
    ("of", "tag", "without", "with_it"),
    [
        (signature(ROW, classes=3, activation="linear"), "tabular-classification", "regr", "class"),
        (signature(ROW, classes=1, activation="sigmoid"), "tabular-regression", "class", "regr"),
        (signature(ROW, classes=1, activation="sigmoid"), "tabular-classification", "class", "cla"),
        (
            signature(PICTURE, classes=40, activation="sigmoid"),
            "image-classification",
            "v",
            "image",
        ),
        (signature(PICTURE, classes=8, activation="sigmoid"), "feature-extraction", "image", "v"),
        # What the file shows, a card does not change.
        (signature(ROW, classes=3, activation="softmax"), "tabular-regression", "class", "class"),
        (signature(ROW, classes=3, activation="relu"), "tabular-classification", "regr", "regr"),
        (signature(PICTURE, classes=8, activation="softmax"), "image-to-image", "image", "image"),
        # Of one unit, where the second class begins would be a guess that no one sees.
        (signature(ROW, classes=1, activation="linear"), "tabular-classification", "regr", "regr"),
        (signature(ROW, classes=3, activation="linear"), "fill-mask", "regr", "regr"),
    ],
)
def test_a_tag_decides_what_the_file_leaves_open(
    of: Signature, tag: str, without: str, with_it: str, tmp_path: Path
) -> None:
    kind, _ = kind_of(of, [tmp_path])
    assert kind.removeprefix("tabular-").startswith(without)
    folders = beside(tmp_path, tag)
    told, guess = kind_of(of, folders)
    assert told.removeprefix("tabular-").startswith(with_it)
    assert guess or told == kind


@pytest.mark.parametrize(
    ("tag", "kind"), [("image-segmentation", "mask"), ("image-to-image", "picture")]
)
def test_pictures_that_may_also_be_masks(tag: str, kind: str, tmp_path: Path) -> None:
    grey, y = spec("x", shape=(None, 32, 32, 1)), spec("y", shape=(None, 32, 32, 1))
    for classes in (True, None):
        meaning = OutputMeaning("sigmoid", classes, True, "they come from a sigmoid", True)
        of = Signature((grey,), (y,), meanings=(meaning,), parameters=1)
        assert kind_of(of, [])[0] == "mask"
        assert kind_of(of, beside(tmp_path, tag)) == (kind, True)


def test_a_tag_makes_no_probability(tmp_path: Path) -> None:
    of = signature(ROW, classes=3, activation="linear")
    card, of = completed(None, of, beside(tmp_path, "tabular-classification"))
    (output,) = RowTask(card, of, Limits()).outputs
    assert output.about()["number"] == "score"
    found = {guess.key: guess.reason for guess in guesses(None, card, of)}
    assert found["task"] == "the README.md beside it says tabular-classification"
    assert "output.activation" in found


def test_what_an_author_says_counts_more(tmp_path: Path) -> None:
    of = signature(ROW, classes=3, activation="linear")
    folders = beside(tmp_path, "tabular-regression")
    stated: list[dict[str, Any]] = [
        {"task": "tabular-classification", "fields": [{"name": f"x{i}"} for i in range(7)]},
        {"labels": ["a", "b", "c"]},
    ]
    for written in stated:
        card, told = completed(Card.model_validate(written), of, folders)
        assert card.task == "tabular-classification"
        assert told.pipeline_tag is None
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    assert completed(None, of, folders) == completed(None, of, [tmp_path])
    assert completed(None, of, folders)[0].labels == ["a", "b", "c"]
    two = signature(ROW, outputs=(spec("a"), spec("b")), activation="linear")
    assert completed(None, two, folders)[1] == two


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("---\npipeline_tag: image-to-image\n---\n", "image-to-image"),
        ("\ufeff---\r\npipeline_tag: 'image-to-image' # x\r\n---\r\n", "image-to-image"),
        ("---\na: b\n---\npipeline_tag: image-to-image\n", None),
        ("---\nmodel-index:\n  pipeline_tag: image-to-image\n---\n", None),
        ("pipeline_tag: image-to-image\n", None),
        ("---\npipeline_tag: image-to-image\n", None),
        ("---\npipeline_tag: [a, b]\n---\n", None),
        ("", None),
    ],
)
def test_only_the_metadata_count(text: str, tag: str | None, tmp_path: Path) -> None:
    (tmp_path / MODEL_CARD).write_text(text, newline="")
    assert pipeline_tag([tmp_path / "missing", tmp_path]) == tag
