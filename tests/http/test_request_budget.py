"""Lengths, answers and runs of requests, in each protocol and on the page: a request at the limit
is answered, one beyond it is refused at once, and a loop that never ends affects only its
request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tensorflow as tf

from tests.models import save_hanging_model, save_tabular_model
from tests.support import ROOT, ServerProcess, serving

# Of rows of one token, in an answer of 1 MB of 20 numbers each.
MOST_ROWS = 1_000_000 // (20 * 15)
# Of classes, as text: scores, indices and labels of 90 characters.
LABEL = "x" * 88
PROTOCOLS = ("native", "v1", "v1 columns", "v2", "v2 binary", "page")


def _wide(ids: Any) -> dict[str, Any]:
    """Twenty numbers for each token."""
    return {"y": tf.one_hot(ids % 20, 20)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    module = tf.Module()
    specs = [tf.TensorSpec((None, None), tf.int32, name="ids")]
    module.serve = tf.function(_wide, input_signature=specs, autograph=False)
    tf.saved_model.save(module, str(folder / "wide" / "saved_model"), signatures=module.serve)
    (folder / "wide" / "model.yaml").write_text("task: tensor\nruntime: {max_length: 60}\n")
    save_hanging_model(folder / "hangs")
    save_tabular_model(
        folder / "kinds",
        "task: tabular-classification\ntop: 4\n"
        f"labels: [{', '.join(LABEL + f'{i:02}' for i in range(4))}]\nfields: [{{name: a}}]\n",
        columns=1,
        units=4,
        activation="softmax",
    )
    (folder / "patents").symlink_to(ROOT / "models" / "patents")
    uploads = tmp_path_factory.mktemp("uploads")
    with serving(folder, uploads, max_answer_mb=1, request_timeout_s=20) as server:
        yield server


def _ask(server: ServerProcess, model: str, rows: Any, protocol: str) -> httpx.Response:
    if protocol == "native":
        return server.post(f"/api/{model}", json=rows)
    if protocol == "page":
        return server.post(f"/models/{model}", data={"body": json.dumps(rows)})
    if protocol.startswith("v1"):
        key = "inputs" if protocol == "v1 columns" else "instances"
        return server.post(f"/v1/models/{model}:predict", json={key: rows})
    array = np.array(rows, np.int32)
    (spec,) = server.get(f"/v2/models/{model}").json()["inputs"]
    tensor: dict[str, Any] = {"name": spec["name"], "datatype": "INT32", "shape": array.shape}
    path = f"/v2/models/{model}/infer"
    if protocol == "v2":
        return server.post(path, json={"inputs": [{**tensor, "data": array.ravel().tolist()}]})
    tensor["parameters"] = {"binary_data_size": array.nbytes}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return server.post(path, content=head + array.tobytes(), headers=headers)


def _refused(answer: httpx.Response, protocol: str, *words: str) -> None:
    native = protocol in ("native", "page")
    assert answer.status_code == (422 if native else 400), answer.text[:300]
    for word in words:
        assert word in answer.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lengths(server: ServerProcess, protocol: str) -> None:
    for length, good in ((60, True), (61, False), (60, True)):
        answer = _ask(server, "wide", [[1] * length], protocol)
        if good:
            assert answer.status_code == 200, answer.text[:300]
        else:
            _refused(answer, protocol, "61 long", "at most 60", "runtime.max_length")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_answers(server: ServerProcess, protocol: str) -> None:
    for rows, good in ((MOST_ROWS, True), (MOST_ROWS + 1, False), (MOST_ROWS, True)):
        answer = _ask(server, "wide", [[1]] * rows, protocol)
        if good:
            assert answer.status_code == 200, answer.text[:300]
        else:
            _refused(answer, protocol, f"about 1.0 MB for {rows:,} rows", "KERAPORT_MAX_ANSWER_MB")


def test_an_answer_in_binary_form_has_more_rows(server: ServerProcess) -> None:
    rows = MOST_ROWS + 1
    tensor = {"name": "ids", "datatype": "INT32", "shape": [rows, 1], "data": [1] * rows}
    asked = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    answer = server.post("/v2/models/wide/infer", json=asked)
    assert answer.status_code == 200
    assert len(answer.content) > rows * 20 * 4


def test_labels_count_as_they_are_written(server: ServerProcess) -> None:
    """They are longer than the scores that the model answers."""
    small = server.post("/api/kinds", json=[{"a": 1}] * 100)
    most = 1_000_000 * 100 // len(small.content)
    for rows, good in ((most * 95 // 100, True), (most * 105 // 100, False)):
        answer = server.post("/api/kinds", json=[{"a": 1}] * rows)
        if good:
            assert answer.status_code == 200, answer.text[:300]
            assert len(answer.content) > 900_000
        else:
            _refused(answer, "native", f"for {rows:,} rows", "KERAPORT_MAX_ANSWER_MB")


def test_classes_count_as_they_are_written(server: ServerProcess) -> None:
    """An output of few bytes, all of whose values are asked for as text."""

    def ask(rows: int) -> httpx.Response:
        about = server.get("/v2/models/kinds").json()
        name, classes = about["inputs"][0]["name"], {"classification": 4}
        tensor = {"name": name, "datatype": "FP32", "shape": [rows, 1], "data": [1] * rows}
        outputs = [{"name": about["outputs"][0]["name"], "parameters": classes}]
        return server.post("/v2/models/kinds/infer", json={"inputs": [tensor], "outputs": outputs})

    most = 1_000_000 * 100 // len(ask(100).content)
    for rows, good in ((most * 95 // 100, True), (most * 105 // 100, False)):
        answer = ask(rows)
        if good:
            assert answer.status_code == 200, answer.text[:300]
            assert len(answer.content) > 900_000
        else:
            _refused(answer, "v2", f"for {rows:,} rows", "KERAPORT_MAX_ANSWER_MB")


@pytest.mark.parametrize("protocol", ["v1", "v1 columns", "v2", "v2 binary"])
@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 1_000_000), "1,000,000 long"), ((8_000, 1), "about 724 MB for 8,000 rows")],
)
def test_a_model_of_texts_has_both(
    server: ServerProcess, protocol: str, shape: tuple[int, int], words: str
) -> None:
    """Rows 4 and 5 of what clients found to hold a model for minutes, and to end the process."""
    _refused(_ask(server, "patents", np.ones(shape, int).tolist(), protocol), protocol, words)
    assert _ask(server, "patents", [[1] * 50], protocol).status_code == 200


def test_a_tensor_in_json_has_so_many_elements(server: ServerProcess) -> None:
    """A quarter of 16 million; the body is below its own limit."""
    tensor = {"name": "ids", "datatype": "INT32", "shape": [1, 4_000_001], "data": []}
    body = json.dumps({"inputs": [tensor]}).replace("[]", f"[{'1,' * 4_000_000}1]")
    answer = server.post("/v2/models/wide/infer", content=body.encode())
    _refused(answer, "v2", "4,000,001 elements", "KERAPORT_MAX_BODY_MB")


def test_a_loop_that_does_not_end_costs_its_request_alone(
    server: ServerProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    save_hanging_model(folder / "hangs")
    with (
        serving(folder, tmp_path, request_timeout_s=2) as own,
        ThreadPoolExecutor(4) as pool,
    ):
        for _ in range(2):
            asked = [pool.submit(own.post, "/api/hangs", json=[[-1.0]]) for _ in range(4)]
            statuses = {each.result().status_code for each in asked}
            # 503: refused at once, for another could not be answered in time.
            assert 504 in statuses <= {503, 504}
            assert own.post("/api/hangs", json=[[1.0]]).json()["predictions"] == [[1.0]]
        assert own.get("/livez").json() == {"alive": True}
        assert own.get("/api/models/hangs").json()["waiting"] == 0
        assert "has not ended" not in own.log()
        assert "Traceback" not in own.log()


def test_the_contract_has_the_length(server: ServerProcess) -> None:
    schemas = server.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["wide.input"]["items"]["maxItems"] == 60
