"""Base64 in JSON as v1 has it."""

from __future__ import annotations

import pytest

from app.api.v1.b64 import decoded, is_encoded


def test_lists_of_values() -> None:
    assert decoded([[{"b64": "YQ=="}], "b", {"b64": 1}]) == [[b"a"], "b", {"b64": 1}]
    assert not is_encoded({"b64": "YQ==", "a": 1})


def test_data_urls_stand_for_bytes_within_b64_and_alone_where_asked_for() -> None:
    url = "data:image/png;base64,YQ=="
    assert decoded([{"b64": url}, url, "b"]) == [b"a", url, "b"]
    assert decoded([{"b64": url}, [url], "b"], urls=True) == [b"a", [b"a"], "b"]


@pytest.mark.parametrize("text", ["!", "data:image/png,a", "YQ==YQ=="])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decoded([{"b64": text}])
