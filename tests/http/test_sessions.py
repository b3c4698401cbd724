"""Browsers sign in with a key, and keep a session."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.keys import Keyed
from tests.support import CAR

PAGE = {"Accept": "text/html"}


def test_nginx_can_check_keys_without_counting_as_requests(keyed: Keyed) -> None:
    keyed.keys.add("asked", rate="1/hour")
    for _ in range(5):
        known = keyed.ask("/key", "asked")
        assert (known.status_code, known.headers["X-Keraport-Key"]) == (204, "known")
    assert keyed.ask("/api/models", "asked").status_code == 200
    for headers in ({}, {"X-API-Key": "kp_unknown"}):
        unknown = keyed.ask("/key", None, headers=headers)
        assert unknown.status_code == 401
        assert "X-Keraport-Key" not in unknown.headers


def test_a_browser_signs_in_once_and_goes_where_it_was_going(keyed: Keyed) -> None:
    page = keyed.ask("/models/mpg?weight=3000", None, headers=PAGE)
    assert page.status_code == 401
    assert 'name="next" value="/models/mpg?weight=3000"' in page.text
    client = keyed.log_in()
    form = {"key": f" {keyed.keys['operator']} ", "next": "/models/mpg?weight=3000"}
    answer = client.post("/login", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models/mpg?weight=3000")
    cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(
        r"keraport_session=operator\.[\w-]+\.[\w-]+; HttpOnly; Path=/; SameSite=Strict", cookie
    )
    assert keyed.keys["operator"] not in answer.text + cookie
    for path in ("/", "/status", "/docs", "/api/models", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.post("/api/mpg", json=CAR).status_code == 200
    assert "Sign out" in client.get("/").text
    # A header is judged by itself.
    assert client.get("/api/models", headers={"X-API-Key": "x"}).status_code == 401


def test_under_https_the_cookie_is_for_https_only(keyed: Keyed) -> None:
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    answer = keyed.ask(
        "/login",
        None,
        data={"key": keyed.keys["operator"], "next": "//evil.example"},
        headers={**headers, "Sec-Fetch-Site": "same-origin"},
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "; Secure; HttpOnly; Path=/; SameSite=Strict" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "{url}"}, 401),
        ({"Origin": "{url}"}, 200),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({}, 401),
    ],
)
def test_a_session_sends_only_what_our_own_pages_send(
    keyed: Keyed, headers: dict[str, str], status: int
) -> None:
    client = keyed.log_in()
    del client.headers["Sec-Fetch-Site"]
    said = {name: value.format(url=keyed.server.url) for name, value in headers.items()}
    assert client.post("/api/mpg", json=CAR, headers=said).status_code == status
    signs_in = keyed.ask("/login", None, data={"key": keyed.keys["operator"]}, headers=said)
    assert signs_in.status_code == (303 if status == 200 else 403)


def test_signing_out_forgets_the_session(keyed: Keyed) -> None:
    client = keyed.log_in()
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "keraport_session" not in client.cookies
    assert client.get("/").status_code == 401


def test_a_session_for_some_models(keyed: Keyed) -> None:
    client = keyed.log_in("laboratory")
    assert client.get("/models/mpg").status_code == 200
    assert client.get("/models/writer").status_code == 403


def test_a_form_that_was_sent_without_a_session_leads_back_to_its_page(keyed: Keyed) -> None:
    answer = keyed.ask("/models/mpg?download", None, data={"weight": "1"}, headers=PAGE)
    assert answer.status_code == 401
    assert 'name="next" value="/models/mpg"' in answer.text


def test_a_link_of_another_site_loads_the_page_once_more(keyed: Keyed) -> None:
    """The session comes along then."""
    first = keyed.ask("/status", None, headers={**PAGE, "Sec-Fetch-Site": "cross-site"})
    again = keyed.ask("/status", None, headers={**PAGE, "Sec-Fetch-Site": "same-origin"})
    assert 'http-equiv="refresh"' in first.text
    assert 'http-equiv="refresh"' not in again.text


def test_wrong_keys_are_counted_by_address(keyed: Keyed) -> None:
    def sign_in(key: str, address: str) -> httpx.Response:
        headers = {**PAGE, "X-Forwarded-For": address, "Sec-Fetch-Site": "same-origin"}
        return keyed.ask("/login", None, data={"key": key}, headers=headers)

    for _ in range(10):
        answer = sign_in("kp_wrong", "192.0.2.10")
        assert answer.status_code == 401
        assert "This key is not known." in answer.text
    for key in ("kp_wrong", keyed.keys["operator"]):
        answer = sign_in(key, "192.0.2.10")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert sign_in(keyed.keys["operator"], "192.0.2.11").status_code == 303


def test_the_form_of_a_login_is_short(keyed: Keyed) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"}
    for size, status in ((10_000, 401), (17_000, 413)):
        form = {"key": "x" * size}
        headers["X-Forwarded-For"] = "192.0.2.20"
        assert keyed.ask("/login", None, data=form, headers=headers).status_code == status
