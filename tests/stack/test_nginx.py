"""The nginx image alone, with settings that the test stack does not have."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.stack import grpc_load
from tests.stack.certificates import AUTHORITY
from tests.stack.compose import APP_1, SELF_SIGNED, Stack, eventually, run, trusting
from tests.stack.grpc_load import INFER, infer_request
from tests.support import CAR

Start = Callable[..., "Nginx"]
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Nginx:
    """A container of the image, on ports of its own."""

    def __init__(self, image: str, *options: str, **settings: object) -> None:
        arguments = [f"--env=KERAPORT_{k.upper()}={v}" for k, v in settings.items()]
        self.id = run(
            *("docker", "run", "--detach", "--read-only", "--tmpfs", "/tmp:mode=1777"),
            *("--publish", "127.0.0.1::8443", "--publish", "127.0.0.1::8080"),
            *(*options, *arguments, image),
        ).strip()

    def start(self) -> Nginx:
        self.port = eventually(lambda: self._port(8443))
        self.http_port = self._port(8080)
        eventually(self._listens, 20)
        own = run("docker", "exec", self.id, "cat", SELF_SIGNED)
        self.context = trusting(own)
        self.credentials = grpc.ssl_channel_credentials(own.encode())
        return self

    def channel(self) -> grpc.Channel:
        return grpc_load.connect(self.port, self.credentials)

    def _listens(self) -> bool:
        health = "curl -skf https://127.0.0.1:8443/nginx-health"
        return subprocess.run(["docker", "exec", self.id, *health.split()]).returncode == 0

    def _port(self, inside: int) -> int:
        return int(run("docker", "port", self.id, f"{inside}/tcp").splitlines()[0].split(":")[-1])

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        url = f"https://localhost:{self.port}{path}"
        return httpx.get(url, verify=self.context, timeout=30, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        url = f"https://localhost:{self.port}{path}"
        return httpx.post(url, verify=self.context, timeout=30, **kwargs)

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.id], capture_output=True, text=True)
        return done.stdout + done.stderr

    def remove(self) -> None:
        run("docker", "rm", "--force", "--volumes", self.id)


@contextmanager
def starting(stack: Stack) -> Iterator[Start]:
    """Starts containers beside the stack; `alone=True` where no application can be reached."""
    started: list[Nginx] = []

    def start(*options: str, alone: bool = False, **settings: object) -> Nginx:
        network = "bridge" if alone else f"{stack.project}_keraport"
        image = f"{stack.project}-nginx"
        started.append(Nginx(image, f"--network={network}", *options, **settings))
        return started[-1].start()

    try:
        yield start
    finally:
        for nginx in started:
            nginx.remove()


@pytest.fixture
def start(stack: Stack) -> Iterator[Start]:
    with starting(stack) as start:
        yield start


@pytest.fixture(scope="module")
def alone(stack: Stack) -> Iterator[Nginx]:
    """One with the usual settings that reaches no application, and gives up on it soon."""
    with starting(stack) as start:
        yield start(alone=True, request_timeout_s=1)


def at_once(asks: Iterable[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """The answers in order: where no application is reached, each takes seconds."""
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda ask: ask(), asks))


def test_requests_a_second_are_limited(start: Start) -> None:
    nginx = start(rate_limit=5)  # and a burst of 10
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(nginx.get, ["/api/models"] * 40))
    refused = [a for a in answers if a.status_code == 429]
    assert 11 <= len(answers) - len(refused) <= 40 - 11
    for answer in refused:
        assert answer.json()["error"]["code"] == "too_many_requests"
        assert "5 requests per second (KERAPORT_RATE_LIMIT)" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json()["id"] == answer.headers["x-request-id"]
    time.sleep(3)
    assert nginx.get("/api/models").status_code == 200
    for path in ("/v1/models", "/v2"):
        with ThreadPoolExecutor(12) as pool:
            refused = [a for a in pool.map(nginx.get, [path] * 40) if a.status_code == 429]
        assert refused[0].json().keys() == {"error"}
        assert "5 requests per second (KERAPORT_RATE_LIMIT)" in refused[0].json()["error"]
        assert refused[0].headers["retry-after"] == "1"
    with nginx.channel() as channel:
        calls = [channel.unary_unary(INFER).future(infer_request()) for _ in range(40)]
        errors = [error for call in calls if (error := call.exception())]
    assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert "5 requests per second (KERAPORT_RATE_LIMIT)" in errors[0].details()
    trailers = dict(errors[0].trailing_metadata())
    assert trailers["grpc-retry-pushback-ms"] == "1000"
    assert trailers["x-request-id"]


def test_networks_may_have_no_limit(start: Start) -> None:
    # Of clients on this machine: Docker's bridges.
    nginx = start(rate_limit=5, connection_limit=1, unlimited_networks="172.16.0.0/12, fd00::/8")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(nginx.get, ["/api/models"] * 100))
    assert {a.status_code for a in answers} == {200}


def test_other_networks_keep_their_limit(start: Start) -> None:
    nginx = start(rate_limit=5, unlimited_networks="192.0.2.0/24")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(nginx.get, ["/api/models"] * 40))
    assert 429 in {a.status_code for a in answers}


def test_requests_at_once_are_limited(start: Start) -> None:
    nginx = start(connection_limit=3)

    def hold() -> socket.socket:
        """A request whose body is still on its way."""
        plain = socket.create_connection(("localhost", nginx.port), timeout=20)
        tls = nginx.context.wrap_socket(plain, server_hostname="localhost")
        tls.sendall(b"POST /api/mpg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        return tls

    held = [hold(), hold()]
    time.sleep(0.5)
    assert nginx.get("/api/models").status_code == 200
    held.append(hold())
    time.sleep(0.5)
    refused = nginx.get("/api/models")
    assert refused.status_code == 429
    assert "3 requests at once (KERAPORT_CONNECTION_LIMIT)" in refused.json()["error"]["message"]
    held.pop().close()
    eventually(lambda: nginx.get("/api/models").status_code == 200, 5)
    for connection in held:
        connection.close()


def test_the_limit_of_bodies_follows_the_setting(start: Start) -> None:
    nginx = start(max_body_mb="1.5")
    # What nginx lets through, the application of the stack finds small enough, but no JSON.
    assert nginx.post("/api/mpg", content=bytes(2_500_000)).status_code == 400
    with nginx.channel() as channel:
        for size, code in ((2_499_000, "INVALID_ARGUMENT"), (2_500_001, "RESOURCE_EXHAUSTED")):
            error = channel.unary_unary(INFER).future(bytes(size)).exception()
            assert error.code().name == code
    assert "1.5 MB (KERAPORT_MAX_BODY_MB)" in error.details()
    refused = nginx.post("/api/mpg", content=bytes(2_500_001))
    assert refused.status_code == 413
    assert "1.5 MB" in refused.json()["error"]["message"]


def test_without_an_application_it_says_so(alone: Nginx) -> None:
    # Its own words on what failed would quote the whole address.
    refused, *answers = at_once(
        [
            lambda: alone.get(
                "/models/mpg?token=hush", headers={"Referer": "https://x/?token=hush"}
            ),
            lambda: alone.get("/"),
            lambda: alone.post("/api/mpg", json=CAR),
        ]
    )
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "model_unavailable"
        assert answer.headers["retry-after"] == "5"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert refused.status_code == 503
    eventually(lambda: refused.headers["x-request-id"] in alone.logs())
    assert "hush" not in alone.logs()


def test_browsers_get_pages_of_what_nginx_refuses(start: Start) -> None:
    nginx = start(max_body_mb=1, rate_limit=20)
    large = nginx.post("/models/mpg", content=bytes(2_000_001), headers=BROWSER)
    assert large.status_code == 413
    assert "at most 1 MB" in page(large)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: nginx.get("/", headers=BROWSER), range(80)))
    refused = [a for a in answers if a.status_code == 429]
    assert refused
    assert "from your address" in page(refused[0])


def test_without_an_application_browsers_get_a_page(alone: Nginx) -> None:
    get, post = partial(alone.get, headers=BROWSER), partial(alone.post, headers=BROWSER)
    pages = [partial(get, "/models/mpg"), partial(post, "/models/mpg", data={"weight": "1"})]
    native = [partial(get, path) for path in ("/api/mpg", "/predict", "/readyz")]
    standard = [
        partial(post, path, json={}) for path in ("/v1/models/mpg:predict", "/v2/models/mpg/infer")
    ]
    answers = at_once([*pages, *native, *standard])
    assert [answer.status_code for answer in answers] == [503] * 7
    for answer in answers[:2]:
        assert answer.headers["retry-after"] == "5"
        assert "then try again" in page(answer)
    for answer in answers[2:5]:
        assert answer.json()["error"]["code"] == "model_unavailable"
    for answer in answers[5:]:
        assert answer.json().keys() == {"error"}
        assert "try again" in answer.json()["error"]
    with alone.channel() as channel:
        for path in (INFER, STREAM):
            error = channel.unary_unary(path).future(infer_request()).exception()
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "no server process can answer at present" in error.details()
            assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
    style = alone.get("/errors/errors.css")
    assert style.headers["content-type"] == "text/css"
    assert "light-dark" in style.text
    assert alone.get("/errors/503.html").status_code == 404


def test_an_application_that_hangs_is_distinguished_from_one_that_is_gone(
    stack: Stack, start: Start
) -> None:
    nginx = start(request_timeout_s=1)  # and 15 more
    containers = [stack.container("app-1"), stack.container("app-2")]
    run("docker", "pause", *containers)
    try:
        with ThreadPoolExecutor() as pool, nginx.channel() as channel:
            call = channel.unary_unary(INFER).future(infer_request())
            program = pool.submit(nginx.post, "/api/mpg", json=CAR)
            browser = pool.submit(nginx.get, "/", headers=BROWSER)
            assert program.result().status_code == 504
            assert program.result().json()["error"]["code"] == "deadline_exceeded"
            assert browser.result().status_code == 504
            assert "took too long" in page(browser.result())
            error = call.exception()
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "within the time allowed" in error.details()
    finally:
        run("docker", "unpause", *containers)


def page(answer: httpx.Response) -> str:
    """The text of an error page, after what all of them must have."""
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"] in answer.text
    assert "<!--#" not in answer.text
    return answer.text


def test_names_and_addresses_of_the_server_are_in_the_certificate(start: Start) -> None:
    nginx = start(alone=True, domain="models.example.org, 203.0.113.7")
    with (
        socket.create_connection(("127.0.0.1", nginx.port)) as plain,
        nginx.context.wrap_socket(plain, server_hostname="models.example.org") as tls,
    ):
        names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]
    for name in (("DNS", "localhost"), ("IP Address", "203.0.113.7"), ("IP Address", "127.0.0.1")):
        assert name in names


def test_the_usual_port_is_not_in_the_redirect(alone: Nginx) -> None:
    answer = httpx.get(f"http://localhost:{alone.http_port}/a")
    assert answer.headers["location"] == "https://localhost/a"


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o755, "fullchain.pem is not a certificate in PEM form"), (0o700, "cannot read the folder")],
)
def test_a_bad_certificate_from_the_start_is_reported_and_not_used(
    start: Start, tmp_path: Path, mode: int, problem: str
) -> None:
    (tmp_path / "fullchain.pem").write_text("nonsense")
    (tmp_path / "privkey.pem").write_text("nonsense")
    tmp_path.chmod(mode)
    nginx = start(f"--volume={tmp_path}:/certs:ro", alone=True)
    assert nginx.get("/metrics").status_code == 404
    (complaint,) = [line for line in nginx.logs().splitlines() if "ERROR: /certs" in line]
    assert problem in complaint


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("other", "privkey.pem is not the key of fullchain.pem"),
        ("nonsense", "privkey.pem is not a private key in PEM form"),
        ("none", "privkey.pem is missing"),
        ("secret", "privkey.pem cannot be read by user 101"),
    ],
)
def test_a_certificate_without_its_key_is_reported(
    start: Start, tmp_path: Path, key: str, problem: str
) -> None:
    issued, other = (AUTHORITY.issue_cert("localhost") for _ in range(2))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "fullchain.pem"), append=True)
    file = tmp_path / "privkey.pem"
    (other if key == "other" else issued).private_key_pem.write_to_path(str(file))
    tmp_path.chmod(0o755)
    file.chmod(0o600 if key == "secret" else 0o644)
    if key == "nonsense":
        file.write_text("nonsense")
    if key == "none":
        file.unlink()
    assert os.geteuid() != 101
    nginx = start(f"--volume={tmp_path}:/certs:ro", alone=True)
    (complaint,) = [line for line in nginx.logs().splitlines() if "ERROR: /certs" in line]
    assert problem in complaint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_BODY_MB", "16 MB"),
        ("MAX_BODY_MB", "1.2.3"),
        ("REQUEST_TIMEOUT_S", "-1"),
        ("RATE_LIMIT", "0"),
        ("RATE_LIMIT", "1.5"),
        ("CONNECTION_LIMIT", "many"),
        ("HTTPS_PORT", "0443"),
        ("UNLIMITED_NETWORKS", "10.0.0.0/8; return 200"),
        ("UNLIMITED_NETWORKS", "example.org"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://a.example.org, b.example.org"),
        ("CORS_ORIGINS", "https://a.example.org/"),
        ("UPSTREAM", "tasks.app"),
        ("UPSTREAM", "tasks.app:5000; }"),
    ],
)
def test_wrong_settings_stop_the_start(stack: Stack, name: str, value: str) -> None:
    image = f"{stack.project}-nginx"
    command = ["docker", "run", "--rm", "--env", f"KERAPORT_{name}={value}", image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert f"KERAPORT_{name}" in done.stderr
    assert f"'{value}'" in done.stderr


def test_pages_of_named_origins_may_read_its_errors(start: Start) -> None:
    allowed = ["https://app.example.org", "http://[::1]:3000", f"https://{'a' * 60}.example.org"]
    nginx = start(
        alone=True,
        cors_origins=f"{allowed[0]}, {allowed[1]},{allowed[2]}",
        max_body_mb=1,
        request_timeout_s=1,
    )
    # Nobody is behind it, and more than it takes.
    asked: list[dict[str, Any]] = [{"json": CAR}, {"content": bytes(2_000_001)}]
    paths = ("/api/mpg", "/predict", "/v1/models/mpg:predict", "/v2/models/mpg/infer")
    cases = [
        (origin, status, partial(nginx.post, path, headers={"Origin": origin}, **body))
        for origin in allowed
        for body, status in zip(asked, (503, 413), strict=True)
        for path in paths
    ]
    answers = at_once(ask for _, _, ask in cases)
    for (origin, status, _), answer in zip(cases, answers, strict=True):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After"
        assert answer.headers["vary"] == "Origin"
        assert answer.headers["x-request-id"]
    others = ("https://app.example.orgs", "https://app_example.org", "null", "")
    refusals = at_once(
        [
            *(partial(nginx.post, "/api/mpg", headers={"Origin": o}, json=CAR) for o in others),
            partial(nginx.get, "/models/mpg", headers={"Origin": allowed[0]}),
        ]
    )
    assert [refused.status_code for refused in refusals] == [503] * 5
    for refused in refusals:
        assert not [name for name in refused.headers if name.startswith("access-control")]


def test_replicas_may_be_those_of_a_name(start: Start) -> None:
    nginx = start(upstream="app-1:5000")
    assert eventually(lambda: nginx.post("/api/mpg", json=CAR).status_code == 200, 20)
    lines = [json.loads(line) for line in nginx.logs().splitlines() if line.startswith('{"time"')]
    assert lines[-1]["upstream"] == f"{APP_1}:5000"


def test_it_starts_before_a_replica_has_a_name(start: Start) -> None:
    nginx = start(upstream="nowhere.invalid:5000", request_timeout_s=1)
    refused = nginx.post("/api/mpg", json=CAR)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "model_unavailable"


def test_no_one_is_named_by_default(alone: Nginx) -> None:
    answer = alone.get("/api/models", headers={"Origin": "https://app.example.org"})
    assert answer.status_code == 503
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/api/nothing?" + "a" * 7000, "", 404),
        ("/api/nothing?" + "a" * 9000, "", 414),
        ("/api/nothing?" + "a" * 17000, "", 414),
        ("/api/models", "a" * 16000, 200),
        ("/api/models", "a" * 17000, 400),
    ],
)
def test_addresses_and_headers_have_a_limit(
    stack: Stack, path: str, header: str, status: int
) -> None:
    with stack.client(http2=False) as client:
        answer = client.get(path, headers={"X-Long": header})
        assert answer.status_code == status
        if status != 200:
            assert answer.json()["error"]["message"]
        assert client.get("/api/models").status_code == 200
