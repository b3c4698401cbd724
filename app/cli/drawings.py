"""Masks and pictures on the command line: saved as files, and in a few words."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PNG = "png"


class Saved:
    """The PNG files of answers, written as they come. path: of the first; None to write none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._count = 0
        self._problems: list[str] = []

    def add(self, predictions: Sequence[Any]) -> None:
        """Write the pictures of predictions."""
        if self._path is None:
            return
        for png in (png for prediction in predictions for png in _pictures(prediction)):
            self._count += 1
            path = self._path
            if self._count > 1:
                path = path.with_stem(f"{path.stem}-{self._count}")
            try:
                path.write_bytes(b64decode(png.partition(",")[2]))
            except OSError as error:
                self._problems.append(f"{path}: cannot be written: {error.strerror}")

    def problems(self) -> list[str]:
        """Return what could not be saved, in words."""
        if self._path is not None and not self._count:
            return ["--save: there is no mask and no picture in the answer"]
        return self._problems


def brief(prediction: Any) -> Any:
    """Return a prediction for a table: masks as the shares of their labels, pictures as their
    size."""
    if not isinstance(prediction, dict):
        return prediction
    return {name: _words(value) for name, value in prediction.items()}


def _words(value: Any) -> Any:
    if not isinstance(value, dict) or PNG not in value:
        return value
    height, width = value["size"]
    classes = (f"{each['label']} {each['share']:.1%}" for each in value.get("classes", ()))
    return ", ".join(classes) or f"{width}x{height}"


def _pictures(prediction: Any) -> Iterator[str]:
    values = prediction.values() if isinstance(prediction, dict) else ()
    for value in values:
        if isinstance(value, dict) and PNG in value:
            yield value[PNG]
