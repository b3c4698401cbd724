"""Any inputs composed with any outputs: requests become rows of tensors, and tensors answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from app.errors import CardError, InvalidInput, NonFiniteOutput
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.cards.card import CARD_FILE, Card
from app.serving.cards.kinds import fixed_rows, kinds_of
from app.serving.limits import Limits
from app.serving.reductions import Reduction
from app.serving.signature import PictureFeed, Signature
from app.serving.tasks.base import (
    Drawing,
    Files,
    Payload,
    ReadFile,
    Task,
    invalid,
    object_schema,
)
from app.serving.tasks.composition import inputs_of, output_of
from app.serving.tasks.decoded import Rows as Rows
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.hints import card_hint
from app.serving.tasks.inputs.decoding import (
    measure_all,
)
from app.serving.tasks.inputs.files import FileInput
from app.serving.tasks.inputs.input import Input, Parsed
from app.serving.tasks.inputs.picture import Picture
from app.serving.tasks.inputs.tensor import Tensors
from app.serving.tasks.inputs.text import Text
from app.serving.tasks.inputs.together import Together
from app.serving.tasks.outputs.drawn import Drawn, check_drawing, draw_all
from app.serving.tasks.outputs.output import Output, PlacedOutput
from app.serving.tasks.row_files import RowFiles
from app.serving.threads import in_a_thread

# The key of an answer to texts, of whose words the model does not know some.
UNKNOWN_SHARE = "unknown_share"


class RowTask(Task):
    """A model of rows: its inputs and outputs, each of a kind.

    inputs: several tensors without any other kind beside them are one, whose body has a list of
    rows each. fixed_rows: the only number of rows that a run may have; None where any will do.
    has_rows: whether the first dimensions of tensors count rows. pictures: how the model's inputs
    that take pictures are fed. row_bytes: of the longest prediction in JSON, as far as it is more
    than numbers. placed: the outputs whose values are places in a picture. unwritten: the names of
    the model's outputs that are no part of an answer as they are.
    Raises CardError where card and model do not fit.
    """

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        self.card = card
        self.signature = signature
        self.limits = limits
        kinds = kinds_of(card, signature)
        self.fixed_rows = fixed_rows(kinds, signature)
        self.has_rows = rows = signature.batchable or self.fixed_rows is not None
        self.inputs = inputs_of(kinds, signature, limits, card.runtime.max_length, rows=rows)
        self._files = RowFiles(self.inputs, limits)
        pictures = [each.name for each in self.inputs if isinstance(each, Picture)]
        self.outputs = [output_of(kind, signature, pictures, rows=rows) for kind in kinds.outputs]
        self.placed = [out for out in self.outputs if isinstance(out, PlacedOutput)]
        self.drawn = [out for out in self.outputs if isinstance(out, Drawn)]
        if self.placed and self.drawn:
            raise CardError(
                f"{CARD_FILE}: outputs: boxes, and masks or pictures beside them: use 'kind: "
                "tensor' for either"
            )
        written = {out.spec.name for out in self.outputs if out not in self.placed}
        self.unwritten = frozenset(t.name for t in signature.outputs if t.name not in written)
        stated = (
            (kind.specs[0].name, kind.card.labels if kind.card.kind == "classes" else card.labels)
            for kind in kinds.outputs
        )
        self._input_names = [t.name for t in signature.inputs]
        self._output_names = [t.name for t in signature.outputs]
        self._labels = {name: labels for name, labels in stated if isinstance(labels, list)}
        self.row_bytes = sum(out.row_bytes for out in self.outputs)
        self.texts = {each.specs[0].name: each for each in self.inputs if isinstance(each, Text)}
        self._shared = self._names_of_shares()
        self.pictures: dict[str, PictureFeed] = {
            each.specs[0].name: each.feed for each in self.inputs if each.feed is not None
        }
        self._request = self.inputs[0]
        if len(self.inputs) > 1:
            self._request = Together(self.inputs, limits)
        self.accepts = self._request.accepts
        if isinstance(self._request, FileInput):
            self.uploads = frozenset({self._request.name})
        if isinstance(self._request, Tensors):
            self.hint = card_hint(signature)

    # --- requests ------------------------------------------------------------------------------

    def read(self, payload: Payload, call: Call | None = None) -> list[Array]:
        """Read the request as one array an input of the model, first dimension the rows.

        call: whose end ends the decoding of pictures.
        Raises InvalidInput with all problems at once, BadRequest where nothing can be read.
        """
        return self.decode(self.parse(payload), call).arrays

    def parse(self, payload: Payload) -> Parsed:
        """Read the request but for its files, from any thread. Raises as `read` does."""
        if payload.kind == "form" and "form" not in self.accepts:
            # Of a page, which has a part for each input, even for one.
            return Together(self.inputs, self.limits).body(payload)
        return self._request.body(payload)

    def decode(self, parsed: Parsed, call: Call | None = None) -> Rows:
        """Decode the pictures, in the hub's thread, and return all rows. Raises as `read` does; of
        a request with other problems, pictures are only measured."""
        files, placed = self._files.parsed(parsed, call)
        arrays = parsed.arrays | files
        inputs = [arrays[name] for name in self._input_names]
        return Rows(inputs, placed, self.shares(parsed), parsed.texts)

    def take_room(self, rows: Mapping[str, int], call: Call) -> None:
        """Wait for room in memory for what files and texts become. rows: how many, by the model's
        inputs. Raises what `app.serving.row_room.take_room` raises."""
        names = {each.specs[0].name: each.name for each in self.inputs}
        self._files.take_room({names[name]: count for name, count in rows.items()}, call)

    def take_room_of_texts(self, size: int, call: Call) -> None:
        """The same for a body of `size` bytes that is not yet read, of a model of texts."""
        self._files.take_room_of_texts(size, call)

    def decoded(
        self, files: Mapping[str, Files], call: Call | None = None, hint: str = ""
    ) -> dict[str, Array]:
        """Decode pictures and recordings, by the model's inputs."""
        return self._files.decoded(files, call, hint)

    def tokens(self, texts: Mapping[str, Sequence[bytes]]) -> dict[str, Array]:
        """Return the ids that the model is fed with for texts in UTF-8, by its inputs, from any
        thread; texts that it takes as they are are left out. Raises InvalidInput with all problems
        at once."""
        arrays: dict[str, Array] = {}
        details = []
        for name, some in texts.items():
            parsed = self.texts[name].encoded(some, partial("{}[{}]".format, name))
            arrays |= parsed.arrays
            details += parsed.details
        if details:
            raise invalid(details)
        return arrays

    def labels(self) -> dict[str, list[str]]:
        """Return the labels that the card lists for each output of the model."""
        return self._labels

    def measure(self, payload: Payload, call: Call) -> None:
        """Raise InvalidInput where the pictures of a request are too many or too large together,
        by their headers; the files of a model that takes one picture a row."""
        assert isinstance(self._request, Picture)
        parsed = self._request.uploaded(payload.files, str)
        measure_all(self._request.uploads(parsed), self.limits, call)

    # --- answers -------------------------------------------------------------------------------

    @property
    def reductions(self) -> dict[str, Reduction]:
        """What is needed of outputs that are answered as pictures, by the names of the model's
        outputs."""
        return {out.spec.name: out.reduction for out in self.drawn}

    def check_drawing(self, placed: Mapping[str, Array], drawing: Drawing) -> None:
        """Raise InvalidInput where the pictures of an answer would be too large, before the model
        runs. placed: as in `Rows`."""
        if (places := self._places(placed)) is not None:
            check_drawing(self.drawn, places, drawing, self.limits)

    def draw(
        self,
        outputs: Sequence[Array],
        placed: Mapping[str, Array],
        drawing: Drawing,
        call: Call,
        *,
        reduced: bool,
    ) -> list[Array]:
        """Draw the outputs that are answered as pictures, for `answer`. Blocks the greenlet.

        placed: as in `Rows`. reduced: whether the graph has reduced them; else it is done here.
        Raises InvalidInput where they are too large, and what ends `call`.
        """
        by_name = self._by_name(outputs)
        arrays = {out: by_name[out.spec.name] for out in self.drawn}
        if not reduced:
            arrays = in_a_thread(lambda: {out: out.reduction.numpy(a) for out, a in arrays.items()})
        drawn = draw_all(arrays, self._places(placed), drawing, call, self.limits)
        by_name |= {out.spec.name: values for out, values in drawn.items()}
        return [*by_name.values()]

    @staticmethod
    def _places(placed: Mapping[str, Array]) -> list[Placement] | None:
        """Those of the first input that takes pictures: what comes out is laid over it."""
        first = next(iter(placed.values()), None)
        return None if first is None else [*first]

    def shares(self, parsed: Parsed) -> list[Array]:
        """Return the shares of unknown words, one array an input of tokens."""
        return [parsed.unknown[name] for name in self._shared]

    def work(self, outputs: Sequence[Array], placed: Mapping[str, Array]) -> dict[str, list[Any]]:
        """Make the values of outputs that are places in a picture, by their names; from any thread.

        outputs: as for `answer`. placed: as in `Rows`. Raises NonFiniteOutput.
        """
        by_name = self._by_name(outputs)
        for out in self.outputs:
            array = by_name[out.spec.name]
            if out not in self.placed and array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NonFiniteOutput
        return {out.name: out.placed_values(by_name, [*placed[out.picture]]) for out in self.placed}

    def check_rows(self, outputs: Sequence[Array], rows: int) -> None:
        """Raise InvalidInput unless the model has answered with as many rows as it was given, for
        no one could tell which row is answered with what. outputs: one array each."""
        by_name = self._by_name(outputs)
        arrays = [by_name[out.spec.name] for out in self.outputs if out not in self.placed]
        if self.has_rows and any(array.shape[:1] != (rows,) for array in arrays):
            found = ", ".join(f"{list(array.shape)}" for array in arrays)
            raise InvalidInput(
                f"the model answers {rows:,} row{'s' if rows > 1 else ''} with outputs of shape "
                f"{found}, which are not as many rows"
                f"{': send one row at a time' if rows > 1 else ''}"
            )

    def answer(
        self, outputs: Sequence[Array], made: Mapping[str, list[Any]] | None = None
    ) -> list[Any]:
        """Turn the model's outputs, one array each, into one prediction a row. Behind them may
        stand the shares of words that the model does not know. made: the values that `work` has
        made of the same outputs."""
        count = len(self._output_names)
        answers = self._answers(outputs[:count], made or {})
        for name, shares in zip(self._shared, outputs[count:], strict=False):
            for prediction, share in zip(answers, shares.tolist(), strict=True):
                if len(self._shared) == 1:
                    prediction[UNKNOWN_SHARE] = round(share, 3)
                else:
                    prediction.setdefault(UNKNOWN_SHARE, {})[name] = round(share, 3)
        return answers

    def _answers(self, outputs: Sequence[Array], made: Mapping[str, list[Any]]) -> list[Any]:
        by_name = self._by_name(outputs)
        columns = [
            made[out.name] if out.name in made else out.values(by_name[out.spec.name])
            for out in self.outputs
        ]
        if len(columns) > 1:
            names = [out.name for out in self.outputs]
            return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        (out,), (column,) = self.outputs, columns
        return [{out.name: value} for value in column] if out.wrapped else column

    def _by_name(self, outputs: Sequence[Array]) -> dict[str, Array]:
        names = self._output_names
        return dict(zip(names, outputs[: len(names)], strict=True))

    def extend_pictures(self, multiple: Callable[[str], int]) -> None:
        """Extend pictures that are fed in their own size to sides that the model takes. multiple:
        what these must be multiples of, by the name of the model's input."""
        for each in self.inputs:
            if isinstance(each, Picture) and each.spec.size is None:
                each.extend_to(multiple(each.specs[0].name))

    def form_fields(self, each: Input) -> list[str]:
        """Return the fields of a form that may stand for an input, all of them together."""
        return self._request.form_fields(each) if isinstance(self._request, Together) else []

    def example(self, request: Payload | None = None) -> list[Array] | None:
        """Return a row as the card shows it, one array an input; None where it shows none.

        request: an example of the card. Its files are left out, for black pictures and silence do
        as well.
        """
        arrays: dict[str, Array] = {}
        if request is None:
            shown = self._request.example()
            if shown is None:
                return None
            arrays |= shown
        else:
            arrays |= self.parse(request).arrays
            for each in self.inputs:
                if isinstance(each, FileInput):
                    arrays |= each.example() or {}
        return [arrays[spec.name] for spec in self.signature.inputs]

    def example_takers(self) -> dict[str, ReadFile | None]:
        """Return the inputs, with what reads their files."""
        return {each.name: each.read_example if each.takes_files else None for each in self.inputs}

    def example_body(self, values: Mapping[str, Any]) -> Any:
        """Return the body for a row."""
        if len(self.inputs) > 1:
            return values
        return self.inputs[0].example_body(values[self.inputs[0].name])

    def check_request(self, payload: Payload) -> None:
        """Raise RequestError for what cannot be read."""
        if details := self.parse(payload).details:
            raise invalid(details)

    # --- explanations --------------------------------------------------------------------------

    @property
    def explained(self) -> tuple[list[Input], list[Output]]:
        """The inputs of which parts can be left out, and the outputs with a number to follow."""
        if self.placed:
            # Runs of an explanation have no pictures to say places in.
            return [], []
        return (
            [each for each in self.inputs if each.has_parts],
            [out for out in self.outputs if out.has_target],
        )

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
            schema = self.outputs[0].schema()
        else:
            schema = object_schema({out.name: out.schema() for out in self.outputs})
        if not self._shared:
            return schema
        share: dict[str, Any] = {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "The share of the words that the model does not know.",
        }
        if len(self._shared) > 1:
            share = object_schema(dict.fromkeys(self._shared, share))
        return {
            **schema,
            "properties": {**schema["properties"], UNKNOWN_SHARE: share},
            "required": [*schema["required"], UNKNOWN_SHARE],
        }

    def _names_of_shares(self) -> list[str]:
        """Return the inputs of whose texts answers tell the share of unknown words: none where an
        answer is no object, or has an output of that name."""
        alone = self.outputs[0] if len(self.outputs) == 1 else None
        lists = alone is not None and not alone.wrapped and alone.kind != "classes"
        if lists or any(out.name == UNKNOWN_SHARE for out in self.outputs):
            return []
        return [each.name for each in self.texts.values() if each.tokens is not None]

    def about(self) -> dict[str, Any]:
        """Return the kinds of the inputs and outputs, by their names."""
        return {
            "inputs": self._request.about(),
            "outputs": {out.name: {"kind": out.kind, **out.about()} for out in self.outputs},
        }
