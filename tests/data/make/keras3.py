# Python 3.11:  pip install tensorflow-cpu==2.21.0 keras==3.15.1
"""Fixtures that Keras 3.15 saves on its TensorFlow backend."""
import importlib.util
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from keras import layers

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, EXPECTED = os.path.join(DATA, "models"), os.path.join(DATA, "expected")


def seed(n):
    keras.backend.clear_session()
    keras.utils.set_random_seed(n)
    return np.random.RandomState(n)


def keep(name, **arrays):
    np.savez_compressed(os.path.join(EXPECTED, name + ".npz"), **arrays)


def save(model, name):
    model.save(os.path.join(MODELS, name + ".keras"))


def text():
    seed(61)
    sentences = tf.constant(["the film was good", "a very good play", "what a bad film", "the worst play of all",
                             "good good good", "bad and boring"])
    vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=6)
    vectorize.adapt(sentences)
    i = keras.Input((), dtype="string", name="text")
    h = layers.Embedding(20, 4)(vectorize(i))
    m = keras.Model(i, layers.Dense(2, activation="softmax", name="mood")(layers.GlobalAveragePooling1D()(h)))
    m.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(0.05))
    m.fit(sentences, np.array([1, 1, 0, 0, 1, 0]), epochs=20, verbose=0)
    save(m, "keras3_text")
    x = np.array(["A good film!", "boring, bad", "unheard words only", ""])
    keep("keras3_text", in_text=x, out_mood=m(tf.constant(x)).numpy())


def lookup():
    r = seed(62)
    colour, amount = keras.Input((1,), dtype="string", name="colour"), keras.Input((2,), name="amount")
    index = layers.StringLookup(vocabulary=["red", "green", "blue"], num_oov_indices=1, output_mode="one_hot")
    norm = layers.Normalization()
    values = r.normal([10, -3], [4, 0.5], (64, 2)).astype("float32")
    norm.adapt(values)
    out = layers.Dense(1, name="score")(layers.Concatenate()([index(colour), norm(amount)]))
    m = keras.Model({"colour": colour, "amount": amount}, out)
    m.compile(loss="mse", optimizer=keras.optimizers.Adam(0.05))
    colours = tf.constant(r.choice(["red", "green", "blue", "pink"], (64, 1)).tolist())
    m.fit({"colour": colours, "amount": values}, r.randn(64, 1), epochs=3, verbose=0)
    save(m, "keras3_lookup")
    x = np.array([["red"], ["blue"], ["mauve"]])
    keep("keras3_lookup", in_colour=x, in_amount=values[:3],
         out_score=m({"colour": tf.constant(x), "amount": tf.constant(values[:3])}).numpy())


def unsafe():
    """A Lambda layer (Python bytecode inside the file) and a class of somebody's own package."""
    r = seed(63)
    x = r.randn(3, 4).astype("float32")
    double = eval(compile("lambda t: t * 2.0 + 1.0", "lambda.py", "eval"))  # the bytecode carries its file's path: keep this one's out
    m = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Lambda(double, output_shape=(3,))])
    save(m, "keras3_lambda")
    keep("keras3_lambda", in_0=x, out_0=m.predict(x, verbose=0))

    spec = importlib.util.spec_from_file_location("halo", os.path.join(MODELS, "keras3_custom.custom.py"))
    halo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(halo)
    m = keras.Sequential([keras.Input((4,)), halo.HaloLayer(strength=0.75), layers.Dense(2)])
    m.compile(loss="mse", optimizer="sgd")
    m.fit(r.randn(32, 4), r.randn(32, 2), epochs=3, verbose=0)
    save(m, "keras3_custom")
    keep("keras3_custom", in_0=x, out_0=m.predict(x, verbose=0))


def weights_only():
    r = seed(64)
    m = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="relu"), layers.Dense(2)])
    m.save_weights(os.path.join(MODELS, "weights_only.weights.h5"))
    x = r.randn(3, 4).astype("float32")
    keep("weights_only", in_0=x, out_0=m.predict(x, verbose=0))


def nan():
    """log(x): NaN below zero, -inf at zero, finite above."""
    r = seed(65)
    i = keras.Input((1,), name="x")
    m = keras.Model(i, layers.Dense(2, name="y")(keras.ops.log(i)))
    save(m, "nan")
    x = np.array([[1.0], [2.5], [-1.0], [0.125], [0.0]], "float32")
    keep("nan", in_x=x, out_y=m(x).numpy())


def pictures():
    r = seed(66)
    m = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3, strides=2, activation="relu"), layers.MaxPooling2D(),
                          layers.Flatten(), layers.Dense(3, activation="sigmoid")])
    m.compile(loss="binary_crossentropy", optimizer="adam")
    m.fit(r.rand(64, 16, 16, 3), r.randint(0, 2, (64, 3)), epochs=3, verbose=0)
    save(m, "keras3_multilabel")
    x = r.rand(3, 16, 16, 3).astype("float32")
    keep("keras3_multilabel", in_0=x, out_0=m.predict(x, verbose=0))

    m = keras.Sequential([keras.Input((12, 12, 1)), layers.Conv2D(4, 3, activation="relu"), layers.GlobalMaxPooling2D(),
                          layers.Dense(4, activation="softmax")])
    m.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    m.fit(r.rand(64, 12, 12, 1), r.randint(0, 4, 64), epochs=3, verbose=0)
    save(m, "keras3_softmax_gray")
    x = r.rand(3, 12, 12, 1).astype("float32")
    keep("keras3_softmax_gray", in_0=x, out_0=m.predict(x, verbose=0))


def legacy_hdf5():
    """Keras 3 still writes the old HDF5 format, stamped keras_version 3."""
    r = seed(67)
    m = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="relu"), layers.Dense(2, activation="hard_sigmoid")])
    m.compile(loss="mse", optimizer="adam")
    m.fit(r.randn(32, 4), r.rand(32, 2), epochs=3, verbose=0)
    m.save(os.path.join(MODELS, "keras3_mlp.hdf5"))
    x = r.randn(3, 4).astype("float32")
    keep("keras3_mlp", in_0=x, out_0=m.predict(x, verbose=0))


for make in (text, lookup, unsafe, weights_only, nan, pictures, legacy_hdf5):
    make()
