# Python 3.6:  pip install keras==1.2.2 tensorflow==1.15.5 h5py==2.10.0 "protobuf<3.20"
# Run with HOME set to an empty folder: Keras 1 writes and reads ~/.keras/keras.json.
"""Fixtures that real Keras 1.2.2 saves with its TensorFlow backend (dim_ordering "tf")."""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.layers import (GRU, LSTM, Activation, AveragePooling1D, BatchNormalization, Convolution1D, Convolution2D, Dense,
                          Dropout, Embedding, Flatten, Input, MaxPooling1D, MaxPooling2D, Merge, SimpleRNN, merge)
from keras.models import Model, Sequential, load_model

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, EXPECTED = os.path.join(DATA, "models"), os.path.join(DATA, "expected")
K.set_image_dim_ordering("tf")


def seed(n):
    np.random.seed(n)
    tf.set_random_seed(n)
    return np.random.RandomState(n)


def keep(model, name, inputs, outputs=("0",)):
    path = os.path.join(MODELS, name + ".h5")
    values = model.predict(list(inputs.values()) if len(inputs) > 1 else list(inputs.values())[0])
    model.save(path)
    again = load_model(path).predict(list(inputs.values()) if len(inputs) > 1 else list(inputs.values())[0])
    values, again = (v if isinstance(v, list) else [v] for v in (values, again))
    for a, b in zip(values, again):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    arrays = {"in_" + k: v for k, v in inputs.items()}
    arrays.update({"out_" + k: v for k, v in zip(outputs, values)})
    np.savez_compressed(os.path.join(EXPECTED, name + ".npz"), **arrays)


def cnn():
    r = seed(1)
    m = Sequential()
    m.add(Convolution2D(6, 3, 3, border_mode="same", subsample=(1, 1), activation="relu", input_shape=(12, 12, 3)))
    m.add(BatchNormalization())
    m.add(MaxPooling2D(pool_size=(2, 2)))
    m.add(Convolution2D(8, 3, 3, border_mode="valid", bias=False))
    m.add(BatchNormalization(axis=-1, epsilon=1e-5))
    m.add(Activation("relu"))
    m.add(Flatten())
    m.add(Dropout(0.25))
    m.add(Dense(4, activation="softmax"))
    m.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    x = r.rand(64, 12, 12, 3).astype("float32")
    y = np.eye(4, dtype="float32")[r.randint(0, 4, 64)]
    m.fit(x, y, nb_epoch=3, batch_size=16, verbose=0)
    keep(m, "keras1_cnn", {"0": r.rand(3, 12, 12, 3).astype("float32")})


def mlp():
    r = seed(2)
    m = Sequential([Dense(16, activation="relu", input_dim=7), Dropout(0.2), Dense(8, init="he_normal"), Activation("tanh"),
                    Dense(1, activation="sigmoid")])
    m.compile(loss="binary_crossentropy", optimizer="sgd")
    x = r.randn(64, 7).astype("float32")
    m.fit(x, (x.sum(1) > 0).astype("float32"), nb_epoch=5, verbose=0)
    keep(m, "keras1_mlp", {"0": r.randn(4, 7).astype("float32")})


def rnn():
    """Every recurrent layer and the 1-D layers; the recurrent ones use Keras 1's hard_sigmoid (0.2 x + 0.5)."""
    r = seed(3)
    m = Sequential()
    m.add(Embedding(20, 6, input_length=12))
    m.add(Convolution1D(8, 3, border_mode="same", activation="relu"))
    m.add(MaxPooling1D(pool_length=2))
    m.add(LSTM(6, return_sequences=True))
    m.add(AveragePooling1D(pool_length=2, stride=1, border_mode="same"))
    m.add(GRU(5, return_sequences=True))
    m.add(SimpleRNN(5))
    m.add(Dense(3, activation="softmax"))
    m.compile(loss="categorical_crossentropy", optimizer="rmsprop")
    m.fit(r.randint(0, 20, (64, 12)), np.eye(3, dtype="float32")[r.randint(0, 3, 64)], nb_epoch=4, verbose=0)
    keep(m, "keras1_rnn", {"0": r.randint(0, 20, (4, 12)).astype("int32")})


def merges():
    """Functional model, named inputs: merge() by sum, mul and concat (each is a Merge layer in the file)."""
    r = seed(4)
    a, b = Input(shape=(5,), name="left"), Input(shape=(5,), name="right")
    da, db = Dense(6, activation="relu", name="da")(a), Dense(6, activation="relu", name="db")(b)
    both = merge([da, db], mode="sum", name="added")
    times = merge([da, db], mode="mul", name="times")
    out = merge([both, times, a], mode="concat", concat_axis=-1, name="joined")
    m = Model(input=[a, b], output=[Dense(2, activation="softmax", name="kind")(out), Dense(1, name="amount")(out)])
    m.compile(loss=["categorical_crossentropy", "mse"], optimizer="sgd")
    x = [r.randn(64, 5).astype("float32") for _ in range(2)]
    m.fit(x, [np.eye(2, dtype="float32")[r.randint(0, 2, 64)], r.randn(64, 1)], nb_epoch=3, verbose=0)
    keep(m, "keras1_merge", {"left": r.randn(3, 5).astype("float32"), "right": r.randn(3, 5).astype("float32")}, ("kind", "amount"))


def sequential_merge():
    """A Sequential whose first layer is Merge([branch, branch]): the file nests the branches in that layer's config."""
    r = seed(5)
    one, two = Sequential([Dense(4, input_dim=3, activation="relu")]), Sequential([Dense(4, input_dim=2, activation="tanh")])
    m = Sequential([Merge([one, two], mode="concat"), Dense(1, activation="sigmoid")])
    m.compile(loss="binary_crossentropy", optimizer="sgd")
    x = [r.randn(64, 3).astype("float32"), r.randn(64, 2).astype("float32")]
    m.fit(x, r.randint(0, 2, 64), nb_epoch=3, verbose=0)
    keep(m, "keras1_sequential_merge", {"0": r.randn(3, 3).astype("float32"), "1": r.randn(3, 2).astype("float32")})


for make in (cnn, mlp, rnn, merges, sequential_merge):
    K.clear_session()
    make()
