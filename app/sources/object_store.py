"""S3, Google Cloud Storage and Azure, by obstore, which finds credentials in the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obstore import get, head
from obstore import list as list_objects
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import from_url

from app.errors import PullError
from app.sources.address import Address
from app.sources.files import MAX_FILES, RemoteFile, Room, checked_path, write_file
from app.sources.redaction import redacted

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

# Bytes of one request: small enough for a slow line to get through within the timeout, and to be
# asked for again.
RANGE = 8_000_000
TIMEOUT = timedelta(seconds=60)
# What all three stores answer.
_OF_THE_STORE = re.compile(r"<Code>([^<]*)</Code>.*?<Message>([^<]*)", re.DOTALL)
# Where servers of one's own are named.
_ENDPOINTS = ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL")
RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


class ObjectStore:
    """The objects below a prefix, or one object."""

    def __init__(self, address: Address) -> None:
        self._address = address
        url, self._object = address.url.rstrip("/"), address.file_name
        if self._object is not None:
            url = url.rpartition("/")[0]
        plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
        options: ClientConfig = {"timeout": TIMEOUT, "connect_timeout": timedelta(seconds=10)}
        if plain:
            options["allow_http"] = True
        try:
            self._store: Any = from_url(url, client_options=options, retry_config=RETRIES)
        except (BaseError, ValueError) as error:
            raise self._error(error) from None

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(self, *_: object) -> None:
        """Its connections close with it."""

    def list(self, known_tag: str) -> Sequence[RemoteFile]:
        """Return the objects; a known one is the caller's to recognise."""
        try:
            if self._object is not None:
                return [_file(head(self._store, self._object))]
            return [*self._objects()]
        except FileNotFoundError:
            return []
        except (BaseError, OSError) as error:
            raise self._error(error) from None

    def _objects(self) -> Iterator[RemoteFile]:
        found = 0
        for batch in list_objects(self._store):
            for meta in batch:
                # Folders that a console has made are empty objects.
                if meta["path"].endswith("/") or checked_path(meta["path"]) is None:
                    continue
                found += 1
                if found > MAX_FILES:
                    raise PullError(
                        f"{self._address.shown} has more than {MAX_FILES:,} objects: name the "
                        "folder of one model"
                    )
                yield _file(meta)

    def fetch(self, file: RemoteFile, target: Path, room: Room) -> str:
        """Write an object, range by range."""
        return write_file(target, self._ranges(file), file.size, room)

    def _ranges(self, file: RemoteFile) -> Iterator[bytes]:
        size = file.size or 0
        for start in range(0, size, RANGE):
            options: GetOptions = {"range": (start, min(start + RANGE, size))}
            # All ranges are those of the object that was listed.
            if file.tag.startswith(('"', "0x")):
                options["if_match"] = file.tag
            try:
                yield bytes(get(self._store, file.path, options=options).bytes())
            except (FileNotFoundError, PreconditionError):
                raise PullError(f"{file.path} changed while it was being read") from None
            except (BaseError, OSError) as error:
                raise self._error(error) from None

    def _error(self, error: Exception) -> PullError:
        # After an empty line comes how it was found out.
        reason = str(error).partition("\n\n")[0]
        if said := _OF_THE_STORE.search(reason):
            reason = f"{said[1]}: {said[2]}"
        return PullError(f"{self._address.shown} cannot be read: {redacted(reason)}")


def _file(meta: Any) -> RemoteFile:
    tag = meta["e_tag"] or meta["version"] or meta["last_modified"].isoformat()
    return RemoteFile(meta["path"], meta["size"], tag)
