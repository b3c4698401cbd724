"""A real server process on a free port, and small real models to serve."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import numpy as np
import psutil
from PIL import ExifTags, Image

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
START_TIMEOUT_S = 120
# For requests over plain HTTP. Without it, httpx loads the certificates of all authorities for each
# request, which takes longer than most servers take for the answer.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# That of the tests, which some change for a while.
ENVIRON: dict[str, str] = {}
# A Chevrolet Chevelle Malibu of 1970, for the model `mpg`.
CAR = {
    "cylinders": 8,
    "displacement": 307,
    "horsepower": 130,
    "weight": 3504,
    "acceleration": 12,
    "year": 70,
    "origin": 1,
}
# What `mpg` answers to it, to the decimals of its card: to be changed where the model changes.
MILEAGE = "16.0"
# The same for TensorFlow Serving's REST API and for the Open Inference Protocol.
V1_CAR = {"instances": [list(CAR.values())]}
V2_CAR: dict[str, list[dict[str, Any]]] = {
    "inputs": [{"name": "car", "datatype": "FP32", "shape": [1, 7], "data": list(CAR.values())}]
}


class ServerProcess:
    """`python -m app serve`, as an operator starts it."""

    # What runs in the place of `app`, and what else its environment has.
    module = "app"
    environ: ClassVar[dict[str, str]] = {}

    def __init__(self, models: Path, uploads: Path, **settings: object) -> None:
        self.uploads = uploads
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        environ = {
            k: v
            for k, v in os.environ.items()
            # The cache is that of all tests together.
            if not k.startswith("KERAPORT_") or k == "KERAPORT_CACHE_DIR"
        }
        environ |= {
            "KERAPORT_PORT": "0",
            "KERAPORT_MODELS_DIR": str(models),
            "KERAPORT_UPLOADS_DIR": str(uploads),
            "PYTHONWARNINGS": "default",
            **self.environ,
        }
        environ |= {f"KERAPORT_{k.upper()}": str(v) for k, v in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, "serve"],
            cwd=ROOT,
            env=environ,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.url = self._await_url()
        # Of the server itself, or of the first of several. That of `process`, its supervisor, is
        # what an operator signals.
        self.pid = psutil.Process(self.process.pid).children()[0].pid
        self.port = int(self.url.rpartition(":")[2])

    @property
    def grpc(self) -> str:
        """The address for gRPC, of a server with `grpc_port`."""
        found = re.search(r"gRPC on port (\d+)", self.log())
        assert found is not None
        return f"127.0.0.1:{found[1]}"

    def _await_url(self) -> str:
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            found = re.search(r"(?:listening|Keraport \S+) on (http://[^\s\",]+)", self.log())
            if found:
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server did not start:\n{self.log()}")

    def log(self) -> str:
        """What the server has printed so far."""
        return os.pread(self._log.fileno(), 100_000_000, 0).decode(errors="replace")

    def read_log(self, start: int, most: int = 50_000_000) -> bytes:
        """At most so many bytes of what the server has printed, from byte `start` on."""
        return os.pread(self._log.fileno(), most, start)

    def lines(self, start: int = 0) -> list[dict[str, Any]]:
        """The log as JSON, from so many characters on, without a last line that is incomplete."""
        return [json.loads(line) for line in self.log()[start:].split("\n")[:-1]]

    def requests(self, start: int = 0, **fields: Any) -> list[dict[str, Any]]:
        """The lines of requests in which these fields have these values."""
        lines = [line for line in self.lines(start) if line["logger"] == "app.access"]
        return [line for line in lines if fields.items() <= line.items()]

    def await_ready(self) -> ServerProcess:
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            if httpx.get(f"{self.url}/readyz", timeout=60, verify=NO_TLS).status_code == 200:
                return self
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{self.log()}")

    def waiting(self, model: str = "slow") -> int:
        """Requests that wait for the model, or run in it."""
        count: int = self.get(f"/api/models/{model}").json()["waiting"]
        return count

    def await_waiting(self, count: int, model: str = "slow") -> None:
        eventually(lambda: self.waiting(model) == count, said=f"not {count} requests wait")

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=150, verify=NO_TLS, **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=150, verify=NO_TLS, **kwargs)

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it whatever it does, and free what it holds here."""
        if self.process.poll() is None:
            server = psutil.Process(self.process.pid).children()
            self.process.kill()
            while any(map(is_alive, server)):
                time.sleep(0.01)
        self.process.wait(30)
        self._log.close()


def eventually(
    check: Callable[[], Any], timeout: float = 60, every: float = 0.05, said: object = ""
) -> Any:
    """The first true value of `check`."""
    until = time.monotonic() + timeout
    while not (value := check()):
        assert time.monotonic() < until, f"not within {timeout} s: {said or check}"
        time.sleep(every)
    return value


def is_alive(process: psutil.Process) -> bool:
    """Not if it has ended and its parent, which may be that of all orphans, does not care."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def serving(models: Path, tmp_path: Path, **settings: object) -> Iterator[ServerProcess]:
    """A server over `models`, ready; its log is printed when the block fails."""
    uploads = tmp_path / "uploads"
    uploads.mkdir(exist_ok=True)
    if "cache_dir" not in settings:
        from tests.conversions import converted  # here, for most tests start no server

        converted(models)
    with running(ServerProcess(models, uploads, **settings)) as server:
        yield server


S = TypeVar("S", bound=ServerProcess)


@contextmanager
def running(server: S) -> Iterator[S]:
    """A server that was started, once it is ready; its log is printed when the block fails."""
    try:
        server.await_ready()
        yield server
    except BaseException:
        print(f"--- log of the server ---\n{server.log()}")
        raise
    finally:
        server.stop()


def shipped_models(folder: Path, *names: str) -> Path:
    """A new folder of some of the models that the repository ships."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(ROOT / "models" / name)
    return folder


def picture(
    seed: int = 0, size: tuple[int, int] = (320, 240), format: str = "JPEG", mode: str = "RGB"
) -> bytes:
    """A picture with smooth content, the same for the same seed. size: (width, height)."""
    rng = np.random.default_rng(seed)
    channels = len(Image.new(mode, (1, 1)).getbands())
    small = rng.integers(0, 256, (12, 16, channels), np.uint8).squeeze()
    out = io.BytesIO()
    Image.fromarray(small, mode).resize(size, Image.Resampling.BICUBIC).save(out, format)
    return out.getvalue()


def picture_that_says(text: str) -> bytes:
    """A JPEG with a text in its EXIF data, and behind its end."""
    image = Image.open(io.BytesIO(picture()))
    exif = image.getexif()
    exif[ExifTags.Base.ImageDescription] = text
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue() + text.encode()


def padded_picture(size: int) -> bytes:
    """A readable JPEG of exactly `size` bytes: readers stop at its end marker."""
    data = picture()
    return data + bytes(size - len(data))


def in_chunks(data: bytes) -> Iterator[bytes]:
    """For a request of chunked transfer."""
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]
