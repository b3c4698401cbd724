"""deploy/swarm on three servers, under load: no prediction is lost but those whose nginx died."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.stack.compose import copy_of_the_repository, eventually
from tests.stack.load import CONNECTIONS, SteadyLoad
from tests.stack.swarm import STACK, Swarm, swarm_of_three

# Three engines, of which each has images of 1.6 GB.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    folder = copy_of_the_repository(tmp_path_factory.mktemp("swarm"))
    shutil.copytree(folder / "models" / "mpg", folder / "swarm-models" / "mpg")
    with swarm_of_three(folder) as swarm:
        yield swarm


@pytest.fixture(scope="module")
def load(swarm: Swarm) -> Iterator[SteadyLoad]:
    with SteadyLoad(swarm, 1500, pictures=False) as load:
        time.sleep(3)
        yield load


def test_two_replicas_become_six_and_three(swarm: Swarm, load: SteadyLoad) -> None:
    for count in (6, 3):
        swarm.manager.docker("service", "scale", "--detach", f"{STACK}_app={count}")
        swarm.await_tasks(count)
        eventually(lambda count=count: len(swarm.replicas_asked()) == count, 60)  # type: ignore[misc]
    load.check()


def test_an_update_under_load(swarm: Swarm, load: SteadyLoad) -> None:
    for node in swarm.nodes:
        node.build("keraport-app:2", "ENV KERAPORT_LOG_LEVEL=info")
    swarm.deploy(KERAPORT_APP_IMAGE="keraport-app:2", KERAPORT_REPLICAS="3")
    eventually(lambda: swarm.update_state() == "completed", 600)
    swarm.await_tasks(3)
    load.check()


def test_an_image_that_does_not_start_is_rolled_back(swarm: Swarm, load: SteadyLoad) -> None:
    for node in swarm.nodes:
        node.build("keraport-app:3", 'CMD ["python", "-c", "raise SystemExit(1)"]')
    swarm.deploy(KERAPORT_APP_IMAGE="keraport-app:3", KERAPORT_REPLICAS="3")
    eventually(lambda: swarm.update_state() == "rollback_completed", 600)
    swarm.await_tasks(3)
    load.check()


def test_a_server_is_killed(swarm: Swarm, load: SteadyLoad) -> None:
    """Last of all: it does not come back."""
    dead = swarm.nodes[-1]
    dead.kill()
    killed_at = load.seconds
    # Three on two servers, and what the dead one had is to be shut down once it is back.
    eventually(lambda: len([n for n in swarm.tasks("app") if n != dead.name]) == 3, 240)
    time.sleep(10)
    lost = [problem for problem in load.lost if dead.address not in problem]
    assert not lost, f"{len(lost)} of {load.sent} lost, such as {lost[:5]}"
    with_nginx = len(load.lost)
    print(f"{with_nginx} of {load.sent} requests were lost with the nginx of the dead server")
    # Each connection has one request in flight at most, and meets the dead address again if it is
    # the next in turn.
    assert with_nginx <= 2 * CONNECTIONS
    assert load.seconds > killed_at + 10
