"""Texts of models that write, over the Open Inference Protocol, as Triton's backends for language
models have them: the input `text_input` and the output `text_output`, one text each.

On a stream each word is an answer of its own, and the last answer has no output.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import orjson

from app.api.grpc.infer_request import parameter_value
from app.api.grpc.messages import message_class
from app.api.grpc.rpc import Rpc
from app.errors import Detail
from app.serving.call import Call
from app.serving.cards.card import TEXT_TASK
from app.serving.limits import MAX_CHARACTERS
from app.serving.models.model import Model
from app.serving.tasks.base import Payload, invalid

if TYPE_CHECKING:
    from app.serving.models.text_model import TextModel

INPUT, OUTPUT = "text_input", "text_output"
# Of an answer: whether it is the last one to its request.
FINAL = "triton_final_response"
# Parameters of a request, as the native API has them.
PARAMETERS = ("diversity", "words", "random_seed", "top_k")
_SHAPES = ([1], [1, 1])


def asks_for_text(request: Any, model: Model) -> bool:
    """Whether a ModelInferRequest brings a text to continue, not the ids that the model takes."""
    first = request.inputs[0].name if request.inputs else None
    return model.card.task == TEXT_TASK and first == INPUT


def write_text(rpc: Rpc, request: Any, model: Model, call: Call) -> bytes:
    """Return the encoded ModelInferResponse with the text, or on a stream the last one, after one
    for each word. Blocks the greenlet. Raises what `TextModel.writing` raises."""
    writer = cast("TextModel", model)
    with closing(Payload("json", _order(request))) as payload:
        if rpc.emit is None:
            (prediction,) = writer.predict(payload, call)
            return _answer(request, model, [prediction["generated"]], final=True)
        with writer.writing(payload, call) as (_, pieces):
            for piece in _words(pieces):
                rpc.emit(_answer(request, model, [piece], final=False))
    return _answer(request, model, [], final=True)


def _words(pieces: Iterator[str | None]) -> Iterator[str]:
    """The words of a text, the first one without the space before it."""
    begun = False
    for piece in filter(None, pieces):
        word = piece if begun else piece.lstrip()
        begun = begun or bool(word)
        yield word


def _order(request: Any) -> bytes:
    """Return the body of the native API for a request. Raises InvalidInput."""
    first = request.inputs[0]
    if len(request.inputs) > 1 or first.datatype != "BYTES" or first.shape[:3] not in _SHAPES:
        problem = f"{len(request.inputs)} inputs, the first of {first.datatype[:20]}"
        raise invalid([Detail("inputs", problem, expected=f"{INPUT} alone: BYTES of shape [1]")])
    sent = request.parameters
    body = {name: parameter_value(sent[name]) for name in PARAMETERS if name in sent}
    return orjson.dumps({**body, "seed": _text(request, first)})


def _text(request: Any, tensor: Any) -> str:
    texts = tensor.contents.bytes_contents[:2]
    if request.raw_input_contents:
        raw = request.raw_input_contents[0]
        whole = len(raw) >= 4 and int.from_bytes(raw[:4], "little") == len(raw) - 4
        texts = [raw[4:]] if whole else []
    try:
        (text,) = texts
        if len(text) <= 4 * MAX_CHARACTERS:  # bytes
            return str(text, "utf-8")
        expected = f"at most {MAX_CHARACTERS:,} characters"
        raise invalid([Detail(INPUT, "too long", f"{len(text):,} bytes", expected)])
    except ValueError:
        expected = "one text in UTF-8, in raw_input_contents behind its length in four bytes"
        raise invalid([Detail(INPUT, "no such text", expected=expected)]) from None


def _answer(request: Any, model: Model, texts: list[str], *, final: bool) -> bytes:
    answer = message_class("inference.ModelInferResponse")(
        model_name=model.name, model_version=str(model.version), id=request.id
    )
    answer.parameters[FINAL].bool_param = final
    for text in texts:
        data = text.encode()
        answer.outputs.add(name=OUTPUT, datatype="BYTES", shape=[1])
        answer.raw_output_contents.append(len(data).to_bytes(4, "little") + data)
    encoded: bytes = answer.SerializeToString()
    return encoded
