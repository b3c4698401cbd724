"""The file of API keys, the keys in force, sessions and rates."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from pathlib import Path

import pytest
from limits import parse

from app.errors import KeysError
from app.keys import session
from app.keys.file import MAX_RATE, append_key, key_lines, new_key, parse_keys
from app.keys.rate_limiter import RateLimiter
from app.keys.ring import KeyRing

HASH = new_key()[1]


def problems(text: str | bytes) -> list[str]:
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(KeysError) as caught:
        parse_keys(raw, "keys.yaml")
    return [f"{detail.field}: {detail.problem}" for detail in caught.value.details]


# --- the file ------------------------------------------------------------------------------------


def test_a_key_fits_its_own_hash_alone() -> None:
    (one, hash), (other, _) = new_key(), new_key()
    assert re.fullmatch(r"kp_[\w-]{43}", one)
    assert one not in hash
    (key,) = parse_keys(key_lines("one", hash).encode(), "")
    assert key.matches(one)
    for wrong in (other, "", one[:-1], f"{one} ", hash, "\udcff", "ключ"):
        assert not key.matches(wrong)


def test_the_same_key_has_another_hash_each_time() -> None:
    """Who has a key cannot work out what the file says of it."""
    assert len({new_key()[1].split(":")[1] for _ in range(100)}) == 100


def test_what_is_written_is_read() -> None:
    text = key_lines("a", HASH) + key_lines("on", new_key()[1], ("mpg", "007"), "10/second")
    plain, limited = parse_keys(f"# whose\n\n{text}".encode(), "")
    assert (plain.name, plain.models, plain.rate) == ("a", None, None)
    assert (limited.name, limited.models) == ("on", frozenset({"mpg", "007"}))
    assert limited.rate == parse("10/second")


@pytest.mark.parametrize("text", ["", "# nobody yet\n", "[]\n", "---\n"])
def test_a_file_may_hold_no_key(text: str) -> None:
    assert parse_keys(text.encode(), "") == ()


def test_a_key_may_be_for_no_model() -> None:
    (key,) = parse_keys(f"- {{name: a, hash: '{HASH}', models: []}}".encode(), "")
    assert key.models == frozenset()


@pytest.mark.parametrize("rate", ["1/second", "60/minute", f"{MAX_RATE}/hour"])
def test_rates_at_the_edge_are_taken(rate: str) -> None:
    (key,) = parse_keys(key_lines("a", HASH, (), rate).encode(), "")
    assert key.rate == parse(rate)


@pytest.mark.parametrize("rate", ["0/second", f"{MAX_RATE + 1}/hour", "5", "5/day", "-1/second"])
def test_other_rates_are_not(rate: str) -> None:
    (problem,) = problems(f"- name: a\n  hash: {HASH}\n  rate: {rate}\n")
    assert problem == f"line 3: rate: expected N/second, N/minute or N/hour, N from 1 to {MAX_RATE}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"- name: a\n  rat: 1\n  hash: {HASH}\n", "line 2: unknown key 'rat'"),
        (f"- hash: {HASH}\n", "line 1: 'name' is missing"),
        ("- name: a\n", "line 1: 'hash' is missing"),
        (f"- name: a b\n  hash: {HASH}\n", "line 1: name: expected 1 to 64 letters"),
        (f"- name: {'a' * 65}\n  hash: {HASH}\n", "line 1: name: expected 1 to 64 letters"),
        (f"- name: a\n  hash: {HASH[:-1]}\n", "line 2: hash: expected what"),
        (f"- name: a\n  hash: {HASH}\n  models: mpg\n", "line 3: models: expected a list"),
        (f"- name: a\n  hash: {HASH}\n  models: [1]\n", "line 3: models: expected a list"),
        # Begun and left empty, it must not stand for all of them.
        (f"- name: a\n  hash: {HASH}\n  models:\n", "line 3: models: expected a list"),
        (f"- name: a\n  hash: {HASH}\n  rate:\n", "line 3: rate: expected N/second"),
        (f"- name: a\n  name: b\n  hash: {HASH}\n", "line 2: not YAML: the key 'name' is there"),
        ("keys:\n- name: a\n", "line 1: expected a list of keys"),
        ("- mpg\n", "line 1: expected a list of keys"),
        ("kp\n", "line 1: expected a list of keys"),
        ("- name: a\n hash: [\n", "line 2: not YAML"),
        (b"\xff", "the file: not UTF-8"),
    ],
)
def test_problems_are_reported_with_their_lines(text: str | bytes, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_all_problems_are_reported_at_once() -> None:
    twice = f"- name: a\n  hash: {HASH}\n"
    assert problems(twice + twice) == [
        "line 3: name: another key has the same",
        "line 4: hash: another key has the same",
    ]
    assert len(problems("- nam: a\n- name: b\n  hash: x\n")) == 4


def test_a_key_in_a_wrong_place_is_not_repeated() -> None:
    """It would end in a log."""
    key, _ = new_key()
    for text in (
        f"- name: a\n  hash: {key}\n",
        f"- {key}\n",
        f"- {key}: a\n",
        f"- {key}: a\n  {key}: b\n",
        f"- name: {key}!\n",
        f"{key}\n: [",
        f"- name: *{key}\n",
    ):
        assert key[3:] not in str(problems(text))
        with pytest.raises(KeysError) as caught:
            parse_keys(text.encode(), "keys.yaml")
        assert key[3:] not in caught.value.message


def test_lines_are_added_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    append_key(file, key_lines("a", HASH))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("# ours\n" + file.read_text().rstrip("\n"))
    file.chmod(0o640)
    append_key(file, key_lines("b", new_key()[1]))
    assert [key.name for key in parse_keys(file.read_bytes(), "")] == ["a", "b"]
    assert file.read_text().startswith("# ours\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("before", [f"[{{name: b, hash: '{HASH}'}}]", f"- name: a\n  hash: {HASH}"])
def test_where_lines_cannot_be_added_the_file_stays(tmp_path: Path, before: str) -> None:
    """One is written otherwise, one has the name already."""
    file = tmp_path / "keys.yaml"
    file.write_text(before)
    with pytest.raises(KeysError):
        append_key(file, key_lines("a", new_key()[1]))
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "keys.yaml"
    link.symlink_to(tmp_path / "real" / "keys.yaml")
    append_key(link, key_lines("a", HASH))
    assert link.is_symlink()
    assert [key.name for key in parse_keys(link.read_bytes(), "")] == ["a"]


# --- the keys in force ---------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def write(file: Path, text: str, *, age_s: float = 0) -> None:
    """Replace the file. age_s: how long ago, by its time of change."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.utime(new, (time.time() - age_s,) * 2)
    new.replace(file)


@pytest.mark.parametrize("age_s", [0, 3600])
def test_a_change_counts_from_the_next_question_on(file: Path, age_s: float) -> None:
    (one, hash_1), (two, hash_2) = new_key(), new_key()
    write(file, key_lines("one", hash_1), age_s=age_s)
    ring = KeyRing(file)
    assert ring.find(one) is not None
    assert ring.find(two) is None
    write(file, key_lines("two", hash_2), age_s=age_s)
    assert ring.find(one) is None
    found = ring.find(two)
    assert found is not None
    assert found.name == "two"


def test_a_change_in_place_within_the_same_moment_is_seen(file: Path) -> None:
    """Neither its time nor its size nor its place tells."""
    (one, hash_1), (two, hash_2) = new_key(), new_key()
    file.write_text(key_lines("a", hash_1))
    before = file.stat()
    ring = KeyRing(file)
    file.write_text(key_lines("a", hash_2))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ring.find(one) is None
    assert ring.find(two) is not None


def test_links_that_are_swapped_are_followed(tmp_path: Path) -> None:
    """As Kubernetes changes a secret."""
    (one, hash_1), (two, hash_2) = new_key(), new_key()
    for folder, hash in (("v1", hash_1), ("v2", hash_2)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "keys.yaml", key_lines("a", hash), age_s=60)
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "keys.yaml").symlink_to("data/keys.yaml")
    ring = KeyRing(tmp_path / "keys.yaml")
    assert ring.find(one)
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").replace(tmp_path / "data")
    assert ring.find(two)
    assert not ring.find(one)


def test_a_file_that_breaks_leaves_the_keys_as_they_were(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    key, hash = new_key()
    write(file, key_lines("a", hash))
    ring = KeyRing(file)
    for text, told in (("- name: a\n  hash: x\n", "line 2: hash"), (None, "No such file")):
        caplog.clear()
        file.unlink()
        if text is not None:
            write(file, text)
        for _ in range(3):
            assert ring.find(key)
        errors = [r.message for r in caplog.records if r.levelname == "ERROR"]
        assert len(errors) == 1
        assert told in errors[0]
        assert "stay in force" in errors[0]
    write(file, key_lines("a", hash))
    assert ring.find(key)
    assert "can be used again" in caplog.text


def test_a_file_replaced_behind_a_mount_is_reported(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Docker mounts the file itself, not its name: what is left of it there has no name."""
    key, hash = new_key()
    write(file, key_lines("a", hash))
    with file.open() as opened:
        ring = KeyRing(Path(f"/proc/self/fd/{opened.fileno()}"))
        file.unlink()
        assert ring.find(key)
    assert "restart it" in caplog.text


def test_no_key_means_no_one(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write(file, "")
    ring = KeyRing(file)
    assert "every request is refused" in caplog.text
    assert ring.find("") is None
    assert ring.credentials == ""
    assert not ring.is_replica("")


def test_a_file_that_cannot_be_used_is_refused_at_first(file: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        KeyRing(file)
    file.mkdir()
    with pytest.raises(KeysError, match="cannot be read: Is a directory"):
        KeyRing(file)


# --- sessions ------------------------------------------------------------------------------------


def test_a_session_ends_with_its_key(file: Path) -> None:
    key, hash = new_key()
    other = key_lines("other", new_key()[1])
    write(file, key_lines("a.b", hash) + other)
    ring = KeyRing(file)
    found = ring.find(key)
    assert found is not None
    token = session.sign(found)
    assert key not in token
    assert ring.find_session(token) == found
    # The same name with another key, and no such name.
    for text in (key_lines("a.b", new_key()[1]) + other, other):
        write(file, text)
        assert ring.find_session(token) is None


def test_a_session_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = parse_keys(key_lines("a", HASH).encode(), "")
    token = session.sign(key)
    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + session.MAX_AGE_S - 5)
    assert session.find([key], token) == key
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + session.MAX_AGE_S + 5)
    assert session.find([key], token) is None


def test_forged_sessions_are_none(file: Path) -> None:
    first, second = parse_keys((key_lines("a", HASH) + key_lines("b", new_key()[1])).encode(), "")
    good = session.sign(first)
    name, moment, signature = good.split(".")
    for token in (
        *("", "a", "..", "a..", "\udcff.x.y", "é.x.y"),
        f"b.{moment}.{signature}",
        f"c.{moment}.{signature}",
        f"{name}.AAAAAA.{signature}",
        f"{good}x",
        good[:-1],
    ):
        assert session.find([first, second], token) is None


# --- replicas ------------------------------------------------------------------------------------


def test_replicas_with_the_same_keys_know_each_other(file: Path, tmp_path: Path) -> None:
    text = key_lines("a", HASH) + key_lines("b", new_key()[1])
    write(file, text)
    other_file = tmp_path / "other.yaml"
    # Comments and order make no difference.
    write(other_file, "# here\n" + "- name".join(["", *reversed(text.split("- name")[1:])]))
    one, other = KeyRing(file), KeyRing(other_file)
    assert other.is_replica(one.credentials)
    for forged in ("", " ", "x", one.credentials[:-1], HASH, "é"):
        assert not other.is_replica(forged)
    write(other_file, key_lines("a", HASH))
    stranger = KeyRing(other_file)
    assert not stranger.is_replica(one.credentials)


def test_replicas_know_each_other_while_a_change_reaches_them(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_file = tmp_path / "other.yaml"
    for each in (file, other_file):
        write(each, key_lines("a", HASH))
    one, other = KeyRing(file), KeyRing(other_file)
    write(file, key_lines("b", new_key()[1]))
    assert other.is_replica(one.credentials)
    assert one.is_replica(other.credentials)
    now = time.monotonic()
    monkeypatch.setattr("app.keys.ring.time.monotonic", lambda: now + 3600)
    assert not other.is_replica(one.credentials)
    assert not one.is_replica(other.credentials)


# --- rates ---------------------------------------------------------------------------------------


def test_a_rate_is_kept_for_each_alone() -> None:
    rates, rate = RateLimiter(), parse("3/hour")
    assert [rates.hit(rate, "a") for _ in range(3)] == [0, 0, 0]
    assert 0 < rates.hit(rate, "a") <= 3600
    assert 0 < rates.check(rate, "a") <= 3600
    assert rates.check(rate, "b") == 0
    assert rates.hit(rate, "b") == 0


def test_what_is_refused_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps asking is let in again when the period is over."""
    rates, rate = RateLimiter(), parse("2/minute")
    now = time.time()
    assert [rates.hit(rate, "a") for _ in range(2)] == [0, 0]
    assert all(rates.hit(rate, "a") for _ in range(10))
    monkeypatch.setattr("time.time", lambda: now + 62)
    assert rates.hit(rate, "a") == 0
