"""deploy/swarm on three servers, under load: no prediction is lost but those whose nginx died."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.elsewhere import FileServer, answering, packed
from tests.stack.compose import copy_of_the_repository, eventually, replicas_with
from tests.stack.load import CONNECTIONS, SteadyLoad
from tests.stack.swarm import GATEWAY, STACK, Swarm, swarm_of_three
from tests.support import CAR, ROOT

# Three engines, of which each has images of 1.6 GB.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    folder = copy_of_the_repository(tmp_path_factory.mktemp("swarm"))
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


def test_a_model_from_elsewhere(swarm: Swarm, load: SteadyLoad, tmp_path: Path) -> None:
    with answering(FileServer(host="0.0.0.0")) as source:
        content = source.files["/cars.tar.gz"] = packed(ROOT / "models/mpg", tmp_path)
        digest = hashlib.sha256(content).hexdigest()
        address = f"http://{GATEWAY}:{source.server_port}/cars.tar.gz#sha256={digest}"
        owner = swarm.models.stat()
        service = swarm.fetch_models(
            KERAPORT_REPLICAS="3",
            KERAPORT_SOURCES=f"cars={address}",
            KERAPORT_SYNC_USER=f"{owner.st_uid}:{owner.st_gid}",
            # The servers share the folder.
            KERAPORT_SYNC_MODE="replicated",
        )
        with httpx.Client(base_url=f"https://{swarm.hosts[0]}", verify=swarm.trust()) as client:
            eventually(lambda: replicas_with("cars", client) == 3, 120)
            assert client.post("/api/cars", json=CAR).status_code == 200
    assert "cars: version 1 arrived" in swarm.manager.docker("service", "logs", "--raw", service)
    swarm.manager.docker("service", "rm", service)
    load.check()


@pytest.mark.parametrize(
    ("number", "line", "end"),
    [
        (2, "ENV KERAPORT_LOG_LEVEL=info", "completed"),
        (3, 'CMD ["python", "-c", "raise SystemExit(1)"]', "rollback_completed"),
    ],
    ids=["it serves", "it does not start"],
)
def test_a_new_image(swarm: Swarm, load: SteadyLoad, number: int, line: str, end: str) -> None:
    for node in swarm.nodes:
        node.build(f"keraport-app:{number}", line)
    swarm.deploy(KERAPORT_APP_IMAGE=f"keraport-app:{number}", KERAPORT_REPLICAS="3")
    eventually(lambda: swarm.update_state() == end, 600)
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
