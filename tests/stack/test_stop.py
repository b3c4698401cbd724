"""The whole stack, nginx included, restarted and stopped."""

from __future__ import annotations

import time

import pytest

from tests.stack.compose import Stack, eventually
from tests.stack.load import SteadyLoad

pytestmark = pytest.mark.timeout(600)


def test_a_restart_with_nginx_loses_only_what_meets_no_nginx(stack: Stack) -> None:
    with SteadyLoad(stack) as load:
        time.sleep(3)
        stack.compose("restart", "nginx", "app-1", "app-2")
        for service in ("nginx", "app-1", "app-2"):
            eventually(lambda s=service: stack.health(s) == "healthy", 120)  # type: ignore[misc]
        time.sleep(3)
    print(f"lost: {len(load.lost)} of {load.sent}")
    # A connection that was refused or ended; nginx never answers with an error.
    assert set(load.answered) <= {0, 200}
    assert load.answered[200] > load.sent / 2


def test_down_does_not_wait_for_what_never_comes_back(stack: Stack) -> None:
    start = time.monotonic()
    try:
        stack.compose("down")
        seconds = time.monotonic() - start
    finally:
        stack.up()
    print(f"down: {seconds:.1f} s")
    # 10 s on a machine with nothing else to do; the limit of waiting is 60 s.
    assert seconds < 55
