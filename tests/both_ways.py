"""`python -m app` whose predictions take Flask's way where a request has the header X-Way: flask.
Run by tests/http/test_short_way.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.api.short_way import ShortWay
from app.cli.main import main

HEADER = "X-Way"


_short = ShortWay.__call__


def _by_header(self: ShortWay, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ.get("HTTP_X_WAY") == "flask":
        return self._flask(environ, start_response)
    return _short(self, environ, start_response)


# The guard matters: the reader process (`multiprocessing` spawn) imports this module again.
if __name__ == "__main__":
    ShortWay.__call__ = _by_header  # type: ignore[method-assign]
    main(prog_name="python -m app")
