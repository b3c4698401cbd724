"""What a browser keeps in place of a key: a token that names the key, signed with what is in the
file of keys. All replicas know it; it ends with its time, or with the key."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from secrets import token_bytes

from itsdangerous import BadSignature, TimestampSigner

from app.keys.file import Key

# Seconds; a working day, for a browser that is never closed.
MAX_AGE_S = 12 * 3600
# Signs for names that are not known, which then take as long as the others.
_NOBODY = token_bytes(48)


def sign(key: Key) -> str:
    """A token for who has shown this key."""
    return _signer(key.secret).sign(key.name).decode()


def find(keys: Sequence[Key], token: str) -> Key | None:
    """The key that `token` stands for, if it is good and not too old."""
    name = token.rpartition(".")[0].rpartition(".")[0]
    key = next((key for key in keys if key.name == name), None)
    try:
        signer = _signer(key.secret if key else _NOBODY)
        signer.unsign(token.encode(errors="replace"), max_age=MAX_AGE_S)
    except BadSignature:
        return None
    return key


def _signer(secret: bytes) -> TimestampSigner:
    return TimestampSigner(
        secret, salt=b"keraport.session", key_derivation="hmac", digest_method=sha256
    )
