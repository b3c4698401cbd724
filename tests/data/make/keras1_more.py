# Python 3.6:  pip install keras==1.2.2 tensorflow==1.15.5 theano==1.0.5 h5py==2.10.0 "protobuf<3.20"
# Run twice, with B=tensorflow and with B=theano, and with HOME set to an empty folder.
"""More layers of Keras 1.2.2 with random weights: pictures channels first by Theano, recurrent wrappers, shared models."""
import os

os.environ["KERAS_BACKEND"] = os.environ["B"]
os.environ.setdefault("THEANO_FLAGS", "floatX=float32,device=cpu")
import numpy as np

if os.environ["B"] == "theano":
    import theano.ifelse  # Keras 1 uses it without importing it
from keras import backend as K
from keras.layers import (ELU, GRU, LSTM, AtrousConvolution2D, AveragePooling2D, BatchNormalization, Bidirectional,
                          Convolution2D, Cropping2D, Dense, Embedding, GlobalAveragePooling2D, Input, LeakyReLU, Permute,
                          PReLU, RepeatVector, Reshape, SpatialDropout2D, TimeDistributed, TimeDistributedDense,
                          UpSampling2D, ZeroPadding2D, merge)
from keras.models import Model, Sequential

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
r = np.random.RandomState(7)


def keep(m, name, *xs):
    for layer in m.layers:
        layer.set_weights([abs(r.randn(*w.shape)) * 0.3 + 0.1 if w.ndim == 1 else r.randn(*w.shape) * 0.4
                           for w in layer.get_weights()])
    m.save(os.path.join(DATA, "models", name + ".h5"))
    arrays = {"in_%d" % i: x for i, x in enumerate(xs)}
    np.savez_compressed(os.path.join(DATA, "expected", name + ".npz"), out_0=m.predict(list(xs)), **arrays)


def pictures():
    """Layers that do not write down their dim_ordering, between layers that do."""
    K.set_image_dim_ordering("th")
    keep(Sequential([
        ZeroPadding2D((1, 2), input_shape=(3, 10, 10)), Convolution2D(6, 3, 3, subsample=(2, 2)),
        BatchNormalization(axis=1), LeakyReLU(0.2), SpatialDropout2D(0.1), UpSampling2D((2, 2)),
        AveragePooling2D((2, 2), strides=(1, 1)), Cropping2D(((1, 0), (0, 1))), PReLU(),
        AtrousConvolution2D(4, 2, 2, atrous_rate=(2, 2)), ELU(0.7), GlobalAveragePooling2D(), Dense(3)]),
        "keras1_theano_layers", r.rand(2, 3, 10, 10).astype("float32"))


def recurrent():
    x = r.randint(1, 12, (3, 7)).astype("int32")
    x[0, :3] = 0
    x[1, 5:] = 0
    keep(Sequential([
        Embedding(12, 5, mask_zero=True, input_length=7), Bidirectional(LSTM(4, return_sequences=True)),
        Bidirectional(GRU(3, return_sequences=True), merge_mode="sum"), TimeDistributed(Dense(4, activation="tanh")),
        TimeDistributedDense(3), LSTM(3, go_backwards=True, consume_less="gpu"), RepeatVector(3),
        GRU(2, return_sequences=True), Permute((2, 1)), Reshape((6,)), Dense(2)]), "keras1_recurrent", x)


def shared():
    """One model inside another, used twice, and every way to merge."""
    a, b = Input((4,)), Input((4,))
    inner = Sequential([Dense(4, input_dim=4, activation="tanh"), BatchNormalization(), Dense(3)], name="shared")
    left, right = inner(a), inner(b)
    merged = [merge([left, right], mode=k) for k in ("ave", "max", "sum", "mul")]
    merged.append(merge([left, right], mode="dot", dot_axes=1))
    keep(Model([a, b], merge(merged, mode="concat")), "keras1_shared",
         r.randn(3, 4).astype("float32"), r.randn(3, 4).astype("float32"))


if K.backend() == "theano":
    pictures()
else:
    K.set_image_dim_ordering("tf")
    recurrent()
    shared()
