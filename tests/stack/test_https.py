"""What clients get: pages, predictions, redirects, headers."""

from __future__ import annotations

import json
import re
import socket
import ssl

import httpx
import numpy as np
import pytest

from tests.stack.compose import Stack
from tests.support import CAR, V1_CAR, V2_CAR, picture

HEADERS = {
    "content-security-policy": "default-src 'self'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self)",
}


def test_the_page_and_what_it_links_come_over_http2(stack: Stack) -> None:
    with stack.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert page.http_version == "HTTP/2"
        assert "Cat or dog" in page.text
        links = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
        assert links
        for link in links:
            assert client.get(link).status_code == 200


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_predictions(stack: Stack, http2: bool) -> None:
    with stack.client(http2=http2) as client:
        row = client.post("/api/mpg", json=CAR)
        assert row.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert 10 < row.json()["predictions"][0]["mpg"] < 20
        for answer in (
            client.post("/api/cats-dogs", content=picture()),
            client.post("/api/cats-dogs", files={"image": picture()}),
        ):
            assert answer.json()["predictions"][0]["label"] in ("cat", "dog")
        everything = client.post("/predict", files={"image": picture()}).json()
        assert set(everything) == {"cats-dogs", "membranes"}


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_the_standard_protocols(stack: Stack, http2: bool) -> None:
    with stack.client(http2=http2) as client:
        native = client.post("/api/mpg", json=CAR).json()["predictions"][0]["mpg"]
        v1 = client.post("/v1/models/mpg:predict", json=V1_CAR)
        assert v1.json()["predictions"] == [[pytest.approx(native, abs=0.1)]]
        v2 = client.post("/v2/models/mpg/infer", json=V2_CAR)
        assert v2.json()["outputs"][0]["data"] == [pytest.approx(native, abs=0.1)]
        assert client.get("/v2/health/ready").status_code == 200
        # A tensor as bytes behind the JSON, both ways.
        (tensor,) = V2_CAR["inputs"]
        car = np.array(tensor["data"], np.float32).tobytes()
        head = json.dumps(
            {
                "inputs": [
                    {k: tensor[k] for k in ("name", "datatype", "shape")}
                    | {"parameters": {"binary_data_size": len(car)}}
                ],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        answer = client.post(
            "/v2/models/mpg/infer",
            content=head + car,
            headers={"Inference-Header-Content-Length": str(len(head))},
        )
        body = answer.content[int(answer.headers["inference-header-content-length"]) :]
        assert np.frombuffer(body, np.float32) == pytest.approx([native], abs=0.1)


def test_http_is_sent_to_the_same_place_on_https(stack: Stack) -> None:
    url = f"http://localhost:{stack.http_port}/api/models?a=1&b=%20c"
    for method in ("GET", "POST"):
        answer = httpx.request(method, url)
        assert answer.status_code == 308
        assert answer.headers["location"] == f"{stack.url}/api/models?a=1&b=%20c"


def test_a_redirected_post_is_still_a_post(stack: Stack) -> None:
    with stack.client() as client:
        answer = client.post(
            f"http://localhost:{stack.http_port}/api/mpg", json=CAR, follow_redirects=True
        )
    assert answer.status_code == 200
    assert answer.request.method == "POST"
    assert "mpg" in answer.json()["predictions"][0]


def _assert_headers(answer: httpx.Response) -> None:
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name, split_commas=False), f"{name} is missing"
        assert value in answer.headers[name]
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    # HSTS would lock browsers out of a server whose certificate they do not accept.
    assert "strict-transport-security" not in answer.headers
    assert answer.headers["server"] == "nginx"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/static/keraport.css", 200),
        ("GET", "/api/models", 200),
        ("GET", "/api/models/none", 404),
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/mpg", 405),
        ("POST", "/api/mpg", 400),
        ("GET", "/metrics", 404),  # nginx's own
        ("GET", "/nginx-health", 404),  # nginx's own
    ],
)
def test_security_headers_on_answers_and_errors(
    stack: Stack, method: str, path: str, status: int
) -> None:
    with stack.client() as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    _assert_headers(answer)


def test_security_headers_on_redirects(stack: Stack) -> None:
    answer = httpx.get(f"http://localhost:{stack.http_port}/")
    _assert_headers(answer)


def test_security_headers_on_what_nginx_cannot_read(stack: Stack) -> None:
    with (
        socket.create_connection(("localhost", stack.https_port), timeout=20) as plain,
        stack.trust().wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        text = tls.recv(65536).decode()
    head = text.split("\r\n\r\n")[0]
    assert head.startswith("HTTP/1.1 400")
    for name in HEADERS:
        assert f"\r\n{name}:" in head.lower()
    assert '"code":"bad_request"' in text


def test_a_plain_request_to_the_tls_port_gets_an_explanation(stack: Stack) -> None:
    answer = httpx.get(f"http://localhost:{stack.https_port}/")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"
    _assert_headers(answer)


def test_the_certificate_is_for_this_server(stack: Stack) -> None:
    """Names are checked by every client of these tests; here the addresses are."""
    with (
        socket.create_connection(("127.0.0.1", stack.https_port)) as plain,
        stack.trust().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]
    assert ("IP Address", "172.16.239.5") in names
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", stack.https_port)) as plain,
    ):
        stack.trust().wrap_socket(plain, server_hostname="example.org")
