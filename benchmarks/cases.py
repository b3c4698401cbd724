"""What is asked: one row of the tabular model, one picture of the CNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
import orjson

from app.errors import CardError
from app.serving.cards.card import Card, FieldSpec
from app.serving.cards.read import read_card
from app.serving.reading.model_files import find_model
from benchmarks.picture import jpeg

TABULAR, CNN, TEXT = "mpg", "cats-dogs", "patents"
TEXT_WORDS = 100
TIMEOUT_S = 60
BOUNDARY = "benchmark-5f2b1c"
# The script's picture is resized from all pixels by picking some, as load_img does; ours is
# averaged. So the probabilities are close, not equal.
PROBABILITY_TOLERANCE = 0.1

models_option = click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("models"),
    show_default=True,
    help=f"Folder that holds the models {TABULAR} and {CNN}.",
)


@dataclass(frozen=True)
class Case:
    """One request that every server gets, and how two answers to it are compared.

    agree: given our answer and the script's, both parsed, says whether they mean the same.
    worth: how many of what is counted one request brings: the words of a text. headers: further
    ones.
    """

    name: str
    model: str
    content_type: str
    body: bytes
    agree: Callable[[Any, Any], bool]
    worth: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)


def find_card(models: Path, name: str) -> Card:
    """The card of `models/NAME`. Raises ClickException where it cannot be benchmarked."""
    folder = models / name
    try:
        card = read_card(folder) if folder.is_dir() else None
        if card is None:
            raise click.ClickException(f"{folder} has no model.yaml: use --models DIR")
        find_model(folder, card)
    except CardError as error:
        raise click.ClickException(f"{folder}: {error.message}") from None
    return card


def tabular(models: Path) -> Case:
    """One row, made of the examples in the card, as JSON."""
    card = find_card(models, TABULAR)
    row = {field.name: _example(field) for field in card.fields or []}
    tolerance = 10.0 ** -(card.output.decimals or 3)

    def agree(ours: Any, theirs: Any) -> bool:
        (number,) = ours["predictions"][0].values()
        return bool(abs(number - theirs["prediction"]) <= tolerance)

    return Case("tabular", TABULAR, "application/json", orjson.dumps(row), agree)


def _example(field: FieldSpec) -> Any:
    """The field's example as the number that the model gets, which the script wants too."""
    if isinstance(field.choices, dict):
        known = {label: value for value, label in field.choices.items()}
        return known.get(str(field.example), field.example)
    return field.example


def cnn(models: Path) -> Case:
    """One JPEG in a form, as a browser sends it."""
    find_card(models, CNN)
    body = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode() + jpeg()
    body += f"\r\n--{BOUNDARY}--\r\n".encode()

    def agree(ours: Any, theirs: Any) -> bool:
        mine = ours["predictions"][0]
        near = abs(mine["probability"] - theirs["probability"]) <= PROBABILITY_TOLERANCE
        return bool(mine["label"] == theirs["label"] and near)

    return Case("CNN", CNN, f"multipart/form-data; boundary={BOUNDARY}", body, agree)


def text(models: Path) -> Case:
    """A hundred words after three."""
    find_card(models, TEXT)
    body = {"seed": "a neural network", "words": TEXT_WORDS, "diversity": 0.8}

    def agree(ours: Any, theirs: Any) -> bool:
        return True  # chance writes: there is nothing to compare

    return Case("text", TEXT, "application/json", orjson.dumps(body), agree, TEXT_WORDS)


def examples(api: str) -> list[Case]:
    """The first example of each model that a server has. api: of its native API."""
    served = httpx.get(f"{api}models", timeout=TIMEOUT_S).raise_for_status().json()["models"]
    cases = []
    for name in sorted(each["name"] for each in served):
        example = httpx.get(f"{api}models/{name}/example", timeout=TIMEOUT_S).raise_for_status()
        cases.append(Case(name, name, "application/json", example.content, lambda *_: True))
    return cases
