# Python 3.10:  pip install tensorflow-cpu==2.13.1
"""Fixtures that tf.keras of TensorFlow 2.13 (Keras 2.13.1) saves, as HDF5 and as SavedModel."""
import os
import shutil

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, EXPECTED = os.path.join(DATA, "models"), os.path.join(DATA, "expected")


def seed(n):
    keras.backend.clear_session()
    keras.utils.set_random_seed(n)
    return np.random.RandomState(n)


def keep(name, **arrays):
    np.savez_compressed(os.path.join(EXPECTED, name + ".npz"), **arrays)


def depthwise():
    """DepthwiseConv2D inherits groups=1 from Conv2D and writes it into its configuration."""
    r = seed(41)
    m = keras.Sequential([
        layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, input_shape=(16, 16, 3)),
        layers.BatchNormalization(), layers.ReLU(6.0),
        layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.ReLU(6.0),
        layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")])
    m.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    m.fit(r.rand(64, 16, 16, 3).astype("float32"), r.randint(0, 3, 64), epochs=5, verbose=0)
    assert m.layers[3].get_config()["groups"] == 1
    x = r.rand(3, 16, 16, 3).astype("float32")
    m.save(os.path.join(MODELS, "tf2_depthwise_groups.h5"), include_optimizer=False)
    keep("tf2_depthwise_groups", in_0=x, out_0=m.predict(x, verbose=0))


def two_inputs():
    r = seed(42)
    a, b = keras.Input((4,), name="size"), keras.Input((2,), name="place")
    h = layers.Concatenate()([layers.Dense(6, activation="relu")(a), layers.Dense(4, activation="tanh")(b)])
    m = keras.Model([a, b], [layers.Dense(1, name="price")(h), layers.Dense(3, activation="softmax", name="kind")(h)])
    m.compile(loss={"price": "mse", "kind": "sparse_categorical_crossentropy"}, optimizer="adam")
    x = {"size": r.randn(64, 4).astype("float32"), "place": r.randn(64, 2).astype("float32")}
    m.fit(x, {"price": r.randn(64, 1), "kind": r.randint(0, 3, 64)}, epochs=5, verbose=0)
    x = {k: v[:4] for k, v in x.items()}
    price, kind = m.predict(x, verbose=0)
    for ending in ("h5", "keras"):
        name = "tf2_two_inputs" if ending == "h5" else "tf2_two_inputs_v3"
        m.save(os.path.join(MODELS, name + "." + ending))
        keep(name, in_size=x["size"], in_place=x["place"], out_price=price, out_kind=kind)


def savedmodel():
    r = seed(43)
    m = keras.Sequential([keras.Input((6,), name="features"), layers.Dense(5, activation="relu"),
                          layers.Dense(2, activation="softmax", name="probabilities")])
    m.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    m.fit(r.randn(64, 6).astype("float32"), r.randint(0, 2, 64), epochs=5, verbose=0)
    x = r.randn(4, 6).astype("float32")
    path = os.path.join(MODELS, "tf2_savedmodel_keras2")
    shutil.rmtree(path, ignore_errors=True)
    m.save(path)
    os.rmdir(os.path.join(path, "assets"))  # empty, and git keeps no empty folder
    keep("tf2_savedmodel_keras2", in_features=x, out_probabilities=m.predict(x, verbose=0))


def hard_sigmoid():
    """Keras 2: hard_sigmoid(x) = clip(0.2 x + 0.5, 0, 1). Keras 3: clip(x / 6 + 0.5, 0, 1); it loads this file and is wrong."""
    r = seed(44)
    m = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="hard_sigmoid"), layers.Dense(2)])
    m.compile(loss="mse", optimizer="adam")
    m.fit(r.randn(64, 4).astype("float32"), r.randn(64, 2), epochs=5, verbose=0)
    x = r.randn(4, 4).astype("float32")
    m.save(os.path.join(MODELS, "tf2_hard_sigmoid.h5"), include_optimizer=False)
    keep("tf2_hard_sigmoid", in_0=x, out_0=m.predict(x, verbose=0))


depthwise()
hard_sigmoid()
two_inputs()
savedmodel()
