"""What the application learns of a request through nginx, and what the logs say of it."""

from __future__ import annotations

from tests.stack.compose import NGINX, Stack, eventually
from tests.support import CAR


def _app_lines(stack: Stack, request_id: str) -> list[str]:
    lines = (stack.logs("app-1") + stack.logs("app-2")).splitlines()
    return [line for line in lines if request_id in line]


def test_one_id_in_the_answer_and_both_logs(stack: Stack) -> None:
    with stack.client() as client:
        answer = client.post("/api/mpg", json=CAR, headers={"X-Request-ID": "mine"})
    request_id = answer.headers["x-request-id"]
    assert answer.headers.get_list("x-request-id") == [request_id]
    assert answer.json()["id"] == request_id
    (line,) = eventually(lambda: [e for e in stack.access_log() if e["id"] == request_id])
    assert (line["method"], line["uri"], line["status"]) == ("POST", "/api/mpg", 200)
    (app_line,) = eventually(lambda: _app_lines(stack, request_id))
    assert 'POST "/api/mpg" 200' in app_line


def test_a_forged_address_is_not_believed(stack: Stack) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "X-Forwarded-Proto": "gopher",
    }
    with stack.client() as client:
        answer = client.get("/api/models", headers=forged)
    request_id = answer.headers["x-request-id"]
    (line,) = eventually(lambda: [e for e in stack.access_log() if e["id"] == request_id])
    (app_line,) = eventually(lambda: _app_lines(stack, request_id))
    assert "203.0.113.9" not in app_line
    assert NGINX not in app_line, "the proxy is not the client"
    assert f" {line['client']} GET " in app_line
