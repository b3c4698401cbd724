"""The cache of converted models, used and killed by several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

TOGETHER = """
import sys, time
from pathlib import Path
from app.serving.reading.cache import Cache
from tests.converted import always, made
store, log = Cache(Path(sys.argv[1]), 10**9), Path(sys.argv[2])
with store.lock("k", always) as take:
    if store.find("k") is None:
        take(True)
        if store.find("k") is None:
            with log.open("a") as file:
                file.write("made")
            with store.work_folder(1000) as out:
                time.sleep(0.5)
                assert store.keep("k", out, made(out)) is not None
    take(False)
    assert store.find("k") is not None
"""


def test_processes_that_start_together_convert_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path / "c"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "made"


KILLS = """
import json, os, random, signal, sys, time
from pathlib import Path
from app.serving.reading.cache import Cache
from tests.converted import always, made
folder, rng = Path(sys.argv[1]), random.Random(1)
found = 0
for turn in range(200):
    pid = os.fork()
    if pid == 0:
        store = Cache(folder, 2_500_000)
        while True:
            key = str(random.randrange(5))
            with store.lock(key, always) as take:
                take(True)
                with store.work_folder(1000) as out:
                    store.keep(key, out, made(out, 400_000, key.encode()))
    time.sleep(rng.random() * 0.03)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    store = Cache(folder, 2_500_000)
    for key in "01234":
        with store.lock(key, always):
            model = store.find(key)
        if model is not None:
            found += 1
            assert model.path.read_bytes() == key.encode() * 400_000
size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
print(json.dumps([found, size, [p.name for p in folder.iterdir() if p.name.startswith("making")]]))
"""


def test_kills_while_it_is_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "c")],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found, size, unfinished = json.loads(done.stdout)
    assert found > 20  # how many is a matter of the machine
    assert size < 2_600_000
    assert unfinished == []
