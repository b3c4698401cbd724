"""A reader who follows the documentation: a folder and a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

# curl fails where the answer is an error, shows it all the same, and is else as quiet as can be.
CURLRC = "fail-with-body\nsilent\nshow-error\ninsecure\nmax-time = 120\n"
CURL_GOT_AN_ERROR = 22
START_TIMEOUT_S = 180


class Reader:
    """Runs commands in a folder. `addresses`: those in the documents, and the real ones."""

    def __init__(self, folder: Path, addresses: dict[str, str], **environ: str) -> None:
        self.folder = folder
        self.addresses = addresses
        (folder / ".curlrc").write_text(CURLRC)
        self.environ = {**os.environ, "CURL_HOME": str(folder), **environ}

    def told(self, text: str) -> str:
        """With the addresses that are really there."""
        for shown, real in self.addresses.items():
            text = text.replace(shown, real)
        return text

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", self.told(command)],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def python(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script, to its end."""
        return subprocess.run(
            [self.folder / ".venv/bin/python", "-c", self.told(script)],
            cwd=self.folder,
            env=self.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def begin(self, command: str) -> Endless:
        """A command that does not end by itself."""
        return Endless(self.told(command), self.folder, self.environ)


class Endless:
    """A command that runs until it is stopped, with all that it started."""

    def __init__(self, command: str, folder: Path, environ: dict[str, str]) -> None:
        self._output = (folder / "endless.log").open("w+")
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=environ,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self) -> str:
        """What it has printed so far."""
        return os.pread(self._output.fileno(), 10_000_000, 0).decode(errors="replace")

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until it prints that."""
        until = time.monotonic() + START_TIMEOUT_S
        while not (found := re.search(pattern, self.output(), re.MULTILINE)):
            assert self._process.poll() is None, f"it ended:\n{self.output()}"
            assert time.monotonic() < until, f"no {pattern!r} in:\n{self.output()}"
            time.sleep(0.1)
        return found

    def stop(self) -> None:
        """End it and its children."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
                try:
                    self._process.wait(60)
                except subprocess.TimeoutExpired:
                    continue
        self._output.close()
