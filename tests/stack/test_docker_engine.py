"""The Docker engine restarts, as after a reboot of the server."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.stack.compose import Stack, eventually
from tests.support import CAR

# Restarting the engine ends every container on the machine, so only who says how gets it.
COMMAND = "TEST_RESTART_ENGINE"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_stack_comes_back_by_itself(stack: Stack) -> None:
    command = os.environ.get(COMMAND)
    if not command:
        pytest.skip(f"{COMMAND} does not say how to restart the engine")
    services = ("app-1", "app-2", "nginx")
    before = {s: stack.inspect(s)["State"]["StartedAt"] for s in services}
    subprocess.run(["bash", "-c", command], check=True, timeout=200)
    eventually(lambda: all(stack.health(s) == "healthy" for s in services), 120)
    assert all(stack.inspect(s)["State"]["StartedAt"] != before[s] for s in services)
    with stack.client() as client:
        assert client.post("/api/mpg", json=CAR).status_code == 200
