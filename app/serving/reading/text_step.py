"""One step of a Keras model that reads text: a token in, the scores of the next one out.

A recurrent layer keeps all that it knows of the text so far in its state. Carried from step to
step, the state makes each token cost one step, however long the text is. The layers are replayed on
a single token, each through its own `call` or its own cell, so that no formula is written twice.

Both Keras 3 and tf_keras are replayed here, since their layers agree in everything that is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
import tf_keras


class Unsteppable(Exception):
    """The model cannot be replayed token by token. `str()` explains why."""


def _classes(*names: str) -> tuple[type, ...]:
    """Return the layer classes of these names in both libraries."""
    return tuple(getattr(library.layers, name) for library in (keras, tf_keras) for name in names)


# Exactly these classes: an author's subclass may do anything.
_EMBEDDING = _classes("Embedding")
_RECURRENT = _classes("LSTM", "GRU", "SimpleRNN", "RNN")
_CELLS = _classes("LSTMCell", "GRUCell", "SimpleRNNCell")
_STACKED_CELLS = _classes("StackedRNNCells")
# These act only in training, or on padding, which is never replayed.
_IDENTITY = _classes(
    "Dropout",
    "SpatialDropout1D",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Masking",
)
_PER_FEATURE = _classes("Dense", "Activation", "ReLU", "LeakyReLU", "ELU")
# Per token only if they work along the last axis.
_ALONG_AN_AXIS = _classes("LayerNormalization", "Softmax")
_BATCH_NORMALIZATION = _classes("BatchNormalization")
_TIME_DISTRIBUTED = _classes("TimeDistributed")
_INPUT = _classes("InputLayer")
_PER_TOKEN = (
    *_PER_FEATURE,
    *_ALONG_AN_AXIS,
    *_BATCH_NORMALIZATION,
    *_TIME_DISTRIBUTED,
    *_IDENTITY,
)


class Stepper:
    """One step of a model.

    units: the width of each state, in the order in which the model runs its layers, and within a
    layer as its cell lists them (for an LSTM h, then c).
    num_tokens: how many tokens the model can read.
    Raises Unsteppable.
    """

    def __init__(self, model: Any) -> None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise Unsteppable("the model has several inputs or outputs")
        for layer in model._flatten_layers():
            _check_direction(layer)
        self._layers = list(_chain(model))
        first, shape = self._layers[0] if self._layers else None, model.inputs[0].shape
        self._embedding = first if type(first) in _EMBEDDING else None
        if self._embedding is not None:
            self.num_tokens = int(self._embedding.input_dim)
            self._layers = self._layers[1:]
        elif len(shape) == 3 and shape[2] is not None:
            self.num_tokens = int(shape[2])
        else:
            raise Unsteppable("the model does not begin with an Embedding or one-hot vectors")
        self.units: list[int] = []
        for layer in self._layers:
            if type(layer) in _RECURRENT:
                self.units += _state_sizes(layer)
            elif type(layer) not in _PER_TOKEN:
                raise _unknown(layer)

    def __call__(self, token: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Replay the layers, while TensorFlow traces.

        token: int32 (n,). states: float32 (n, units) each. Returns the model's output after this
        token, (n, vocabulary), and the new states.
        Raises Unsteppable if a layer looks along the text.
        """
        # One token is a text of length 1, so that layers keep the rank that they were built for.
        if self._embedding is not None:
            # Keras attaches a mask to its tensors and would pass it on: `identity` removes it.
            x = tf.identity(self._embedding(token[:, None]))
        else:
            x = tf.one_hot(token, self.num_tokens)[:, None]
        remaining, new = list(states), []
        for layer in self._layers:
            if type(layer) in _RECURRENT:
                own = [remaining.pop(0) for _ in tf.nest.flatten(layer.cell.state_size)]
                x, stepped = _advance(layer, x, own)
                new += stepped
            else:
                x = _apply(layer, x)
        return (x[:, 0] if x.shape.rank == 3 else x), new


def _advance(layer: Any, x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """Run one step of a recurrent layer. x: (n, 1, features)."""
    structure = _plain(layer.cell.state_size)
    own = tf.nest.pack_sequence_as(structure, [tf.cast(s, layer.compute_dtype) for s in states])
    output, new = layer.cell(x[:, 0], own, training=False)
    carried = [tf.cast(s, tf.float32) for s in tf.nest.flatten(new)]
    return (output[:, None] if layer.return_sequences else output), carried


def _plain(structure: Any) -> Any:
    """Return plain nested lists: tf_keras wraps structures in types that cannot be packed."""
    if isinstance(structure, (list, tuple)):
        return [_plain(part) for part in structure]
    return structure


def _apply(layer: Any, x: Any) -> Any:
    """Apply a layer that processes each token by itself. x: (n, 1, features) or (n, features)."""
    kind = type(layer)
    if kind in _IDENTITY:
        return x
    if kind in _TIME_DISTRIBUTED:
        if type(layer.layer) not in _PER_TOKEN:
            raise _unknown(layer.layer)
        return _apply(layer.layer, x[:, 0])[:, None]
    if kind in _ALONG_AN_AXIS or kind in _BATCH_NORMALIZATION:
        rank = x.shape.rank
        if any(axis % rank != rank - 1 for axis in tf.nest.flatten(layer.axis)):
            raise Unsteppable(f"the layer {layer.name!r} looks along the text, not along features")
    return layer(x, training=False) if kind in _BATCH_NORMALIZATION else layer(x)


# --- which models can be replayed -----------------------------------------------------------------


def _check_direction(layer: Any) -> None:
    """Refuse a layer that needs more than the text so far, in terms that the model's author
    knows."""
    kind, name = type(layer).__name__, f"the layer {layer.name!r}"
    if kind == "Bidirectional":
        raise Unsteppable(f"{name} reads the text in both directions")
    if getattr(layer, "go_backwards", False):
        raise Unsteppable(f"{name} reads the text backwards")
    if kind.endswith("Attention"):
        raise Unsteppable(f"{name} looks back at every token for each new one")
    if "Conv" in kind:
        raise Unsteppable(f"{name} reads several tokens at a time")
    if kind == "Flatten" or "Pooling" in kind:
        raise Unsteppable(f"{name} takes the whole text at once")


def _unknown(layer: Any) -> Unsteppable:
    return Unsteppable(
        f"the layer {layer.name!r} ({type(layer).__name__}) is not known to work token by token"
    )


def _state_sizes(layer: Any) -> list[int]:
    """Return the width of each state of a recurrent layer."""
    cells = [layer.cell]
    if type(layer.cell) in _STACKED_CELLS:
        cells = list(layer.cell.cells)
    for cell in cells:
        if type(cell) not in _CELLS:
            raise _unknown(cell)
    if getattr(layer, "time_major", False):
        raise Unsteppable(f"the layer {layer.name!r} has the text along its first axis")
    return [int(size) for size in tf.nest.flatten(layer.cell.state_size)]


def _chain(model: Any) -> Iterator[Any]:
    """Yield the layers from the input to the only output, with nested models replaced by their
    layers."""
    found = []
    tensor = model.outputs[0]
    while True:
        layer, node_index, tensor_index = tensor._keras_history
        if type(layer) in _INPUT:
            break
        tensors = _inputs(layer._inbound_nodes[node_index])
        if len(tensors) != 1:
            raise Unsteppable(f"the layer {layer.name!r} has several inputs")
        if tensor_index != 0:
            raise Unsteppable(f"the layer {layer.name!r} has several outputs")
        found.append(layer)
        tensor = tensors[0]
    for layer in reversed(found):
        if isinstance(layer, (keras.Model, tf_keras.Model)):
            if len(layer.inputs) != 1 or len(layer.outputs) != 1:
                raise Unsteppable(f"the layer {layer.name!r} has several inputs or outputs")
            yield from _chain(layer)
        else:
            yield layer


def _inputs(node: Any) -> list[Any]:
    """Return the tensors that a layer is called with, without the mask, which Keras 3 lists too."""
    of_keras3 = getattr(node, "arguments", None)
    call = (of_keras3.args, of_keras3.kwargs) if of_keras3 else (node.call_args, node.call_kwargs)
    others = {name: value for name, value in call[1].items() if name != "mask"}
    return [t for t in tf.nest.flatten([call[0], others]) if hasattr(t, "_keras_history")]
