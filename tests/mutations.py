"""Take out behaviours, one at a time, and see a fast test fail for each: `make mutations`.

`python -m tests.mutations WORD…` tries those that have one of the words in their name. Works in a
copy of the repository. Exits with 1 where a behaviour is not found, or where its test passes
without it or fails with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.stack.compose import copy_of_the_repository


@dataclass(frozen=True)
class Mutation:
    """A behaviour, a line of `app` that makes it, what stands there without it, and its test."""

    name: str
    line: str
    without: str
    test: str


MUTATIONS = (
    Mutation(
        "lossless restart: nginx is sent to the other replica",
        'case "other":',
        'case "no other":',
        "tests/unit/test_overload.py",
    ),
    Mutation(
        "the limit of rows",
        "if rows <= self.max_rows:",
        "if True:",
        "tests/unit/test_tensor.py",
    ),
    Mutation(
        "trust: a Lambda layer is code",
        'CODE_LAYERS = frozenset({"Lambda", "__lambda__"})',
        "CODE_LAYERS = frozenset[str]()",
        "tests/models/test_trust.py -k lambda",
    ),
    Mutation(
        "the deadline of a call",
        "return max(0.0, self.deadline - time.monotonic())",
        "return 1e6",
        "tests/unit/test_batcher_calls.py",
    ),
    Mutation(
        "API keys: no key, no answer",
        "raise Unauthorized(",
        "return  # ",
        "tests/unit/test_gate.py",
    ),
    Mutation(
        "the share of the canary",
        "random.random() * 100 >= canary.percent",
        "random.random() * 10 >= canary.percent",
        "tests/unit/test_entry.py",
    ),
    Mutation(
        "the watchdog of the hub",
        "if self._still_s >= self._limit_s:",
        "if False:",
        "tests/unit/test_hub_watchdog.py",
    ),
    Mutation(
        "a damaged entry of the cache is found",
        "if _checksum(folder / name) != expected:",
        "if False:",
        "tests/unit/test_cache.py -k damaged",
    ),
    Mutation(
        "NaN is no answer",
        "bool(np.isfinite(out).all()) for out in outputs",
        "True for out in outputs",
        "tests/unit/test_batcher.py",
    ),
    Mutation(
        "CSRF: a session is for pages of this server",
        'return site in ("same-origin", "none")',
        "return True",
        "tests/unit/test_gate.py",
    ),
    Mutation(
        "the order of a batch is that of arrival",
        "queue.extendleft(reversed(kept))",
        "queue.extend(kept)",
        "tests/unit/test_batcher.py",
    ),
    Mutation(
        "pictures are set upright",
        "if orientation in UPRIGHT:",
        "if False:",
        "tests/unit/test_pictures.py",
    ),
    Mutation(
        "reload: a change waits until it stands still",
        "elif now - since >= self._seconds:",
        "else:",
        "tests/unit/test_stillness.py",
    ),
    Mutation(
        "the short way asks for keys as Flask does",
        "self._gate.check()\n            check_draining",
        "pass\n            check_draining",
        "tests/unit/test_gate.py",
    ),
    Mutation(
        "reload: a broken version leaves the one before",
        "first = _up_to_a_good_one(first, failed)",
        "first = first[:1]",
        "tests/unit/test_versions.py",
    ),
    Mutation(
        "crash guard: a model that ends the server twice is set aside",
        "if record is None or record.ends < MOST_ENDS:",
        "if True:",
        "tests/unit/test_crash_guard.py",
    ),
    Mutation(
        "overload: a full queue refuses",
        "if waiting >= self._max_queue:",
        "if False:",
        "tests/unit/test_admission.py",
    ),
    Mutation(
        "the watchdog of models",
        "if self._watched - since > self._limit_s",
        "if False",
        "tests/unit/test_watchdog.py",
    ),
    Mutation(
        "the limit of a body",
        "if size >= (request.max_content_length or 0):",
        "if False:",
        "tests/unit/test_body_limit.py",
    ),
)


def _tested(folder: Path, test: str) -> tuple[int, str]:
    """pytest's exit code, and the first test that failed."""
    options = ("-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile", "quick")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *test.split()],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    failed = [
        line
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED tests", "ERROR tests"))
    ]
    return done.returncode, failed[0] if failed else done.stdout[-500:] + done.stderr[-500:]


def _tried(folder: Path, mutation: Mutation) -> str | None:
    """The test that fails without the behaviour; None where the suite is not what it should be."""
    files = [path for path in (folder / "app").rglob("*.py") if mutation.line in path.read_text()]
    if len(files) != 1:
        print(f"  {len(files)} files have the line {mutation.line!r}: expected one")
        return None
    whole = files[0].read_text()
    code, said = _tested(folder, mutation.test)
    if code != 0:
        print(f"  {mutation.test} fails with the behaviour in place: {said}")
        return None
    files[0].write_text(whole.replace(mutation.line, mutation.without))
    try:
        code, said = _tested(folder, mutation.test)
    finally:
        files[0].write_text(whole)
    if code != 1:
        print(f"  {mutation.test} ends with {code} without the behaviour: {said}")
        return None
    return said


def main() -> int:
    words = sys.argv[1:] or [""]
    chosen = [each for each in MUTATIONS if any(word in each.name for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="keraport-mutations-") as temp:
        folder = copy_of_the_repository(Path(temp))
        for mutation in chosen:
            began = time.monotonic()
            print(f"{mutation.name}", flush=True)
            said = _tried(folder, mutation)
            missed += said is None
            if said is not None:
                print(f"  red after {time.monotonic() - began:.0f} s: {said}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mutations are caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
