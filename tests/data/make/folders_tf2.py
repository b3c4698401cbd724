# Python 3.10, twice:  pip install tensorflow-cpu==2.13.1   and   pip install tensorflow-cpu==2.15.1
"""What lies in folders of the time of Keras 2.13 and 2.15, and archives that were saved on Windows.

Windows: the archives are saved here, with the path functions that Python has there (`ntpath`), so that the groups in the
file have the names they get there.
"""
import ntpath
import os
import shutil
import types

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

from keras.src.saving import saving_lib

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = os.path.join(DATA, "models")
TF = "tf" + "".join(tf.__version__.split(".")[:2])
keras.utils.set_random_seed(72)
r = np.random.RandomState(72)


def randomise(m):
    m.set_weights([np.abs(r.randn(*w.shape)) * 0.5 for w in m.get_weights()])


def keep(name, **arrays):
    np.savez_compressed(os.path.join(DATA, "expected", name + ".npz"), **arrays)


def folder(name):
    path = os.path.join(MODELS, name)
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    return path


def conv():
    return keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization(),
                             layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")])


def apart():
    """JSON, and weights in the layout of archives, which is of this version alone."""
    path, m, x = folder(TF + "_json"), conv(), r.rand(3, 6, 6, 2).astype("float32")
    randomise(m)
    with open(os.path.join(path, "model.json"), "w") as f:
        f.write(m.to_json())
    m.save_weights(os.path.join(path, "model.weights.h5"))
    keep(TF + "_json", in_0=x, out_0=m.predict(x, verbose=0))


def windows():
    real = tf.io.gfile.join

    def join(first, *rest):
        # Names of files in the archive, which zipfile writes with slashes everywhere.
        if first.startswith("assets"):
            return real(first, *rest)
        return real(first, *(p.replace("\\", "/") for p in rest)) if first.startswith("/") else ntpath.join(first, *rest)

    gfile = types.SimpleNamespace(**{n: getattr(tf.io.gfile, n) for n in dir(tf.io.gfile)})
    gfile.join = join
    saving_lib.tf = types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile))
    vectorize = layers.TextVectorization(max_tokens=12, output_sequence_length=4)
    vectorize.adapt(["a b c", "b c d e"])
    i = keras.Input((), dtype=tf.string, name="text")
    h = layers.LSTM(3)(layers.Embedding(12, 3)(vectorize(i)))
    m = keras.Model(i, layers.Dense(2, name="out")(h))
    for w in m.trainable_variables:
        w.assign(r.randn(*w.shape) * 0.5)
    x = np.array(["a b", "zz c"])
    m.save(os.path.join(MODELS, TF + "_windows.keras"))
    saving_lib.tf = tf
    keep(TF + "_windows", in_text=x, out_out=m(tf.constant(x), training=False).numpy())


class Distiller(keras.Model):
    """A class that is only there for training."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compiled_loss(y, self(x, training=True))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}


def train_step():
    i = keras.Input((4,), name="x")
    m = Distiller(i, layers.Dense(2, name="y")(layers.Dense(3, activation="relu")(i)))
    m.compile("adam", "mse")
    m.fit(r.randn(32, 4), r.randn(32, 2), epochs=2, verbose=0)
    x = r.randn(3, 4).astype("float32")
    for ending in ("h5", "keras"):
        name = TF + "_train_step_" + ending
        m.save(os.path.join(MODELS, name + "." + ending))
        keep(name, in_x=x, out_y=m.predict(x, verbose=0))


def log_softmax():
    m = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=tf.nn.log_softmax)])
    x = r.randn(3, 4).astype("float32")
    for ending in ("h5", "keras"):
        name = TF + "_log_softmax_" + ending
        m.save(os.path.join(MODELS, name + "." + ending))
        keep(name, in_0=x, out_0=m.predict(x, verbose=0))


for make in (apart, windows, train_step, log_softmax):
    make()
