"""The parts of a graph that TensorFlow compiles with XLA, once for each shape that it meets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

# Attributes of a function, or of a node that calls one: `tf.function(jit_compile=True)`, and its
# predecessors.
_MUST_COMPILE = "_XlaMustCompile"
_MARKS = (_MUST_COMPILE, "_XlaCompile", "_xla_compile_id")
_CONVOLUTION = "Conv2D"
# Operations that Keras and TensorFlow put around a convolution: for one dimension, for dilations,
# and for weights in variables.
_AROUND_CONVOLUTION = re.compile(
    r"Const|ExpandDims|Identity|NoOp|ReadVariableOp|Squeeze|SpaceToBatchND|BatchToSpaceND"
    r"|Shape|StridedSlice|Pack|AddV2|Sub|FloorMod"
)
_FLOAT32 = 1  # tensorflow/core/framework/types.proto


def compiles(graph: Any) -> bool:
    """Tell whether any part of a GraphDef is compiled with XLA."""
    return any(
        attributes[mark].b or attributes[mark].s
        for attributes in chain(
            (f.attr for f in graph.library.function), (node.attr for node in _nodes(graph))
        )
        for mark in _MARKS
        if mark in attributes
    )


def run_natively(graph: Any) -> None:
    """Change a GraphDef so that its convolutions in one or two dimensions are not compiled.

    Keras compiles those of several groups, which older TensorFlow could not run on CPUs. Today's
    kernels answer the same up to eight times as fast, without a compilation for each number of
    rows. Convolutions with channels first or three dimensions, which they cannot run, stay
    compiled.
    """
    plain = set()
    for function in graph.library.function:
        if _MUST_COMPILE in function.attr and _is_convolution(function.node_def):
            del function.attr[_MUST_COMPILE]
            plain.add(function.signature.name)
    for node in _nodes(graph):
        if _MUST_COMPILE in node.attr and (node.op in plain or node.attr["f"].func.name in plain):
            del node.attr[_MUST_COMPILE]


def row_sizes(most: int) -> list[int]:
    """Return the numbers of rows that a compiled model runs with: powers of two below `most`, and
    `most` itself."""
    return [*(2**power for power in range((most - 1).bit_length())), most]


def _nodes(graph: Any) -> Iterator[Any]:
    return chain(graph.node, *(function.node_def for function in graph.library.function))


def _is_convolution(nodes: Any) -> bool:
    found = [node for node in nodes if not _AROUND_CONVOLUTION.fullmatch(node.op)]
    return (
        len(found) == 1
        and found[0].op == _CONVOLUTION
        and found[0].attr["T"].type == _FLOAT32
        and found[0].attr["data_format"].s in (b"", b"NHWC")
    )
