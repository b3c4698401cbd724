# Python 3.11:  pip install tensorflow-cpu==2.21.0 keras==3.15.1 scipy==1.17.1
"""What lies in folders of Keras 3: unzipped models, architectures apart from their weights, what training leaves behind."""
import os
import shutil
import tempfile

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from keras import layers

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = os.path.join(DATA, "models")
keras.utils.set_random_seed(73)
r = np.random.RandomState(73)


def keep(name, **arrays):
    np.savez_compressed(os.path.join(DATA, "expected", name + ".npz"), **arrays)


def folder(name, make=True):
    path = os.path.join(MODELS, name)
    shutil.rmtree(path, ignore_errors=True)
    if make:
        os.mkdir(path)
    return path


def write(path, name, text):
    with open(os.path.join(path, name), "w") as f:
        f.write(text)


def mlp():
    m = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="gelu"), layers.BatchNormalization(), layers.Dense(2)])
    m.compile(loss="mse", optimizer="adam")
    m.fit(r.randn(32, 4), r.randn(32, 2), epochs=2, verbose=0)
    return m


def unzipped():
    """As a user saves it; the Hub adds a README."""
    path, m, x = folder("keras3_unzipped", False), mlp(), r.randn(3, 4).astype("float32")
    keras.saving.save_model(m, path, zipped=False)
    shutil.rmtree(os.path.join(path, "assets"), ignore_errors=True)  # empty: git keeps no empty folders
    write(path, "README.md", "---\nlibrary_name: keras\n---\n")
    keep("keras3_unzipped", in_0=x, out_0=m.predict(x, verbose=0))


def unzipped_text():
    path = folder("keras3_unzipped_text", False)
    vectorize = layers.TextVectorization(max_tokens=12, output_sequence_length=4)
    vectorize.adapt(tf.constant(["a b c", "b c d e"]))
    i = keras.Input((), dtype="string", name="text")
    m = keras.Model(i, layers.Dense(2, name="out")(layers.GlobalAveragePooling1D()(layers.Embedding(12, 3)(vectorize(i)))))
    keras.saving.save_model(m, path, zipped=False)
    x = np.array(["a b", "zz c"])
    keep("keras3_unzipped_text", in_text=x, out_out=m(tf.constant(x)).numpy())


def apart():
    """With the best weights of the training beside those of its end."""
    path, m, x = folder("keras3_json"), mlp(), r.randn(3, 4).astype("float32")
    write(path, "model.json", m.to_json())
    m.save_weights(os.path.join(path, "best.weights.h5"))
    m.fit(r.randn(32, 4), r.randn(32, 2), epochs=1, verbose=0)
    m.save_weights(os.path.join(path, "model.weights.h5"))
    keep("keras3_json", in_0=x, out_0=m.predict(x, verbose=0))


def leftovers():
    """A whole model, and what its training left behind."""
    path, m, x = folder("keras3_leftovers"), mlp(), r.randn(3, 4).astype("float32")
    m.save_weights(os.path.join(path, "best.weights.h5"))
    m.save_weights(os.path.join(path, "epoch-02.weights.h5"))
    tf.train.Checkpoint(w=tf.Variable(1.0)).save(os.path.join(path, "ckpt"))
    store = keras.src.saving.saving_lib.H5IOStore(os.path.join(path, "optimizer.h5"), mode="w")
    m.optimizer.save_own_variables(store.make("optimizer"))
    store.close()
    m.fit(r.randn(32, 4), r.randn(32, 2), epochs=1, verbose=0)
    m.save(os.path.join(path, "model.keras"))
    write(path, "model.json", m.to_json())
    keep("keras3_leftovers", in_0=x, out_0=m.predict(x, verbose=0))


class Distiller(keras.Model):
    """A class that is only there for training."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


def train_step():
    """Itself, and as a layer of another model."""
    i = keras.Input((4,), name="x")
    m = Distiller(i, layers.Dense(2, name="y")(layers.Dense(3, activation="relu")(i)))
    m.compile("adam", "mse")
    m.fit(r.randn(32, 4), r.randn(32, 2), epochs=2, verbose=0)
    x = r.randn(3, 4).astype("float32")
    m.save(os.path.join(MODELS, "keras3_train_step.keras"))
    keep("keras3_train_step", in_x=x, out_y=m.predict(x, verbose=0))
    m = keras.Sequential([keras.Input((4,)), m, layers.Dense(1)])
    m.save(os.path.join(MODELS, "keras3_train_step_inside.keras"))
    keep("keras3_train_step_inside", in_0=x, out_0=m.predict(x, verbose=0))


def only_text():
    m = keras.Sequential([layers.TextVectorization(max_tokens=12, output_sequence_length=4)])
    m.layers[0].adapt(tf.constant(["a b c", "b c d e"]))
    x = np.array(["a b", "zz c"])
    m.save(os.path.join(MODELS, "keras3_only_text.keras"))  # before its first call
    keep("keras3_only_text", in_0=x, out_0=m(tf.constant(x)).numpy())


def log_softmax():
    m = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=tf.nn.log_softmax)])
    x = r.randn(3, 4).astype("float32")
    m.save(os.path.join(MODELS, "keras3_log_softmax.keras"))
    keep("keras3_log_softmax", in_0=x, out_0=m.predict(x, verbose=0))


def tfsm():
    """A layer that only points to a SavedModel."""
    with tempfile.TemporaryDirectory() as home:
        here = os.getcwd()
        os.chdir(home)
        mlp().export("exported", verbose=False)
        m = keras.Sequential([keras.Input((4,)), layers.TFSMLayer("exported", call_endpoint="serve")])
        m.save(os.path.join(MODELS, "keras3_tfsm.keras"))
        x = r.randn(3, 4).astype("float32")
        keep("keras3_tfsm", in_0=x, out_0=m.predict(x, verbose=0))
        os.chdir(here)


def stft():
    m = keras.Sequential([keras.Input((256, 1)), layers.STFTSpectrogram(frame_length=32, frame_step=16, fft_length=32),
                          layers.GlobalAveragePooling1D(), layers.Dense(2)])
    x = r.randn(2, 256, 1).astype("float32")
    m.save(os.path.join(MODELS, "keras3_stft.keras"))
    y = m.predict(x, verbose=0)
    keep("keras3_stft", in_0=x, out_0=y)
    m.export(folder("keras3_stft_exported", False), verbose=False)
    keep("keras3_stft_exported", in_0=x, out_0=y)


for make in (unzipped, unzipped_text, apart, leftovers, train_step, only_text, log_softmax, tfsm, stft):
    make()
