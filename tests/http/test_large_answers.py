"""Answers that are sent in pieces look like any other."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

import pytest

from tests.support import CAR, ServerProcess

ROWS = 20_000
VALUES = [*CAR.values()]
QUESTIONS: dict[str, tuple[Any, str]] = {
    "/api/mpg": ([CAR] * ROWS, "predictions"),
    "/v1/models/mpg:predict": ({"instances": [VALUES] * ROWS}, "predictions"),
    "/v2/models/mpg/infer": (
        {
            "inputs": [
                {"name": "car", "datatype": "FP32", "shape": [ROWS, 7], "data": VALUES * ROWS}
            ]
        },
        "outputs",
    ),
}


@pytest.mark.parametrize("path", QUESTIONS)
def test_a_large_answer_has_its_length_and_keeps_the_connection(
    shipped: ServerProcess, path: str
) -> None:
    body, key = QUESTIONS[path]
    connection = http.client.HTTPConnection("127.0.0.1", shipped.port, timeout=120)
    for _ in range(2):
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, text[:500]
        assert int(response.headers["Content-Length"]) == len(text)
        assert "Transfer-Encoding" not in response.headers
        assert response.headers["Content-Type"] == "application/json"
        answers = json.loads(text)[key]
        if key == "outputs":
            answers = answers[0]["data"]
        assert len(answers) == ROWS
        assert answers == answers[:1] * ROWS
    connection.close()


def test_a_client_that_leaves_in_the_middle_takes_nothing_with_it(shipped: ServerProcess) -> None:
    body = json.dumps([CAR] * 100_000).encode()
    start = len(shipped.log())
    with socket.create_connection(("127.0.0.1", shipped.port), 120) as client:
        # The system takes less of the answer than there is.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"POST /api/mpg HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert shipped.get("/livez").status_code == 200
    until = time.monotonic() + 60
    while not (lines := shipped.requests(start, path="/api/mpg")) and time.monotonic() < until:
        time.sleep(0.05)
    assert [line["status"] for line in lines] in ([200], [499])
