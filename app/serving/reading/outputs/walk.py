"""Walks from a tensor of a graph back to what tells of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from app.serving.reading.graph_walk import CALLS
from app.serving.reading.outputs.facts import UNKNOWN, Fact

# Operations in a row, after which a walk ends without a result.
MAX_DEPTH = 100
# Elements of a constant that is looked at.
MAX_CONSTANT = 100_000
_VARIABLES = frozenset({"ReadVariableOp", "Variable", "VariableV2", "VarHandleOp", "Const"})
# Operations that a weight may pass on its way to the layer that it belongs to.
_OF_WEIGHTS = frozenset(
    {"Identity", "Cast", "Reshape", "Transpose", "ExpandDims", "Squeeze", "StopGradient"}
    | {"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel", "Enter"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor, in the body of the function that `call` calls; None in the graph itself."""

    tensor: Any
    call: Call | None = None

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Its static shape; None where the rank is unknown."""
        shape = self.tensor.shape
        return None if shape.rank is None else tuple(shape.as_list())

    def same(self, other: Place) -> bool:
        """Tell whether both are one tensor."""
        return self.call is other.call and _same_tensor(self.tensor, other.tensor)

    def input(self, index: int) -> Place:
        """An input of the operation that makes it."""
        return Place(self.tensor.op.inputs[index], self.call)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call of a function. place: the calling operation's first output. body: the function."""

    place: Place
    body: Any


class Walk:
    """The facts about tensors of one graph, each worked out once.

    rule: what an operation makes of the facts about its inputs.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._known: dict[tuple[int, str, int | None], Fact] = {}
        self._calls: dict[tuple[str, int | None], Call | None] = {}
        self._depth = 0

    def fact(self, place: Place) -> Fact:
        """Return what is known of the tensor's values."""
        place = self.resolved(place)
        key = (
            id(place.tensor.graph),
            place.tensor.name,
            None if place.call is None else id(place.call),
        )
        if key not in self._known:
            self._known[key] = UNKNOWN  # within a loop
            if self._depth < MAX_DEPTH:
                self._depth += 1
                self._known[key] = self._rule(Node(self, place))
                self._depth -= 1
        return self._known[key]

    def resolved(self, place: Place) -> Place:
        """Return the tensor that this one is a copy of: through functions and Identity."""
        while True:
            tensor, call = place.tensor, place.call
            op = tensor.op
            if op.type in ("Identity", "StopGradient", "EnsureShape", "Snapshot"):
                place = place.input(0)
            elif op.type == "IdentityN":
                place = place.input(tensor.value_index)
            elif op.type in CALLS and (made := self._called(place)) is not None:
                place = Place(made.body.outputs[tensor.value_index], made)
            elif op.type == "Placeholder" and call is not None:
                index = next(
                    (i for i, t in enumerate(call.body.inputs) if t.name == tensor.name), None
                )
                if index is None:
                    return place
                place = call.place.input(index)
            else:
                return place

    def operations(self, graph: Any, call: Call | None = None) -> Iterator[Place]:
        """Yield the first output of every operation of a graph that has one, those of the
        functions that it calls included. call: whose body the graph is."""
        for op in graph.get_operations():
            if op.outputs:
                place = Place(op.outputs[0], call)
                yield place
                if op.type in CALLS and (made := self._called(place)) is not None:
                    yield from self.operations(made.body, made)

    def _called(self, place: Place) -> Call | None:
        op = place.tensor.op
        key = (op.name, None if place.call is None else id(place.call))
        if key not in self._calls:
            body = _body(op)
            self._calls[key] = None if body is None else Call(place, body)
        return self._calls[key]

    def constant(self, place: Place) -> NDArray[Any] | None:
        """Return the tensor's value where it is a constant; None for any other."""
        place = self.resolved(place)
        if place.tensor.op.type == "Cast":
            return self.constant(place.input(0))
        elements = place.tensor.shape.num_elements()
        if elements is None or elements > MAX_CONSTANT:
            return None
        value = tf.get_static_value(place.tensor)
        return None if value is None else np.asarray(value)

    def is_weight(self, place: Place) -> bool:
        """Tell whether the tensor is one of the model's weights, or a constant."""
        place = self.resolved(place)
        op = place.tensor.op
        if op.type in _OF_WEIGHTS:
            return self.is_weight(place.input(0))
        # What a traced function has captured.
        captured = getattr(place.tensor.graph, "internal_captures", ())
        return op.type in _VARIABLES or any(_same_tensor(each, place.tensor) for each in captured)


@dataclass(frozen=True, slots=True)
class Node:
    """An operation with the facts about its inputs, and which of its outputs is asked for."""

    walk: Walk
    place: Place

    @property
    def op(self) -> Any:
        """The operation of TensorFlow."""
        return self.place.tensor.op

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The shape of the output."""
        return self.place.shape

    @property
    def count(self) -> int:
        """The number of inputs."""
        return len(self.op.inputs)

    def fact(self, index: int = 0) -> Fact:
        """The fact about an input."""
        return self.walk.fact(self.place.input(index))

    def facts(self, count: int | None = None) -> Iterator[Fact]:
        """The facts about the first inputs; default: about all."""
        return (self.fact(i) for i in range(self.count if count is None else count))

    def shape_of(self, index: int = 0) -> tuple[int | None, ...] | None:
        """The shape of an input."""
        return self.place.input(index).shape

    def constant(self, index: int) -> NDArray[Any] | None:
        """The value of an input that is a constant."""
        return self.walk.constant(self.place.input(index))

    def is_weight(self, index: int) -> bool:
        """Whether an input is a weight."""
        return self.walk.is_weight(self.place.input(index))

    def source(self, index: int) -> Place:
        """The tensor that an input is a copy of."""
        return self.walk.resolved(self.place.input(index))


Rule = Callable[[Node], Fact]


def _same_tensor(a: Any, b: Any) -> bool:
    return a.graph is b.graph and a.name == b.name


def _body(op: Any) -> Any:
    """Return the graph of the function that the operation calls; None where it is not found."""
    name, graph = op.get_attr("f").name, op.graph
    while graph is not None and not graph._is_function(name):
        graph = getattr(graph, "outer_graph", None)
    if graph is None:
        return None
    definition = graph._get_function(name).cached_definition
    shapes = [tensor.shape for tensor in op.inputs]
    with graph.as_default():
        return function_def_to_graph(
            definition, input_shapes=shapes, include_library_functions=True
        )
