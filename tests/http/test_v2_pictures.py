"""Pictures, classes and the parameters of requests of the Open Inference Protocol."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support import ROOT, ServerProcess, picture
from tests.v2 import asked, error_of, tensor, x


@pytest.fixture(scope="module")
def client(v2: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{v2.port}", concurrency=4) as client:
        yield client


def test_pictures_go_in_as_they_are(client: Any) -> None:
    files = [picture(1), picture(2, format="PNG")]
    name = client.get_model_metadata("cats-dogs")["inputs"][0]["name"]
    output = client.get_model_metadata("cats-dogs")["outputs"][0]["name"]
    for shape in ([2], [2, 1]):
        sent = [tensor(name, np.array(files, object).reshape(shape), "BYTES")]
        assert client.infer("cats-dogs", sent).as_numpy(output).shape == (2, 1)
    torn = [tensor(name, np.array([files[0], b"GIF89a"], object), "BYTES")]
    with pytest.raises(InferenceServerException, match=rf"{name}\[1\]: not a picture.* AVIF$"):
        client.infer("cats-dogs", torn)


def infer(v2: Any, model: str, *inputs: dict[str, Any], **more: Any) -> Any:
    return v2.post(f"/v2/models/{model}/infer", json={"inputs": inputs, **more})


def test_pictures_in_base64(v2: Any) -> None:
    files = [picture(1), picture(2, format="PNG")]
    name = v2.get("/v2/models/cats-dogs").json()["inputs"][0]["name"]
    texts = [b64encode(files[0]).decode(), f"data:image/png;base64,{b64encode(files[1]).decode()}"]
    one = {"name": name, "datatype": "BYTES", "shape": [2], "data": texts}
    base64 = {"parameters": {"content_type": "base64"}}
    found = infer(v2, "cats-dogs", one | base64)
    assert found.status_code == 200, found.text
    # Of the whole request, unless the input says otherwise.
    same = infer(v2, "cats-dogs", one, **base64)
    assert same.json()["outputs"] == found.json()["outputs"]
    other = {"parameters": {"content_type": "str"}}
    assert "not a picture" in error_of(infer(v2, "cats-dogs", one | other, **base64))
    torn = one | base64 | {"data": [texts[0], "YQ=="]}
    assert f"{name}[1]: not a picture" in error_of(infer(v2, "cats-dogs", torn))
    wrong = one | base64 | {"data": [texts[0], "cat.jpg"]}
    message = f"{name}[1]: not base64, expected base64, or a data URL"
    assert error_of(infer(v2, "cats-dogs", wrong)) == message


def test_bytes_in_base64(v2: Any) -> None:
    """Of any model; numbers stay as they are."""
    base64 = {"parameters": {"content_type": "base64"}}
    texts = {"name": "bytes", "datatype": "BYTES", "shape": [1, 2], "data": ["YQ", "w6k="]}
    assert infer(v2, "texts", texts | base64).json()["outputs"][0]["data"] == ["a", "é"]
    assert infer(v2, "texts", texts).json()["outputs"][0]["data"] == ["YQ", "w6k="]
    plain = {"parameters": {"content_type": "str"}}
    assert infer(v2, "texts", texts | plain).json()["outputs"][0]["data"] == ["YQ", "w6k="]
    web_safe = {"shape": [1, 1], "data": ["fn5-"]}
    assert infer(v2, "texts", texts | base64 | web_safe).json()["outputs"][0]["data"] == ["~~~"]
    number = {"name": "fp32", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    assert infer(v2, "numbers", number | base64).json()["outputs"][0]["data"] == [1]


def test_pictures_sent_otherwise_get_an_error_that_says_how(client: Any) -> None:
    name = client.get_model_metadata("cats-dogs")["inputs"][0]["name"]
    base64 = np.array([b64encode(picture())], object)
    in_json = tensor(name, base64, "BYTES", binary=False)
    way = r"as binary data or, with 'parameters': {'content_type': 'base64'}, base64"
    why = rf"{name}\[0\]: not a picture.*, {way}"
    with pytest.raises(InferenceServerException, match=why):
        client.infer("cats-dogs", [in_json])
    how = r" \(FP32\) of shape .*, or encoded pictures: BYTES of shape \[n\], as binary data or ba"
    for sent in (np.zeros((1, 2), np.float32), np.zeros((1, 150, 150, 3), np.float64)):
        datatype = "FP32" if sent.dtype == np.float32 else "FP64"
        with pytest.raises(InferenceServerException, match=how):
            client.infer("cats-dogs", [tensor(name, sent, datatype)])
    with pytest.raises(InferenceServerException) as caught:
        client.infer("half", [tensor("x", np.zeros((1, 2), np.float32), "FP32")])
    assert "pictures" not in str(caught.value)


def test_the_documentation_s_examples_run(
    shipped: ServerProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "cat.jpg").write_bytes(picture())
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    code = code.replace("localhost:8500", shipped.grpc)
    exec(code.replace("localhost:5000", f"127.0.0.1:{shipped.port}"), {})
    printed = (float(line.strip("[]")) for line in capsys.readouterr().out.splitlines())
    mpg, dog, *over_grpc = printed
    assert mpg > 10
    assert 0 <= dog <= 1
    assert over_grpc == pytest.approx([mpg, mpg])


def test_the_number_of_pictures_is_limited(client: Any) -> None:
    name = client.get_model_metadata("three")["inputs"][0]["name"]
    small = picture(size=(8, 8), format="PNG")

    def ask(count: int) -> Any:
        files = np.full(count, small, object)
        return client.infer("three", [tensor(name, files, "BYTES")])

    output = client.get_model_metadata("three")["outputs"][0]["name"]
    assert len(ask(1000).as_numpy(output)) == 1000
    with pytest.raises(InferenceServerException, match=r"1001 pictures.*at most 1000"):
        ask(1001)


def test_classification(client: Any, v2: ServerProcess) -> None:
    sent = [tensor("fp32", np.array([[1, 5, 10, 4], [0, 0, np.nan, 7]], np.float32), "FP32")]

    def classes(model: str, inputs: list[Any], count: int, binary: bool = True) -> Any:
        output = client.get_model_metadata(model)["outputs"][0]["name"]
        wanted = [triton.InferRequestedOutput(output, binary_data=binary, class_count=count)]
        found = client.infer(model, inputs, outputs=wanted).as_numpy(output)
        return [[t if isinstance(t, str) else t.decode() for t in row] for row in found]

    for binary in (True, False):
        assert classes("numbers", sent, 2, binary) == [
            ["10.000000:2", "5.000000:1"],
            ["7.000000:3", "0.000000:0"],
        ]
    assert [len(row) for row in classes("numbers", sent, 9)] == [4, 4]
    name = client.get_model_metadata("three")["inputs"][0]["name"]
    pictures = [tensor(name, np.array([picture()], object), "BYTES")]
    (row,) = classes("three", pictures, 3)
    assert sorted(text.split(":")[1:] for text in row) == [["0", "ant"], ["1", "bee"], ["2", "fly"]]
    scores = [float(text.split(":")[0]) for text in row]
    assert scores == sorted(scores, reverse=True)
    # One score of two labels is that of the second, the dog.
    name = client.get_model_metadata("cats-dogs")["inputs"][0]["name"]
    pictures = [tensor(name, np.array([picture()], object), "BYTES")]
    ((only,),) = classes("cats-dogs", pictures, 5)
    assert only.endswith(":0:dog")


def test_parameters_that_mean_nothing_here_are_passed_over(client: Any) -> None:
    result = client.infer("half", [x(1)], priority=2, parameters={"mine": "ü"})
    assert result.as_numpy("y").item() == 2.5


def test_the_time_that_a_client_allows(v2: ServerProcess) -> None:
    def ask(rounds: float, **parameters: Any) -> httpx.Response:
        value = {"name": "rounds", "datatype": "FP32", "shape": [1, 1], "data": [rounds]}
        return asked(v2, "slow", inputs=[value], parameters=parameters)

    assert "time" in error_of(ask(300.0, timeout=1000), 504)
    assert ask(1.0, timeout=60_000_000).status_code == 200
    assert ask(1.0, timeout=0).status_code == 200, "none"
    assert "timeout" in error_of(ask(1.0, timeout=-1))
