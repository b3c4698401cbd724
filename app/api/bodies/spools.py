"""Spools, which hold uploads: in memory, or in files without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from flask import Request

from app.serving.threads import in_a_thread

# Uploads above this many bytes go to disk, into a file that has no name.
SPOOL_ABOVE = 500_000


def spool_for(folder: Path) -> Callable[[], BinaryIO]:
    """Return a function that opens spools in `folder`.

    The file behind a spool is unlinked at once, so that nothing remains if the process is killed.
    """

    def open_spool() -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=SPOOL_ABOVE, dir=str(folder)))

    return open_spool


class KeraportRequest(Request):
    """A Flask request that knows where the settings want uploads spooled."""

    open_spool: Callable[[], BinaryIO]
    # The limit on bodies, in bytes: Flask would look it up for each use.
    max_content_length: int = 0


def open_spool(request: Request) -> BinaryIO:
    """Open a spool where the settings want it."""
    return cast(KeraportRequest, request).open_spool()


def read_spool(spool: BinaryIO) -> bytes:
    """Read a spool, which may be a file on a slow disk."""
    return in_a_thread(spool.read)
