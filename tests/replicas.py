"""Servers that are each other's peers and share a file of events."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from tests.conversions import converted
from tests.support import ServerProcess


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Replicas:
    """`app-1` and `app-2` over one folder of models."""

    def __init__(self, models: Path, folder: Path, **settings: Any) -> None:
        self._models = models
        self._folder = folder
        self._ports = dict(zip(("app-1", "app-2"), free_ports(2), strict=True))
        self._settings = {"events_file": folder / "events.jsonl", "drain_delay_s": 0, **settings}
        self.servers: dict[str, ServerProcess] = {}

    def start_both(self) -> None:
        """Start them, and wait until both are ready."""
        converted(self._models)
        for name in ("app-1", "app-2"):
            self.start(name)
        for server in self.servers.values():
            server.await_ready()

    def start(self, name: str) -> ServerProcess:
        """Start one of the two, without waiting until it is ready."""
        if name in self.servers:
            self.servers[name].stop()
        uploads = self._folder / name
        uploads.mkdir(exist_ok=True)
        peers = [f"http://127.0.0.1:{p}" for n, p in self._ports.items() if n != name]
        self.servers[name] = ServerProcess(
            self._models,
            uploads,
            port=self._ports[name],
            replica=name,
            peers=",".join(peers),
            **self._settings,
        )
        return self.servers[name]

    def stop(self) -> None:
        for name, server in self.servers.items():
            print(f"--- log of {name} ---\n{server.log()}")
            server.stop()
