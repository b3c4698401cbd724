"""Any inputs composed with any outputs: requests become rows of tensors, and tensors answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.cards.card import CARD_FILE, Card, InputCard, OutputCard
from app.serving.cards.infer import may_classify_pictures
from app.serving.cards.kinds import Kind, Kinds, kinds_of
from app.serving.limits import Limits
from app.serving.signature import PictureFeed, Signature
from app.serving.tasks.base import Payload, PictureFiles, Task, invalid, object_schema
from app.serving.tasks.inputs.decoding import (
    Upload,
    check_count,
    decode_all,
    measure_all,
    unreadable,
)
from app.serving.tasks.inputs.fields import Fields
from app.serving.tasks.inputs.input import Input, Parsed
from app.serving.tasks.inputs.picture import Picture
from app.serving.tasks.inputs.tensor import Tensors
from app.serving.tasks.inputs.together import Together
from app.serving.tasks.outputs.classes import Classes
from app.serving.tasks.outputs.number import Number
from app.serving.tasks.outputs.output import Output
from app.serving.tasks.outputs.tensor import Tensor
from app.serving.tasks.outputs.vector import Vector

if TYPE_CHECKING:
    from app.serving.cards.card import (
        ClassesOutput,
        FieldsInput,
        NumberOutput,
        PictureInput,
        TensorInput,
        TensorOutput,
        VectorOutput,
    )


class RowTask(Task):
    """A model of rows: its inputs and outputs, each of a kind.

    inputs: several tensors without any other kind beside them are one, whose body has a list of
    rows each. pictures: how the model's inputs that take pictures are fed. row_bytes: of the
    longest prediction in JSON, as far as it is more than numbers.
    Raises CardError where card and model do not fit.
    """

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        self.card = card
        self.signature = signature
        self.limits = limits
        kinds = kinds_of(card, signature)
        self.inputs = _inputs(kinds, signature, limits)
        self.outputs = [_output(kind, signature) for kind in kinds.outputs]
        stated = (
            (kind.specs[0].name, kind.card.labels if kind.card.kind == "classes" else card.labels)
            for kind in kinds.outputs
        )
        self._labels = {name: labels for name, labels in stated if isinstance(labels, list)}
        self.row_bytes = sum(out.row_bytes for out in self.outputs)
        self.pictures: dict[str, PictureFeed] = {
            each.specs[0].name: each.feed for each in self.inputs if each.feed is not None
        }
        self._request = self.inputs[0]
        if len(self.inputs) > 1:
            self._request = Together(self.inputs, limits)
        self.accepts = self._request.accepts
        if isinstance(self._request, Picture):
            self.uploads = frozenset({self._request.name})
        if isinstance(self._request, Tensors) and may_classify_pictures(signature):
            self.hint = (
                f"; its input has the shape of a picture: a {CARD_FILE} with 'inputs: "
                f"{{{signature.inputs[0].name}: {{kind: picture}}}}' makes it take pictures, or "
                "'task: image-classification' for a classifier"
            )

    # --- requests ------------------------------------------------------------------------------

    def read(self, payload: Payload, call: Call | None = None) -> list[Array]:
        """Read the request as one array an input of the model, first dimension the rows.

        call: whose end ends the decoding of pictures.
        Raises InvalidInput with all problems at once, BadRequest where nothing can be read.
        """
        return self.decode(self.parse(payload), call)

    def parse(self, payload: Payload) -> Parsed:
        """Read the request but for its pictures, from any thread. Raises as `read` does."""
        return self._request.body(payload)

    def decode(self, parsed: Parsed, call: Call | None = None) -> list[Array]:
        """Decode the pictures, in the hub's thread, and return all arrays in the model's order.
        Raises as `read` does; of a request with other problems, pictures are only measured."""
        takers = [each for each in self.inputs if isinstance(each, Picture)]
        uploads = [each.uploads(parsed) for each in takers]
        every = [upload for some in uploads for upload in some]
        if parsed.details:
            found = measure_all(every, self.limits, call)
            raise invalid(parsed.details + unreadable(every, found))
        arrays = dict(parsed.arrays)
        if takers:
            arrays |= self._decoded(takers, uploads, call)
        return [arrays[spec.name] for spec in self.signature.inputs]

    def pixels(
        self, files: Mapping[str, PictureFiles], call: Call | None = None, hint: str = ""
    ) -> dict[str, Array]:
        """Decode pictures, by the model's inputs."""
        takers = [
            each
            for each in self.inputs
            if isinstance(each, Picture) and each.specs[0].name in files
        ]
        check_count(sum(len(files[each.specs[0].name]) for each in takers), self.limits)
        uploads = []
        for each in takers:
            name = each.specs[0].name
            some = files[name]
            uploads.append([Upload(f, each.spec, f"{name}[{i}]") for i, f in enumerate(some)])
        return self._decoded(takers, uploads, call, hint) if takers else {}

    def labels(self) -> dict[str, list[str]]:
        """Return the labels that the card lists for each output of the model."""
        return self._labels

    def measure(self, payload: Payload, call: Call) -> None:
        """Raise InvalidInput where the pictures of a request are too many or too large together,
        by their headers; the files of a model that takes one picture a row."""
        assert isinstance(self._request, Picture)
        parsed = self._request.uploaded(payload.files, str)
        measure_all(self._request.uploads(parsed), self.limits, call)

    def _decoded(
        self,
        takers: Sequence[Picture],
        uploads: Sequence[Sequence[Upload]],
        call: Call | None,
        hint: str = "",
    ) -> dict[str, Array]:
        check_count(sum(map(len, uploads)), self.limits)
        pixels = [each.room(len(some)) for each, some in zip(takers, uploads, strict=True)]
        every = [upload for some in uploads for upload in some]
        decode_all(every, [row for rows in pixels for row in rows], self.limits, call, hint)
        return {each.specs[0].name: rows for each, rows in zip(takers, pixels, strict=True)}

    # --- answers -------------------------------------------------------------------------------

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """Turn the model's outputs, one array each, into one prediction a row."""
        by_name = dict(zip((t.name for t in self.signature.outputs), outputs, strict=True))
        columns = [out.values(by_name[out.spec.name]) for out in self.outputs]
        names = [out.name for out in self.outputs]
        if len(names) > 1:
            return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        if not self.outputs[0].wrapped:
            return columns[0]
        return [{names[0]: value} for value in columns[0]]

    def example(self) -> list[Array] | None:
        """Return a row as the card shows it, one array an input; None where it shows none."""
        arrays = self._request.example()
        return None if arrays is None else [arrays[spec.name] for spec in self.signature.inputs]

    # --- descriptions --------------------------------------------------------------------------

    def input_schema(self) -> dict[str, Any]:
        """Describe a request, for people and programs: a JSON schema of one row, or the picture's
        formats and limits."""
        schema = self._request.body_schema()
        if isinstance(self._request, Picture) and len(self.outputs) == 1:
            labels = self.outputs[0].labels
            return schema if labels is None else {**schema, "labels": labels}
        return schema

    def answer_schema(self) -> dict[str, Any]:
        """Describe a prediction: a JSON schema (2020-12) of one of them."""
        if len(self.outputs) == 1 and not self.outputs[0].wrapped:
            return self.outputs[0].schema()
        return object_schema({out.name: out.schema() for out in self.outputs})

    def about(self) -> dict[str, Any]:
        """Return the kinds of the inputs and outputs, by their names."""
        return {
            "inputs": self._request.about(),
            "outputs": {out.name: {"kind": out.kind, **out.about()} for out in self.outputs},
        }


def _inputs(kinds: Kinds, signature: Signature, limits: Limits) -> list[Input]:
    if all(kind.card.kind == "tensor" for kind in kinds.inputs):
        return [Tensors(cast("tuple[Kind[TensorInput], ...]", kinds.inputs), signature, limits)]
    return [_input(kind, signature, limits) for kind in kinds.inputs]


def _input(kind: Kind[InputCard], signature: Signature, limits: Limits) -> Input:
    if kind.card.kind == "picture":
        return Picture(cast("Kind[PictureInput]", kind), limits)
    if kind.card.kind == "fields":
        return Fields(cast("Kind[FieldsInput]", kind), limits)
    return Tensors([cast("Kind[TensorInput]", kind)], signature, limits)


def _output(kind: Kind[OutputCard], signature: Signature) -> Output:
    if kind.card.kind == "classes":
        meaning = signature.meaning(kind.specs[0])
        return Classes(cast("Kind[ClassesOutput]", kind), meaning)
    if kind.card.kind == "number":
        return Number(cast("Kind[NumberOutput]", kind))
    if kind.card.kind == "vector":
        return Vector(cast("Kind[VectorOutput]", kind))
    return Tensor(cast("Kind[TensorOutput]", kind), batchable=signature.batchable)
