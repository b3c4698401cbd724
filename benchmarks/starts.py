"""`python -m benchmarks.starts`: how long large models take to start, and what memory, beside the
script that people write for one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import psutil

from benchmarks.processes import free_port, running, wait_until_ready

ARCHITECTURES = ("VGG16", "ResNet50", "EfficientNetB0")
EVERY_S = 0.05
# How long a server that is ready is left alone before its memory counts.
SETTLE_S = 3.0
MAKE = "import keras, sys; getattr(keras.applications, sys.argv[1])(weights=None).save(sys.argv[2])"
# What Keraport takes the place of.
SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf
model = keras.models.load_model(sys.argv[1], compile=False)
call = tf.function(lambda rows: model(rows, training=False))
for rows in (1, 32):
    call(tf.constant(np.zeros((rows, 224, 224, 3), "float32"))).numpy()
print("answered", flush=True)
sys.stdin.readline()
"""


@dataclass
class Start:
    """Seconds to the first answer; megabytes at most and once it serves, of all processes."""

    seconds: float
    peak: float
    serving: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.argument("architectures", nargs=-1)
def main(rounds: int, architectures: Sequence[str]) -> None:
    """Start each of ARCHITECTURES (of keras.applications; default: VGG16, ResNet50 and
    EfficientNetB0), with random weights in an .h5, as the script and as Keraport, first and from
    its cache, in turns."""
    click.echo(f"{'':16}{'':14}{'seconds':>22}{'peak MB':>10}{'serving MB':>12}")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        for architecture in architectures or ARCHITECTURES:
            folder = Path(name) / architecture
            folder.mkdir()
            file = folder / f"{architecture.lower()}.h5"
            subprocess.run([sys.executable, "-c", MAKE, architecture, str(file)], check=True)
            _measure(architecture, file, rounds)
            file.unlink()


def _measure(architecture: str, file: Path, rounds: int) -> None:
    kinds: dict[str, list[Start]] = {"script": [], "first": [], "cached": []}
    for _ in range(rounds):
        kinds["script"].append(_script(file))
        with tempfile.TemporaryDirectory(prefix="benchmark-") as cache:
            kinds["first"].append(_keraport(file.parent, Path(cache)))
            kinds["cached"].append(_keraport(file.parent, Path(cache)))
    for kind, found in kinds.items():
        ratios = [one.seconds / s.seconds for one, s in zip(found, kinds["script"], strict=True)]
        seconds = f"{median(s.seconds for s in found):.1f}"
        if kind != "script":
            seconds += f" = {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        click.echo(
            f"{architecture:16}{kind:8}{seconds:>28}"
            f"{max(s.peak for s in found):10.0f}{median(s.serving for s in found):12.0f}"
        )


def _script(file: Path) -> Start:
    began = time.monotonic()
    with running(["-c", SCRIPT, str(file)], file.parent / "log") as process:
        with _watched(process.pid) as peak:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.monotonic() - began
        if not line.startswith("answered"):
            raise click.ClickException((file.parent / "log").read_text()[-1000:])
        return Start(seconds, peak[0], _memory(process.pid))


def _keraport(models: Path, cache: Path) -> Start:
    port = free_port()
    settings = {
        "KERAPORT_MODELS_DIR": str(models),
        "KERAPORT_CACHE_DIR": str(cache),
        "KERAPORT_PORT": str(port),
    }
    log = cache / "log"
    began = time.monotonic()
    with running(["-m", "app", "serve"], log, settings) as process:
        with _watched(process.pid) as peak:
            wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", log)
            seconds = time.monotonic() - began
            if "failed to load" in log.read_text():
                raise click.ClickException(log.read_text()[-1000:])
            time.sleep(SETTLE_S)
        return Start(seconds, peak[0], _memory(process.pid))


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """The largest memory of the process and its children within the block."""
    most, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_S):
            most[0] = max(most[0], _memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _memory(pid: int) -> float:
    """Resident megabytes (10^6 bytes) of a process and its children."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_info().rss
    return total / 1e6


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.starts")
