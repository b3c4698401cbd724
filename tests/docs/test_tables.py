"""What the documents list is what there is: keys of the card, codes of errors, answers of `mpg`."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from app.api.http.errors import STATUS
from app.serving.cards.card import KINDS, Card
from app.strict_yaml import load_yaml
from tests.docs.blocks import Block, blocks_of
from tests.support import MILEAGE, ROOT

MODELS = ROOT / "docs/models.md"
CARDS = blocks_of("yaml", MODELS)


@pytest.mark.parametrize("block", CARDS, ids=str)
def test_a_card_is_one(block: Block) -> None:
    Card.model_validate(load_yaml(block.text))


def keys_of(model: type[BaseModel], where: str = "") -> set[str]:
    """The keys that a card may have, as `input.size`; of lists, those of their entries."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(f"{where}{name}")
        for part in parts_of(field.annotation):
            found |= keys_of(part, f"{where}{name}.")
    return found


def parts_of(annotation: Any) -> list[type[BaseModel]]:
    """The models within an annotation such as `list[FieldSpec] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for argument in get_args(annotation) for part in parts_of(argument)]


def keys_in(value: Any, where: str = "") -> set[str]:
    """The keys that a card has."""
    if isinstance(value, list):
        return {key for entry in value for key in keys_in(entry, where)}
    if not isinstance(value, dict):
        return set()
    found = {f"{where}{key}" for key in value}
    for key, inside in value.items():
        # The author names these.
        if not where and key in KINDS:
            inside = [*inside.values()]
        found |= keys_in(inside, f"{where}{key}.")
    return found


def test_every_key_of_a_card_is_shown_by_an_example() -> None:
    shown = {key for block in CARDS for key in keys_in(load_yaml(block.text))}
    assert keys_of(Card) - shown == set()


def codes_in(document: str) -> dict[str, set[str]]:
    """The codes in the first column of the tables, each with the numbers in its second one."""
    text = (ROOT / document).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*) \|", text, re.MULTILINE)
    return {code: set(re.findall(r"\b[1-5][0-9]{2}\b", second)) for code, second in rows}


def test_every_code_of_an_error_is_in_the_table_with_its_status() -> None:
    listed = codes_in("docs/api.md")
    assert listed == {code: {str(status)} for code, status in STATUS.items()}


def test_every_code_of_an_error_is_in_the_guide() -> None:
    assert STATUS.keys() - codes_in("docs/operations.md").keys() == set()


def test_the_tests_that_the_threat_model_names_exist() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:unit|models|processes|http|stack|browser)/test_\w+\.py)`", text))
    assert {file for file in files if not (ROOT / "tests" / file).is_file()} == set()
    there = "".join((ROOT / "tests" / file).read_text(encoding="utf-8") for file in files)
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert {name for name in named if f"def {name}(" not in there} == set()


@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_a_quoted_mileage_is_the_recorded_one(document: str) -> None:
    quoted = re.findall(
        r'"predictions": \[\{"mpg": ([^}]*)\}', (ROOT / document).read_text("utf-8")
    )
    assert quoted == [MILEAGE]


@pytest.mark.parametrize("document", ["README.md", "training/README.md"])
def test_the_quality_of_mpg_is_that_of_its_card(document: str) -> None:
    metrics = load_yaml((ROOT / "models/mpg/model.yaml").read_text("utf-8"))["metrics"]
    (row,) = re.findall(r"^\| `mpg.*", (ROOT / document).read_text("utf-8"), re.MULTILINE)
    assert f"RMSE {metrics['rmse']:.2f}" in row
    assert "315 cars" in row
    assert metrics["measured_on"].startswith("315 cars")
