"""The state of a server process."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support import ROOT

PROGRAM = """
import ctypes, time
ctypes.CDLL(None).prctl(15, b"a) (b 1 2", 0, 0, 0)  # PR_SET_NAME
from app.lifecycle import process_age_s
time.sleep(0.3)
print(process_age_s())
"""
# /proc counts in ticks of 10 ms.
TICK_S = 0.02


def test_the_age_of_a_process_counts_from_its_start() -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 0.3 - TICK_S <= float(done.stdout) <= time.monotonic() - began + TICK_S
