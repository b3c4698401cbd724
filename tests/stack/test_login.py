"""People sign in at an authenticating proxy (KERAPORT_LOGIN_PROXY): nginx asks it, the application
believes nginx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.keys import Keys
from tests.stack import grpc_load, login_proxy
from tests.stack.compose import Stack, eventually, run
from tests.stack.scripted_replicas import ADDRESSES
from tests.stack.test_hold import inside
from tests.stack.test_nginx import BROWSER, Nginx, starting
from tests.support import CAR, ROOT, V1_CAR, V2_CAR

# The other application is not there.
APPLICATION, PROXY = ADDRESSES[0], "172.16.239.30"
RATE = 20


@dataclass
class Login:
    """nginx, an application behind it and a login proxy, in one network namespace.

    folder: of the application, with its log.
    """

    nginx: Nginx
    keys: Keys
    folder: Path

    def client(self, user: str | None = None) -> httpx.Client:
        """A browser, in which a user has signed in."""
        url = f"https://localhost:{self.nginx.port}"
        client = httpx.Client(base_url=url, verify=self.nginx.context, timeout=60)
        if user is not None:
            page = client.get("/models/mpg?x=1", headers=BROWSER)
            assert page.status_code == 302
            assert page.headers["location"] == "/oauth2/start?rd=/models/mpg?x=1"
            form = {"user": user, "password": user}
            signed_in = client.post(page.headers["location"], data=form)
            assert (signed_in.status_code, signed_in.headers["location"]) == (
                302,
                "/models/mpg?x=1",
            )
        return client

    def line_of(self, answer: httpx.Response) -> dict[str, Any]:
        """The line that the application's log has of a request."""
        return self.line_with(answer.headers["x-request-id"])

    def line_with(self, id: str) -> dict[str, Any]:
        """The line of this id."""

        def found() -> list[dict[str, Any]]:
            text = (self.folder / "log").read_text()
            lines = [json.loads(line) for line in text.split("\n")[:-1]]
            return [line for line in lines if line.get("id") == id]

        (line,) = eventually(found)
        return dict(line)


@contextmanager
def process(nginx: Nginx, *command: str, log: Path, **environ: str) -> Iterator[None]:
    """A program of this machine in the network of nginx."""
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*inside(nginx), *command],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as started,
    ):
        try:
            yield
        finally:
            started.terminate()
            started.wait(60)


@contextmanager
def signing_in(stack: Stack, folder: Path) -> Iterator[Login]:
    keys = Keys(folder / "keys.yaml")
    (folder / "models").mkdir()
    (folder / "models" / "mpg").symlink_to(ROOT / "models" / "mpg")
    application = {
        "KERAPORT_HOST": APPLICATION,
        "KERAPORT_GRPC_PORT": "8500",
        # Within a namespace, whoever asks has the address that is asked.
        "KERAPORT_FORWARDED_ALLOW_IPS": APPLICATION,
        "KERAPORT_TRUSTED_USER_HEADER": "X-Keraport-User",
        "KERAPORT_USER_RATE": f"{RATE}/hour",
        "KERAPORT_API_KEYS_FILE": str(keys.file),
        "KERAPORT_MODELS_DIR": str(folder / "models"),
        "KERAPORT_UPLOADS_DIR": str(folder),
    }
    proxy = [sys.executable, login_proxy.__file__, PROXY, "4180"]
    with starting(stack) as start, ExitStack() as processes:
        nginx = start(alone=True, login_proxy=f"http://{PROXY}:4180", rate_limit=10000)
        for address in (*ADDRESSES, PROXY):
            run(*inside(nginx), "ip", "address", "add", f"{address}/32", "dev", "lo")
        serve = [sys.executable, "-m", "app", "serve"]
        processes.enter_context(process(nginx, *serve, log=folder / "log", **application))
        # Without the proxy, nothing but health checks and known keys gets through.
        login = Login(nginx, keys, folder)
        with closing(login.client()) as client:
            eventually(lambda: client.get("/readyz").status_code == 200, 120)
            refused = client.get("/api/models")
            assert refused.status_code == 503, refused.text
            assert "KERAPORT_LOGIN_PROXY" in refused.json()["error"]["message"]
            assert client.get("/", headers=BROWSER).status_code == 503
        processes.enter_context(process(nginx, *proxy, log=folder / "proxy.log"))
        eventually(lambda: (folder / "proxy.log").read_text() == "listening\n")
        yield login


@pytest.fixture(scope="module")
def login(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace takes root")
    with signing_in(stack, tmp_path_factory.mktemp("login")) as login:
        yield login


def test_no_one_gets_in_without_a_login(login: Login) -> None:
    with closing(login.client()) as client:
        for path, asked in (
            ("/api/mpg", {"json": CAR}),
            ("/v1/models/mpg:predict", {"json": V1_CAR}),
            ("/v2/models/mpg/infer", {"json": V2_CAR}),
        ):
            answer = client.post(path, **asked)
            assert answer.status_code == 401
            error = answer.json()["error"]
            message = error if isinstance(error, str) else error["message"]
            assert message == "sign in at /oauth2/start in a browser, or send an API key"
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/openapi.json").status_code == 401
        page = client.get("/status", headers=BROWSER)
        assert (page.status_code, page.headers["location"]) == (302, "/oauth2/start?rd=/status")
        for path in ("/livez", "/readyz", "/v2/health/live"):
            assert client.get(path).status_code in (200, 401), path
        assert client.get("/livez").status_code == 200


def test_who_has_signed_in_is_in_the_log(login: Login) -> None:
    with closing(login.client("ada")) as client:
        answer = client.post("/api/mpg", json=CAR)
        assert answer.status_code == 200
        assert login.line_of(answer)["user"] == "ada@example.org"
        page = client.get("/models/mpg", headers=BROWSER)
        assert page.status_code == 200
        for header in ("content-security-policy", "x-content-type-options", "x-frame-options"):
            assert header in page.headers
    with closing(login.client("nameless")) as client:
        answer = client.post("/v2/models/mpg/infer", json=V2_CAR)
        assert login.line_of(answer)["user"] == "nameless"


def test_no_client_names_itself(login: Login) -> None:
    forged = {
        "X-Keraport-User": "root",
        "X-Auth-Request-User": "root",
        "X-Auth-Request-Email": "root@example.org",
    }
    with closing(login.client()) as client:
        assert client.post("/api/mpg", json=CAR, headers=forged).status_code == 401
    with closing(login.client("grace")) as client:
        answer = client.post("/api/mpg", json=CAR, headers=forged)
        assert login.line_of(answer)["user"] == "grace@example.org"
    keyed = {"X-API-Key": login.keys["operator"], **forged}
    with closing(login.client()) as client:
        answer = client.post("/api/mpg", json=CAR, headers=keyed)
    assert "user" not in login.line_of(answer)


def test_programs_have_keys(login: Login) -> None:
    with closing(login.client()) as client:
        known = {"X-API-Key": login.keys["operator"]}
        answer = client.post("/api/mpg", json=CAR, headers=known)
        assert answer.status_code == 200
        assert login.line_of(answer)["key"] == "operator"
        wrong = client.post("/api/mpg", json=CAR, headers={"X-API-Key": "kp_wrong"})
        assert wrong.status_code == 401


def test_calls_of_grpc_have_users_and_keys(login: Login) -> None:
    with closing(login.client("lovelace")) as client, closing(login.client("blocked")) as blocked:
        cookies = [
            "; ".join(f"{name}={value}" for name, value in each.cookies.items())
            for each in (client, blocked)
        ]
    request = grpc_load.infer_request()
    with login.nginx.channel() as channel:
        infer = channel.unary_unary(grpc_load.INFER)
        forged = ("x-keraport-user", "root")
        refused = {"UNAUTHENTICATED": forged, "PERMISSION_DENIED": ("cookie", cookies[1])}
        for code, metadata in refused.items():
            error = infer.future(request, metadata=[metadata]).exception()
            assert error.code().name == code
        for sent, about in (
            ([("cookie", cookies[0]), forged], {"user": "lovelace@example.org"}),
            ([("x-api-key", login.keys["operator"]), forged], {"key": "operator"}),
        ):
            _, call = infer.with_call(request, metadata=sent)
            id = dict(call.trailing_metadata())["x-request-id"]
            line = login.line_with(id)
            assert {name: line[name] for name in ("user", "key") if name in line} == about
        # Health checks need neither.
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"


def test_who_may_not_use_the_server_is_told(login: Login) -> None:
    with closing(login.client("blocked")) as client:
        for headers in ({}, BROWSER):
            answer = client.get("/api/models", headers=headers)
            assert answer.status_code == 403
            assert answer.json()["error"]["message"] == (
                "your login is not allowed to use this server"
            )


def test_a_cookie_that_the_proxy_renews_goes_to_the_browser(login: Login) -> None:
    with closing(login.client("renewed")) as client:
        answer = client.get("/api/models")
        assert answer.headers["set-cookie"].startswith("renewed=1")
        assert "x-content-type-options" in answer.headers


def test_each_user_has_a_rate(login: Login) -> None:
    with closing(login.client("busy")) as client, closing(login.client("idle")) as other:
        answers = [client.post("/api/mpg", json=CAR) for _ in range(RATE + 1)]
        assert [answer.status_code for answer in answers] == [200] * RATE + [429]
        assert "'busy@example.org' may send" in answers[-1].json()["error"]["message"]
        assert other.post("/api/mpg", json=CAR).status_code == 200
