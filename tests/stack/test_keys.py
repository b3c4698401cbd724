"""The stack with API keys: its applications are replaced by ones with keys, and back."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.keys.file import parse_keys
from tests.keys import Keys
from tests.stack import grpc_load
from tests.stack.compose import Stack, eventually, run
from tests.stack.test_nginx import Nginx
from tests.support import CAR

PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


class _Keys(Keys):
    """Written in place, as Docker mounts the file itself."""

    def write(self) -> None:
        with self.file.open("w") as file:
            file.write("".join(self._lines.values()))


@pytest.fixture(scope="module")
def keys(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Keys]:
    keys = _Keys(tmp_path_factory.mktemp("keys") / "api-keys.yaml")
    os.chown(keys.file, 10001, 10001)
    keys.file.chmod(0o400)
    try:
        stack.compose("up", "-d", "--wait", "app-1", "app-2", api_keys_file=keys.file)
        yield keys
    finally:
        stack.compose("up", "-d", "--wait")


def _status(client: httpx.Client, path: str, key: str | None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return client.get(path, headers=headers).status_code


def test_a_key_is_needed_through_nginx(stack: Stack, keys: _Keys) -> None:
    with stack.client() as client:
        for path in ("/", "/api/models", "/api/status", "/v1/models", "/v2", "/v2/health/live"):
            assert _status(client, path, None) == 401
            assert _status(client, path, keys["operator"]) == 200
        assert client.get("/readyz").json()["models"] == {}
        assert client.get("/static/keraport.css").status_code == 200
        known = {"X-API-Key": keys["laboratory"]}
        for _ in range(4):  # whichever application it is
            assert client.post("/api/mpg", json=CAR, headers=known).status_code == 200
            assert client.post("/api/writer", json={}, headers=known).status_code == 403
    with grpc_load.connect(stack.https_port, grpc_load.credentials(stack)) as channel:
        infer = channel.unary_unary(grpc_load.INFER)
        for metadata in ([], [("x-api-key", "kp_no")]):
            error = infer.future(grpc_load.infer_request(), metadata=metadata).exception()
            assert error.code().name == "UNAUTHENTICATED"
        metadata = [("authorization", f"Bearer {keys['laboratory']}")]
        assert infer(grpc_load.infer_request(), metadata=metadata)
        error = infer.future(grpc_load.infer_request("writer"), metadata=metadata).exception()
        assert error.code().name == "PERMISSION_DENIED"


def test_known_keys_have_no_limit_of_the_address_and_made_up_ones_have(
    stack: Stack, keys: _Keys
) -> None:
    nginx = Nginx(f"{stack.project}-nginx", f"--network={stack.project}_keraport", rate_limit=10)
    try:
        nginx.start()

        def ask(key: str) -> int:
            return nginx.get("/api/models", headers={"X-API-Key": key}).status_code

        def predict(key: str) -> int:
            return nginx.post("/api/mpg", json=CAR, headers={"X-API-Key": key}).status_code

        with ThreadPoolExecutor(8) as pool:
            for what in (ask, predict):  # without a body, and with one
                assert set(pool.map(what, [keys["operator"]] * 100)) == {200}
            with nginx.channel() as channel:
                infer = channel.unary_unary(grpc_load.INFER)
                metadata = [("x-api-key", keys["operator"])]
                calls = [
                    infer.future(grpc_load.infer_request(), metadata=metadata) for _ in range(80)
                ]
                assert all(call.result() for call in calls)
            before = len(stack.app_lines(path="/key"))
            made_up = Counter(pool.map(ask, [f"kp_{i}" for i in range(200)]))
            asked = len(stack.app_lines(path="/key")) - before
        # 20 in a burst, and what trickles in meanwhile; to the view and to the check alike.
        assert made_up.keys() == {401, 429}
        assert made_up[401] < 120
        assert asked < 120
        assert ask(keys["operator"]) == 200
        # Its own rate counts: 5 an hour in each of two applications.
        own = [nginx.get("/api/models", headers={"X-API-Key": keys["slow"]}) for _ in range(14)]
        assert own[0].status_code == 200
        assert own[-1].status_code == 429
        assert "the key 'slow'" in own[-1].json()["error"]["message"]
    finally:
        nginx.remove()


def test_replicas_recognise_each_other_and_no_one_else(stack: Stack, keys: _Keys) -> None:
    with stack.client() as client:
        status = client.get("/api/status", headers={"X-API-Key": keys["operator"]}).json()
        assert [r["reachable"] for r in status["replicas"]] == [True, True]
        answer = client.get("/api/status?replica=self", headers={"X-Keraport-Replica": "x"})
        assert answer.status_code == 401


def test_a_key_made_in_a_container_is_for_the_file(stack: Stack, keys: _Keys) -> None:
    command = ["exec", "-T", "app-1", "python", "-m", "app", "key", "new", "guest"]
    lines = stack.compose(*command, "--model", "mpg", api_keys_file=keys.file)
    (guest,) = parse_keys(lines.encode(), "")
    assert (guest.name, guest.models) == ("guest", frozenset({"mpg"}))


def test_an_edit_counts_at_once_and_a_replaced_file_is_reported(stack: Stack, keys: _Keys) -> None:
    keys.add("visitor")
    with stack.client() as client:
        for _ in range(4):
            assert _status(client, "/api/models", keys["visitor"]) == 200
        keys.remove("visitor")
        for _ in range(4):
            assert _status(client, "/api/models", keys["visitor"]) == 401
        Keys.write(keys)
        for _ in range(4):
            assert _status(client, "/api/models", keys["operator"]) == 200
    eventually(lambda: all("restart it" in stack.logs(app) for app in ("app-1", "app-2")))


def test_a_session_is_for_https_and_both_applications(stack: Stack, keys: _Keys) -> None:
    with stack.client() as client:
        form = {"key": keys["operator"], "next": "/status"}
        answer = client.post("/login", data=form, headers=PAGE)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/status")
        assert "; Secure; HttpOnly; Path=/; SameSite=Strict" in answer.headers["Set-Cookie"]
        for _ in range(4):
            assert client.get("/status", headers=PAGE).status_code == 200
            assert client.post("/api/mpg", json=CAR, headers=PAGE).status_code == 200


def test_guessing_keys_is_slowed_down(stack: Stack, keys: _Keys) -> None:
    with stack.client() as client:
        answers = [client.post("/login", data={"key": "kp_wrong"}, headers=PAGE) for _ in range(40)]
        statuses = {answer.status_code for answer in answers}
        assert statuses == {401, 429}
        assert _status(client, "/api/models", keys["operator"]) == 200


def test_keys_are_in_no_log_and_no_list(stack: Stack, keys: _Keys) -> None:
    told = stack.compose("logs", "--no-color")
    for service in ("nginx", "app-1", "app-2"):
        container = stack.container(service)
        told += run("docker", "inspect", container) + run("docker", "top", container)
    told += stack.shell("app-1", "cat events/events.jsonl; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    for key in keys.keys.values():
        assert key[3:19] not in told
