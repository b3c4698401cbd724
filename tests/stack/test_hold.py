"""What nginx does with a request that no application answers, whatever happened to it at each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations_with_replacement

import pytest

from tests.stack import scripted_replicas
from tests.stack.compose import Stack, run
from tests.stack.scripted_replicas import ADDRESSES, KINDS
from tests.stack.test_nginx import Nginx, starting
from tests.support import CAR

TRACE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "vendor=abc,other=1"}
# Longer than nginx keeps that a replica is ready (hold.conf).
HOLD_CACHED_S = 2.5


@pytest.fixture(scope="module")
def alone(stack: Stack) -> Iterator[Nginx]:
    """One beside no application, with the addresses of two in its network namespace."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace takes root")
    with starting(stack) as start:
        nginx = start(alone=True, request_timeout_s=10)
        for address in ADDRESSES:
            run(*inside(nginx), "ip", "address", "add", f"{address}/32", "dev", "lo")
        yield nginx


def inside(nginx: Nginx) -> list[str]:
    """How to run a program of this machine in the network of that container."""
    pid = run("docker", "inspect", "--format", "{{.State.Pid}}", nginx.id).strip()
    return ["nsenter", "--target", pid, "--net"]


@contextmanager
def replicas(nginx: Nginx, *kinds: str) -> Iterator[None]:
    command = [*inside(nginx), sys.executable, scripted_replicas.__file__, *kinds]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"there\n"
            yield
        finally:
            process.kill()
            time.sleep(HOLD_CACHED_S)


# Of the two, nginx asks either first.
@pytest.mark.parametrize("kinds", list(combinations_with_replacement(KINDS, 2)), ids=" ".join)
def test_a_request_waits_unless_it_may_have_ended_both(
    alone: Nginx, kinds: tuple[str, str]
) -> None:
    with replicas(alone, *kinds):
        answer = alone.post("/api/mpg", json=CAR, headers=TRACE)
        if kinds == ("breaks", "breaks"):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "model_unavailable"
        else:
            assert answer.status_code == 200
            assert answer.json()["broken"] <= 1
            assert answer.json()["trace"] == [*TRACE.values()]
