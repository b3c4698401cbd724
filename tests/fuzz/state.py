"""The server that is fuzzed: what it holds, and what it has logged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.fuzz.livez import Pauses
from tests.metrics import Scrape, scrape
from tests.support import ServerProcess

# What must be 0 at rest; the request for the metrics is in flight itself.
GAUGES = ("keraport_queue_depth", "keraport_streams", "keraport_requests_in_flight")
# Threads and descriptors that come with the first use of something, such as a pool.
SPARE = 4
# Memory that malloc keeps, whatever the share that is allowed.
SPARE_BYTES = 100_000_000
# Seconds in which memory is given back, and the longest that is waited for that.
_REST_S = 4.0
_SETTLE_S = 15.0
_IDLE_S = 0.1
# `/livez` is asked a hundred times a second, so a look at the gauges may meet such a request.
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds. memory: resident bytes."""

    memory: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory / 1e6:.0f} MB, {self.descriptors} descriptors, {self.threads} threads"


class Server:
    """One server process over `models`, watched from its first moment."""

    def __init__(self, models: Path, folder: Path, **settings: object) -> None:
        self._uploads = folder / "uploads"
        self._uploads.mkdir(exist_ok=True)
        self._process = ServerProcess(models, self._uploads, **settings)
        self._read = 0
        try:
            self._process.await_ready()
        except BaseException:
            self._process.stop()
            raise
        self.port = self._process.port
        self.pauses = Pauses(self.port)

    def close(self) -> None:
        """End it, whatever it does."""
        self.pauses.close()
        self._process.stop()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.process.poll() is None

    def log(self) -> str:
        """The last of its log, for people."""
        return self._process.log()[-4000:]

    def inputs(self) -> dict[str, str]:
        """The name of the first input of each model."""
        models = self._process.get("/v1/models").json()["models"]
        found = (self._process.get(f"/v2/models/{name}").json() for name in models)
        return {each["name"]: each["inputs"][0]["name"] for each in found}

    def held(self) -> Held:
        """What the process holds now, connections of others included."""
        server = self._itself()
        return Held(int(server.memory_info().rss), server.num_fds(), server.num_threads())

    def _itself(self) -> psutil.Process:
        """The server, whatever looks after it."""
        parent = psutil.Process(self._process.process.pid)
        family = [parent, *parent.children(recursive=True)]
        return max(family, key=lambda process: int(process.memory_info().rss))

    def forget_peak(self) -> int:
        """Begin to measure the peak of memory from now on. Returns the resident bytes."""
        server = self._itself()
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM
        return int(server.memory_info().rss)

    def peak(self) -> int:
        """The most resident bytes since `forget_peak`."""
        status = Path(f"/proc/{self._itself().pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def busy_for(self, most: float) -> float:
        """Seconds, up to `most`, until the process uses less than half a core."""
        server = self._itself()
        began = time.monotonic()
        while True:
            before = server.cpu_times()
            time.sleep(_IDLE_S)
            after = server.cpu_times()
            spent = after.user + after.system - before.user - before.system
            seconds = time.monotonic() - began
            if spent < _IDLE_S / 2 or seconds > most:
                return seconds - _IDLE_S

    def settled(self, most: Held | None = None, percent: float = 0) -> Held:
        """What it holds when it has had time to rest; no longer than needed for `most`."""
        until = time.monotonic() + (_SETTLE_S if most is not None else _REST_S)
        held = self.held()
        while time.monotonic() < until:
            if most is not None and not above(held, most, percent) and not self.unfinished():
                break
            time.sleep(0.5)
            held = self.held()
        return held

    def unfinished(self) -> dict[str, float]:
        """The gauges that are not back at 0 at any of several looks, and files that are left of
        uploads."""
        for _ in range(_LOOKS):
            if not (found := self._unfinished_now()):
                break
            time.sleep(_IDLE_S)
        return found

    def _unfinished_now(self) -> dict[str, float]:
        scraped: Scrape = scrape(f"http://127.0.0.1:{self.port}")
        found = {name: scraped.sum(name) for name in GAUGES}
        found["keraport_requests_in_flight"] -= 1
        found["uploads"] = len(list(self._uploads.iterdir()))
        return {name: value for name, value in found.items() if value}

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the log since the last time; what is not JSON as `{"broken": line}`."""
        data = self._process.read_log(self._read)
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        for line in data.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"broken": line.decode(errors="replace")[:1000]}

    def end(self) -> tuple[int | None, float]:
        """SIGTERM: its exit code (None where it has to be killed) and the seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        with suppress(Exception):
            self._process.process.wait(60)
        return self._process.process.poll(), time.monotonic() - began

    def breathes(self, seconds: float) -> bool:
        """Whether it answers within that time."""
        with suppress(httpx.HTTPError):
            answer = httpx.get(f"http://127.0.0.1:{self.port}/livez", timeout=seconds)
            return answer.status_code == 200
        return False


def wrong_lines(lines: Iterator[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The id of the request, where there is one, and the text of each line that no client should
    be able to cause."""
    for line in lines:
        # A model that answers NaN is an error, of the model.
        own_fault = "NonFinite" in str(line) or line.get("code") == "non_finite_output"
        if "broken" in line or (
            (line.get("level") in ("error", "critical") or "exception" in line) and not own_fault
        ):
            yield str(line.get("id", "")), json.dumps(line)[:1500]


def above(held: Held, most: Held, percent: float) -> list[str]:
    """What has grown beyond what is allowed."""
    found = []
    limit = most.memory * (1 + percent / 100) + SPARE_BYTES
    if held.memory > limit:
        found.append(f"memory: {most.memory / 1e6:.0f} MB became {held.memory / 1e6:.0f} MB")
    for name in ("descriptors", "threads"):
        before, now = getattr(most, name), getattr(held, name)
        if now > before + SPARE:
            found.append(f"{name}: {before} became {now}")
    return found
