"""The API keys in force: those of the file as it is now."""

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

# Files whose time of change is younger may change again within what their clock can tell apart.
SETTLED_S = 2.0
# For so long replicas believe each other by the file as it was: a change may reach one of them
# later than the other.
GRACE_S = 120.0
# In which one replica shows another that it is one.
REPLICA_HEADER = "X-Keraport-Replica"


class KeyRing:
    """Looks at the file whenever it is asked, so that a key that is taken out is refused from then
    on. In one thread. Raises KeysError where the file cannot be used at first; later the keys that
    were read last stay in force, and the log says so once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complaint = ""
        # The keys before the last change, and until when they speak for replicas.
        self._before: tuple[tuple[Key, ...], float] = ((), 0.0)
        self._seen = self._look()
        self._raw = read_bytes(path)
        self._keys = parse_keys(self._raw, str(path))
        log.info("%s", self._counted())

    def find(self, presented: str) -> Key | None:
        """The key that a client sent, if it is one. Takes the same time whichever it is."""
        found = None
        for key in self._now():
            if key.fits(presented):
                found = key
        return found

    def find_session(self, token: str) -> Key | None:
        """The key that a token of `app.keys.session` stands for, while both are good."""
        return session.find(self._now(), token)

    # --- between replicas ----------------------------------------------------------------------

    @property
    def credentials(self) -> str:
        """What shows another replica with the same file that this is one: known to those who can
        read the file. Empty where there is no key."""
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
        now = self._now()
        before, until = self._before
        # Without a key there is nothing that others do not know.
        return [keys for keys in (now, before if time.monotonic() < until else ()) if keys]

    # --- the file ------------------------------------------------------------------------------

    def _now(self) -> tuple[Key, ...]:
        """The keys of the file as it is now, or was when it could be read last."""
        try:
            seen = self._look()
            if seen != self._seen or time.time_ns() - seen[0] < SETTLED_S * 1e9:
                self._read()
                self._seen = seen
                self._complain("")
        except KeysError as error:
            told = "; ".join(f"{d.field}: {d.problem}" for d in error.details)
            self._complain(f"{error.message} {told}".strip())
        return self._keys

    def _look(self) -> tuple[int, ...]:
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
            self._before = (self._keys, time.monotonic() + GRACE_S)
            self._keys = keys
        log.info("the file of API keys has changed: %s", self._counted())

    def _counted(self) -> str:
        if not self._keys:
            return f"there is no API key in {self._path}: nobody gets in"
        count = "1 API key" if len(self._keys) == 1 else f"{len(self._keys)} API keys"
        return f"{count} in {self._path}"

    def _complain(self, problem: str) -> None:
        """Once for each problem."""
        if problem and problem != self._complaint:
            log.error("%s; the API keys that were read last stay in force", problem)
        if self._complaint and not problem:
            log.info("the file of API keys can be used again: %s", self._counted())
        self._complaint = problem


def _credential(keys: tuple[Key, ...]) -> str:
    secret = sha256(b"".join(sorted(key.secret for key in keys))).digest()
    return hmac.new(secret, b"a replica of keraport", sha256).hexdigest()
