"""Whether the files of a source are one version, or numbered folders of several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import PullError
from app.serving.cards.versions import version_number
from app.serving.reading.model_files import SAVED_MODEL


@dataclass(frozen=True, slots=True)
class Layout:
    """versions: the numbered folders, with the paths in them; none if all files are one version.
    beside: the other paths, such as that of a card for all versions."""

    versions: dict[str, list[str]]
    beside: list[str]


def layout_of(paths: Iterable[str]) -> Layout:
    """Sort paths as the registry will. Raises PullError if two folders have the same number."""
    versions: dict[str, list[str]] = {}
    beside = []
    for path in sorted(paths):
        folder, slash, _ = path.partition("/")
        if slash and version_number(folder) is not None:
            versions.setdefault(folder, []).append(path)
        else:
            beside.append(path)
    if SAVED_MODEL in beside:
        return Layout({}, sorted([*beside, *(p for found in versions.values() for p in found)]))
    if len({int(folder) for folder in versions}) < len(versions):
        raise PullError(f"several folders have the same number: {', '.join(sorted(versions))}")
    return Layout(versions, beside)
