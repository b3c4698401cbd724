"""Where a server process stands between its start and its end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Lifecycle:
    """draining: told to stop; not ready, but every request is still answered. refusing: the port
    is closed; what else comes in over connections still open is answered 503 `draining`. hung:
    which model hangs, if one does; the process then drains, not alive any more."""

    draining: bool = False
    refusing: bool = False
    hung: str | None = None
