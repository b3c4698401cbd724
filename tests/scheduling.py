"""Which tests pytest-xdist gives to one worker: those of a file, and those of all files that use a
server of the whole session, so that it starts once."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

# As an argument of a test or a fixture. `shipped` is everywhere, and starts soon.
SERVERS = re.compile(r"\b(assorted|keyed|limited|tables|v1|v2): (?:ServerProcess|Keyed)\b")


@cache
def group_of(file: Path) -> str:
    """Return the name of the server that a file of tests uses, or of the file."""
    found = SERVERS.search(file.read_text(encoding="utf-8"))
    return found[1] if found else str(file)


class ServerScheduling(LoadFileScheduling):  # type: ignore[misc]
    """`--dist loadfile`, by groups."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(self.config.rootpath / nodeid.partition("::")[0])
