"""Models that several tests save alike are made once a run, so that servers find them converted."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

Save = TypeVar("Save", bound=Callable[..., None])


def saved_once(save: Save) -> Save:
    """Wrap a function that writes a file or a folder: the first call with these arguments makes it,
    all others of this run, also in other processes, copy that. Outside a run of tests, each call
    makes it."""

    @functools.wraps(save)
    def saved(path: Path, *args: Any, **kwargs: Any) -> None:
        if "TESTS_SAVED_DIR" not in os.environ:
            save(path, *args, **kwargs)
            return
        name = f"saved{path.suffix}"
        given = (save.__module__, save.__qualname__, name, args, sorted(kwargs.items()))
        store = Path(os.environ["TESTS_SAVED_DIR"])
        kept = store / hashlib.sha256(repr(given).encode()).hexdigest()
        if not kept.exists():
            new = Path(tempfile.mkdtemp(dir=store))
            save(new / name, *args, **kwargs)
            with suppress(OSError):  # another process was faster
                new.rename(kept)
        source = kept / name
        if source.is_dir():
            shutil.copytree(source, path, symlinks=True, dirs_exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, path)

    return cast(Save, saved)
