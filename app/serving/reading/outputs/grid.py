"""The places of an output's pixels in the picture that goes in, from the operations between them.

A convolution with valid padding leaves out a border, one with a stride takes pixels from each
other, and so on: the arithmetic of V. Dumoulin and F. Visin, "A guide to convolution arithmetic for
deep learning" (2016), here of the centres of pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from app.serving.reading.outputs.facts import UNKNOWN
from app.serving.reading.outputs.walk import Place, Walk
from app.serving.signature import Grid

log = logging.getLogger(__name__)

# Height and width of (rows, height, width, channels); a map may have lost its channels.
_AXES = (1, 2)
_START = Grid((1.0, 1.0), (0.0, 0.0))
# Operations of which each pixel of the result has its place from the same pixel of the inputs.
_PIXELWISE = frozenset(
    {"Cast", "BiasAdd", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "LRN", "Neg"}
    | {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign"}
    | {"Softmax", "LogSoftmax", "Exp", "Log", "Log1p", "Abs", "Square", "Sqrt", "Rsqrt", "Erf"}
    | {"Round", "Floor", "Ceil", "ClipByValue", "Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv"}
    | {"Div", "Maximum", "Minimum", "SquaredDifference", "Pow", "Select", "SelectV2"}
    | {"Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalNot"}
)
_RESIZES = frozenset({"ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic", "ResizeArea"})


class _Unclear(Exception):
    """The places do not follow from the operations that are known here."""


def grids(outputs: Mapping[str, Any]) -> dict[str, Grid]:
    """Return the grids of those outputs of a graph, by their names, that are maps of a picture and
    whose places are certain. outputs: their tensors."""
    found = {}
    walk = Walk(lambda node: UNKNOWN)
    for name, tensor in outputs.items():
        if tensor.shape.rank not in (3, 4):
            continue
        try:
            found[name] = _Grids(walk).of(Place(tensor))
        except _Unclear:
            continue
        except Exception as error:  # a graph may hold anything
            log.warning("the places of %s were not found out: %s", name, error)
    return found


class _Grids:
    """The grids of tensors, each worked out once."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._known: dict[tuple[int, str, int | None], Grid] = {}

    def of(self, place: Place) -> Grid:
        """Return the grid of a tensor. Raises _Unclear."""
        stack = [self._walk.resolved(place)]
        asked = set()
        while stack:
            place = stack[-1]
            before = [self._walk.resolved(each) for each in self._before(place)]
            missing = [each for each in before if _key(each) not in self._known]
            if missing:
                if _key(place) in asked:
                    raise _Unclear  # a loop
                asked.add(_key(place))
                stack += missing
                continue
            self._known[_key(place)] = self._grid(place, before)
            stack.pop()
        return self._known[_key(place)]

    def _before(self, place: Place) -> list[Place]:
        """The tensors whose pixels become those of this one."""
        op = place.tensor.op
        inputs = [place.input(i) for i in range(len(op.inputs))]
        if op.type == "Placeholder":
            return []
        if op.type == "Conv2DBackpropInput":
            return inputs[2:]
        if op.type in _PIXELWISE:
            return [each for each in inputs if not _is_everywhere(each.shape)]
        if op.type == "ConcatV2":
            return inputs[:-1]
        if op.type == "Reshape" and (repeated := self._repeated(place)) is not None:
            return [repeated[0]]
        return inputs[:1]

    def _grid(self, place: Place, before: Sequence[Place]) -> Grid:
        op = place.tensor.op
        if op.type == "Placeholder":
            if place.call is not None or place.tensor.shape.rank not in (3, 4):
                raise _Unclear
            return _START
        grids = [self._known[_key(each)] for each in before]
        if not grids:
            raise _Unclear
        if op.type in _PIXELWISE or op.type == "ConcatV2":
            if op.type == "ConcatV2" and not _is_channel(self._constant(place, -1), place.shape):
                raise _Unclear
            return _common(grids)
        rule = _RULES.get(op.type)
        if rule is None:
            raise _Unclear
        steps = rule(self, place)
        (grid,) = grids
        moved = [_moved(grid, axis, *step) for axis, step in enumerate(steps)]
        return Grid((moved[0][0], moved[1][0]), (moved[0][1], moved[1][1]))

    # --- rules: for each axis, where pixel i of the result lies in the input: step * i + first ---

    def _convolved(self, place: Place) -> list[tuple[float, float]]:
        op = place.tensor.op
        strides, dilations = _spatial(op.get_attr("strides")), [1, 1]
        if op.type in ("MaxPool", "AvgPool"):
            kernel = _spatial(op.get_attr("ksize"))
        else:
            kernel, dilations = self._kernel(place), _spatial(op.get_attr("dilations"))
        _check_format(op)
        sizes = _sizes(place.input(0))
        steps = []
        for axis in range(2):
            stride, reach = strides[axis], dilations[axis] * (kernel[axis] - 1)
            before = self._padding(op, axis, stride, reach + 1, sizes[axis])
            steps.append((float(stride), reach / 2 - before))
        return steps

    def _transposed(self, place: Place) -> list[tuple[float, float]]:
        op = place.tensor.op
        _check_format(op)
        strides, kernel = _spatial(op.get_attr("strides")), self._kernel(place)
        if _spatial(op.get_attr("dilations")) != [1, 1]:
            raise _Unclear
        steps = []
        for axis, size in enumerate(_sizes(place)):
            # One that is open is a multiple of the stride, unless a layer says otherwise.
            known = 0 if size is None else size
            before = self._padding(op, axis, strides[axis], kernel[axis], known)
            middle = (kernel[axis] - 1) / 2
            steps.append((1 / strides[axis], (before - middle) / strides[axis]))
        return steps

    def _dilated(self, place: Place) -> list[tuple[float, float]]:
        """The rule of what stands around a convolution that is dilated."""
        op = place.tensor.op
        blocks, edges = self._constant(place, 1), self._constant(place, 2)
        if len(blocks) != 2:
            raise _Unclear
        if op.type == "SpaceToBatchND":
            return [(float(b), -float(e[0])) for b, e in zip(blocks, edges, strict=True)]
        return [(1 / b, e[0] / b) for b, e in zip(blocks, edges, strict=True)]

    def _padding(self, op: Any, axis: int, stride: int, kernel: int, size: int | None) -> int:
        """Pixels that are added before the first one. size: of what is convolved."""
        padding = op.get_attr("padding")
        if padding == b"VALID":
            return 0
        if padding == b"EXPLICIT":
            return int(op.get_attr("explicit_paddings")[2 * _AXES[axis]])
        # How far the size is from a multiple of the stride.
        missing = range(stride) if size is None else [-size % stride]
        before = {max(kernel - stride + each, 0) // 2 for each in missing}
        if len(before) > 1:
            raise _Unclear
        return before.pop()

    def _kernel(self, place: Place) -> list[int]:
        shape = place.input(1).shape
        if shape is None or None in shape[:2]:
            raise _Unclear
        return [int(size or 0) for size in shape[:2]]

    def _padded(self, place: Place) -> list[tuple[float, float]]:
        paddings = self._constant(place, 1)
        return [(1.0, -float(paddings[axis][0])) for axis in _AXES]

    def _cut(self, place: Place) -> list[tuple[float, float]]:
        op, shape = place.tensor.op, place.shape
        begin = self._constant(place, 1)
        if shape is None or len(begin) <= max(_AXES):
            raise _Unclear
        if op.type == "Slice":
            return [(1.0, float(begin[axis])) for axis in _AXES]
        masks = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
        if any(op.get_attr(mask) for mask in masks):
            raise _Unclear
        strides, mask = self._constant(place, 3), op.get_attr("begin_mask")
        steps = []
        for axis in _AXES:
            first = 0 if mask >> axis & 1 else int(begin[axis])
            if first < 0 or strides[axis] < 1:
                raise _Unclear
            steps.append((float(strides[axis]), float(first)))
        return steps

    def _resized(self, place: Place) -> list[tuple[float, float]]:
        op = place.tensor.op
        if op.get_attr("align_corners"):
            raise _Unclear
        blocks = op.type == "ResizeNearestNeighbor"
        centred = blocks or (op.type != "ResizeArea" and op.get_attr("half_pixel_centers"))
        factors = self._factors(place)
        return [(1 / f, (0.5 / f - 0.5) if centred else 0.0) for f in factors]

    def _factors(self, place: Place) -> list[float]:
        """How many times as high and wide the result is."""
        before, after = _sizes(place.input(0)), _sizes(place)
        if all(before) and all(after):
            return [b / a for a, b in zip(before, after, strict=True) if a and b]
        sizes = self._walk.resolved(place.input(1))
        parts = [sizes]
        if sizes.tensor.op.type == "Pack":
            parts = [self._walk.resolved(sizes.input(i)) for i in range(2)]
        factors: list[float] = []
        for part in parts:
            if part.tensor.op.type != "Mul":
                raise _Unclear
            found = [self._walk.constant(part.input(i)) for i in range(2)]
            known = [each for each in found if each is not None]
            if len(known) != 1:
                raise _Unclear
            factors += [float(each) for each in known[0].reshape(-1)]
        if len(factors) == 1:
            factors *= 2
        if len(factors) != 2:
            raise _Unclear
        return factors

    def _reshaped(self, place: Place) -> list[tuple[float, float]]:
        """The rule of `tf.repeat` along an axis: ExpandDims, Tile, Reshape."""
        repeated = self._repeated(place)
        if repeated is None:
            raise _Unclear
        _, axis, times = repeated
        step = (1 / times, 0.5 / times - 0.5)
        return [step if each == axis else (1.0, 0.0) for each in _AXES]

    def _repeated(self, place: Place) -> tuple[Place, int, int] | None:
        """What is repeated, along which axis, and how often; None if this is nothing like it."""
        tile = self._walk.resolved(place.input(0))
        if tile.tensor.op.type != "Tile" or place.tensor.shape.rank != 4:
            return None
        expanded = self._walk.resolved(tile.input(0))
        if expanded.tensor.op.type != "ExpandDims" or tile.tensor.shape.rank != 5:
            return None
        at, times = self._constant(expanded, 1), self._walk.resolved(tile.input(1))
        axis = int(at) % 5
        count = tile.tensor.shape[axis]
        ones = self._walk.constant(times)
        if ones is not None:
            others = [int(each) for each in ones]
        elif times.tensor.op.type == "Pack":
            found = [self._walk.constant(times.input(i)) for i in range(5)]
            others = [0 if each is None else int(each) for each in found]
        else:
            return None
        if count is None or any(each != 1 for i, each in enumerate(others) if i != axis):
            return None
        return expanded.input(0), axis - 1, int(count)

    def _shuffled(self, place: Place) -> list[tuple[float, float]]:
        _check_format(place.tensor.op)
        size = place.tensor.op.get_attr("block_size")
        if place.tensor.op.type == "SpaceToDepth":
            return [(float(size), (size - 1) / 2)] * 2
        return [(1 / size, 0.5 / size - 0.5)] * 2

    def _without_channels(self, place: Place) -> list[tuple[float, float]]:
        """The rule of what reads, adds or takes away channels alone."""
        op = place.tensor.op
        rank = place.input(0).tensor.shape.rank
        if op.type == "Squeeze":
            axes = op.get_attr("squeeze_dims")
        else:
            axes = np.atleast_1d(self._constant(place, 1)).tolist()
        if op.type == "ExpandDims":
            rank = None if rank is None else rank + 1
        if rank not in (3, 4) or [axis % rank for axis in axes] != [3]:
            raise _Unclear
        return [(1.0, 0.0)] * 2

    def _constant(self, place: Place, index: int) -> Any:
        value = self._walk.constant(place.input(index))
        if value is None:
            raise _Unclear
        return value


_RULES: dict[str, Callable[[_Grids, Place], list[tuple[float, float]]]] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"), _Grids._convolved),
    "Conv2DBackpropInput": _Grids._transposed,
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _Grids._padded),
    **dict.fromkeys(("StridedSlice", "Slice"), _Grids._cut),
    **dict.fromkeys(_RESIZES, _Grids._resized),
    "Reshape": _Grids._reshaped,
    **dict.fromkeys(("SpaceToBatchND", "BatchToSpaceND"), _Grids._dilated),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _Grids._shuffled),
    **dict.fromkeys(
        ("ArgMax", "Max", "Min", "Mean", "Sum", "Squeeze", "ExpandDims"), _Grids._without_channels
    ),
}


def _key(place: Place) -> tuple[int, str, int | None]:
    call = None if place.call is None else id(place.call)
    return id(place.tensor.graph), place.tensor.name, call


def _is_everywhere(shape: tuple[int | None, ...] | None) -> bool:
    """Whether a tensor is the same for all pixels: a number, a vector, or a map of one pixel."""
    return shape is not None and (len(shape) < 3 or (len(shape) == 4 and shape[1:3] == (1, 1)))


def _is_channel(axis: Any, shape: tuple[int | None, ...] | None) -> bool:
    return shape is not None and len(shape) == 4 and int(axis) % 4 == 3


def _common(grids: Sequence[Grid]) -> Grid:
    """Return the grid that tensors have in common."""
    first = grids[0]
    for other in grids[1:]:
        if not np.allclose((first.step, first.first), (other.step, other.first), atol=1e-6):
            raise _Unclear
    return first


def _moved(grid: Grid, axis: int, step: float, first: float) -> tuple[float, float]:
    return grid.step[axis] * step, grid.first[axis] + grid.step[axis] * first


def _spatial(numbers: Sequence[int]) -> list[int]:
    return [int(numbers[axis]) for axis in _AXES]


def _sizes(place: Place) -> list[int | None]:
    shape = place.shape
    return [None, None] if shape is None or len(shape) < 3 else [shape[axis] for axis in _AXES]


def _check_format(op: Any) -> None:
    if op.get_attr("data_format") != b"NHWC":
        raise _Unclear
