"""`python -m app key new`, as typed."""

from __future__ import annotations

import re
from pathlib import Path

from app.keys.file import parse_keys
from tests.http.test_cli import run


def shown(text: str) -> str:
    """The one key in it."""
    (key,) = re.findall(r"^kp_[\w-]{43}$", text, re.MULTILINE)
    return str(key)


def test_help_says_what_there_is() -> None:
    assert "key" in run("--help").stdout
    assert "new" in run("key", "--help").stdout
    for option in ("--model", "--rate", "--file", "KERAPORT_API_KEYS_FILE"):
        assert option in run("key", "new", "--help").stdout


def test_without_a_file_the_lines_are_printed_and_the_key_beside_them(tmp_path: Path) -> None:
    done = run("key", "new", "lab", "--model", "mpg", "--model", "cats-dogs", "--rate", "9/minute")
    (key,) = parse_keys(done.stdout.encode(), "")
    assert key.matches(shown(done.stderr))
    assert key.models == frozenset({"mpg", "cats-dogs"})
    assert key.rate is not None
    assert (key.rate.amount, key.rate.GRANULARITY.name) == (9, "minute")


def test_a_file_gets_the_lines(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    first = run("key", "new", "one", "--file", file)
    second = run("key", "new", "two", KERAPORT_API_KEYS_FILE=str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    keys = parse_keys(file.read_bytes(), "")
    assert [key.name for key in keys] == ["one", "two"]
    for key, done in zip(keys, (first, second), strict=True):
        assert key.matches(shown(done.stderr))
        assert done.stdout == ""
        assert str(file) in done.stderr
        assert shown(done.stderr) not in file.read_text()
    again = run("key", "new", "one", "--file", file, code=1)
    assert "another key has the same" in again.stderr
    assert "kp_" not in again.stderr + again.stdout
    assert len(parse_keys(file.read_bytes(), "")) == 2


def test_a_file_that_cannot_be_written_loses_no_key() -> None:
    """As in a container, whose file is mounted for reading."""
    done = run("key", "new", "lab", "--file", "/proc/keys.yaml")
    (key,) = parse_keys(done.stdout.encode(), "")
    assert key.matches(shown(done.stderr))
    assert "add these lines" in done.stderr


def test_what_the_file_would_not_take_is_refused() -> None:
    done = run("key", "new", "a b", "--rate", "often", code=1)
    assert "name: expected" in done.stderr
    assert "rate: expected" in done.stderr
    assert "kp_" not in done.stderr + done.stdout
