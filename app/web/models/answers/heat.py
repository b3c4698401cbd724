"""Where a model looks, drawn over the picture or under the words. `heat.js` draws the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.api.native.explain import EXPLAIN
from app.serving.models.explanation import METHOD, explanation_problem
from app.serving.models.model import Model
from app.web.models.answers.readings import Shown
from app.web.models.answers.table_answer import number_for_people, percent

# The opacity of the patch that matters most.
STRONGEST = 0.75
# Shades of words, the strongest for those that matter most.
SHADES = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """A patch. falls: whether the number falls without it. opacity: in SVG."""

    x: int
    y: int
    width: int
    height: int
    falls: bool
    opacity: str


@dataclass(frozen=True, slots=True)
class Heat:
    """A picture with its patches, or a text. size: (width, height) of the coordinates. words: what
    it says. text: words, each with the class of its shade."""

    words: str
    picture: str = ""
    size: tuple[int, int] = (0, 0)
    cells: Sequence[Cell] = ()
    text: Sequence[tuple[str, str]] = ()


def explain_context(model: Model, action: str) -> dict[str, Any]:
    """Return the address that asks for an explanation, None where there is none. action: of the
    page, to which the parameter is added."""
    if explanation_problem(model):
        return {"explain": None}
    return {"explain": f"{action}{'&' if '?' in action else '?'}{EXPLAIN}={METHOD}"}


def heats(explanation: dict[str, Any], outputs: Sequence[Shown]) -> list[Heat]:
    """Return a drawing for each picture or text and each number that is followed."""
    several = len(explanation["inputs"]) > 1
    found = []
    for name, each in explanation["inputs"].items():
        for output, drops in each["drops"].items():
            title = next((out.title for out in outputs if out.name == output), output)
            text = "words" in each
            flat = drops if text else [drop for row in drops for drop in row]
            said = heat_words(explanation["outputs"][output], flat, title, text=text)
            said = f"{name}: {said}" if several else said
            if text:
                found.append(Heat(said, text=_shaded(each["words"], drops)))
            else:
                found.append(_heat(each, drops, said))
    return found


def heat_words(about: dict[str, Any], drops: Sequence[float], title: str, *, text: bool) -> str:
    """Return what the parts say. about: the number that is followed. title: of its output. text:
    whether they are words, not patches."""
    most = max(drops, default=0.0)
    what = about.get("label", title)
    part, parts, done = ("word", "words", "left out") if text else ("patch", "patches", "made grey")
    if most <= 0:
        return f"No {part} that is {done} takes anything from {what}."
    if "probability" in about:
        value = percent(about["probability"])
        fall = f"up to {most * 100:.1f} points" if most >= 0.0005 else "less than 0.1 points"
    else:
        number = about.get("score", about.get("value", 0))
        unit = f" {about['unit']}" if "unit" in about else ""
        value = number_for_people(number, None) + unit
        fall = f"up to {number_for_people(most, None)}{unit}"
    against = f" Blue {parts} speak against it." if min(drops) < 0 else ""
    return (
        f"The redder a {part}, the more is taken from {what} ({value}) when it is {done}: "
        f"{fall}.{against}"
    )


def _shaded(words: Sequence[str], drops: Sequence[float]) -> list[tuple[str, str]]:
    """Return each word with the class of its shade."""
    most = max((abs(drop) for drop in drops), default=0.0) or 1.0
    return [
        (word, f"{'falls' if drop > 0 else 'rises'}-{math.floor(SHADES * abs(drop) / most + 0.5)}")
        for word, drop in zip(words, drops, strict=True)
    ]


def _heat(each: dict[str, Any], drops: Sequence[Sequence[float]], words: str) -> Heat:
    height, width = each["size"]
    down, across = each["patch"]
    most = max(abs(drop) for row in drops for drop in row) or 1.0
    cells = [
        Cell(
            x * across,
            y * down,
            min(across, width - x * across),
            min(down, height - y * down),
            drop > 0,
            f"{STRONGEST * abs(drop) / most:.3f}",
        )
        for y, row in enumerate(drops)
        for x, drop in enumerate(row)
    ]
    return Heat(words, each["picture"], (width, height), cells)
