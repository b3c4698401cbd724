"""Keeps TensorFlow's chatter out of the terminal and the log."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# What TensorFlow 2.21 prints on every import, whatever its log level says.
_CHATTER = re.compile(
    rb"absl::InitializeLog|oneDNN custom operations|cpu_feature_guard|rebuild Tens"
)


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import TensorFlow inside this block: what its C++ side prints meanwhile goes to the log at
    the end, without the lines that always come. The log must write to a copy of descriptor 2 to be
    untouched by this.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _CHATTER.search(line):
                    log.warning("%s", line.decode(errors="replace").rstrip())
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)


@contextmanager
def quiet(file: Path) -> Iterator[None]:
    """Whatever this process prints inside the block, Python or not, goes into `file`.

    For a process whose only thread this is: the descriptors are those of all threads.
    """
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    _flush()
    with file.open("wb") as held:
        for descriptor in (1, 2):
            os.dup2(held.fileno(), descriptor)
    try:
        yield
    finally:
        _flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
