# Python 3.6, twice:  pip install keras==1.2.2 (and keras==2.2.4) tensorflow==1.15.5 h5py==2.10.0 "protobuf<3.20" pyyaml==5.1
# Run with HOME set to an empty folder: Keras 1 writes and reads ~/.keras/keras.json.
"""Architectures apart from their weights, as the tutorials of the time had it: `to_json()` or `to_yaml()`, and `save_weights()`."""
import os
import shutil

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.models import Model, Sequential, model_from_json, model_from_yaml

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ONE = keras.__version__.startswith("1.")
np.random.seed(71)
tf.set_random_seed(71)
r = np.random.RandomState(71)


def keep(m, name, x, architecture, weights):
    folder = os.path.join(DATA, "models", name)
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    m.set_weights([np.abs(r.randn(*w.shape)) * 0.5 for w in m.get_weights()])
    text = m.to_yaml() if architecture.endswith(".yaml") else m.to_json()
    with open(os.path.join(folder, architecture), "w") as f:
        f.write(text)
    m.save_weights(os.path.join(folder, weights))
    again = (model_from_yaml if architecture.endswith(".yaml") else model_from_json)(text)
    again.load_weights(os.path.join(folder, weights))
    np.testing.assert_allclose(again.predict(x), m.predict(x), rtol=1e-5)
    np.savez_compressed(os.path.join(DATA, "expected", name + ".npz"), in_0=x, out_0=m.predict(x))


x = r.rand(3, 6, 6, 2).astype("float32")
if ONE:
    i = layers.Input((6, 6, 2))
    h = layers.Convolution2D(3, 3, 3, activation="relu", subsample=(2, 2), dim_ordering="tf")(i)
    keep(Model(i, layers.Dense(2)(layers.Flatten()(h))), "keras1_json", x, "model.json", "model.h5")
    m = Sequential([layers.Dense(5, input_dim=4, activation="tanh"), layers.Dense(1)])
    keep(m, "keras1_yaml", r.randn(3, 4).astype("float32"), "model.yaml", "weights.h5")
else:
    i = layers.Input((6, 6, 2))
    h = layers.BatchNormalization()(layers.Conv2D(3, (3, 2), strides=(2, 1), activation="relu")(i))
    m = Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(h)))
    keep(m, "keras2_yaml", np.abs(x), "model.yaml", "model.h5")
    m = Sequential([layers.LSTM(4, input_shape=(5, 3)), layers.Dense(2, activation="softmax")])
    keep(m, "keras2_json", r.randn(3, 5, 3).astype("float32"), "architecture.json", "my_weights.hdf5")
