"""A batch of tensors over the Open Inference Protocol, as binary data and as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from statistics import median
from urllib.parse import urlsplit

import click
import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.load import Sample

MODEL = "mobilenet"
SHAPE = (32, 224, 224, 3)
# As JSON such a batch takes about 55 MB.
MAX_BODY_MB = 128
TIMEOUT_S = 60


def pixels() -> NDArray[np.float32]:
    """Noise; the same each time."""
    return np.random.default_rng(0).random(SHAPE, np.float32)


def input_name(url: str) -> str:
    """The name of a model's only input. url: of the model in the Open Inference Protocol."""
    (described,) = httpx.get(url, timeout=TIMEOUT_S).raise_for_status().json()["inputs"]
    return str(described["name"])


def asking(base: str, *, binary: bool) -> Callable[[int], Sample]:
    """The measurement of batches, one after the other, by a server at `base`. Not by `wrk`, which
    counts no request that its time cuts off: here there are only a few a second."""
    url = f"{base}/v2/models/{MODEL}"
    tensor: dict[str, object] = {"name": input_name(url), "datatype": "FP32", "shape": SHAPE}
    array = pixels()
    headers = {}
    if binary:
        tensor["parameters"] = {"binary_data_size": array.nbytes}
        head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        headers["Inference-Header-Content-Length"] = str(len(head))
        body = head + array.tobytes()
    else:
        tensor["data"] = array.reshape(-1)
        body = orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)

    host = urlsplit(base).netloc

    def measure(seconds: int) -> Sample:
        times = []
        with closing(HTTPConnection(host, timeout=TIMEOUT_S)) as connection:
            start = time.perf_counter()
            while time.perf_counter() - start < seconds:
                asked = time.perf_counter()
                connection.request("POST", f"/v2/models/{MODEL}/infer", body, headers)
                answer = connection.getresponse()
                told = answer.read()
                times.append(time.perf_counter() - asked)
                if answer.status != 200:
                    raise click.ClickException(f"{url} answers {told[:500].decode()}")
            elapsed = time.perf_counter() - start
        return Sample(len(times) / elapsed, median(times) * 1000)

    return measure
