"""The supervisor: output of native code becomes log lines, even if its process dies."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.native import DEATHS, SAYS
from tests.processes.supervised import is_in, lines, run, running, server
from tests.support import ROOT, eventually, is_alive

COMMAND = "from app.server.supervisor_launch import supervised_command\nsupervised_command()\n"


@pytest.mark.parametrize(
    ("said", "level", "event", "source"),
    [
        ("I0000 00:00:1764379603.1  12 a.cc:1] on 3 cores", "info", "on 3 cores", "a.cc:1"),
        ("W1129 01:26:03.123456   12 b.cc:22] so so", "warning", "so so", "b.cc:22"),
        ("E0000 00:00:1764379603.1 12 util.cc:131] no AMX", "error", "no AMX", "util.cc:131"),
        (
            "F0000 00:00:1764379603.1 12 c.cc:3] Check failed: x",
            "critical",
            "Check failed: x",
            "c.cc:3",
        ),
        ("2026-11-29 01:26:03.1: I x/y.cc:4] built", "info", "built", "x/y.cc:4"),
        ("2026-11-29 01:26:03.123: E x/y.cc:4] cuInit: 303", "error", "cuInit: 303", "x/y.cc:4"),
        ("malloc(): corrupted top size", "warning", "malloc(): corrupted top size", None),
        ("Fatal Python error: Aborted", "critical", "Fatal Python error: Aborted", None),
        ("terminate called after throwing", "critical", "terminate called after throwing", None),
        ("ends with a return\r", "warning", "ends with a return", None),
        ("a\x1b[2J\x85\u2028b", "warning", "a\x1b[2J\x85\u2028b", None),
        (b"\xff\xfe caf\xe9", "warning", "\\xff\\xfe caf\\xe9", None),
        ('{"event": "forged"}', "warning", '{"event": "forged"}', None),
    ],
)
def test_each_line_has_its_level(
    said: str | bytes, level: str, event: str, source: str | None
) -> None:
    done = run(server() + f"say({said!r})\nsay(b'\\n\\n')\n")
    (line,) = lines(done)
    assert (line["level"], line["event"]) == (level, event)
    assert (line["logger"], line["replica"]) == ("native", "app-1")
    assert line["time"].endswith("Z")
    assert line.get("source") == source
    assert (done.returncode, done.stdout) == (0, "")


def test_lines_and_parts_of_lines() -> None:
    """In pieces, without an end, and far too long."""
    program = server() + (
        "say('W0000 00:00:1.1 12 a.cc:1] first ha')\ntime.sleep(0.5)\nsay('lf\\nsecond ')\n"
        "time.sleep(0.1)\nsay('line\\n')\n"
        "say('E0000 00:00:1.1 12 a.cc:1] ' + 'ä€' * 20_000 + '\\n')\nsay('no end')"
    )
    first, second, *long, last = lines(run(program))
    assert (first["event"], first["level"]) == ("first half", "warning")
    assert second["event"] == "second line"
    assert "".join(line["event"] for line in long) == "ä€" * 20_000
    assert {line["level"] for line in long} == {"error"}
    assert [line.get("continues", False) for line in long] == [False, *[True] * (len(long) - 1)]
    assert max(len(json.dumps(line)) for line in long) < 64_000
    assert last["event"] == "no end"


def test_chatter_is_dropped_and_nothing_else() -> None:
    """What TensorFlow prints on every start; two on CPUs with AVX-512."""
    chatter = [
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1764379603.1 1 port.cc:153] oneDNN custom operations are on.",
        "I0000 00:00:1764379603.1 1 cpu_feature_guard.cc:227] This TensorFlow binary is …",
        "To enable the following instructions: AVX512, in other operations, rebuild TensorFlow …",
        "E0000 00:00:1.9 30466 util.cc:131] oneDNN supports DT_BOOL only on platforms with …",
        "E0000 00:00:1.9 30466 util.cc:131] oneDNN supports DT_INT32 only on platforms with …",
        "E0000 00:00:1.9 30466 util.cc:131] oneDNN supports bfloat16 only on platforms with …",
    ]
    said = "\n".join(chatter) + "\n"
    (line,) = lines(run(server() + f"say({said!r})"))
    assert "bfloat16" in line["event"]


@pytest.mark.parametrize("death", DEATHS)
def test_last_words_are_in_the_log(death: str) -> None:
    """Of 200 lines and one without an end, none is lost; the exit code tells how it ended."""
    dies, code = DEATHS[death]
    speaks = "say(''.join(f'line {i}\\n' for i in range(200)) + 'last words')\n"
    done = run(server() + speaks + dies)
    found = lines(done)
    assert [line["event"] for line in found[:200]] == [f"line {i}" for i in range(200)]
    assert found[200]["event"].startswith("last words")
    assert done.returncode == code
    native = {
        "abort": "Fatal Python error: Aborted",
        "segfault": "Fatal Python error: Segmentation fault",
        "corrupted heap": "invalid pointer",
    }
    if death in native:  # of glibc, and of Python
        assert native[death] in " ".join(line["event"] for line in found[200:])
        assert "<module>" in done.stderr


@pytest.mark.parametrize("death", DEATHS)
def test_last_words_of_a_command_are_plain(death: str) -> None:
    dies, code = DEATHS[death]
    done = run(
        COMMAND + SAYS + "sys.stderr.write('for people: ä\\n')\nprint('a table', flush=True)\n"
        "say('E0000 00:00:1764379603.1 1 a.cc:1] words\\nlast \\x1b[2J words\\n')\n" + dies
    )
    assert done.stdout == "a table\n"
    first, *rest = done.stderr.splitlines()
    assert first == "for people: ä"
    assert rest[:2] == ["error: words", "warning: last \\x1b[2J words"]
    assert done.returncode == code


def test_on_a_terminal() -> None:
    """Python still sees it, and native code does not write to it."""
    controller, terminal = pty.openpty()
    program = COMMAND + SAYS + "say('native\\n')\nprint(sys.stderr.isatty(), file=sys.stderr)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=terminal, check=True)
    shown = os.read(controller, 4096).decode().splitlines()
    os.close(terminal)
    os.close(controller)
    assert sorted(shown) == ["True", "warning: native"]


def test_text_for_people_and_the_level() -> None:
    said = "say('E0000 00:00:1764379603.1 1 a.cc:1] b\\x1bc\\nnot said\\n')\nlog.error('d')\n"
    shown = run(server("error", as_text=True) + said).stderr.splitlines()
    stamp = len("2026-11-29T01:26:03Z ")
    assert sorted(line[stamp:] for line in shown) == [
        "[error    ] b\\x1bc [native] source=a.cc:1",
        "[error    ] d [app.test]",
    ]


def test_what_native_code_prints_on_stdout_is_a_line_too() -> None:
    done = run(server() + "say('printed\\n', 1)\nprint('by Python', flush=True)")
    assert sorted(line["event"] for line in lines(done)) == ["by Python", "printed"]
    assert done.stdout == ""


def _flooded(flood: str, tmp_path: Path) -> list[dict[str, Any]]:
    """The log of a server that is killed once it has written `flood`, while nothing read it."""
    written = tmp_path / "written"
    with running(server() + flood + f"open({str(written)!r}, 'w')\ntime.sleep(600)") as process:
        child = eventually(psutil.Process(process.pid).children)[0]
        assert process.stderr is not None
        eventually(written.exists)
        child.kill()
        return [json.loads(line) for line in process.stderr]


def test_a_flood_waits_for_no_one_and_loses_nothing(tmp_path: Path) -> None:
    """10 MB, while nothing reads the log."""
    flood = "say(b''.join(b'%09d %b\\n' % (i, b'x' * 90) for i in range(100_000)))\n"
    found = [line["event"] for line in _flooded(flood, tmp_path)]
    numbers = [int(event[:9]) for event in found if event[:9].isdigit()]
    assert numbers == list(range(100_000))


def test_what_is_too_much_is_counted(tmp_path: Path) -> None:
    flood = "for _ in range(45):\n    say((b'x' * 99 + b'\\n') * 10_000)\n"
    found = _flooded(flood, tmp_path)
    told = [line for line in found if line["event"][0] != "x"]
    assert {line["level"] for line in told} == {"error"}
    dropped = sum(int(line["event"].split(" lines were dropped")[0]) for line in told)
    # The first of what is dropped, and the last, may be half a line.
    assert dropped + len(found) - len(told) == pytest.approx(450_000, abs=2 * len(told))
    assert dropped > 0


def test_long_lines_of_several_processes_stay_whole() -> None:
    """In a pipe that is full most of the time."""
    program = server() + (
        "import threading\n"
        "speaker = threading.Thread(target=lambda: [say('short\\n') for _ in range(3000)])\n"
        "speaker.start()\n"
        "for _ in range(100):\n    log.error('x' * 30_000)\n"
        "speaker.join()\n"
    )
    with running(program) as process:
        assert process.stderr is not None
        events = []
        for line in process.stderr:
            events.append(json.loads(line)["event"])
            if len(events) % 50 == 0:
                time.sleep(0.01)
    assert events.count("short") == 3000
    assert events.count("x" * 30_000) == 100


# --- the life of the two --------------------------------------------------------------------------


def test_the_supervisor_is_small_and_leaves_with_the_child() -> None:
    with running(server() + "time.sleep(600)") as process:
        parent = psutil.Process(process.pid)
        child = eventually(parent.children)[0]
        eventually(lambda: "supervisor" in " ".join(parent.cmdline()))
        eventually(lambda: is_in(child, "nanosleep"))
        assert parent.memory_full_info().uss < 20e6
        child.kill()
        assert process.wait(60) == 137


def test_the_child_leaves_with_a_supervisor_that_is_killed() -> None:
    with running(server() + "time.sleep(600)") as process:
        child = eventually(psutil.Process(process.pid).children)[0]
        eventually(lambda: is_in(child, "nanosleep"))
        process.kill()
        eventually(lambda: not is_alive(child))


def test_a_child_of_the_child_does_not_keep_the_supervisor() -> None:
    program = server() + "import subprocess\nsubprocess.Popen(['sleep', '60'])\nsay('bye\\n')"
    began = time.monotonic()
    with running(program) as process:
        child = eventually(psutil.Process(process.pid).children)[0]
        eventually(lambda: child.children() or not child.is_running())
        left = child.children() if child.is_running() else []
        assert process.wait(50) == 0
        for each in left:
            each.kill()
    assert time.monotonic() - began < 50


ALONE = ["unshare", "--pid", "--fork", "--mount-proc"]
MAY = subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not MAY, reason="a namespace of processes takes rights that are missing here")
@pytest.mark.parametrize("death", DEATHS)
def test_as_process_1_of_a_container(death: str) -> None:
    """With which the kernel ends all others."""
    dies, code = DEATHS[death]
    program = server() + (
        "if os.getppid() != 1: os._exit(99)\n"
        "import subprocess\n"
        "subprocess.run(['sh', '-c', 'sleep 0.1 &'])\n"  # an orphan
        f"time.sleep(0.3)\nsay('x' * 100_000)\nsay('last words\\n')\n{dies}"
    )
    done = subprocess.run(
        [*ALONE, sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code
    said = "".join(line["event"] for line in lines(done))
    assert said.startswith("x" * 100_000 + "last words")


SIGNALS = """
import collections
got = collections.Counter()
from app.server.supervisor import PASSED_ON
for number in (1, 2, 15, 35, 36):
    signal.signal(number, lambda number, frame: log.info(f"got {number}"))
log.info("ready")
while True:
    heartbeat.beat()
    time.sleep(0.01)
"""


def test_signals_are_passed_on_under_numbers_of_their_own() -> None:
    """So that what a whole group of processes gets does not look as if it was sent twice."""
    with running(server() + SIGNALS, start_new_session=True) as process:
        assert process.stderr is not None
        events = (json.loads(line)["event"] for line in process.stderr)
        assert next(events) == "ready"
        for number, others in ((signal.SIGTERM, 35), (signal.SIGINT, 36), (signal.SIGHUP, 1)):
            os.kill(process.pid, number)
            assert next(events) == f"got {others}"
        os.killpg(process.pid, signal.SIGTERM)
        assert {next(events), next(events)} == {"got 15", "got 35"}


# --- commands -------------------------------------------------------------------------------------


def test_a_command_gets_the_signals_themselves() -> None:
    with running(COMMAND + "import time\nprint(flush=True)\ntime.sleep(600)") as process:
        child = eventually(psutil.Process(process.pid).children)[0]
        eventually(lambda: is_in(child, "nanosleep"))
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM


def test_control_c_reaches_a_command_once() -> None:
    """The kernel sends it to both."""
    program = (
        COMMAND
        + SAYS
        + (
            "got = []\n"
            "signal.signal(2, lambda *_: got.append(1))\n"
            "print('ready', flush=True)\n"
            "for _ in range(100): time.sleep(0.02)\n"
            "print('got', len(got), 'times', flush=True)"
        )
    )
    pid, controller = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", program])
    shown = ""
    while "ready" not in shown:
        shown += os.read(controller, 4096).decode()
    os.write(controller, b"\x03")
    while "times" not in shown:
        shown += os.read(controller, 4096).decode()
    os.waitpid(pid, 0)
    os.close(controller)
    assert "got 1 times" in shown
