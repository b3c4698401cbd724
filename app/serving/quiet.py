"""Keeps the chatter of TensorFlow and Keras out of the terminal and the log. What their native code
writes by itself, `app.native_output` knows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import TensorFlow inside this block."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    yield
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what Python code prints inside the block, in this thread or another."""
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
        yield
