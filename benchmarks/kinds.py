"""One request after the other, of kinds beside rows: a mask, a message, a recording, a heat map."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from statistics import median
from urllib.parse import urlsplit

import click
import httpx

from benchmarks.load import Sample

TIMEOUT_S = 120
HEAT_MAP = "heat map"
# The model of each. The body is the first example of its card.
MODELS = {"mask": "membranes", "message": "spam", "sound": "sound", HEAT_MAP: "cats-dogs"}
JSON = {"Content-Type": "application/json"}


def asking(api: str, case: str) -> Callable[[int], Sample]:
    """The measurement of a case, by a server whose native API is at `api`. By one client, since
    what a request costs is asked for, and not how many share a run."""
    model = MODELS[case]
    body = httpx.get(f"{api}models/{model}/example", timeout=TIMEOUT_S).raise_for_status().content
    url = urlsplit(f"{api}{model}")
    path = url.path + ("?explain=occlusion" if case == HEAT_MAP else "")

    def measure(seconds: int) -> Sample:
        times = []
        with closing(HTTPConnection(url.netloc, timeout=TIMEOUT_S)) as connection:
            start = time.perf_counter()
            while time.perf_counter() - start < seconds:
                asked = time.perf_counter()
                connection.request("POST", path, body, JSON)
                answer = connection.getresponse()
                told = answer.read()
                times.append(time.perf_counter() - asked)
                if answer.status != 200:
                    raise click.ClickException(f"{path} answers {told[:500].decode()}")
            elapsed = time.perf_counter() - start
        return Sample(len(times) / elapsed, median(times) * 1000)

    return measure
