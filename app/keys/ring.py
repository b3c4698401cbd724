"""The API keys in force: those in the file at this moment."""

from __future__ import annotations

import hmac
import logging
import os
import time
from hashlib import sha256
from pathlib import Path

from app.errors import KeysError
from app.keys import session
from app.keys.file import Key, parse_keys, read_bytes, unreadable

log = logging.getLogger(__name__)

# Seconds within which a file may change twice without a new modification time.
SETTLED_S = 2.0
# Seconds for which replicas accept each other by the previous keys: a change of the file may reach
# one of them later than the other.
GRACE_S = 120.0
# The header with the credentials by which a replica recognises another.
REPLICA_HEADER = "X-Keraport-Replica"


class KeyRing:
    """The keys of a file that is checked at each use: a key that is removed is refused at once.

    For one thread. Raises KeysError if the file cannot be used at the start; later, the keys that
    were read last stay in force, and the log says so once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._logged_problem = ""
        # The keys before the last change, and until when replicas are recognised by them.
        self._previous: tuple[tuple[Key, ...], float] = ((), 0.0)
        self._last_stat = self._stat()
        self._raw = read_bytes(path)
        self._keys = parse_keys(self._raw, str(path))
        log.info("%s", self._summary())

    def find(self, presented: str) -> Key | None:
        """Return the key that a client sent, or None. Takes the same time for every key."""
        found = None
        for key in self._current():
            if key.matches(presented):
                found = key
        return found

    def find_session(self, token: str) -> Key | None:
        """Return the key that a token of `app.keys.session` stands for, while both are valid."""
        return session.find(self._current(), token)

    # --- between replicas ----------------------------------------------------------------------

    @property
    def credentials(self) -> str:
        """Credentials that identify this process as a replica to others with the same file. Known
        only to those who can read it; empty if there is no key."""
        return " ".join(_credential(keys) for keys in self._for_replicas())

    def is_replica(self, presented: str) -> bool:
        """Whether `presented` are the credentials of a replica."""
        good = False
        for keys in self._for_replicas():
            for one in presented.split(" ")[:2]:
                good |= hmac.compare_digest(
                    one.encode(errors="replace"), _credential(keys).encode()
                )
        return good

    def _for_replicas(self) -> list[tuple[Key, ...]]:
        now = self._current()
        previous, until = self._previous
        # Without a key there is no secret to prove.
        return [keys for keys in (now, previous if time.monotonic() < until else ()) if keys]

    # --- the file ------------------------------------------------------------------------------

    def _current(self) -> tuple[Key, ...]:
        """Return the keys of the file as it is now, or as it was when it could last be read."""
        try:
            stat = self._stat()
            if stat != self._last_stat or time.time_ns() - stat[0] < SETTLED_S * 1e9:
                self._read()
                self._last_stat = stat
                self._log_problem("")
        except KeysError as error:
            problems = "; ".join(f"{d.field}: {d.problem}" for d in error.details)
            self._log_problem(f"{error.message} {problems}".strip())
        return self._keys

    def _stat(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the time of Path.stat
        except OSError as error:
            raise unreadable(self._path, error) from None
        if not status.st_nlink:
            raise KeysError(
                f"the file of API keys {self._path} was replaced by another that cannot be seen "
                "from inside this container: restart it"
            )
        return (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)

    def _read(self) -> None:
        raw = read_bytes(self._path)
        if raw == self._raw:
            return
        keys = parse_keys(raw, str(self._path))
        self._raw = raw
        if keys != self._keys:
            self._previous = (self._keys, time.monotonic() + GRACE_S)
            self._keys = keys
        log.info("the file of API keys has changed: %s", self._summary())

    def _summary(self) -> str:
        if not self._keys:
            return f"no API key in {self._path}: every request is refused"
        count = "1 API key" if len(self._keys) == 1 else f"{len(self._keys)} API keys"
        return f"{count} in {self._path}"

    def _log_problem(self, problem: str) -> None:
        """Log a problem, once until it changes."""
        if problem and problem != self._logged_problem:
            log.error("%s; the API keys that were read last stay in force", problem)
        if self._logged_problem and not problem:
            log.info("the file of API keys can be used again: %s", self._summary())
        self._logged_problem = problem


def _credential(keys: tuple[Key, ...]) -> str:
    secret = sha256(b"".join(sorted(key.secret for key in keys))).digest()
    return hmac.new(secret, b"a replica of keraport", sha256).hexdigest()
