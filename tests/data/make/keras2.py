# Python 3.6:  pip install keras==2.2.4 tensorflow==1.15.5 h5py==2.10.0 "protobuf<3.20"
"""Fixtures that standalone Keras 2.2.4 saves. Its LSTM gates default to hard_sigmoid = clip(0.2 x + 0.5, 0, 1)."""
import os

import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.layers import LSTM, Activation, Dense, Embedding
from keras.models import Sequential, load_model

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, EXPECTED = os.path.join(DATA, "models"), os.path.join(DATA, "expected")


def seed(n):
    K.clear_session()
    np.random.seed(n)
    tf.set_random_seed(n)
    return np.random.RandomState(n)


r = seed(11)
m = Sequential([Embedding(30, 8, input_length=10), LSTM(12), Dense(5), Activation("softmax")])
m.compile(loss="categorical_crossentropy", optimizer="adam")
m.fit(r.randint(0, 30, (128, 10)), np.eye(5)[r.randint(0, 5, 128)], epochs=15, verbose=0)
x = r.randint(0, 30, (4, 10)).astype("int32")
y = m.predict(x)
m.save(os.path.join(MODELS, "keras2_lstm.h5"), include_optimizer=False)
np.testing.assert_allclose(load_model(os.path.join(MODELS, "keras2_lstm.h5"), compile=False).predict(x), y, rtol=1e-5)
np.savez_compressed(os.path.join(EXPECTED, "keras2_lstm.npz"), in_0=x, out_0=y)

# Weights alone: no model can be made from this file, it is here to be refused with a plain reason.
r = seed(12)
m = Sequential([Dense(6, activation="relu", input_shape=(4,)), Dense(2)])
m.save_weights(os.path.join(MODELS, "keras2_weights_only.h5"))
x = r.randn(3, 4).astype("float32")
np.savez_compressed(os.path.join(EXPECTED, "keras2_weights_only.npz"), in_0=x, out_0=m.predict(x))
