"""Tabular models that tests of the pages serve, each awkward in a way of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.models import save_tabular_model
from tests.support import DATA

# Names that a form, a class or a script may trip over.
NAMES = ["a.b", "form", "class", "data", "validate", "csrf", "größe in m²", "<b>", '"', "__proto__"]


def save_tables(folder: Path) -> Path:
    """Models named after what is special about them."""
    quoted = ", ".join(f"{{name: '{name}', example: {i}}}" for i, name in enumerate(NAMES))
    save_tabular_model(
        folder / "names", f"task: tabular-regression\nfields: [{quoted}]\n", columns=len(NAMES)
    )
    save_tabular_model(
        folder / "several",
        "task: tabular-regression\n"
        "fields: [{name: a, example: 1.5, min: 0, max: 10}, {name: b, min: 0, max: 10}]\n"
        "output: {name: size, unit: m, decimals: 2}\n",
        columns=2,
        units=3,
    )
    save_tabular_model(
        folder / "classes",
        "task: tabular-classification\n"
        "title: Which kind\n"
        "labels: [small, middle, large]\n"
        "fields:\n"
        "- {name: length, min: -2, max: 2, example: 1, unit: cm}\n"
        "- {name: colour, choices: [red, green, blue], example: green}\n",
        columns=2,
        units=3,
        activation="softmax",
    )
    save_tabular_model(
        folder / "switches",
        "task: tabular-classification\nlabels: [on, off]\n"
        "fields: [{name: a, example: 1}, {name: b, example: -3}]\n",
        columns=2,
        units=2,
        activation="sigmoid",
    )
    # No card at all: columns x0, x1… that have no range and no example.
    save_tabular_model(folder / "bare", "", columns=24)
    (folder / "bare" / "model.yaml").unlink()
    words = folder / "words"
    words.mkdir()
    shutil.copy(DATA / "models" / "keras3_text.keras", words / "model.keras")
    (words / "model.yaml").write_text(
        "task: tabular-classification\n"
        "fields: [{name: text, type: text, help: A sentence}]\n"
        "output: {name: mood}\n"
    )
    return folder
