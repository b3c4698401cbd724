# Python 3.10, twice:  pip install tensorflow-cpu==2.12.1   and   pip install tensorflow-cpu==2.15.1
"""What tf.keras wrote into a file called .keras over time (2.13 is in tf2.py).

2.12: an HDF5 file, whatever the ending says. 2.13 and 2.14: a zip whose weights lie under _layer_checkpoint_dependencies/.
2.15 and tf_keras: a zip whose weights lie under layers/.
"""
import os

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = {"2.12": "tf212_hdf5_inside", "2.15": "tf215_zip"}[tf.__version__[:4]]
keras.utils.set_random_seed(45)
r = np.random.RandomState(45)
i = keras.Input((8, 8, 1), name="picture")
h = layers.BatchNormalization()(layers.Conv2D(3, 3, activation="relu")(i))
m = keras.Model(i, layers.Dense(2, activation="softmax", name="kind")(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(h))))
m.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
m.fit(r.rand(64, 8, 8, 1).astype("float32"), r.randint(0, 2, 64), epochs=5, verbose=0)
x = r.rand(3, 8, 8, 1).astype("float32")
m.save(os.path.join(DATA, "models", NAME + ".keras"))
np.savez_compressed(os.path.join(DATA, "expected", NAME + ".npz"), in_picture=x, out_kind=m.predict(x, verbose=0))
