"""Reads the `.keras` archives of Keras 2.

Keras 2 wrote archives before their layout was final: before 2.15, the weights of a layer are under
`_layer_checkpoint_dependencies/`, one entry per attribute in alphabetical order, and before 2.14, a
layer that is twice in a list counts twice. On Windows, all versions wrote the path of a layer with
backslashes, which are not separators in HDF5. tf_keras knows only the layout of 2.15 with slashes,
so its walk through the model is replaced by the older one while it reads such a file. That patches
a module for the whole process, so only one file may be read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tf_keras.src.saving import saving_lib

FINAL = (2, 15)
COUNTS_ONCE = (2, 14)
OLD_NAME = "_layer_checkpoint_dependencies"


@contextmanager
def layout_of(version: tuple[int, int]) -> Iterator[None]:
    """Make tf_keras read archives in the layout of that version of Keras, within the block."""
    changes: dict[str, Any] = {"H5IOStore": _Weights}
    if version < FINAL:
        changes["_walk_trackable"] = _walk
    if version < COUNTS_ONCE:
        changes["_load_container_state"] = _load_container
    kept = {name: getattr(saving_lib, name) for name in changes}
    for name, function in changes.items():
        setattr(saving_lib, name, function)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(saving_lib, name, function)


class _Weights(saving_lib.H5IOStore):  # type: ignore[misc]
    """The weights of an archive, under the names of that layout, also as written on Windows."""

    def get(self, path: str) -> Any:
        """Return the weights at `path`; empty if there are none."""
        return super().get(path) or super().get(path.replace("/", "\\"))


def _walk(parent: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a layer under which old archives store its parts, in their order."""
    skipped = saving_lib.ATTR_SKIPLIST - {OLD_NAME}
    for name in sorted(dir(parent)):
        if name.startswith("__") or name in skipped:
            continue
        try:
            value = getattr(parent, name)
        except Exception:  # noqa: S112 - some properties fail outside training
            continue
        yield name, value


def _load_container(
    container: Any,
    weights_store: Any,
    assets_store: Any,
    inner_path: str,
    skip_mismatch: bool,
    visited_trackables: Any,
) -> None:
    """Load the entries of a list or dictionary, numbered by class, counting repeated ones again."""
    seen: dict[str, int] = {}
    for part in list(container.values() if isinstance(container, dict) else container):
        if not saving_lib._is_keras_trackable(part):
            continue
        kind = saving_lib.generic_utils.to_snake_case(type(part).__name__)
        number = seen[kind] = seen.get(kind, -1) + 1
        saving_lib._load_state(
            part,
            weights_store,
            assets_store,
            inner_path=f"{inner_path}/{kind}_{number}" if number else f"{inner_path}/{kind}",
            skip_mismatch=skip_mismatch,
            visited_trackables=visited_trackables,
        )
