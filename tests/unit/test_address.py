"""Addresses of sources."""

from __future__ import annotations

import pytest

from app.errors import PullError
from app.sources.address import parse_address
from app.sources.redaction import MOST_CHARACTERS, redacted

SHA = "a1" * 32


@pytest.mark.parametrize(
    ("text", "kind", "file_name", "archive"),
    [
        ("s3://bucket/flowers", "store", None, False),
        ("s3://bucket", "store", None, False),
        ("gs://bucket/a/b/", "store", None, False),
        ("az://container/flowers", "store", None, False),
        ("s3://bucket/flowers.keras", "store", "flowers.keras", False),
        ("s3://bucket/a/flowers.tar.gz", "store", "flowers.tar.gz", True),
        ("https://host/my%20model.H5", "web", "my model.H5", False),
        ("https://host:8443/x/flowers.zip?X-Signature=abc", "web", "flowers.zip", True),
        (f"https://host/f.tgz#sha256={SHA.upper()}", "web", "f.tgz", True),
        (f"http://host/f.keras#sha256={SHA}", "web", "f.keras", False),
        ("hf://owner/name", "hub", None, False),
        ("hf://owner/name.keras@v1.0", "hub", None, False),
        ("hf://owner/name@refs/pr/3", "hub", None, False),
    ],
)
def test_addresses(text: str, kind: str, file_name: str | None, archive: bool) -> None:
    address = parse_address(text)
    assert (address.kind, address.file_name, address.is_archive) == (kind, file_name, archive)
    assert address.sha256 == (SHA if "#" in text else None)
    assert "Signature" not in address.shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flowers.keras", "expected s3://"),
        ("ftp://host/f.keras", "expected s3://"),
        ("s3:///flowers", "expected s3://"),
        ("https://host/a b.keras", "expected s3://"),
        ("https://[host/f.keras", "expected s3://"),
        ("https://host/flowers", "neither a model file nor an archive"),
        ("https://host/flowers.rar", "neither a model file nor an archive"),
        ("http://host/f.keras", "use https://"),
        ("https://me:secret@host/f.keras", "holds a password"),
        ("s3://key:secret@bucket/f", "holds a password"),
        ("https://host/f.keras#sha256=12", "64 hexadecimal digits"),
        ("https://host/f.keras#md5=12", "64 hexadecimal digits"),
        (f"s3://bucket/flowers#sha256={SHA}", "for a single file"),
        ("hf://name", "expected hf://owner/name"),
        ("hf://owner/name@", "expected hf://owner/name"),
        ("hf://owner/name/more", "expected hf://owner/name"),
    ],
)
def test_what_is_no_address_is_told_what_one_is(text: str, said: str) -> None:
    with pytest.raises(PullError, match=said.replace("/", ".")) as caught:
        parse_address(text)
    assert "secret" not in caught.value.message


def test_messages_hold_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", "short")
    text = "GET https://h/p?sig=abc%2F: short\n key wJalrXUtnFEMI refused (https://h/q?x=y)"
    assert redacted(text) == "GET https://h/p short key … refused (https://h/q)"
    assert len(redacted("x" * 1000)) == MOST_CHARACTERS + 1
