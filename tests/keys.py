"""Servers with API keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from app.keys.file import key_lines, new_key
from tests.support import NO_TLS, ServerProcess

# Keys of the servers of tests: their models, and their rate.
KEYS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "operator": ((), None),
    "laboratory": (("mpg", "gone"), None),
    "slow": ((), "5/hour"),
    "slow-limited": (("mpg",), "1/hour"),
}


class Keys:
    """A file of keys, and the keys themselves."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.keys: dict[str, str] = {}
        self._lines: dict[str, str] = {}
        for name, (models, rate) in KEYS.items():
            self.add(name, models, rate)

    def __getitem__(self, name: str) -> str:
        return self.keys[name]

    def add(self, name: str, models: tuple[str, ...] = (), rate: str | None = None) -> str:
        self.keys[name], hash = new_key()
        self._lines[name] = key_lines(name, hash, models, rate)
        self.write()
        return self.keys[name]

    def remove(self, name: str) -> None:
        del self._lines[name]
        self.write()

    def write(self) -> None:
        """As an editor that replaces the file at once."""
        new = self.file.with_suffix(".new")
        new.write_text("# who\n" + "".join(self._lines.values()))
        new.replace(self.file)


class Keyed:
    """A server with keys."""

    def __init__(self, server: ServerProcess, keys: Keys) -> None:
        self.server = server
        self.keys = keys
        self._clients: list[httpx.Client] = []

    def ask(self, path: str, key: str | None = "operator", **kwargs: Any) -> httpx.Response:
        """GET, or POST where there is a body, with the key of that name."""
        headers = kwargs.pop("headers", {})
        if key is not None:
            headers = {"Authorization": f"Bearer {self.keys[key]}", **headers}
        method = "POST" if {"json", "content", "data", "files"} & set(kwargs) else "GET"
        method = kwargs.pop("method", method)
        url = self.server.url + path
        return httpx.request(method, url, headers=headers, timeout=150, verify=NO_TLS, **kwargs)

    def log_in(self, name: str = "operator") -> httpx.Client:
        """A browser that is signed in."""
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        client = httpx.Client(base_url=self.server.url, timeout=150, headers=headers, verify=NO_TLS)
        self._clients.append(client)
        answer = client.post("/login", data={"key": self.keys[name]})
        assert answer.status_code == 303, answer.text
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
