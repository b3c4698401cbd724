"""What the application learns about a request through nginx, and what the logs say."""

from __future__ import annotations

import uuid

import httpx

from tests.stack.compose import NGINX, Stack, eventually
from tests.stack.test_limits import NGINX_LIMIT
from tests.support import CAR, picture_that_says


def test_one_id_in_the_answer_and_both_logs(stack: Stack) -> None:
    with stack.client() as client:
        answer = client.post("/api/mpg", json=CAR, headers={"X-Request-ID": "mine"})
    request_id = answer.headers["x-request-id"]
    assert answer.headers.get_list("x-request-id") == [request_id]
    assert answer.json()["id"] == request_id
    (line,) = eventually(lambda: [e for e in stack.access_log() if e["id"] == request_id])
    (app_line,) = eventually(lambda: stack.app_lines(id=request_id))
    for key, value in {"method": "POST", "path": "/api/mpg", "status": 200}.items():
        assert line[key] == app_line[key] == value
    assert app_line["client"] == line["client"]
    assert app_line["replica"] in ("app-1", "app-2")
    assert (app_line["model"], app_line["version"], app_line["rows"]) == ("mpg", 1, 1)


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
    (app_line,) = eventually(lambda: stack.app_lines(id=request_id))
    assert "203.0.113.9" not in app_line.values()
    assert line["client"] != NGINX, "the proxy is not the client"
    assert app_line["client"] == line["client"]


def test_nothing_secret_is_in_any_log(stack: Stack) -> None:
    secret = f"hush{uuid.uuid4().hex}"
    headers = {
        "Authorization": f"Bearer {secret}",
        "X-API-Key": secret,
        "Cookie": f"session={secret}",
        "Referer": f"{stack.url}/?token={secret}",
    }
    query = f"?token={secret}"
    jpeg = picture_that_says(secret)
    # Over HTTP/2, httpx sends all of a body before it looks at an answer.
    with stack.client(http2=False) as client:
        client.headers.update(headers)
        answers = [
            client.post(f"/api/mpg{query}", json=CAR),
            client.post(f"/api/mpg{query}", json={**CAR, secret: secret}),
            client.post(f"/api/cats-dogs{query}", files={"image": (f"{secret}.jpg", jpeg)}),
            client.post(f"/api/patents{query}", json={"seed": secret, "words": 1}),
            client.get(f"/models/mpg{query}"),
            client.get(f"/nothing{query}"),
            # What nginx answers by itself.
            client.post(f"/api/cats-dogs{query}", content=bytes(NGINX_LIMIT + 1)),
            httpx.get(f"http://localhost:{stack.http_port}/{query}", headers=headers),
        ]
    assert [a.status_code for a in answers] == [200, 422, 200, 422, 200, 404, 413, 308]
    ids = {a.headers["x-request-id"] for a in answers}
    eventually(lambda: ids <= {line["id"] for line in stack.access_log()})
    reached = {a.headers["x-request-id"] for a in answers[:6]}
    eventually(lambda: reached <= {line.get("id") for line in stack.app_lines()})
    for service in ("nginx", "app-1", "app-2"):
        assert secret not in stack.logs(service)
