"""Bodies for Schemathesis where OpenAPI only says that they are pictures, or bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import schemathesis
import tritonclient.http as triton
from hypothesis import strategies

from app.serving.tasks.files.pictures import FORMATS, MEDIA_TYPES
from tests.support import picture

for format, media_type in zip(FORMATS, MEDIA_TYPES, strict=True):
    # Nobody reads the type: the content says what it is.
    content = strategies.just(picture(format=format)) | strategies.binary(max_size=300)
    schemathesis.openapi.media_type(media_type, content)

_SIZE = "Inference-Header-Content-Length"
_FRAMES = "application/octet-stream"


def _frame(datatype: str, values: Any, outputs: list[Any] | None = None) -> tuple[bytes, int]:
    """A body with one binary tensor of a column, as Triton's client makes it, and how much of it is
    JSON."""
    name = "x" if datatype == "FP32" else "bytes"
    sent = triton.InferInput(name, [len(values), 1], datatype)
    sent.set_data_from_numpy(values.reshape(-1, 1))
    body, size = triton.InferenceServerClient.generate_request_body([sent], outputs=outputs)
    return body, size


# Where each body is understood, and how much of it is JSON.
VALID = {
    body: ({"name": name, "version": version}, size)
    for name, version, (body, size) in [
        ("half", "3", _frame("FP32", np.array([1, 2], np.float32))),
        (
            *("half", "3"),
            _frame(
                "FP32",
                np.array([0.5], np.float32),
                [triton.InferRequestedOutput("y", binary_data=False)],
            ),
        ),
        ("texts", "1", _frame("BYTES", np.array([b"\xff", b""], object))),
    ]
}
schemathesis.openapi.media_type(
    _FRAMES, strategies.sampled_from(list(VALID)) | strategies.binary(max_size=300)
)


@schemathesis.hook
def map_case(
    context: schemathesis.HookContext, case: schemathesis.Case[Any]
) -> schemathesis.Case[Any]:
    """Bodies that a model understands go to that model; the length that belongs to them goes with
    them, and with JSON alone none goes."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    if case.media_type == _FRAMES and case.body in VALID:
        parts, size = VALID[case.body]
        case.path_parameters |= {k: parts[k] for k in case.path_parameters}
        case.headers[_SIZE] = str(size)
    elif case.media_type == "application/json":
        case.headers.pop(_SIZE, None)
    return case
