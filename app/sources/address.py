"""The address of a source: what `python -m app pull` takes, and a setting lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from app.errors import PullError
from app.serving.reading.model_files import MODEL_SUFFIXES

Kind = Literal["store", "web", "hub"]

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
_KINDS: dict[str, Kind] = {
    "s3": "store",
    "gs": "store",
    "az": "store",
    "https": "web",
    "http": "web",
    "hf": "hub",
}
_EXPECTED = (
    "expected s3://bucket/path, gs://bucket/path, az://container/path, https://host/path.tar.gz "
    "(or .tgz, .tar, .zip, .keras, .h5, .hdf5) or hf://owner/name@revision"
)
_SHA256 = re.compile(r"sha256=([0-9a-f]{64})", re.IGNORECASE)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A source. url: without the fragment. sha256: what the fragment says of a single file, in
    lower case."""

    kind: Kind
    url: str
    sha256: str | None = None

    @property
    def shown(self) -> str:
        """The address for logs: without the query, which may hold a signature."""
        return self.url.partition("?")[0]

    @property
    def file_name(self) -> str | None:
        """The name of the single file at this address; None for a folder of files."""
        name = unquote(self.shown.rpartition("/")[2])
        single = self.kind != "hub" and name.lower().endswith((*MODEL_SUFFIXES, *ARCHIVE_SUFFIXES))
        return name if single else None

    @property
    def is_archive(self) -> bool:
        """Whether the single file is one that is unpacked."""
        return (self.file_name or "").lower().endswith(ARCHIVE_SUFFIXES)


def parse_address(text: str) -> Address:
    """Read an address. Raises PullError."""
    # Its query, and a name and password in it, are not for messages.
    said = re.sub(r"//[^/@]*@", "//…@", text.partition("?")[0])[:200]
    url, _, fragment = text.partition("#")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise PullError(f"{said!r} is no address: {_EXPECTED}") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None or not parts.netloc or any(c.isspace() for c in url):
        raise PullError(f"{said!r} is no address of models: {_EXPECTED}")
    if kind == "hub":
        if not _REPOSITORY.fullmatch(url.removeprefix("hf://")):
            raise PullError(f"{said!r}: expected hf://owner/name or hf://owner/name@revision")
    elif "@" in parts.netloc:
        raise PullError(
            f"{said!r} holds a password: use the environment, or for web servers a .netrc file"
        )
    sha256 = _SHA256.fullmatch(fragment)
    if fragment and sha256 is None:
        raise PullError(f"{said!r}: after #, expected sha256= and 64 hexadecimal digits")
    address = Address(kind, url, sha256[1].lower() if sha256 else None)
    if kind == "web" and address.file_name is None:
        raise PullError(f"{said!r} is neither a model file nor an archive: {_EXPECTED}")
    if address.sha256 and address.file_name is None:
        raise PullError(f"{said!r}: #sha256= is for a single file or archive")
    if parts.scheme == "http" and not address.sha256:
        raise PullError(
            f"{said!r}: over http:// anyone in between can change the file: use https://, or add "
            "#sha256= and its checksum"
        )
    return address
