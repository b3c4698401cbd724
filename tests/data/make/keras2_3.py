# Python 3.6:  pip install keras==2.3.1 tensorflow==1.15.5 h5py==2.10.0 "protobuf<3.20"
"""A fixture that standalone Keras 2.3.1 saves, with its optimizer and training configuration."""
import os

import numpy as np
import tensorflow as tf
from keras.layers import Dense, Dropout
from keras.models import Sequential, load_model

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
np.random.seed(21)
tf.set_random_seed(21)
r = np.random.RandomState(21)
m = Sequential([Dense(25, activation="relu", input_shape=(7,)), Dropout(0.1), Dense(10, activation="relu"), Dense(1)])
m.compile(loss="mse", optimizer="rmsprop", metrics=["mae"])
x = r.randn(128, 7).astype("float32")
m.fit(x, x.sum(1), epochs=10, verbose=0)
x = r.randn(4, 7).astype("float32")
y = m.predict(x)
path = os.path.join(DATA, "models", "keras2_mlp.h5")
m.save(path)
np.testing.assert_allclose(load_model(path).predict(x), y, rtol=1e-5)
np.savez_compressed(os.path.join(DATA, "expected", "keras2_mlp.npz"), in_0=x, out_0=y)
