"""Paths of predictions by one model: of the native API, v1 and v2."""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PATH = re.compile(
    rf"/api/(?P<native>{_NAME})"
    rf"|/v1/models/(?P<v1>{_NAME})"
    r"(?:/versions/(?P<number>[0-9]{1,18})|/labels/(?P<label>[^/:]+))?"
    r":(?P<verb>predict|classify|regress)"
    rf"|/v2/models/(?P<v2>{_NAME})(?:/versions/(?P<version>[^/]+))?/infer"
)


class PredictionPath(NamedTuple):
    """What a path names. api: "native", "v1" or "v2". verb: of v1. version: a version's number, as
    it was written, or its label (v1)."""

    api: str
    model: str
    verb: str
    version: str
    label: str


def prediction_path(path: str) -> PredictionPath | None:
    """Return what the path of a prediction names; None for any other path."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    native, v1, number, label, verb, v2, version = found.groups(default="")
    api = "native" if native else "v1" if v1 else "v2"
    return PredictionPath(api, native or v1 or v2, verb, number or version, label)
