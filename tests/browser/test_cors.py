"""A page of another origin asks with `fetch`, as a browser lets it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.limited import PAGE_PORT
from tests.support import CAR, ServerProcess

# A JSON body and a header for keys make the browser ask beforehand.
ASK = """async ([url, body]) => {
    try {
        const answer = await fetch(url, {
            method: "POST",
            headers: {"Content-Type": "application/json", "X-API-Key": "none"},
            body: JSON.stringify(body),
        });
        return [answer.status, await answer.json(), answer.headers.get("X-Request-ID")];
    } catch (error) {
        return String(error);
    }
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two that serve a page: the one that the server's settings name, and another."""
    folder = tmp_path_factory.mktemp("elsewhere")
    Path(folder / "index.html").write_text("<!doctype html><title>Elsewhere</title>")
    handler = partial(_Quiet, directory=str(folder))
    servers = [ThreadingHTTPServer(("127.0.0.1", port), handler) for port in (PAGE_PORT, 0)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def _asked(page: Page, origin: str, url: str, body: Any) -> Any:
    page.goto(f"{origin}/index.html")
    return page.evaluate(ASK, [url, body])


def test_a_page_that_may(context: BrowserContext, limited: ServerProcess, origins: Any) -> None:
    page = context.new_page()
    url = f"{limited.url}/api/mpg"
    status, answer, id = _asked(page, origins[0], url, CAR)
    assert status == 200
    assert answer["predictions"][0]["mpg"] > 0
    assert id == answer["id"]
    # What is wrong can be read as well.
    status, answer, id = _asked(page, origins[0], url, {})
    assert status == 422
    assert answer["error"]["code"] == "invalid_input"


def test_a_page_that_may_not(
    context: BrowserContext, limited: ServerProcess, shipped: ServerProcess, origins: Any
) -> None:
    page = context.new_page()
    for origin, server in ((origins[1], limited), (origins[0], shipped)):
        assert "Failed to fetch" in _asked(page, origin, f"{server.url}/api/mpg", CAR)
    # Not even what the APIs answer to nobody in particular, such as the pages.
    page.goto(f"{origins[0]}/index.html")
    read = "url => fetch(url).then(() => 'read', error => String(error))"
    assert "Failed to fetch" in page.evaluate(read, f"{limited.url}/readyz")
