"""A file of a web server, by httpx2."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2

from app import __version__
from app.errors import PullError
from app.sources.address import Address
from app.sources.files import RemoteFile, Room, write_file
from app.sources.redaction import redacted

# Seconds until a connection is there, and between two pieces of the file.
TIMEOUT = httpx2.Timeout(30, connect=10)
_GONE = (404, 410)


class WebFile:
    """The file at an address. A `.netrc` file (NETRC, or in the home folder) has its password."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._response: httpx2.Response | None = None
        self._client = httpx2.Client(
            timeout=TIMEOUT,
            follow_redirects=True,
            max_redirects=5,
            auth=_netrc(),
            # Coded, its size would be unknown.
            headers={"User-Agent": f"keraport/{__version__}", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> WebFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()
        self._client.close()

    def list(self, known_tag: str) -> Sequence[RemoteFile]:
        """Ask for the file, unless it has this tag; reading it begins with `fetch`."""
        name = self._address.file_name
        assert name is not None, "an address of the web is that of a file"
        kind = "If-None-Match" if known_tag.startswith(('"', "W/")) else "If-Modified-Since"
        headers = {kind: known_tag} if known_tag else {}
        try:
            request = self._client.build_request("GET", self._address.url, headers=headers)
            response = self._response = self._client.send(request, stream=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._error(str(error) or type(error).__name__) from None
        if response.status_code == httpx2.codes.NOT_MODIFIED:
            return [RemoteFile(name, None, known_tag)]
        if response.status_code in _GONE:
            return []
        if response.status_code != httpx2.codes.OK:
            raise self._error(f"status {response.status_code} {response.reason_phrase}")
        secure = all(hop.url.scheme == "https" for hop in (*response.history, response))
        if not secure and self._address.sha256 is None:
            raise self._error("it redirects to http://, where anyone in between can change it")
        size = response.headers.get("Content-Length", "")
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        return [RemoteFile(name, int(size) if size.isdecimal() else None, tag)]

    def fetch(self, file: RemoteFile, target: Path, room: Room) -> str:
        """Write the file."""
        return write_file(target, self._pieces(), file.size, room)

    def _pieces(self) -> Iterator[bytes]:
        assert self._response is not None, "the file has been asked for"
        try:
            yield from self._response.iter_raw()
        except httpx2.HTTPError as error:
            raise self._error(str(error) or type(error).__name__) from None

    def _error(self, reason: str) -> PullError:
        return PullError(f"{self._address.shown} cannot be read: {redacted(reason)}")


def _netrc() -> httpx2.Auth | None:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    return httpx2.NetRCAuth(str(path)) if path.is_file() else None
