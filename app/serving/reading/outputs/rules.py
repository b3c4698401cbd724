"""What each operation of TensorFlow makes of the facts about its inputs.

Operations without a rule give values of which nothing is known, and nothing before them is looked
at.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from app.serving.reading.outputs import facts, shape_rules
from app.serving.reading.outputs.facts import UNKNOWN, Fact
from app.serving.reading.outputs.walk import Node, Rule


def fact(node: Node) -> Fact:
    """Return what is known of the values of one output of an operation."""
    rule = _RULES.get(node.op.type)
    return UNKNOWN if rule is None else rule(node)


# --- activations ----------------------------------------------------------------------------------


def _softmax(node: Node) -> Fact:
    shape = node.shape
    if shape is None or len(shape) < 2:
        return UNKNOWN
    if shape[-1] == 1:
        return facts.numbers("a softmax of one unit, which is always 1,", 1.0, 1.0)
    return facts.shares()


def _log_softmax(node: Node) -> Fact:
    return facts.logarithm(_softmax(node))


def _sigmoid(_node: Node) -> Fact:
    return facts.each()


def _numbers(low: float = -math.inf, high: float = math.inf) -> Rule:
    def rule(node: Node) -> Fact:
        return facts.numbers(node.op.type, low, high)

    return rule


def _relu(node: Node) -> Fact:
    before = node.fact()
    if before.low >= 0:
        return before
    return facts.numbers("Relu", 0.0, max(0.0, before.high))


def _relu6(node: Node) -> Fact:
    before = node.fact()
    if before.low >= 0 and before.high <= 6:
        return before
    return facts.numbers("Relu6", 0.0, 6.0)


# --- layers with weights --------------------------------------------------------------------------


def _linear(node: Node) -> Fact:
    """A product of weights and what comes before."""
    one = sum(not node.is_weight(i) for i in range(node.count)) == 1
    return Fact("linear") if one else UNKNOWN


def _biased(node: Node) -> Fact:
    before = node.fact()
    return before if before.form == "linear" else UNKNOWN


# --- arithmetic -----------------------------------------------------------------------------------


def _uniform(node: Node, index: int) -> float | None:
    """Return the only value of an input that is a constant, if it leaves the shape as it is."""
    value = node.constant(index)
    if value is None or value.dtype.kind not in "fiu" or value.size == 0:
        return None
    if value.min() != value.max():
        return None
    other, shape = node.shape_of(1 - index), node.shape
    same = value.size == 1 or (other is not None and other == shape)
    return float(value.flat[0]) if same else None


def _add(node: Node) -> Fact:
    for own, other in ((0, 1), (1, 0)):
        by = _uniform(node, other)
        if by is not None:
            return facts.shifted(node.fact(own), by)
        if node.is_weight(other):
            before = node.fact(own)
            return before if before.form == "linear" else UNKNOWN
    return facts.added(node.fact(0), node.fact(1), alike=_alike(node))


def _add_n(node: Node) -> Fact:
    total, *others = node.facts()
    for other in others:
        total = facts.added(total, other, alike=_alike(node))
    return total


def _alike(node: Node) -> bool:
    shapes = {node.shape_of(i) for i in range(node.count)}
    return len(shapes) == 1 and None not in shapes


def _subtract(node: Node) -> Fact:
    by = _uniform(node, 1)
    if by is not None:
        return facts.shifted(node.fact(0), -by)
    of = _uniform(node, 0)
    if of is not None:
        return facts.complement(node.fact(1), of)
    if node.is_weight(1):
        return _biased(node)
    return UNKNOWN


def _negate(node: Node) -> Fact:
    # As tf.math.log_sigmoid is computed: -softplus(x) is the logarithm of the sigmoid of -x.
    if node.source(0).tensor.op.type == "Softplus":
        return facts.logarithm(facts.each())
    return facts.scaled(node.fact(), -1.0)


def _multiply(node: Node) -> Fact:
    for own, other in ((0, 1), (1, 0)):
        by = _uniform(node, other)
        if by is not None:
            return facts.scaled(node.fact(own), by)
        if node.constant(other) is not None:
            before = node.fact(own)
            return facts.numbers("Mul") if before.form != "unknown" else UNKNOWN
    if node.is_weight(0) or node.is_weight(1):
        return UNKNOWN
    return facts.multiplied(node.fact(0), node.fact(1))


def _divide(node: Node) -> Fact:
    by = _uniform(node, 1)
    if by is not None:
        return facts.scaled(node.fact(0), 1 / by) if by else UNKNOWN
    of = _uniform(node, 0)
    if of is not None and of >= 0:
        below = node.fact(1)
        if below.low > 0:
            return Fact("unknown", low=of / below.high, high=of / below.low)
        return UNKNOWN
    return _share_of_sum(node)


def _share_of_sum(node: Node) -> Fact:
    """The shares of values that are not negative in their sum."""
    above, below = node.source(0), node.source(1)
    op = below.tensor.op
    if op.type != "Sum" or not op.get_attr("keep_dims"):
        return UNKNOWN
    summed = node.walk.resolved(below.input(0))
    axes, shape = node.walk.constant(below.input(1)), above.shape
    if not summed.same(above) or shape is None:
        return UNKNOWN
    if axes is None or axes.size != 1 or node.fact(0).low < 0:
        return UNKNOWN
    axis = int(axes.flat[0]) % len(shape) - len(shape)
    return facts.shares(axis) if len(shape) + axis > 0 and shape[axis] != 1 else UNKNOWN


def _maximum(node: Node) -> Fact:
    return _clipped(node, lambda value: (value, math.inf))


def _minimum(node: Node) -> Fact:
    return _clipped(node, lambda value: (-math.inf, value))


def _clipped(node: Node, bounds: Callable[[float], tuple[float, float]]) -> Fact:
    for own, other in ((0, 1), (1, 0)):
        value = _uniform(node, other)
        if value is not None:
            return facts.clipped(node.fact(own), *bounds(value))
    a, b = node.facts()
    return facts.joined([a.as_each, b.as_each])


def _clip_by_value(node: Node) -> Fact:
    low, high = node.constant(1), node.constant(2)
    if low is None or high is None or low.size != 1 or high.size != 1:
        return UNKNOWN
    return facts.clipped(node.fact(0), float(low.flat[0]), float(high.flat[0]))


def _exp(node: Node) -> Fact:
    return facts.exponential(node.fact())


def _log(node: Node) -> Fact:
    return facts.logarithm(node.fact())


def _not_negative(_node: Node) -> Fact:
    return Fact("unknown", low=0.0)


def _select(node: Node) -> Fact:
    return facts.joined([node.fact(1).as_each, node.fact(2).as_each])


def _same(node: Node) -> Fact:
    return node.fact()


def _merge(node: Node) -> Fact:
    return facts.joined(list(node.facts()))


_RULES: dict[str, Rule] = {
    **shape_rules.RULES,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "Sigmoid": _sigmoid,
    "Relu": _relu,
    "Relu6": _relu6,
    **dict.fromkeys(("LeakyRelu", "Elu", "Selu", "FusedBatchNormV3", "FusedBatchNorm"), _numbers()),
    **dict.fromkeys(("Tanh", "Softsign", "Sin", "Cos", "Sign"), _numbers(-1.0, 1.0)),
    **dict.fromkeys(("Softplus", "ArgMax", "ArgMin"), _numbers(0.0)),
    **dict.fromkeys(("Round", "Rint", "Floor", "Ceil"), _numbers()),
    "OneHot": _numbers(),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum"), _linear),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative"), _linear),
    "BiasAdd": _biased,
    **dict.fromkeys(("Add", "AddV2"), _add),
    "AddN": _add_n,
    "Sub": _subtract,
    "Neg": _negate,
    "Mul": _multiply,
    **dict.fromkeys(("RealDiv", "Div"), _divide),
    "Maximum": _maximum,
    "Minimum": _minimum,
    "ClipByValue": _clip_by_value,
    "Exp": _exp,
    "Log": _log,
    **dict.fromkeys(("Square", "Abs", "Sqrt", "Rsqrt", "SquaredDifference"), _not_negative),
    **dict.fromkeys(("Select", "SelectV2"), _select),
    **dict.fromkeys(("CheckNumerics", "PreventGradient", "Enter", "Exit", "Switch"), _same),
    "Merge": _merge,
}
