# Python 3.6:  pip install keras==1.2.2 theano==1.0.5 h5py==2.10.0
# Run with HOME set to an empty folder: Keras 1 writes and reads ~/.keras/keras.json.
"""A convolution saved by Keras 1.2.2 with its Theano backend, pictures channels first (dim_ordering "th").

Theano's convolution flips the kernel and the file does not say which backend wrote it.
"""
import os

os.environ["KERAS_BACKEND"] = "theano"
os.environ.setdefault("THEANO_FLAGS", "floatX=float32,device=cpu")
import numpy as np
import theano.ifelse  # Keras 1 uses it without importing it
from keras import backend as K
from keras.layers import BatchNormalization, Convolution2D, Dense, Flatten, MaxPooling2D
from keras.models import Sequential, load_model

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
K.set_image_dim_ordering("th")
np.random.seed(6)
r = np.random.RandomState(6)
m = Sequential()
m.add(Convolution2D(4, 3, 3, border_mode="valid", activation="relu", input_shape=(3, 8, 8)))
m.add(BatchNormalization(axis=1))
m.add(MaxPooling2D((2, 2)))
m.add(Flatten())
m.add(Dense(3, activation="softmax"))
m.compile(loss="categorical_crossentropy", optimizer="sgd")
m.fit(r.rand(32, 3, 8, 8).astype("float32"), np.eye(3, dtype="float32")[r.randint(0, 3, 32)], nb_epoch=2, batch_size=16, verbose=0)
x = r.rand(3, 3, 8, 8).astype("float32")
y = m.predict(x)
path = os.path.join(DATA, "models", "keras1_theano_th.h5")
m.save(path)
np.testing.assert_allclose(load_model(path).predict(x), y, rtol=1e-5)
np.savez_compressed(os.path.join(DATA, "expected", "keras1_theano_th.npz"), in_0=x, out_0=y)
