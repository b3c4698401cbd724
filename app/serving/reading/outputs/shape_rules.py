"""What operations that move, select and reduce values make of the facts about their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from app.serving.reading.outputs import facts
from app.serving.reading.outputs.facts import UNKNOWN, Fact
from app.serving.reading.outputs.walk import Node, Rule

# --- types and shapes -----------------------------------------------------------------------------


def _cast(node: Node) -> Fact:
    source, target = node.op.inputs[0].dtype, node.place.tensor.dtype
    if source.is_floating and target.is_floating:
        return node.fact()
    low, high = (0.0, 1.0) if source.is_bool else (-math.inf, math.inf)
    return facts.numbers("a cast to or from whole numbers", low, high)


def _reshape(node: Node) -> Fact:
    return facts.reshaped(node.fact(), node.shape_of(), node.shape)


def _transpose(node: Node) -> Fact:
    before, shape, order = node.fact(), node.shape_of(), node.constant(1)
    if before.form != "shares":
        return before
    if shape is None or order is None:
        return UNKNOWN  # it may now be along the rows
    return _moved(
        before, [int(i) % len(shape) for i in order].index(len(shape) + before.axis), len(shape)
    )


def _moved(before: Fact, position: int, rank: int) -> Fact:
    """Return the fact with its axis at another position; unknown at that of the rows."""
    return (
        facts.shares(position - rank, before.total)
        if position > 0 and not before.log
        else (_log_shares(position - rank) if position > 0 else UNKNOWN)
    )


def _log_shares(axis: int) -> Fact:
    return facts.logarithm(facts.shares(axis))


def _concat(node: Node) -> Fact:
    axis = node.constant(node.count - 1)
    parts = list(node.facts(node.count - 1))
    rank = None if node.shape is None else len(node.shape)
    if axis is None or rank is None:
        return facts.joined([part.as_each for part in parts])
    along = int(axis.flat[0]) % rank - rank
    if along == -1 and rank > 1 and _complementary(node):
        return facts.shares()
    if all(part.form == "shares" and part.axis != along for part in parts):
        return facts.joined(parts)
    if len(parts) > 1 and all(part.form == "linear" for part in parts):
        return facts.numbers("several layers side by side")
    return facts.joined([part.as_each for part in parts])


def _complementary(node: Node) -> bool:
    """Tell whether the two parts are a probability of one unit, and that of the contrary."""
    if node.count != 3:
        return False
    for one, other in ((0, 1), (1, 0)):
        minus = node.source(one)
        shape = minus.shape
        if minus.tensor.op.type != "Sub" or shape is None or shape[-1] != 1:
            continue
        of, less = node.walk.constant(minus.input(0)), node.walk.resolved(minus.input(1))
        if (
            node.source(other).same(less)
            and of is not None
            and of.size == 1
            and float(of.flat[0]) == 1.0
        ):
            before = node.fact(other)
            return before.probable and before.whole
    return False


def _pack(node: Node) -> Fact:
    parts, shape = list(node.facts()), node.shape
    if shape is None or any(part.form != "shares" for part in parts):
        return facts.joined([part.as_each for part in parts])
    at = node.op.get_attr("axis") % len(shape)
    whole = facts.joined(parts)
    if whole.form != "shares":
        return whole
    position = len(shape) - 1 + whole.axis
    return _moved(whole, position + (position >= at), len(shape))


def _part(axis: Callable[[Node], Any], value: int) -> Rule:
    """The rule of operations that divide the input numbered `value` along an axis."""

    def rule(node: Node) -> Fact:
        before, shape, along = node.fact(value), node.shape_of(value), axis(node)
        if before.form != "shares" or shape is None or along is None:
            return before.as_each
        along, position = int(along) % len(shape), len(shape) + before.axis
        if along == position:
            return before.as_each
        removed = node.op.type == "Unpack" and along < position
        return _moved(before, position - removed, len(node.shape or shape))

    return rule


def _scalar(node: Node, index: int) -> Any:
    value = node.constant(index)
    return None if value is None or value.size != 1 else value.flat[0]


def _strided_slice(node: Node) -> Fact:
    before, shape = node.fact(), node.shape_of()
    if before.form != "shares":
        return before
    if shape is None or node.shape is None:
        return before.as_each
    position = len(shape) + before.axis
    kept = _kept_dimensions(node, len(shape))
    if kept is None or position not in kept:
        return before.as_each
    return _moved(before, kept.index(position), len(kept))


def _kept_dimensions(node: Node, rank: int) -> list[int] | None:
    """Return the dimensions of the input that a slice keeps, those cut as -1, in the order of its
    output."""
    masks = {
        name: node.op.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    steps = node.constant(3)
    if steps is None or masks["new_axis"]:
        return None
    kept: list[int] = []
    dimension = 0
    for i in range(steps.size):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            inside = rank - (steps.size - 1)
            kept += range(dimension, dimension + inside)
            dimension += inside
            continue
        if not masks["shrink_axis"] & bit:
            whole = masks["begin"] & bit and masks["end"] & bit and abs(int(steps[i])) == 1
            kept.append(dimension if whole else -1)
        dimension += 1
    return kept + list(range(dimension, rank))


def _slice(node: Node) -> Fact:
    before, shape, after = node.fact(), node.shape_of(), node.shape
    if before.form != "shares" or shape is None or after is None:
        return before.as_each
    whole = shape[before.axis] is not None and shape[before.axis] == after[before.axis]
    return before if whole else before.as_each


def _tile(node: Node) -> Fact:
    """Repetitions of the input along its dimensions."""
    before, shape, after = node.fact(), node.shape_of(), node.shape
    if before.form != "shares" or shape is None or after is None or len(shape) > len(after):
        return before.as_each
    whole = shape[before.axis] is not None and shape[before.axis] == after[before.axis]
    return before if whole else before.as_each


# --- reductions -----------------------------------------------------------------------------------


def _axes(node: Node, rank: int) -> list[int] | None:
    axes = node.constant(1)
    return None if axes is None else [int(i) % rank for i in axes.reshape(-1)]


def _mean(node: Node) -> Fact:
    return _reduced(node, average=True)


def _sum(node: Node) -> Fact:
    return _reduced(node, average=False)


def _reduced(node: Node, *, average: bool) -> Fact:
    shape = node.shape_of()
    axes = None if shape is None else _axes(node, len(shape))
    if shape is None or axes is None or 0 in axes:
        return UNKNOWN
    before = node.fact()
    if before.form == "linear":
        return UNKNOWN if len(shape) - 1 in axes else before
    if not before.probable:
        if average:
            return before if before.form == "numbers" else before.bounds_only
        return Fact("unknown", low=0.0) if before.low >= 0 else UNKNOWN
    over = before.form == "shares" and len(shape) + before.axis in axes
    if over:
        return facts.numbers("a sum of probabilities", 0.0)
    whole = before
    if not average:
        sizes = [shape[i] for i in axes]
        if None in sizes:
            return Fact("unknown", low=0.0)
        whole = facts.scaled(before, float(math.prod(size or 0 for size in sizes)))
    if before.form == "shares" and not node.op.get_attr("keep_dims"):
        position = len(shape) + before.axis
        gone = sum(i < position for i in set(axes))
        return _moved(whole, position - gone, len(shape) - len(set(axes)))
    return whole


def _extreme(node: Node) -> Fact:
    """The largest or the least of several values."""
    shape = node.shape_of()
    axes = None if shape is None else _axes(node, len(shape))
    if shape is None or axes is None or 0 in axes:
        return UNKNOWN
    before = node.fact().as_each
    return (
        facts.numbers(node.op.type, before.low, before.high) if before.form == "linear" else before
    )


def _pooled(node: Node) -> Fact:
    """Means of neighbours in pictures: channel by channel."""
    before = node.fact()
    return before if before.form != "shares" or before.axis == -1 else before.as_each


def _max_pooled(node: Node) -> Fact:
    before = node.fact().as_each
    return facts.numbers("MaxPool", before.low, before.high) if before.form == "linear" else before


RULES: dict[str, Rule] = {
    "Cast": _cast,
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze"), _reshape),
    "Transpose": _transpose,
    "ConcatV2": _concat,
    "Pack": _pack,
    "Unpack": _part(lambda node: node.op.get_attr("axis"), 0),
    "Split": _part(lambda node: _scalar(node, 0), 1),
    "SplitV": _part(lambda node: _scalar(node, 2), 0),
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "GatherV2": _part(lambda _node: None, 0),
    **dict.fromkeys(("Tile", "BroadcastTo"), _tile),
    "Mean": _mean,
    "Sum": _sum,
    **dict.fromkeys(("Max", "Min"), _extreme),
    **dict.fromkeys(("AvgPool", "AvgPool3D", "ResizeBilinear", "ResizeNearestNeighbor"), _pooled),
    **dict.fromkeys(("MaxPool", "MaxPool3D"), _max_pooled),
}
