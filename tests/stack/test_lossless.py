"""Operations and failures under load: no request is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.stack import grpc_load
from tests.stack.certificates import put, served_certificate, withdraw
from tests.stack.compose import Stack, eventually
from tests.stack.load import SteadyLoad

pytestmark = pytest.mark.timeout(600)
APPS = ("app-1", "app-2")


@pytest.fixture(scope="module")
def load(stack: Stack) -> Iterator[SteadyLoad]:
    """One load over all that happens here, which takes some minutes."""
    with SteadyLoad(stack, credentials=grpc_load.credentials(stack)) as load:
        time.sleep(3)
        yield load


@pytest.fixture(autouse=True)
def nothing_lost(load: SteadyLoad) -> Iterator[None]:
    """Three seconds after what a test does count as well."""
    yield
    time.sleep(3)
    load.check()


def test_make_restart(stack: Stack) -> None:
    before = {app: stack.container(app) for app in APPS}
    nginx = stack.container("nginx")
    stack.make("restart")
    for app, container in before.items():
        assert stack.container(app) != container, "it was not replaced"
        assert stack.health(app) == "healthy"
    assert stack.container("nginx") == nginx


def test_docker_compose_restart(stack: Stack, load: SteadyLoad) -> None:
    """Both get SIGTERM at once."""
    before = {app: started_at(stack, app) for app in APPS}
    load.burst(20)
    stack.compose("restart", *APPS)
    for app, started in before.items():
        assert started_at(stack, app) > started
        eventually(lambda app=app: stack.health(app) == "healthy", 120)  # type: ignore[misc]
    assert sum("serving until another replica is ready" in stack.logs(app) for app in APPS) > 0


def test_docker_compose_up_with_a_changed_image(stack: Stack, load: SteadyLoad) -> None:
    """Both end before the first one starts: what is asked meanwhile waits."""
    before = {app: stack.container(app) for app in APPS}
    nginx = stack.container("nginx")
    with (stack.folder / "app" / "__init__.py").open("a") as file:
        file.write("# changed\n")
    load.burst(20)
    stack.compose("up", "-d", "--build", "--wait")
    for app, container in before.items():
        assert stack.container(app) != container, "it was not replaced"
    assert stack.container("nginx") == nginx


def started_at(stack: Stack, app: str) -> str:
    return str(stack.inspect(app)["State"]["StartedAt"])


def test_a_killed_process_which_comes_back_within_a_minute(stack: Stack, load: SteadyLoad) -> None:
    if os.geteuid() != 0:
        pytest.skip("killing a process of a container from outside takes root")
    state = stack.inspect("app-1")["State"]
    # About half of them wait in the process that dies.
    load.burst(40)
    time.sleep(0.1)
    # Not `docker kill`, after which the engine would think that it was meant to stay down.
    os.kill(state["Pid"], signal.SIGKILL)

    def is_back() -> bool:
        now = stack.inspect("app-1")["State"]
        return bool(now["StartedAt"] != state["StartedAt"] and now["Health"]["Status"] == "healthy")

    eventually(is_back, 60)


def test_docker_stop(stack: Stack, load: SteadyLoad) -> None:
    load.burst(40)
    stack.compose("stop", "app-2")
    assert stack.inspect("app-2")["State"]["ExitCode"] == 0, "it did not drain"
    time.sleep(8)
    stack.compose("up", "-d", "--wait", "--no-deps", "app-2")


def test_new_certificates(stack: Stack, load: SteadyLoad) -> None:
    # Whoever knows only the certificate before is no measure of what comes after.
    load.trust_test_authority()
    load.nginx_reloads()
    try:
        for _ in range(3):
            new = put(stack, "localhost")
            eventually(lambda new=new: served_certificate(stack) == new, 20)  # type: ignore[misc]
    finally:
        withdraw(stack)


def test_both_replicas_get_their_share(stack: Stack) -> None:
    start = len(stack.access_log())
    time.sleep(5)
    asked = [e["upstream"] for e in stack.access_log()[start:]]
    share = sum(a.startswith("172.16.239.10") for a in asked) / len(asked)
    assert 0.2 < share < 0.8


def test_the_load_was_steady(load: SteadyLoad) -> None:
    assert load.seconds >= 60
    assert load.sent > 60 * load.seconds
