# Python 3.10, twice:  pip install tensorflow-cpu==2.13.1   and   pip install tensorflow-cpu==2.14.1
"""The archives of Keras 2.13 and 2.14, whose layout no later Keras reads."""
import os

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
keras.utils.set_random_seed(46)
r = np.random.RandomState(46)


def keep(m, name, x, **arrays):
    for w in m.trainable_variables:
        w.assign(r.randn(*w.shape) * 0.5)
    m.save(os.path.join(DATA, "models", name + ".keras"))
    out = m(x if isinstance(x, list) else tf.constant(x), training=False).numpy()
    np.savez_compressed(os.path.join(DATA, "expected", name + ".npz"), out_out=out, **arrays)


def text():
    vectorize = layers.TextVectorization(max_tokens=12, output_sequence_length=4)
    vectorize.adapt(["a b c", "b c d e"])
    i = keras.Input((), dtype=tf.string, name="text")
    h = layers.GlobalAveragePooling1D()(layers.Embedding(12, 3)(vectorize(i)))
    x = np.array(["a b", "zz c"])
    keep(keras.Model(i, layers.Dense(2, name="out")(h)), "tf213_zip_text", x, in_text=x)


def nested():
    """A model inside, used twice, and two layers of the same class."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(3)])
    a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    m = keras.Model([a, b], layers.Dense(2, name="out")(layers.Add()([inner(a), inner(b)])))
    x = [r.randn(2, 4).astype("float32") for _ in range(2)]
    keep(m, "tf214_zip_nested", x, in_left=x[0], in_right=x[1])


text() if tf.__version__.startswith("2.13") else nested()
