"""Requests of the Open Inference Protocol with any content get an answer, and the server stays."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import ServerProcess
from tests.v2 import framed, numbers

# Far less than a request may take, far more than it takes.
DEADLINE_S = 20
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
SIZES = st.integers(-2, 5) | st.sampled_from([2**31, 2**63 - 1, 2**64 - 1, 10**30])


def objects(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of which any key may be missing, or be anything."""
    optional = {key: values | JSON for key, values in keys.items()}
    return st.fixed_dictionaries({}, optional=optional)


BODIES = objects(
    id=st.text(max_size=5),
    parameters=objects(binary_data_output=st.booleans(), timeout=SIZES),
    inputs=st.lists(
        objects(
            name=st.sampled_from(["fp32", "bytes", "x"]),
            datatype=st.sampled_from(["FP32", "BYTES", "BOOL", "BF16", "UINT64"]),
            shape=st.lists(SIZES, max_size=3),
            data=st.lists(JSON, max_size=4),
            parameters=objects(binary_data_size=SIZES),
        ),
        max_size=3,
    ),
    outputs=st.lists(
        objects(
            name=st.sampled_from(["same_fp32", "same_bytes"]),
            parameters=objects(binary_data=st.booleans(), classification=SIZES),
        ),
        max_size=2,
    ),
)


@pytest.fixture(scope="module")
def connection(v2: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=v2.url, timeout=DEADLINE_S) as connection:
        yield connection


def survived(connection: httpx.Client, answer: httpx.Response, *, bad: bool) -> None:
    """The answer is an error of the client's where the request was bad for sure, and the next one
    on the same connection is served."""
    if bad or answer.status_code != 200:
        told = answer.json()
        assert 400 <= answer.status_code < 500, told
        assert list(told) == ["error"]
        assert isinstance(told["error"], str)
    good = connection.post("/v2/models/numbers/infer", json={"inputs": [numbers([1.5])]})
    assert good.json()["outputs"][0]["data"] == [1.5]


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:inputs1', max_size=60).map(str.encode))
def test_bodies_that_are_no_requests(connection: httpx.Client, body: bytes) -> None:
    answer = connection.post("/v2/models/numbers/infer", content=body)
    survived(connection, answer, bad=True)


@settings(deadline=None)
@given(BODIES, st.sampled_from(["numbers", "texts"]))
def test_requests_of_any_content(connection: httpx.Client, body: Any, model: str) -> None:
    answer = connection.post(f"/v2/models/{model}/infer", content=json.dumps(body))
    survived(connection, answer, bad=False)


@settings(deadline=None)
@given(
    data=st.binary(max_size=24),
    size=SIZES | st.just(8),
    shape=st.lists(SIZES, max_size=3) | st.just([1, 2]),
    header=st.none() | st.text("0123456789-+.x", max_size=4) | st.just("9" * 30),
    wanted=st.booleans(),
)
def test_frames_of_any_length(
    connection: httpx.Client,
    data: bytes,
    size: int,
    shape: list[int],
    header: str | None,
    wanted: bool,
) -> None:
    """header: None for the right one."""
    head = {"name": "fp32", "datatype": "FP32", "shape": shape}
    body: dict[str, Any] = {"inputs": [{**head, "parameters": {"binary_data_size": size}}]}
    if wanted:
        body["parameters"] = {"binary_data_output": True}
    text = json.dumps(body).encode()
    header = str(len(text)) if header is None else header
    headers = {"Inference-Header-Content-Length": header}
    answer = connection.post("/v2/models/numbers/infer", content=text + data, headers=headers)
    good = header.isdecimal() and int(header) == len(text)
    right = good and size == len(data) == 8 and shape in ([1, 2], [2, 1])
    survived(connection, answer, bad=not right)
    if right:
        assert answer.status_code == 200


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=3).map(str.encode), st.integers(-3, 3) | st.just(2**32 - 10)),
        max_size=4,
    )
)
def test_texts_whose_lengths_are_wrong(
    connection: httpx.Client, texts: list[tuple[bytes, int]]
) -> None:
    """Each text, and by how much its length is wrong."""
    data = b"".join(struct.pack("<I", (len(text) + wrong) % 2**32) + text for text, wrong in texts)
    head = {"name": "bytes", "datatype": "BYTES", "shape": [len(texts), 1]}
    answer = connection.post("/v2/models/texts/infer", **framed(head, data))
    # All wrong by nothing is right; wrong lengths may make up another list of as many.
    survived(connection, answer, bad=not texts)
    if texts and not any(wrong for _, wrong in texts):
        assert answer.status_code == 200


@settings(deadline=None)
@given(st.binary(max_size=40), st.sampled_from(["gzip", "deflate"]))
def test_bodies_that_are_not_compressed_as_they_say(
    connection: httpx.Client, body: bytes, coding: str
) -> None:
    answer = connection.post(
        "/v2/models/numbers/infer", content=body, headers={"Content-Encoding": coding}
    )
    survived(connection, answer, bad=True)
