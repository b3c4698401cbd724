"""Models for the tests of the Open Inference Protocol, and how they are asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tritonclient.http as triton
from numpy.typing import NDArray

from tests.models import ECHOED, save_echo, save_half_plus_two, save_image_models, save_slow_model
from tests.support import DATA, ServerProcess

Array = NDArray[Any]


def save_v2_models(folder: Path) -> None:
    """Models of every datatype, of pictures and of texts, and `broken`, which fails to load."""
    save_image_models(folder)
    save_half_plus_two(folder / "half" / "3")
    save_echo(folder / "echo", *ECHOED)
    save_echo(folder / "numbers", "FP32")
    save_echo(folder / "texts", "BYTES")
    save_echo(folder / "halves", "FP16")
    save_echo(folder / "brains", "BF16")
    save_echo(folder / "flags", "BOOL")
    (folder / "slow").mkdir()
    save_slow_model(folder / "slow")
    (folder / "words").symlink_to(DATA / "models" / "tf1_table_savedmodel")
    (folder / "two.keras").symlink_to(DATA / "models" / "tf2_two_inputs_v3.keras")


def tensor(name: str, array: Array, datatype: str, *, binary: bool = True) -> Any:
    sent = triton.InferInput(name, list(array.shape), datatype)
    return sent.set_data_from_numpy(array, binary_data=binary)


def x(*values: float, binary: bool = True) -> Any:
    return tensor("x", np.array(values, np.float32)[:, None], "FP32", binary=binary)


def numbers(values: list[float], shape: list[int] | None = None) -> dict[str, Any]:
    return {
        "name": "fp32",
        "datatype": "FP32",
        "shape": shape or [1, len(values)],
        "data": values,
    }


def asked(server: ServerProcess, model: str, **body: Any) -> httpx.Response:
    return server.post(f"/v2/models/{model}/infer", json=body)


def error_of(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    return body["error"]


def framed(
    head: dict[str, Any], data: bytes, pad: int = 0, wanted: Sequence[str] = ()
) -> dict[str, Any]:
    """A request whose only input is sent as binary data, for all outputs as JSON or those that are
    wanted as binary data."""
    one = {**head, "parameters": {"binary_data_size": len(data)}}
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in wanted]
    text = json.dumps({"inputs": [one], "outputs": outputs}).encode() + b" " * pad
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return {"content": text + data, "headers": headers}
