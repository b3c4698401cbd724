"""The base of all parts of a card, and the types that they share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Part(BaseModel):
    """A mapping in a card. Unknown keys are refused by name."""

    # Strict: `top: true` is no 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _text(value: Any) -> Any:
    """Texts may be written as bare numbers in YAML: `labels: [0, 1, 2]`, `title: 2048`."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, Field(min_length=1), BeforeValidator(_text)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Activation = Literal["none", "softmax", "sigmoid"]


def check_once(key: str, names: list[str]) -> None:
    """Raise ValueError where a name is used twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{key}: the name {twice[0]!r} is used twice")
