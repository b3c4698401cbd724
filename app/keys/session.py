"""Sessions of browsers: a token that names a key, signed with what the file has of that key.

All replicas accept it, until it expires or the key is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from secrets import token_bytes

from itsdangerous import BadSignature, TimestampSigner

from app.keys.file import Key

# In seconds: a working day, for a browser that is never closed.
MAX_AGE_S = 12 * 3600
# Signs for unknown names, which then take as long as known ones.
_UNKNOWN_SECRET = token_bytes(48)


def sign(key: Key) -> str:
    """Return a token for a browser that has sent this key."""
    return _signer(key.secret).sign(key.name).decode()


def find(keys: Sequence[Key], token: str) -> Key | None:
    """Return the key that `token` stands for, or None if the token is invalid or too old."""
    name = token.rpartition(".")[0].rpartition(".")[0]
    key = next((key for key in keys if key.name == name), None)
    try:
        signer = _signer(key.secret if key else _UNKNOWN_SECRET)
        signer.unsign(token.encode(errors="replace"), max_age=MAX_AGE_S)
    except BadSignature:
        return None
    return key


def _signer(secret: bytes) -> TimestampSigner:
    return TimestampSigner(
        secret, salt=b"keraport.session", key_derivation="hmac", digest_method=sha256
    )
