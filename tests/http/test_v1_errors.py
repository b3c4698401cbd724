"""Requests that TensorFlow Serving's REST API refuses; the server continues afterwards."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.support import ServerProcess
from tests.v1 import LIMIT_MB, REAL_HALF, ask, b64, got, refusal

BAD = {
    "JSON Parse error: The document is empty": [b"", b" \n"],
    "JSON Parse error: ": [
        b"instances = [1, 2]",
        b'{"instances": [1, 2}',
        b'{"instances": [nan]}',
        b'{"instances": [1NaN]}',
        b'{"instances": [-NaN]}',
        b'{"instances": [+Infinity]}',
        b'{"instances": [NaN, 1e999]}',
        b'{"instances": [1e999]}',
        b'{"instances": [NaN, "\\ud800"]}',
        b'{"instances": [NaN, "',
        b'{"instances": [NaN, "\\',
        b'{"instances": ["\xff"]}',
        b'{"instances": [NaN, ' + b"9" * 5000 + b"]}",
    ],
    "the body has lists or objects in more than 64 levels": [
        b'{"instances": ' + b"[" * 100_000,
        b'{"instances": NaN' + b"[" * 100_000,
    ],
    "Is not object": [b"[1, 2]", b"1", b"NaN", b"null"],
    "Missing 'inputs' or 'instances' key": [b"{}", b'{"instance": [1]}', b'{"examples": [1]}'],
    "only one of 'inputs' or 'instances'": [b'{"inputs": [1], "instances": [1]}'],
    "'instances' to be a list/array": [b'{"instances": 1}', b'{"instances": null}'],
    "No values in 'instances' array": [b'{"instances": []}'],
    "'signature_name' key must be a string value.": [b'{"signature_name": 100}'],
    'Serving signature name: "x" not found in signature def': [
        b'{"signature_name": "x", "instances": [1]}'
    ],
    "expected numbers (float32) of shape [any, 1]": [
        b'{"instances": [[1, 2], [3, 4]]}',
        b'{"instances": [[[1]]]}',
        b'{"inputs": 1}',
        b'{"inputs": {}}',
        b'{"inputs": {"y": [1]}}',
        b'{"instances": [{"x": {"b64": "AAAA"}}]}',
        b'{"instances": [[[]]]}',
        b'{"inputs": ' + b"[" * 60 + b"]" * 60 + b"}",
    ],
    "numbers (float32)": [
        b'{"instances": ["x", "y"]}',
        b'{"instances": [1, true]}',
        b'{"instances": [1, null]}',
        b'{"instances": [1, [2]]}',
        b'{"instances": [[1], 2]}',
        b'{"instances": [1, {"x": 2}]}',
    ],
    "values that fit float32": [
        b'{"instances": [3.5e38]}',
        b'{"instances": [NaN, -1e300]}',
        b'{"instances": [[1' + b"0" * 200 + b"]]}",
    ],
    "rows of different lengths": [b'{"instances": [[1], [2, 3]]}', b'{"inputs": [[1], [[2]]]}'],
    "no rows": [b'{"inputs": []}', b'{"inputs": {"x": []}}'],
    "instances[1]: not an object": [b'{"instances": [{"x": 1}, 2]}'],
    "instances[0].y: unexpected; instances[1].x: missing": [
        b'{"instances": [{"x": 1, "y": 2}, {}]}'
    ],
}


@pytest.mark.parametrize(
    ("body", "words"), [(body, words) for words, bodies in BAD.items() for body in bodies]
)
def test_bad_predictions(v1: ServerProcess, body: bytes, words: str) -> None:
    error = refusal(v1, "own:predict", body)
    if "instances[0].y" in words:  # both, each with what was expected
        for part in words.split("; "):
            assert part in error
    else:
        assert words in error


def test_numbers_at_the_edge(v1: ServerProcess) -> None:
    largest = float(np.finfo(np.float32).max)
    assert ask(v1, "own:predict", {"instances": [largest]})["predictions"][0] > 1e38
    assert ask(v1, "own:predict", b'{"instances": [[[1]]]}', 400)


def test_bad_rows_of_several_inputs(v1: ServerProcess) -> None:
    error = refusal(v1, "tagged:predict", {"instances": [["foo", [1, 2]]]})
    assert "expecting list of objects as multiple input tensors required" in error
    error = refusal(v1, "tagged:predict", {"inputs": ["foo"]})
    assert "expecting an object as multiple input tensors required" in error
    error = refusal(v1, "tagged:predict", {"inputs": {"tag": [1], "sensor": [[[1.0]]]}})
    assert "tag[0]: wrong type, expected texts (string)" in error
    assert "sensor[0][0][0]: wrong type, expected whole numbers (int32)" in error
    assert "signal: missing" in error
    row = {"tag": "a", "signal": [1] * 5, "sensor": [[1, 2], [3, 4]]}
    columns = {"tag": ["a", "b"], "signal": [[1] * 5], "sensor": [[[1, 2], [3, 4]]]}
    assert "different numbers of rows" in refusal(v1, "tagged:predict", {"inputs": columns})
    for text in ("a", "ab!=", "é"):
        error = refusal(v1, "tagged:predict", {"instances": [{**row, "tag": {"b64": text}}]})
        assert error == "tag: a 'b64' is not base64"
    # As the real server: white space and missing padding do not matter.
    for text in ("YQ==", "YQ", " Y\nQ = ="):
        answer = ask(v1, "tagged:predict", {"instances": [{**row, "tag": {"b64": text}}]})
        assert answer["predictions"][0]["loud"] == "A"
    bad: Any
    for bad in ({"b64": "YQ==", "more": 1}, {"b64": 1}, {}, 1, None, [b64(b"a")]):
        error = refusal(v1, "tagged:predict", {"instances": [{**row, "tag": bad}]})
        assert re.match(r"tag(\[0\]: wrong type|: wrong shape)", error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Expected regression signature method_name to be tensorflow/serving/regress. Was: "),
        ({"signature_name": "classify_x_to_y"}, "Was: tensorflow/serving/classify"),
        ({"signature_name": "y"}, "No signature was found with the name: y"),
        ({"signature_name": None}, "'signature_name' key must be a string value."),
        ({"examples": 1}, "Expecting 'examples' to be a list"),
        ({"examples": []}, "at least one object"),
        ({"examples": [1]}, "examples[0]: not an object"),
        ({"examples": [{}], "context": []}, "context: not an object"),
        ({"examples": [{"x": None}]}, "examples[0].x: wrong type"),
        ({"examples": [{"x": [[1.0]]}]}, "examples[0].x: wrong type"),
        ({"examples": [{"x": {"b64": 1}}]}, "examples[0].x: wrong type"),
        ({"examples": [{"x": {"b64": "!"}}]}, "a 'b64' is not base64"),
        ({"examples": [{"x": [1.0, 2]}]}, "examples[0].x: values of different types"),
        ({"examples": [{}, {"x": 2**63}]}, "examples[1].x: out of range"),
        ({"examples": [{"x": 3.5e38}]}, "examples[0].x: out of range"),
        ({"examples": [{"x": 1}]}, "the model refuses this input: "),  # int64, not float
        ({"examples": [{"x": True}]}, "the model refuses this input: "),
        ({"examples": [{"x": "1.0"}]}, "the model refuses this input: "),
        ({"examples": [{"x": [1.0, 2.0]}]}, "the model refuses this input: "),
    ],
)
def test_bad_examples(v1: ServerProcess, body: dict[str, Any], words: str) -> None:
    if "examples" in body:
        body = {"signature_name": "regress_x_to_y", **body}
    assert words in refusal(v1, "own:regress", body)


def test_features_at_the_edge(v1: ServerProcess) -> None:
    body = {
        "signature_name": "regress_x_to_y",
        "examples": [
            {"x": 3.4e38, "far": 2**63 - 1, "near": [-(2**63), True], "none": [], "x2": []},
        ],
    }
    (value,) = ask(v1, "own:regress", body)["results"]
    assert value == pytest.approx(1.7e38)


@pytest.mark.skipif(not REAL_HALF.exists(), reason="the real half_plus_two is not at hand")
def test_a_signature_whose_input_takes_no_examples(v1: ServerProcess) -> None:
    body = {"signature_name": "regress_x2_to_y3", "examples": [{"x2": 1.0}]}
    error = refusal(v1, "half_plus_two:regress", body)
    assert "inputs: wrong dtype: sent string" in error


def test_compressed_bodies(v1: ServerProcess) -> None:
    body = json.dumps({"instances": [1.0, 2.0, 5.0]}).encode()
    answer = v1.post(
        "/v1/models/own:predict",
        content=gzip.compress(body),
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}
    answer = v1.post("/v1/models/own:predict", content=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert "is not gzip" in answer.json()["error"]


def test_what_a_client_does_wrong_leaves_no_trace_in_the_log(v1: ServerProcess) -> None:
    body = b'{"instances": ["x"]}'.ljust(100_000)  # read in a native thread
    assert "x[0]: wrong type" in refusal(v1, "own:predict", body)
    assert "Traceback" not in v1.log()


def test_bodies_at_the_limit(v1: ServerProcess) -> None:
    body = b'{"instances": [1.0]}'.ljust(LIMIT_MB * 1_000_000)
    assert ask(v1, "own:predict", body) == {"predictions": [2.5]}
    assert f"larger than {LIMIT_MB} MB" in refusal(v1, "own:predict", body + b" ", 413)


def failed(v1: ServerProcess) -> int:
    """Requests that the model's statistics count as failed."""
    (stats,) = got(v1, "/v2/models/own/stats")["model_stats"]
    count: int = stats["inference_stats"]["fail"]["count"]
    return count


def test_bodies_that_never_reach_the_model_are_not_counted_as_its_errors(
    v1: ServerProcess,
) -> None:
    before = failed(v1)
    refusal(v1, "own:predict", b" " * (LIMIT_MB * 1_000_000 + 1), 413)
    for coding, status in (("br", 415), ("gzip", 400)):
        headers = {"Content-Encoding": coding}
        answer = v1.post("/v1/models/own:predict", content=b"neither", headers=headers)
        assert answer.status_code == status
    assert failed(v1) == before
    refusal(v1, "own:predict", b"no JSON")
    assert failed(v1) == before + 1


def test_a_full_queue_refuses_before_it_reads(v1: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(ask, v1, "slow:predict", {"instances": [[200.0]]}) for _ in range(2)]
        v1.await_waiting(2)
        refused = v1.post("/v1/models/slow:predict", content=b"no JSON")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert "waiting" in refused.json()["error"]
        # The second, exactly at the limit, was let in.
        assert all(future.result() for future in taken)
    assert ask(v1, "slow:predict", {"instances": [1.0]}) == {"predictions": [1.0]}


def test_a_client_that_disconnects_leaves_the_queue(v1: ServerProcess) -> None:
    body = b'{"instances": [[200.0]]}'
    head = (
        f"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, v1, "slow:predict", {"instances": [[200.0]]})
        v1.await_waiting(1)
        with socket.create_connection(("127.0.0.1", v1.port)) as connection:
            connection.sendall(head.encode() + body)
            v1.await_waiting(2)
        v1.await_waiting(1)
        assert running.result() == {"predictions": [[200.0]]}


def test_the_deadline_of_the_card(v1: ServerProcess) -> None:
    assert "time" in refusal(v1, "hasty:predict", {"instances": [[200.0]]}, 504)
    until = time.monotonic() + 60
    while v1.post("/v1/models/hasty:predict", json={"instances": [1]}).status_code != 200:
        assert time.monotonic() < until, "the model is still busy"
