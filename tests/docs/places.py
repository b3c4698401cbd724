"""Where each command of the documentation is run."""

from __future__ import annotations

import re
from typing import Literal

Place = Literal["nowhere", "instead", "stack", "server"]

# What cannot be run by a test, and why. Nothing else may be left out.
NOWHERE = {
    "git clone https://…/keraport && cd keraport": "the address is the reader's own",
    "git pull": "there is nothing to pull from",
}

# What is run in the place of a command, and why.
INSTEAD = {
    "make test": ("make -n test", "it would run this test again"),
    "docker compose --profile acme up -d": (
        "docker compose --profile acme config --quiet",
        "it asks Let's Encrypt for a real name; tests/stack/test_acme.py asks a server of its own",
    ),
}

# These follow what happens until somebody stops them: that they begin is what can be tried.
ENDLESS = {"make run", "make logs"}

# What speaks to the stack rather than to one server.
_STACK = re.compile(
    r"(docker|docker-compose|make (up|down|restart|logs|ps)|install -o 101)\b|.*https://localhost"
)


def place_of(command: str) -> Place:
    """Where this command is tried."""
    if command in NOWHERE:
        return "nowhere"
    if command in INSTEAD:
        return "instead"
    return "stack" if _STACK.match(command) else "server"
