"""Texts that are sent word by word through nginx."""

from __future__ import annotations

import time

import pytest

from tests.stack.compose import Stack


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_words_are_not_collected_on_the_way(stack: Stack, http2: bool) -> None:
    """The first word is there long before the last: nginx would collect all of so few bytes."""
    body = {"seed": "w1 w2", "words": 60}
    arrived = []
    with (
        stack.client(http2=http2) as client,
        client.stream(
            "POST", "/api/writer", json=body, headers={"Accept": "text/event-stream"}
        ) as response,
    ):
        assert response.status_code == 200
        start = time.monotonic()
        for line in response.iter_lines():
            if line == "event: word":
                arrived.append(time.monotonic() - start)
            assert line != "event: error"
    assert len(arrived) == 60
    assert arrived[0] < arrived[-1] / 2
    assert len({round(t, 3) for t in arrived}) > 20, "they came in lumps"
