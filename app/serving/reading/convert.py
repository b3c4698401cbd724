"""Converts a model file to a graph that a plain TensorFlow session can run.

Keras files (`.keras`, `.h5`, `.hdf5`) are read by the version of Keras that wrote them, and traced;
SavedModel directories are used as they are. If possible, variables are then frozen
(`app.serving.reading.freezing`). Lookup tables cannot be frozen: models with tables stay, or
become, SavedModels.

All of this happens in a process of its own (`app.serving.reading.process`): Keras keeps global
state, runs eagerly and executes parts of what it reads, none of which belongs in the serving
process.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from app.errors import LoadError
from app.resources.memory import free_memory
from app.serving.cards.card import Precision
from app.serving.reading import (
    freezing,
    graph_rules,
    model_contents,
    saved_function,
    saved_model,
    text_graph,
)
from app.serving.reading.keras import keras_file
from app.serving.reading.keras.recurrent import series_inputs
from app.serving.reading.model_files import SAVED_MODEL
from app.serving.reading.outputs.graph import compile_config, keras_meanings
from app.serving.reading.outputs.grid import grids
from app.serving.reading.picture_scale.evidence import picture_evidence
from app.serving.reading.text_evidence import text_evidence
from app.serving.signature import (
    Converted,
    Generation,
    GenerationRequest,
    OutputMeaning,
    Signature,
    TensorSpec,
)


def convert(
    source: Path,
    out: Path,
    *,
    trusted: bool,
    generation: GenerationRequest | None = None,
    precision: Precision = "float32",
) -> Converted:
    """Convert the model at `source` to files under the empty folder `out`.

    trusted: allow Lambda layers and run the `custom.py` beside the model. generation: also build
    the graph that generates text. precision: of the session that will run it.
    Raises LoadError with a message for the model's author.
    """
    converted, frozen = _read(source, out, trusted, generation, precision)
    if frozen is None:
        return converted
    # Frees the memory of Keras for the constants.
    free_memory()
    signatures = (converted.signature, *converted.others.values())
    named = [t.node for s in signatures for t in (*s.inputs, *s.outputs)]
    return replace(converted, weights=freezing.optimise(frozen, named, precision))


def _read(
    source: Path,
    out: Path,
    trusted: bool,
    generation: GenerationRequest | None,
    precision: Precision,
) -> tuple[Converted, freezing.FrozenGraph | None]:
    """Read the model. Returns its graph as well, unless that is already written."""
    source, design = model_contents.choose(source)
    if (source / SAVED_MODEL).is_file():
        if generation is not None:
            raise LoadError(
                "text-generation needs the model as a Keras file (.keras, .h5 or .hdf5): the "
                "layers of a SavedModel can no longer be identified"
            )
        return _convert_saved_model(source, out, trusted)
    file = keras_file.inspect(source, out, design)
    home = source if source.is_dir() else source.parent
    model = keras_file.read(file, home, trusted=trusted)
    try:
        converted, frozen = _convert_keras(model, file, out, trusted)
        if generation is None:
            return converted, frozen
        meaning = converted.signature.meanings[0]
        made = _generation(model, generation, meaning, out, trusted, precision)
        return replace(converted, generation=made), frozen
    except LoadError:
        raise
    except Exception as error:  # a layer may raise anything when it is called
        raise LoadError(
            f"the model was read, but cannot be traced: {keras_file.reason(error)}"
        ) from None


def _convert_saved_model(
    source: Path, out: Path, trusted: bool
) -> tuple[Converted, freezing.FrozenGraph | None]:
    try:
        found = saved_model.read_signatures(source, trusted=trusted)
    except saved_model.NoSignature as error:
        copy = saved_function.add_signature(source, error.meta, out / "signed", trusted=trusted)
        if copy is None:
            raise
        source, found = copy, saved_model.read_signatures(copy, trusted=trusted)
    frozen, about = saved_model.freeze(source, found, out)
    if frozen is not None:
        shutil.rmtree(out / "signed", ignore_errors=True)
    converted = Converted(
        source if frozen is None else out / freezing.GRAPH_FILE,
        about,
        frozen=frozen is not None,
        tags=found.tags,
        name=found.name,
        others=found.others,
    )
    return converted, frozen


# --- Keras models --------------------------------------------------------------------------------


def _convert_keras(
    model: Any, file: keras_file.KerasFile, out: Path, trusted: bool
) -> tuple[Converted, freezing.FrozenGraph | None]:
    specs = _input_specs(model)
    _make_stateless(model)

    def call(tensors: list[Any]) -> Any:
        return model(_packed(model, tensors), training=False)

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> list[Any]:
        return [_dense(tensor) for tensor in tf.nest.flatten(call(list(tensors)))]

    traced = serve.get_concrete_function()
    graph_rules.check_graph(traced.graph.as_graph_def(), trusted=trusted)
    inputs, outputs = _input_names(model), _output_names(model)
    feeds = _specs(traced.inputs[: len(inputs)], inputs)
    about = Signature(
        (),
        (),
        meanings=keras_meanings(traced, outputs, compile_config(file)),
        parameters=int(model.count_params()),
        pictures=picture_evidence(model, call, feeds),
        texts=text_evidence(traced.graph, dict(zip(inputs, traced.inputs, strict=False)), feeds),
        series=series_inputs(model, feeds),
        grids=grids(dict(zip(outputs, traced.outputs, strict=True))),
    )
    frozen = freezing.freeze_function(traced, out)
    if frozen is not None:
        signature = replace(about, inputs=feeds, outputs=_specs(traced.outputs, outputs))
        return Converted(out / freezing.GRAPH_FILE, signature, frozen=True), frozen
    path = out / "saved_model"
    _export(model, file.library, serve, specs, path)
    found = saved_model.read_signatures(path, trusted=trusted)
    signature = replace(
        about,
        inputs=_renamed(found.signature.inputs, "in", inputs),
        outputs=_renamed(found.signature.outputs, "out", outputs),
    )
    return Converted(path, signature, frozen=False, tags=found.tags), None


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


def _make_stateless(model: Any) -> None:
    """Stop recurrent layers from keeping their state between calls: requests are independent."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and isinstance(
            layer, (keras.layers.RNN, tf_keras.layers.RNN)
        ):
            layer.stateful = False


def _is_sequential(model: Any) -> bool:
    return isinstance(model, (keras.Sequential, tf_keras.Sequential))


def _packed(model: Any, tensors: list[Any]) -> Any:
    """Return the inputs in the structure that the model was built with: one tensor, a list or a
    dictionary."""
    if _is_sequential(model):
        return tensors[0]
    return tf.nest.pack_sequence_as(model.input, tensors)


def _dense(tensor: Any) -> Any:
    if isinstance(tensor, tf.RaggedTensor):
        return tensor.to_tensor()
    return tf.sparse.to_dense(tensor) if isinstance(tensor, tf.SparseTensor) else tensor


def _export(
    model: Any, library: Any, serve: Callable[..., list[Any]], specs: list[Any], path: Path
) -> None:
    def endpoint(*tensors: Any) -> dict[str, Any]:
        return {f"out{i}": tensor for i, tensor in enumerate(serve(*tensors))}

    archive = library.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", endpoint, input_signature=specs)
    archive.write_out(str(path))


def _generation(
    model: Any,
    request: GenerationRequest,
    meaning: OutputMeaning,
    out: Path,
    trusted: bool,
    precision: Precision,
) -> Generation:
    """Write the graph that generates text, beside the model's own. meaning: that of the model's
    output. Raises LoadError."""
    traced = text_graph.trace(model, meaning, request)
    graph_rules.check_graph(traced.function.graph.as_graph_def(), trusted=trusted)
    count = len(traced.units)
    folder = out / "generation"
    folder.mkdir()
    frozen = freezing.freeze_function(traced.function, folder)
    if frozen is None:
        raise LoadError("text-generation needs a model without lookup tables or other state")
    token, *states, uniform, diversity, top_k = traced.function.inputs[: count + 4]
    drawn, probabilities, *new = traced.function.outputs
    named = [t.name for t in (*traced.function.inputs[: count + 4], *traced.function.outputs)]
    return Generation(
        path=folder / freezing.GRAPH_FILE,
        weights=freezing.optimise(frozen, named, precision),
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


# --- names and shapes ----------------------------------------------------------------------------


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
    """Return the keys of the dictionary that the model takes or returns, in the order of its
    tensors."""
    if _is_sequential(model):
        return []
    structure = getattr(model, side)
    flat = isinstance(structure, dict) and len(tf.nest.flatten(structure)) == len(structure)
    return sorted(structure) if flat else []


def _unique(names: list[str]) -> list[str]:
    """Number repeated names: the outputs of one layer all have its name."""
    return [
        f"{name}_{names[:i].count(name)}" if name in names[:i] else name
        for i, name in enumerate(names)
    ]


def _producer(tensor: Any) -> Any:
    """Return the layer that a symbolic tensor of Keras is the output of."""
    return tensor._keras_history[0]
