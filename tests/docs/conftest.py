"""One server for all that the documents ask, started as they say: by `make run`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.docs.reader import START_TIMEOUT_S, Reader


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader with a clone of the repository, in which `make run` is running."""
    from tests.docs.folder import clone, own_files, own_models  # Keras takes seconds to import

    folder = clone(tmp_path_factory.mktemp("clone"))
    own_files(folder)
    own_models(folder / "models")
    # As on a terminal.
    settings = {"KERAPORT_PORT": "0", "KERAPORT_GRPC_PORT": "0", "KERAPORT_LOG_FORMAT": "text"}
    reader = Reader(folder, {}, **settings)
    server = reader.begin("make run")
    try:
        url = server.says(r"^Keraport \S+ on (http://\S+),")[1]
        until = time.monotonic() + START_TIMEOUT_S
        while httpx.get(f"{url}/readyz", timeout=60).status_code != 200:
            assert time.monotonic() < until, server.output()
            time.sleep(0.2)
        address = url.removeprefix("http://")
        reader.addresses |= {"localhost:5000": address, "127.0.0.1:5000": address}
        port = server.says(r"gRPC on port (\d+)")[1]
        reader.addresses["localhost:8500"] = f"127.0.0.1:{port}"
        yield reader
    finally:
        print(f"--- log of the server ---\n{server.output()}")
        server.stop()
