"""CuDNNLSTM and CuDNNGRU, layers of Keras 2 that only a GPU can run, as LSTM and GRU.

These compute the same, and tf_keras converts the weights while it reads an HDF5 file
(`preprocess_weights_for_loading` in saving/legacy/hdf5_format.py).
"""

from __future__ import annotations

from typing import Any

import tf_keras


class _Portable:
    """Builds `layer` from the configuration of a cuDNN layer. settings: those that cuDNN fixes,
    which its layers do not save."""

    def __init__(self, layer: Any, **settings: Any) -> None:
        self._layer = layer
        self._settings = settings

    def from_config(self, config: dict[str, Any]) -> Any:
        """Return the layer. tf_keras calls this."""
        return self._layer.from_config({**config, **self._settings})


# `custom_objects` of `load_model`, in place of the classes of these names.
PORTABLE = {
    "CuDNNLSTM": _Portable(
        tf_keras.layers.LSTM, activation="tanh", recurrent_activation="sigmoid", use_bias=True
    ),
    "CuDNNGRU": _Portable(
        tf_keras.layers.GRU,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        reset_after=True,
    ),
}
