"""Registries over folders of models, for tests without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.serving.limits import Limits
from app.serving.registry.registry import Registry
from app.serving.registry.sync import FolderSync
from tests.conversions import converted


def found(folder: Path) -> Registry:
    """The models of `folder`, listed and not loaded."""
    registry = Registry()
    FolderSync(registry, folder, Limits()).find()
    return registry


@contextmanager
def loaded(folder: Path, limits: Limits | None = None) -> Iterator[Registry]:
    """The models of `folder`, loaded."""
    with syncing(folder, limits, kept=converted(folder)) as (registry, _):
        registry.all_tried.wait()
        yield registry


@contextmanager
def syncing(
    folder: Path, limits: Limits | None = None, **about: Any
) -> Iterator[tuple[Registry, FolderSync]]:
    """A registry over `folder`, and what loads its models in a thread. about: of FolderSync."""
    registry = Registry()
    sync = FolderSync(registry, folder, limits or Limits(), **about)
    sync.find()
    sync.start()
    try:
        yield registry, sync
    finally:
        sync.close()
        registry.close()
