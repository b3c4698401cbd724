# Python 3.11:  pip install keras==3.8.0 "jax[cpu]==0.5.3" torch==2.13.0   (torch: the CPU wheel)
# Run twice:  KERAS_BACKEND=jax python keras3_jax_torch.py;  KERAS_BACKEND=torch python keras3_jax_torch.py
"""Fixtures that Keras 3.8 trains and saves on its JAX and its PyTorch backend; no TensorFlow is installed there."""
import os

import keras
import numpy as np
from keras import layers

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
r = np.random.RandomState(51)
keras.utils.set_random_seed(51)


def keep(model, name, x):
    path = os.path.join(DATA, "models", name + ".keras")
    y = model.predict(x, verbose=0)
    model.save(path)
    np.testing.assert_allclose(keras.saving.load_model(path).predict(x, verbose=0), y, rtol=1e-5)
    np.savez_compressed(os.path.join(DATA, "expected", name + ".npz"), in_0=x, out_0=np.asarray(y))


if keras.backend.backend() == "jax":
    m = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization(),
                          layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.2), layers.Dense(3, activation="softmax")])
    m.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    m.fit(r.rand(64, 8, 8, 3).astype("float32"), r.randint(0, 3, 64), epochs=3, verbose=0)
    keep(m, "keras3_jax", r.rand(3, 8, 8, 3).astype("float32"))
elif keras.backend.backend() == "torch":
    m = keras.Sequential([keras.Input((5, 4)), layers.LSTM(6, return_sequences=True), layers.GRU(5),
                          layers.LayerNormalization(), layers.Dense(2)])
    m.compile(loss="mse", optimizer="adam")
    m.fit(r.randn(64, 5, 4).astype("float32"), r.randn(64, 2), epochs=3, verbose=0)
    keep(m, "keras3_torch", r.randn(3, 5, 4).astype("float32"))
else:
    raise SystemExit("set KERAS_BACKEND to jax or torch")
