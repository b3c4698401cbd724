"""The layer that keras3_custom.keras needs; its registered name is ``my_package>HaloLayer``."""

import keras


@keras.saving.register_keras_serializable(package="my_package")
class HaloLayer(keras.layers.Layer):
    """(batch, features) -> the same shape: ``strength * gain * (x - (left + right) / 2)``.

    Neighbours wrap around.
    """

    def __init__(self, strength=0.5, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gain")

    def call(self, inputs):
        left, right = keras.ops.roll(inputs, 1, axis=-1), keras.ops.roll(inputs, -1, axis=-1)
        return self.strength * self.gain * (inputs - (left + right) / 2.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "strength": self.strength}
