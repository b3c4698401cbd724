"""Base64 and data URLs."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.base64_text import decode_base64, is_data_url

HEADS = ("", "data:;base64,", "data:image/png;base64,", "DATA:image/png;charset=x;Base64,")


@given(
    st.binary(),
    st.sampled_from(HEADS),
    st.sampled_from([4, 5, 7, 65_536]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_was_encoded_comes_back(
    data: bytes, head: str, size: int, padded: bool, safe: bool, wrapped: bool
) -> None:
    encoded = base64.urlsafe_b64encode(data) if safe else base64.b64encode(data)
    text = encoded.decode() if padded else encoded.decode().rstrip("=")
    if wrapped:
        text = "\r\n ".join(text) + "\r\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.serving.base64_text.SLICE", size)
        assert decode_base64(head + text) == data


@given(st.text(alphabet="ABab1+/=-_ \n.é", max_size=20), st.sampled_from([4, 5, 7, 65_536]))
def test_slices_are_the_whole(text: str, size: int) -> None:
    bare = "".join(text.split()).rstrip("=")
    wanted: bytes | None
    try:
        plain = bare.replace("-", "+").replace("_", "/")
        wanted = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        wanted = None
    found: bytes | None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.serving.base64_text.SLICE", size)
        try:
            found = decode_base64(text)
        except ValueError:
            found = None
    assert found == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("data:image/png,abc", "a data URL without ';base64,'"),
        ("data:image/png;base64", "a data URL without ';base64,'"),
        ("data:" + "x" * 2000 + ";base64,YQ==", "a data URL without ';base64,'"),
        ("data:image/png;base64,%41", "not base64"),
        ("YQ", None),
        ("Y", "not base64"),
        ("YQ==YQ==", "not base64"),
        ("Y.Q=", "not base64"),
        ("image.png", "not base64"),
        ("", None),
        ("====", None),
    ],
)
def test_the_error_says_what_is_wrong(text: str, why: str | None) -> None:
    if why is None:
        assert decode_base64(text) in (b"a", b"")
        return
    with pytest.raises(ValueError, match="^" + why + "$"):
        decode_base64(text)


def test_a_large_text() -> None:
    data = bytes(range(256)) * 4000
    assert decode_base64("data:image/png;base64," + base64.b64encode(data).decode()) == data


def test_data_urls() -> None:
    assert is_data_url("Data:,")
    assert not is_data_url("dat")
    assert not is_data_url(" data:")
