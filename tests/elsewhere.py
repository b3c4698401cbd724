"""Places that have models: a server of S3 (moto), one of HTTPS, one that speaks the protocol of the
Hugging Face Hub, and a connection that is cut."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import obstore
import pytest
import trustme
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from app.sources import object_store
from app.sources.address import parse_address
from app.sources.pull import Options, Outcome, pull

KEYS = {"AWS_ACCESS_KEY_ID": "an-access-key", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests"}


def pulled(url: str, models: Path, name: str = "m", **options: Any) -> Outcome:
    """What `python -m app pull URL NAME` does."""
    return pull(parse_address(url), name, models, Options(**options))


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder that are not hidden, with their contents."""
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {
        str(path): (folder / path).read_bytes()
        for path in paths
        if not any(part.startswith(".") for part in path.parts)
    }


def packed(folder: Path, beside: Path) -> bytes:
    """The content of a folder as .tar.gz. beside: where the archive is written."""
    return Path(shutil.make_archive(str(beside / folder.name), "gztar", folder)).read_bytes()


class Bucket:
    """A bucket of a server of S3. url: of the server."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        # The first request imports the server.
        httpx.put(f"{url}/{name}", timeout=120).raise_for_status()
        self._store = S3Store(
            name,
            endpoint=url,
            region="us-east-1",
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    def put(self, path: str, content: bytes) -> None:
        """Write an object."""
        obstore.put(self._store, path, content)

    def delete(self, path: str) -> None:
        """Remove an object."""
        obstore.delete(self._store, path)


@contextmanager
def s3_server() -> Iterator[str]:
    """A server of S3. Returns its address."""
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        moto.stop()


@contextmanager
def bucket_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket of a server of its own, which the environment names."""
    with s3_server() as url:
        reach(url, monkeypatch)
        yield Bucket(url, "bucket")


def reach(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sources be read from this server of S3, without waiting for one that is down."""
    for name, value in {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", **KEYS}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_store, "RETRIES", {"max_retries": 0})


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD as `answer` says, and notes what was sent."""

    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        status, headers, body = self.server.answer(self.path, dict(self.headers))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.server.sent.append((urlsplit(self.path).path, status, len(body)))
            with suppress(OSError):
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class FileServer(ThreadingHTTPServer):
    """A web server of the files in `files`, with ETags. sent: path, status and bytes of each
    answer to GET. tls: its certificate."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://localhost:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.sent: list[tuple[str, int, int]] = []
        self.asked: list[dict[str, str]] = []
        self.status = 200

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        path = unquote(urlsplit(path).path)
        self.asked.append(headers)
        if path in self.redirects:
            return 302, {"Location": self.redirects[path]}, b""
        if self.status != 200:
            return self.status, {}, b""
        if path not in self.files:
            return 404, {}, b""
        tag = f'"{hashlib.sha1(self.files[path]).hexdigest()}"'
        if headers.get("If-None-Match") == tag:
            return 304, {"ETag": tag}, b""
        return 200, {"ETag": tag, **self.headers}, self.files[path]


class Hub(FileServer):
    """Speaks the part of the Hub's protocol that fetching a repository needs. token: what private
    repositories want."""

    token: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.repository = "someone/flowers"
        self.revisions: dict[str, str] = {"main": "0" * 40}
        self.large = (".keras", ".h5")
        self.damaged: set[str] = set()

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        path = unquote(urlsplit(path).path)
        self.asked.append(headers)
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            said = {"X-Error-Code": "GatedRepo", "X-Error-Message": "access is restricted"}
            return 403, said, b"{}"
        api = f"/api/models/{self.repository}/revision/"
        files = f"/{self.repository}/resolve/"
        if path.startswith(api):
            commit = self._commit(path.removeprefix(api))
            if commit is None:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            about = {"id": self.repository, "sha": commit, "siblings": self._siblings()}
            return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()
        if path.startswith(files):
            commit, _, name = path.removeprefix(files).partition("/")
            content = self.files[name]
            sent = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            return 200, sent, b"?" * len(content) if name in self.damaged else content
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def _commit(self, revision: str) -> str | None:
        return revision if revision in self.revisions.values() else self.revisions.get(revision)

    def _siblings(self) -> Iterator[Any] | list[dict[str, Any]]:
        found = []
        for name, content in self.files.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            about: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git}
            if name.endswith(self.large):
                sha256 = hashlib.sha256(content).hexdigest()
                about["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 100}
            found.append(about)
        return found


@contextmanager
def answering(server: FileServer) -> Iterator[FileServer]:
    """Run a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """The certificate of a server at localhost, and the file of the authority that signed it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return context, folder / "ca.pem"


class Cut:
    """A connection to `target` that passes on so many bytes of its answers, and then is cut; from
    then on none is made. on_cut: called before."""

    def __init__(
        self, target: tuple[str, int], most: int, on_cut: Callable[[], object] = lambda: None
    ) -> None:
        self._target, self._left, self._on_cut = target, most, on_cut
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def is_cut(self) -> bool:
        """Whether it has happened."""
        return self._left <= 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            server = socket.create_connection(self._target)
            for one, other, counted in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pass_on, args=(one, other, counted))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := one.recv(10_000):
                if counted:
                    with self._lock:
                        before, self._left = self._left, self._left - len(data)
                        data = data[: max(0, before)]
                        if before > 0 >= self._left:
                            self._on_cut()
                other.sendall(data)
                if counted and self.is_cut:
                    break
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if counted:
            one.close()
            other.close()

    def close(self) -> None:
        """End all connections."""
        self._left = 0
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
