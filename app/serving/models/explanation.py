"""Where a model looks: how much its answer changes without each part of its input."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from app.errors import BadRequest, InvalidInput
from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.engine.engine import BACKGROUND_ROWS
from app.serving.models.model import Model
from app.serving.signature import Scale
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.decoded import Rows
from app.serving.tasks.inputs.input import Input
from app.serving.tasks.parts import Parts
from app.serving.threads import in_a_thread

if TYPE_CHECKING:
    from app.serving.models.tensor_model import TensorModel

METHOD = "occlusion"
# Parts of all inputs of a row.
MOST_PARTS = 64
# Of a model whose runs take long, fewer: as many as half of the time left is enough for, judging by
# the first run.
LEAST_PARTS = 4
PART_OF_TIME = 0.5
# Bytes of the rows that are made for a run.
MOST_BYTES = 16_000_000
# Explanations of one model at a time.
MOST_AT_ONCE = 2


def explanation_problem(model: Model) -> str | None:
    """Return why the answers of a model cannot be explained; None if they can."""
    if not model.card.explain:
        return "the card of this model turns explanations off"
    possible = (
        "possible for models that take pictures or texts and answer classes or a single number"
    )
    if not isinstance(model.task, RowTask):
        return f"{possible}; this one writes texts"
    inputs, outputs = model.task.explained
    if model.task.drawn:
        return f"{possible}; this one answers masks or pictures"
    if inputs and outputs:
        return None
    takes = ", ".join(each.kind for each in model.task.inputs)
    gives = ", ".join(out.kind for out in model.task.outputs)
    return f"{possible}; this one takes {takes} and answers {gives}"


def explain(model: Model, payload: Payload, call: Call) -> dict[str, Any]:
    """Answer one row, and how much the answer changes without each part of it. Its runs come after
    those of all other requests. Blocks the greenlet.

    Returns `predictions` and `explanation`. Raises BadRequest where this is not possible,
    Overloaded where other explanations are in progress, and what `Model.predict` raises.
    """
    if problem := explanation_problem(model):
        raise BadRequest(f"explain: {problem}")
    rows_model = cast("TensorModel", model)
    with model.beside(call, MOST_AT_ONCE, "explanations") as counted:
        with call.stages.decoding():
            read = rows_model.read(payload, call)
        if (rows := rows_of(read.arrays)) != 1:
            raise InvalidInput(f"explain: {rows:,} rows, expected one at a time")
        found = _Explanation(rows_model, read, payload.scale, call).answer()
        counted.rows = 1
        return found


def most_parts(run_s: float, left_s: float) -> int:
    """Return the most parts of a row. run_s: seconds that its run took. left_s: until the
    deadline."""
    if run_s * MOST_PARTS <= left_s * PART_OF_TIME:
        return MOST_PARTS
    return max(LEAST_PARTS, int(left_s * PART_OF_TIME / run_s))


class _Explanation:
    """The explanation of one row. scale: of pictures, in place of the model's."""

    def __init__(self, model: TensorModel, row: Rows, scale: Scale | None, call: Call) -> None:
        self._model = model
        self._task = model.task
        self._row = row
        self._inputs = {
            spec.name: a for spec, a in zip(model.task.signature.inputs, row.arrays, strict=True)
        }
        self._scale = scale
        self._call = call
        self._takers, given = self._task.explained
        self._outputs = self._run(row.arrays)
        self._targets = {out.name: out.target(self._outputs[out.spec.name]) for out in given}
        self._tensors = {out.name: out.spec.name for out in given}
        self._whole = self._values(self._outputs)

    def answer(self) -> dict[str, Any]:
        """Return the prediction, and what explains it."""
        rows = 1
        explained = {}
        most = most_parts(self._call.stages.infer_ns / 1e9, self._call.remaining)
        most = max(1, min(most // len(self._takers), self._task.limits.max_rows))
        for each in self._takers:
            parts = in_a_thread(partial(each.parts, self._inputs, self._row.texts, most))
            explained[each.name] = self._explained(each, parts)
            rows += parts.count
        return {
            "predictions": self._task.answer([*self._outputs.values(), *self._row.shares]),
            "explanation": {
                "method": METHOD,
                "rows": rows,
                "outputs": {name: target.about for name, target in self._targets.items()},
                "inputs": explained,
            },
        }

    def _explained(self, each: Input, parts: Parts) -> dict[str, Any]:
        """Describe the parts of an input, and how much each number falls without each of them."""
        about = in_a_thread(parts.about)
        drops: dict[str, list[float]] = {name: [] for name in self._targets}
        at_once = max(1, min(BACKGROUND_ROWS, MOST_BYTES // max(1, parts.row_bytes)))
        for start in range(0, parts.count, at_once):
            self._call.check()
            stop = min(parts.count, start + at_once)
            values = self._values(self._run(in_a_thread(partial(self._rows, parts, start, stop))))
            for name, target in self._targets.items():
                (whole,) = self._whole[name]
                drops[name] += [target.digits(whole - value) for value in values[name]]
        shaped = {n: np.reshape(found, parts.shape).tolist() for n, found in drops.items()}
        return {"kind": each.kind, **about, "drops": shaped}

    def _rows(self, parts: Parts, start: int, stop: int) -> list[Array]:
        """Return rows that each lack one part."""
        changed = parts.without(start, stop)
        return [
            changed[name] if name in changed else np.repeat(array, stop - start, axis=0)
            for name, array in self._inputs.items()
        ]

    def _run(self, inputs: list[Array]) -> dict[str, Array]:
        """Run rows, and return the outputs by their names."""
        fed, signature = self._model.at_scale(inputs, self._scale)
        outputs = self._model.engine.run(fed, self._call, signature, background=True)
        self._task.check_rows(outputs, rows_of(inputs))
        names = (spec.name for spec in self._task.signature.outputs)
        return dict(zip(names, outputs, strict=True))

    def _values(self, outputs: Mapping[str, Array]) -> dict[str, list[float]]:
        """Return the number that is followed in each output, one a row."""
        return {n: target.of(outputs[self._tensors[n]]) for n, target in self._targets.items()}
