"""Rows of the model `couple` of `tests.kinds`, and what it answers."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

import pytest

from tests.kinds import grey

FACTS = {"weight": 40, "height": 1.5}


def text(data: bytes) -> str:
    return b64encode(data).decode()


def row(left: int = 51, right: int = 7, **facts: Any) -> dict[str, Any]:
    return {"left": text(grey(left)), "right": text(grey(right)), "facts": FACTS | facts}


def check(prediction: dict[str, Any], left: int = 51, right: int = 7, weight: float = 40) -> None:
    """What the model computes, as its card shows it."""
    assert list(prediction) == ["age", "gender", "features"]
    assert prediction["age"] == pytest.approx(left / 255 + right + weight, abs=0.051)
    assert prediction["age"] == round(prediction["age"], 1)
    male = 1 / (1 + math.exp(weight - 1.5))
    assert prediction["gender"]["label"] == ("male" if male >= 0.5 else "female")
    chances = {top["label"]: top["probability"] for top in prediction["gender"]["top"]}
    assert chances["male"] == pytest.approx(male, abs=1e-5)
    assert prediction["features"] == pytest.approx([left / 255, weight, 1.5], abs=1e-4)
