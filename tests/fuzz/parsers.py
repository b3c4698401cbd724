"""Coverage-guided fuzzing of what reads requests, in process, by Atheris (libFuzzer).

`python -m tests.fuzz.parsers NAME ARGUMENT…` runs one of `PARSERS` with libFuzzer's arguments; an
exception that no client should be able to cause ends it and leaves the input in a file.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.mutate import DATATYPES, NAMES, TOKENS
from tests.fuzz.pictures import any_picture
from tests.fuzz.request import Request, post
from tests.fuzz.seeds import ROWS, table
from tests.support import ROOT

INSTALLED = find_spec("atheris") is not None
# Longer inputs are for the running server.
_MOST_BYTES = 4096
# Of one input; instrumented code is slow.
_TIMEOUT_S = 20
_V1 = b'{"instances": [{"a": 1, "s": "x"}, {"a": NaN, "s": {"b64": "AA=="}}]}'
_V2 = (
    b'{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5]},'
    b' {"name": "s", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}],'
    b' "outputs": [{"name": "y", "parameters": {"classification": 2}}]}\1\0\0\0a'
)
_ROWS = b'[{"alpha": 1, "beta": "2", "gamma": -3e5}, {"alpha": null}]'


def _binary(data: bytes) -> Request:
    request = post("/v2/models/numbers/infer", "application/octet-stream", data)
    return request.with_headers(Inference_Header_Content_Length=str(_json_length(data)))


def _json_length(data: bytes) -> int:
    return max(1, data.rfind(b"}") + 1)


# How each input is sent to a server, and what to begin with.
PARSERS: dict[str, tuple[Callable[[bytes], Request], list[bytes]]] = {
    "csv": (lambda data: post("/api/sums", "text/csv", data), [table(ROWS), table(ROWS, ";")]),
    "rows": (lambda data: post("/api/sums", "application/json", data), [_ROWS]),
    "v1": (lambda data: post("/v1/models/tagged:predict", "application/json", data), [_V1]),
    "v2": (_binary, [_V2]),
    "picture": (
        lambda data: post("/api/three", "image/tiff", data),
        [any_picture(random.Random(i)) for i in range(40)],
    ),
}


def fuzz(folder: Path, seconds: float, seed: int) -> Iterator[tuple[str, Request]]:
    """Run all of `PARSERS`, each for its share of the time. folder: for inputs and finds. Yields
    what was found, and the request that does it."""
    for name, (request, inputs) in PARSERS.items():
        corpus = folder / name
        corpus.mkdir(parents=True)
        for i, data in enumerate(inputs):
            (corpus / f"seed-{i}").write_bytes(data)
        words = folder / f"{name}.dict"
        words.write_text("\n".join(map(_quoted, (*TOKENS, *_words()))))
        arguments = {
            "max_total_time": max(1, round(seconds / len(PARSERS))),
            "seed": seed + 1,
            "max_len": _MOST_BYTES,
            "timeout": _TIMEOUT_S,
            "rss_limit_mb": 2000,
            "dict": words,
            "artifact_prefix": f"{folder}/found-{name}-",
        }
        given = [f"-{argument}={value}" for argument, value in arguments.items()]
        command = [sys.executable, "-m", "tests.fuzz.parsers", name, *given, str(corpus)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found = sorted(folder.glob(f"found-{name}-*"))
        for file in found:
            # Atheris writes the trace to the one, libFuzzer the rest to the other.
            made = replace(request(file.read_bytes()), origin=f"parser {name}")
            yield f"{name}: {result.stdout[-1500:]}", made
        if result.returncode and not found:
            raise RuntimeError(f"the fuzzer of {name} failed: {result.stderr[-3000:]}")


def _words() -> Iterator[bytes]:
    for word in (*NAMES, *DATATYPES):
        yield word.encode()


def _quoted(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' if word else ""


def _target(name: str) -> Callable[[bytes], None]:
    """What takes an input, and raises what no client should be able to cause."""
    from app.api.v1.request import read_predict
    from app.api.v2.request import read_request
    from app.errors import KeraportError
    from app.serving.cards.card import Card
    from app.serving.signature import Signature, SignatureDef, TensorSpec
    from app.serving.tasks import Limits, Payload, RowTask
    from app.serving.tasks.files.pictures import PictureSpec, UnreadablePicture, decode

    limits = Limits()
    matrix = TensorSpec("x", "x:0", "float32", (None, 3))
    y = TensorSpec("y", "y:0", "float32", (None, 1))
    fields = [{"name": name} for name in ROWS[0]]
    card = Card.model_validate({"task": "tabular-regression", "fields": fields})
    task = RowTask(card, Signature((matrix,), (y,)), limits)
    inputs = (
        TensorSpec("a", "a:0", "float32", (None,)),
        TensorSpec("s", "s:0", "string", (None,)),
    )
    signatures = {"serving_default": SignatureDef(inputs, (y,), "")}
    pixels = PictureSpec((8, 8), "RGB", "stretch", 1_000_000)

    def picture(data: bytes) -> None:
        with suppress(UnreadablePicture):
            decode(io.BytesIO(data), pixels)

    targets: dict[str, Callable[[bytes], object]] = {
        "csv": lambda data: task.read(Payload("csv", data)),
        "rows": lambda data: task.read(Payload("json", data)),
        "v1": lambda data: read_predict(data, signatures, "serving_default", limits),
        "v2": lambda data: read_request(data, str(_json_length(data)), limits, batchable=True),
        "picture": picture,
    }
    target = targets[name]

    def one(data: bytes) -> None:
        with suppress(KeraportError):
            target(data)

    return one


def _main(name: str, arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["app"]):
        target = _target(name)
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
