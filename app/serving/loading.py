"""A model file becomes something that a plain TensorFlow session can run.

Keras files (`.keras`, `.h5`, `.hdf5`) are read by the Keras of their age and traced; a SavedModel
directory is taken as it is. Variables are then frozen into constants where that can be done. Lookup
tables cannot be frozen and graphs over 2 GB do not fit into one protocol buffer: these stay, or
become, SavedModels.

All of it happens in a process of its own (`app.serving.loader`): Keras keeps global state, runs
eagerly and executes parts of what it reads, none of which belongs into the serving process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2 as freeze_function,
)

from app.errors import LoadError
from app.serving import generating, keras_config, keras_files, reach, saved_model
from app.serving.signature import (
    Converted,
    Generation,
    GenerationRequest,
    Signature,
    TensorSpec,
)


def convert(
    source: Path, out: Path, *, trusted: bool, generation: GenerationRequest | None = None
) -> Converted:
    """Turn the model at `source` into files under the empty folder `out`.

    trusted: allow Lambda layers and run the `custom.py` beside the model. generation: also make
    the graph that writes texts.
    Raises LoadError, in words for the model's author.
    """
    if source.is_dir():
        if generation is not None:
            raise LoadError(
                "text-generation needs the model as a Keras file (.keras, .h5 or .hdf5): the "
                "layers of a SavedModel cannot be told apart"
            )
        return _convert_saved_model(source, out, trusted)
    file = keras_files.inspect(source, out)
    model = keras_files.read(file, source.parent, trusted=trusted)
    try:
        converted = _convert_keras(model, file, out, trusted)
        if generation is None:
            return converted
        return replace(converted, generation=_generation(model, generation, out, trusted))
    except LoadError:
        raise
    except Exception as error:  # whatever a layer does when it is called
        raise LoadError(
            f"the model was read, but cannot be traced: {keras_files.reason(error)}"
        ) from None


def _convert_saved_model(source: Path, out: Path, trusted: bool) -> Converted:
    offer = saved_model.read_offer(source, trusted=trusted)
    graph = saved_model.freeze(source, offer)
    path = source if graph is None else _written(graph, out)
    return Converted(
        path,
        offer.signature,
        frozen=graph is not None,
        tags=offer.tags,
        name=offer.name,
        others=offer.others,
    )


def _written(graph: bytes, out: Path, name: str = "graph.pb") -> Path:
    path = out / name
    path.write_bytes(graph)
    return path


# --- Keras models --------------------------------------------------------------------------------


def _convert_keras(model: Any, file: keras_files.KerasFile, out: Path, trusted: bool) -> Converted:
    specs = _input_specs(model)
    _forget_state(model)

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> list[Any]:
        outputs = model(_packed(model, list(tensors)), training=False)
        return [_dense(tensor) for tensor in tf.nest.flatten(outputs)]

    traced = serve.get_concrete_function()
    reach.check_graph(traced.graph.as_graph_def(), trusted=trusted)
    inputs, outputs = _input_names(model), _output_names(model)
    about = Signature(
        (),
        (),
        activation=_activation(model),
        parameters=int(model.count_params()),
        rescales=bool(keras_config.class_names(file.config) & keras_config.RESCALING_LAYERS),
    )
    frozen = _frozen(traced, len(inputs))
    if frozen is not None:
        graph, feeds, fetches = frozen
        signature = replace(about, inputs=_specs(feeds, inputs), outputs=_specs(fetches, outputs))
        return Converted(_written(graph, out), signature, frozen=True)
    path = out / "saved_model"
    _export(model, file.library, serve, specs, path)
    offer = saved_model.read_offer(path, trusted=trusted)
    signature = replace(
        about,
        inputs=_renamed(offer.signature.inputs, "in", inputs),
        outputs=_renamed(offer.signature.outputs, "out", outputs),
    )
    return Converted(path, signature, frozen=False, tags=offer.tags)


def _input_specs(model: Any) -> list[Any]:
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise LoadError(
            "the model has no fixed inputs (it is a subclass that was never built on a known "
            "shape): save it as a SavedModel with model.export() instead"
        )
    for tensor in model.inputs:
        spec = getattr(tensor, "type_spec", None)
        if isinstance(spec, (tf.RaggedTensorSpec, tf.SparseTensorSpec)) or (
            getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False)
        ):
            raise LoadError(f"the input {tensor.name!r} is a sparse or ragged tensor")
    return [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=f"in{i}")
        for i, tensor in enumerate(model.inputs)
    ]


def _forget_state(model: Any) -> None:
    """Requests are strangers to each other: no recurrent layer keeps its state between them."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and isinstance(
            layer, (keras.layers.RNN, tf_keras.layers.RNN)
        ):
            layer.stateful = False


def _is_sequential(model: Any) -> bool:
    return isinstance(model, (keras.Sequential, tf_keras.Sequential))


def _packed(model: Any, tensors: list[Any]) -> Any:
    """The inputs in the structure that the model was built on: one tensor, a list or a dict."""
    if _is_sequential(model):
        return tensors[0]
    return tf.nest.pack_sequence_as(model.input, tensors)


def _dense(tensor: Any) -> Any:
    if isinstance(tensor, tf.RaggedTensor):
        return tensor.to_tensor()
    return tf.sparse.to_dense(tensor) if isinstance(tensor, tf.SparseTensor) else tensor


def _frozen(traced: Any, inputs: int) -> tuple[bytes, list[Any], list[Any]] | None:
    """The graph with constants in place of variables, its inputs and outputs; None if it has
    state that cannot be frozen, or is too large."""
    if sum(w.shape.num_elements() * w.dtype.size for w in traced.variables) > (
        saved_model.MAX_FROZEN_BYTES
    ):
        return None
    try:
        function = freeze_function(traced)
    except Exception:  # resources that cannot become constants
        return None
    graph = saved_model.serialise(function.graph.as_graph_def())
    # A table is left as an input of its own.
    if graph is None or len(function.inputs) != inputs:
        return None
    return graph, function.inputs, function.outputs


def _export(
    model: Any, library: Any, serve: Callable[..., list[Any]], specs: list[Any], path: Path
) -> None:
    def endpoint(*tensors: Any) -> dict[str, Any]:
        return {f"out{i}": tensor for i, tensor in enumerate(serve(*tensors))}

    archive = library.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", endpoint, input_signature=specs)
    archive.write_out(str(path))


def _generation(model: Any, request: GenerationRequest, out: Path, trusted: bool) -> Generation:
    """The graph that writes texts, beside the model's own. Raises LoadError."""
    traced = generating.trace(model, _activation(model), request)
    reach.check_graph(traced.function.graph.as_graph_def(), trusted=trusted)
    count = len(traced.units)
    frozen = _frozen(traced.function, count + 4)
    if frozen is None:
        raise LoadError(
            "text-generation needs a model of less than 2 GB without lookup tables or other state"
        )
    graph, (token, *states, uniform, diversity, top_k), (drawn, probabilities, *new) = frozen
    return Generation(
        path=_written(graph, out, "generation.pb"),
        kind=traced.kind,
        token=token.name,
        states=_specs(states, [f"state{i}" for i in range(count)]),
        next_states=tuple(tensor.name for tensor in new),
        uniform=uniform.name,
        diversity=diversity.name,
        top_k=top_k.name,
        next_token=drawn.name,
        probabilities=probabilities.name,
        vocabulary=traced.vocabulary,
        window=traced.window,
        reason=traced.reason,
    )


# --- what the model says of itself ---------------------------------------------------------------


def _specs(tensors: list[Any], names: list[str]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=name,
            node=tensor.name,
            dtype=tensor.dtype.base_dtype.name,
            shape=None if tensor.shape.rank is None else tuple(tensor.shape.as_list()),
        )
        for tensor, name in zip(tensors, names, strict=True)
    )


def _renamed(
    tensors: tuple[TensorSpec, ...], prefix: str, names: list[str]
) -> tuple[TensorSpec, ...]:
    by_name = {t.name: t for t in tensors}
    return tuple(replace(by_name[f"{prefix}{i}"], name=name) for i, name in enumerate(names))


def _input_names(model: Any) -> list[str]:
    return _unique(_keys(model, "input") or [t.name.split(":")[0] for t in model.inputs])


def _output_names(model: Any) -> list[str]:
    return _unique(_keys(model, "output") or [_producer(t).name for t in model.outputs])


def _keys(model: Any, side: str) -> list[str]:
    """The names in the dictionary that the model takes or gives, in the order of its tensors."""
    if _is_sequential(model):
        return []
    structure = getattr(model, side)
    flat = isinstance(structure, dict) and len(tf.nest.flatten(structure)) == len(structure)
    return sorted(structure) if flat else []


def _unique(names: list[str]) -> list[str]:
    """A layer that gives several outputs gives each the same name."""
    return [
        f"{name}_{names[:i].count(name)}" if name in names[:i] else name
        for i, name in enumerate(names)
    ]


def _producer(tensor: Any) -> Any:
    """The layer that a symbolic tensor of Keras comes out of."""
    return tensor._keras_history[0]


def _activation(model: Any) -> str:
    """How the first output is to be read: the activation of the layer it comes from."""
    last = _producer(model.outputs[0])
    while getattr(last, "layers", None) or hasattr(last, "layer"):
        last = last.layers[-1] if getattr(last, "layers", None) else last.layer
    if type(last).__name__ in ("Softmax", "Sigmoid"):
        return type(last).__name__.lower()
    return getattr(getattr(last, "activation", None), "__name__", None) or "linear"
