"""Reads the HDF5 files of Keras 1 (2016 and before).

No current Keras knows these layers by their old names, but tf_keras still converts their weights.
So the configuration is translated to Keras 2, tf_keras builds the model and reads the weights, and
differences in meaning are corrected. Settings that only training needs are left out. A layer or
mode that is not translated here is refused by name: a model that loads must be right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import tf_keras

from app.errors import LoadError

Config = dict[str, Any]

DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}
MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
}
# Layers that depend on the order of dimensions but do not save it.
UNSAVED_ORDER = frozenset({"ZeroPadding2D", "Cropping2D", "UpSampling2D"})
FLIPPED_BY_THEANO = frozenset({"Conv1D", "Conv2D"})

REBUILD = "rebuild the model in a current Keras and copy its weights"


class Rule(NamedTuple):
    """The name of a layer in Keras 2, and its settings: as `new=old`, or as one word if both are
    the same."""

    name: str
    settings: str = ""


_ORDER = "data_format=dim_ordering"
_CONV = "filters=nb_filter padding=border_mode activation use_bias=bias"
_CONV1D = f"{_CONV} kernel_size=filter_length strides=subsample_length"
_CONV2D = f"{_CONV} strides=subsample {_ORDER}"
_POOL1D = "pool_size=pool_length strides=stride padding=border_mode"
_POOL2D = f"pool_size strides padding=border_mode {_ORDER}"
_RNN = "units=output_dim activation return_sequences go_backwards stateful unroll"
_GATED = f"{_RNN} recurrent_activation=inner_activation"

RULES = {
    "Activation": Rule("Activation", "activation"),
    "ActivityRegularization": Rule("Activation"),
    "AtrousConvolution1D": Rule("Conv1D", f"{_CONV1D} dilation_rate=atrous_rate"),
    "AtrousConvolution2D": Rule("Conv2D", f"{_CONV2D} dilation_rate=atrous_rate"),
    "AveragePooling1D": Rule("AveragePooling1D", _POOL1D),
    "AveragePooling2D": Rule("AveragePooling2D", _POOL2D),
    "BatchNormalization": Rule("BatchNormalization", "axis epsilon momentum"),
    "Convolution1D": Rule("Conv1D", _CONV1D),
    "Convolution2D": Rule("Conv2D", _CONV2D),
    "Cropping1D": Rule("Cropping1D", "cropping"),
    "Cropping2D": Rule("Cropping2D", f"cropping {_ORDER}"),
    "Dense": Rule("Dense", "units=output_dim activation use_bias=bias"),
    "Dropout": Rule("Dropout", "rate=p"),
    "ELU": Rule("ELU", "alpha"),
    "Embedding": Rule("Embedding", "input_dim output_dim mask_zero input_length"),
    "Flatten": Rule("Flatten"),
    "GRU": Rule("GRU", _GATED),
    "GaussianDropout": Rule("GaussianDropout", "rate=p"),
    "GaussianNoise": Rule("GaussianNoise", "stddev=sigma"),
    "GlobalAveragePooling1D": Rule("GlobalAveragePooling1D"),
    "GlobalAveragePooling2D": Rule("GlobalAveragePooling2D", _ORDER),
    "GlobalMaxPooling1D": Rule("GlobalMaxPooling1D"),
    "GlobalMaxPooling2D": Rule("GlobalMaxPooling2D", _ORDER),
    "LSTM": Rule("LSTM", _GATED),
    "LeakyReLU": Rule("LeakyReLU", "alpha"),
    "Masking": Rule("Masking", "mask_value"),
    "MaxPooling1D": Rule("MaxPooling1D", _POOL1D),
    "MaxPooling2D": Rule("MaxPooling2D", _POOL2D),
    "PReLU": Rule("PReLU"),
    "Permute": Rule("Permute", "dims"),
    "RepeatVector": Rule("RepeatVector", "n"),
    "Reshape": Rule("Reshape", "target_shape"),
    "SeparableConvolution2D": Rule("SeparableConv2D", f"{_CONV2D} depth_multiplier"),
    "SimpleRNN": Rule("SimpleRNN", _RNN),
    "SpatialDropout1D": Rule("SpatialDropout1D", "rate=p"),
    "SpatialDropout2D": Rule("SpatialDropout2D", f"rate=p {_ORDER}"),
    "ThresholdedReLU": Rule("ThresholdedReLU", "theta"),
    "TimeDistributedDense": Rule("Dense", "units=output_dim activation use_bias=bias"),
    "UpSampling1D": Rule("UpSampling1D", "size=length"),
    "UpSampling2D": Rule("UpSampling2D", f"size {_ORDER}"),
    "ZeroPadding1D": Rule("ZeroPadding1D", "padding"),
    "ZeroPadding2D": Rule("ZeroPadding2D", f"padding {_ORDER}"),
}


def read(path: Path, config: Config) -> Any:
    """Read the model in the file, as a tf_keras model with its weights.

    config: the file's `model_config`. Raises LoadError for anything without an equivalent in Keras
    2; errors of tf_keras about a broken configuration pass through.
    """
    names = _weight_names(path)
    try:
        translated = _Translation("th" in _orders(config)).model(config)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise LoadError(
            f"the Keras 1 model's configuration is incomplete: {type(error).__name__}: {error}"
        ) from None
    model = tf_keras.models.model_from_json(json.dumps(translated))
    try:
        model.load_weights(path, by_name=True)
    except (ValueError, IndexError, KeyError) as error:
        # One known case: a recurrent layer in a nested model.
        raise LoadError(
            "the weights in the Keras 1 file do not fit the translated model: "
            f"{' '.join(str(error).split())[:300]}; {REBUILD}"
        ) from None
    _check_complete(model, names)
    # TensorFlow's names of variables end in `:0`, Theano's do not.
    if any(not name.endswith(":0") for group in names.values() for name in group):
        _flip_kernels(model)
    return model


def _weight_names(path: Path) -> dict[str, list[str]]:
    """Return the names of the weights in the file, by layer."""
    with h5py.File(path, "r") as file:
        # Files with only weights have no group around them.
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            raise LoadError(
                "the file was written by a Keras before 1.0, which stored weights without names: "
                "load it there and save it with a later Keras"
            )
        layers = [_text(name) for name in group.attrs["layer_names"]]
        return {name: [_text(w) for w in group[name].attrs["weight_names"]] for name in layers}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _check_complete(model: Any, names: dict[str, list[str]]) -> None:
    """Check that each layer has got its weights: they are assigned by the layer's name, and unknown
    names are skipped."""
    expected = {layer.name for layer in model.layers if layer.weights}
    found = {name for name, group in names.items() if group}
    if expected != found:
        layers = ", ".join(sorted(expected ^ found))
        raise LoadError(f"the file's weights do not belong to its architecture: see layer {layers}")


def _flip_kernels(model: Any) -> None:
    """Mirror the kernels of convolutions in space: Theano convolves where TensorFlow correlates."""
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ in FLIPPED_BY_THEANO:
            kernel, *rest = layer.get_weights()
            axes = tuple(range(kernel.ndim - 2))
            layer.set_weights([np.flip(kernel, axes), *rest])


def _orders(node: Any) -> set[str]:
    """Return every order of dimensions that the configuration mentions."""
    if isinstance(node, dict):
        found = {node["dim_ordering"]} if isinstance(node.get("dim_ordering"), str) else set()
        return found.union(*(_orders(value) for value in node.values()))
    return set().union(*(_orders(value) for value in node)) if isinstance(node, list) else set()


@dataclass(frozen=True)
class _Translation:
    """Translates configurations of Keras 1 to Keras 2.

    channels_first: the order for layers that do not save theirs.
    """

    channels_first: bool

    def model(self, entry: Config) -> Config:
        config = entry["config"]
        if entry["class_name"] == "Sequential":
            layers = config if isinstance(config, list) else config["layers"]
            if layers[0]["class_name"] == "Merge":
                return self._branches(layers)
            name = entry.get("name") or "sequential"
            translated = [self.layer(layer) for layer in layers]
            if "batch_input_shape" in layers[0]["config"]:
                translated.insert(0, _input_layer(layers[0]["config"]))
            return {"class_name": "Sequential", "config": {"name": name, "layers": translated}}
        if entry["class_name"] != "Model":
            raise _refusal(entry, "a custom model class")
        layers = []
        for old in config["layers"]:
            new = self.layer(old)
            # The graph, and the weights, refer to a nested model by this name.
            new["config"]["name"] = old["name"]
            layers.append({**new, "name": old["name"], "inbound_nodes": old["inbound_nodes"]})
        return {"class_name": "Functional", "config": {**config, "layers": layers}}

    def layer(self, entry: Config) -> Config:
        kind, old = entry["class_name"], entry["config"]
        if kind in ("Model", "Sequential"):
            return self.model(entry)
        new: Config = {"name": old["name"]}
        if kind == "InputLayer":
            new |= {"batch_input_shape": old["batch_input_shape"]}
            new |= {"dtype": old.get("input_dtype") or "float32", "sparse": old.get("sparse")}
            return {"class_name": kind, "config": new}
        if kind == "Merge":
            return _merge(entry, new)
        if kind in ("TimeDistributed", "Bidirectional"):
            new["layer"] = self.layer(old["layer"])
            if kind == "Bidirectional":
                new["merge_mode"] = old["merge_mode"]
            return {"class_name": kind, "config": new}
        if kind not in RULES:
            raise _refusal(entry)
        if kind == "BatchNormalization" and old.get("mode", 0) != 0:
            raise _refusal(entry, f"mode {old['mode']}")
        rule = RULES[kind]
        new |= self._settings(rule, old)
        return {"class_name": rule.name, "config": new}

    def _settings(self, rule: Rule, old: Config) -> Config:
        new: Config = {}
        for setting in rule.settings.split():
            to, _, source = setting.partition("=")
            value = old.get(source or to)
            if to == "data_format":
                value = DATA_FORMATS.get(str(value))
                if value is None and rule.name in UNSAVED_ORDER and self.channels_first:
                    value = "channels_first"
            if value is not None:
                new[to] = value
        if "nb_row" in old:
            new["kernel_size"] = [old["nb_row"], old["nb_col"]]
        if rule.name.startswith("ZeroPadding"):
            new["padding"] = _padding(rule.name, new["padding"])
        if rule.name == "GRU":
            new["reset_after"] = False
        if rule.name == "Activation":
            new.setdefault("activation", "linear")
        return new

    def _branches(self, entries: list[Config]) -> Config:
        """Translate `Sequential([Merge([branch, …]), …])` to a graph with an input for each
        branch."""
        layers: list[Config] = []
        inputs: list[str] = []

        def chain(entries: list[Config], sources: list[str]) -> list[str]:
            for entry in entries:
                new = self.layer(entry)
                name = new["config"]["name"]
                nodes = [[[source, 0, 0, {}] for source in sources]]
                layers.append({**new, "name": name, "inbound_nodes": nodes})
                sources = [name]
            return sources

        def branch(entries: list[Config]) -> list[str]:
            first = entries[0]
            if first["class_name"] != "Merge":
                start = _input_layer(first["config"])
                inputs.append(start["config"]["name"])
                layers.append({**start, "name": inputs[-1], "inbound_nodes": []})
                return chain(entries, inputs[-1:])
            ends: list[str] = []
            for part in first["config"]["layers"]:
                if part["class_name"] != "Sequential":
                    raise _refusal(first, "a branch that is not Sequential")
                ends += branch(part["config"])
            return chain(entries, ends)

        outputs = branch(entries)
        config = {
            "name": "model",
            "layers": layers,
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [[name, 0, 0] for name in outputs],
        }
        return {"class_name": "Functional", "config": config}


def _input_layer(first: Config) -> Config:
    """Return the input that Keras 1 adds before the first layer of a Sequential, under the same
    name."""
    config = {
        "name": f"{first['name']}_input",
        "batch_input_shape": first["batch_input_shape"],
        "dtype": first.get("input_dtype") or "float32",
    }
    return {"class_name": "InputLayer", "config": config}


def _merge(entry: Config, new: Config) -> Config:
    old = entry["config"]
    mode = old["mode"] if old.get("mode_type", "raw") == "raw" else "function"
    if mode not in MERGES:
        raise _refusal(entry, f"mode {mode!r}")
    if mode == "concat":
        new["axis"] = old["concat_axis"]
    if mode == "dot":
        new["axes"] = old["dot_axes"]
    return {"class_name": MERGES[mode], "config": new}


def _padding(layer: str, padding: Any) -> Any:
    """Convert padding to its form in Keras 2: Keras 1 also takes the sides by name, or four numbers
    in a row."""
    if isinstance(padding, dict):
        sides = ("left", "right") if layer.endswith("1D") else ("top", "bottom", "left", "right")
        padding = [padding.get(f"{side}_pad", 0) for side in sides]
    if isinstance(padding, list) and len(padding) == 4:
        return [padding[:2], padding[2:]]
    return padding


def _refusal(entry: Config, what: str = "") -> LoadError:
    config = entry["config"]
    name = config.get("name") if isinstance(config, dict) else None
    return LoadError(
        f"the Keras 1 file has the layer {name or entry.get('name')!r} of the class "
        f"{entry['class_name']!r}{f', {what}' if what else ''}, which is not translated: {REBUILD}"
    )
