"""A repository of the Hugging Face Hub, by huggingface_hub. A token comes from HF_TOKEN."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

# Read at the import. The other protocol of the Hub is for uploads, and cannot be tried locally.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import httpx2
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError

from app.errors import PullError
from app.sources.address import Address
from app.sources.files import RemoteFile, Room, blocks, checked_path
from app.sources.redaction import redacted

# The same model for other libraries.
_FOREIGN = frozenset(
    (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".msgpack", ".tflite", ".gguf")
)
_SHA256, _GIT = "sha256:", "git:"


class HubRepository:
    """The files of a repository at a revision; of a branch, at the commit that it has now."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._repository, _, revision = address.url.removeprefix("hf://").partition("@")
        self._revision = revision or "main"
        # That of a company's own mirror, as other programs have it.
        self._endpoint = os.environ.get("HF_ENDPOINT") or None

    def __enter__(self) -> HubRepository:
        return self

    def __exit__(self, *_: object) -> None:
        """Its connections are the library's."""

    def list(self, known_tag: str) -> Sequence[RemoteFile]:
        """Return the files that Keraport may read."""
        try:
            info = HfApi(endpoint=self._endpoint).model_info(
                self._repository, revision=self._revision, files_metadata=True, timeout=30
            )
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise self._error(error) from None
        assert info.sha is not None, "a revision is a commit"
        self._revision = info.sha
        found = []
        for each in info.siblings or ():
            path = each.rfilename
            if checked_path(path) is None or Path(path).suffix.lower() in _FOREIGN:
                continue
            tag = f"{_SHA256}{each.lfs.sha256}" if each.lfs else f"{_GIT}{each.blob_id}"
            found.append(RemoteFile(path, each.size, tag))
        return found

    def fetch(self, file: RemoteFile, target: Path, room: Room) -> str:
        """Write a file, and check it by the checksum that the Hub has of it."""
        room.take(file.size or 0)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the file, the library keeps notes of its own.
        aside = target.with_name(".hub")
        try:
            got = hf_hub_download(
                self._repository,
                file.path,
                revision=self._revision,
                local_dir=aside,
                endpoint=self._endpoint,
            )
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            raise self._error(error) from None
        Path(got).replace(target)
        shutil.rmtree(aside)
        with target.open("rb") as written:
            os.fsync(written.fileno())
        return _check(file, target)

    def _error(self, error: Exception) -> PullError:
        # What follows are addresses and advice for programmers.
        reason = redacted(str(error).partition("\n\n")[0] or type(error).__name__)
        return PullError(f"{self._address.shown} cannot be read: {reason}")


def _check(file: RemoteFile, path: Path) -> str:
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    # Git's name for a file (gitformat-object): its SHA-1 after a header. It finds damage, no more.
    git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    for block in blocks(path):
        sha256.update(block)
        git.update(block)
    if file.tag not in (f"{_SHA256}{sha256.hexdigest()}", f"{_GIT}{git.hexdigest()}"):
        raise PullError(f"{file.path} arrived damaged: its checksum is not that of the Hub")
    return sha256.hexdigest()
