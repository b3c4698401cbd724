"""Base64 in JSON."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.b64 import decoded, is_encoded


def test_lists_of_values() -> None:
    assert decoded([[{"b64": "YQ=="}], "b", {"b64": 1}]) == [[b"a"], "b", {"b64": 1}]
    assert not is_encoded({"b64": "YQ==", "a": 1})


@given(st.binary(), st.sampled_from([4, 8, 65_536]), st.booleans())
def test_what_was_encoded_comes_back(data: bytes, size: int, padded: bool) -> None:
    text = b64encode(data).decode()
    spaced = " \n".join(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.api.b64.SLICE", size)
        assert decoded({"b64": spaced if padded else spaced.replace("=", "")}) == data


@given(st.text(alphabet="ABab1+/= \n-é", max_size=20), st.sampled_from([4, 8]))
def test_slices_are_the_whole(text: str, size: int) -> None:
    def outcome() -> object:
        try:
            return decoded({"b64": text})
        except ValueError:
            return None

    bare = "".join(text.split()).rstrip("=")
    try:
        wanted: bytes | None = b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        wanted = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.api.b64.SLICE", size)
        assert outcome() == wanted


def test_a_large_text() -> None:
    data = bytes(range(256)) * 4000
    assert decoded({"b64": b64encode(data).decode()}) == data
