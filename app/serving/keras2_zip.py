"""Reads the `.keras` archives of Keras 2.12 to 2.14.

The archive format came before its layout was settled: until 2.15 the weights of a layer lie under
`_layer_checkpoint_dependencies/`, one entry an attribute in alphabetical order, and until 2.14 a
layer that sits in a list twice counts twice. tf_keras knows only the layout of 2.15, so its walk
through the model is exchanged for the walk of that time while it reads such a file. That changes a
module for the whole process, and is done only where one file is read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tf_keras.src.saving import saving_lib

SETTLED = (2, 15)
COUNTS_ONCE = (2, 14)
OLD_NAME = "_layer_checkpoint_dependencies"


@contextmanager
def layout_of(version: tuple[int, int]) -> Iterator[None]:
    """Inside the block tf_keras reads archives as that version of Keras wrote them."""
    changes: dict[str, Any] = {}
    if version < SETTLED:
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


def _walk(parent: Any) -> Iterator[tuple[str, Any]]:
    """The attributes under which an old archive keeps a layer's parts, in its order."""
    skipped = saving_lib.ATTR_SKIPLIST - {OLD_NAME}
    for name in sorted(dir(parent)):
        if name.startswith("__") or name in skipped:
            continue
        try:
            value = getattr(parent, name)
        except Exception:  # noqa: S112 - properties that fail outside training
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
    """Numbers the entries of a list or dictionary by class, those seen before included."""
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
