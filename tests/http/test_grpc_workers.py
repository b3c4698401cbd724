"""gRPC where several server processes share a port."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np

from tests.http.test_workers import WorkersProcess
from tests.rpc import serving_stubs
from tests.support import eventually, running

ROW = np.array([[1]], np.float32)


def test_every_worker_answers_and_one_replaces_another(slow_models: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with running(WorkersProcess(slow_models, tmp_path, grpc_port=port)) as server:
        server.await_both()

        def answered() -> set[str]:
            """The workers that have answered calls, after one more over a connection of its own."""
            # Otherwise the channels of this process share one.
            options = [("grpc.use_local_subchannel_pool", 1)]
            with serving_stubs(f"127.0.0.1:{port}", options=options) as tfs:
                tfs.predict("slow", rounds=ROW)
            lines = server.requests(protocol="grpc-tfs")
            return {line["replica"] for line in lines}

        eventually(lambda: answered() == {"app/1", "app/2"})
        before = server.pids()
        server.servers()[0].kill()
        eventually(lambda: set(server.pids()) - set(before))
        server.await_both()
        counted = len(server.requests(protocol="grpc-tfs", status=200))
        for _ in range(20):
            answered()
        assert len(server.requests(protocol="grpc-tfs", status=200)) == counted + 20
