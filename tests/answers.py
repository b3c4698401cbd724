"""Answers of the native API."""

from __future__ import annotations

from typing import Any

import httpx


def predictions(answer: httpx.Response) -> list[Any]:
    """Of an answer that has some."""
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["predictions"]
    return found


def problems(answer: httpx.Response) -> dict[str, str]:
    """By the names of fields, of a refusal."""
    assert answer.status_code == 422, answer.text
    return {d["field"]: d["problem"] for d in answer.json()["error"]["details"]}
