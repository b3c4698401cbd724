"""What the numbers were measured on and with."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from app import __version__
from app.resources.container import usable_cores

PACKAGES = (
    *("tensorflow-cpu", "keras", "pillow", "numpy"),
    *("flask", "gunicorn", "fastapi", "uvicorn", "litserve", "bentoml", "nvidia-pytriton"),
)
ASK = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions(python: Path) -> dict[str, str]:
    """Of what runs. TensorFlow, Keras and what else both sides have: those of the peers, with
    Keraport's own where they differ."""
    theirs = _ask(str(python)) if python.exists() else {}
    found = {"Keraport": __version__, "Python": platform.python_version(), **theirs}
    for name, version in _ask(sys.executable).items():
        if name in PACKAGES[:4] and version != theirs.get(name):
            found[f"{name} (Keraport)"] = version
    return found


def _ask(python: str) -> dict[str, str]:
    done = subprocess.run([python, "-c", ASK, *PACKAGES], capture_output=True, check=True)
    found: dict[str, str] = orjson.loads(done.stdout)
    return found


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name that the processor gives itself, with what makes bfloat16 fast."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    flags = known.get("flags", "").split()
    fast = [name for name in ("amx_bf16", "avx512_bf16") if name in flags]
    return " with ".join([known.get("model name", platform.machine()), *fast[:1]])


def about(python: Path, seconds: int, rounds: int) -> dict[str, Any]:
    """For the head of the tables."""
    return {
        "date": datetime.date.today().isoformat(),
        "cores": usable_cores(),
        "processor": processor(),
        "seconds": seconds,
        "rounds": rounds,
        "versions": versions(python),
    }
