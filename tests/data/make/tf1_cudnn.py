# Python 3.6:  pip install tensorflow==1.15.5 h5py==2.10.0 "protobuf<3.20"
"""What tf.keras of TensorFlow 1.15 writes for CuDNNLSTM and CuDNNGRU, and the SavedModel of a signature without shapes.

No GPU is needed: the layers are only built here. What they answer is that of LSTM and GRU(reset_after=True) of the same
TensorFlow, which reads their weights and promises the same results (`_convert_rnn_weights`).
"""
import os
import shutil

import numpy as np
import tensorflow as tf

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, EXPECTED = os.path.join(DATA, "models"), os.path.join(DATA, "expected")
L = tf.keras.layers
# A session of TensorFlow 1 would look for the kernels of all that was built.
tf.compat.v1.enable_eager_execution()


def model(cudnn):
    """One of each: sequences, backwards, both directions, states, and a model inside."""
    lstm = L.CuDNNLSTM if cudnn else lambda *a, **k: L.LSTM(*a, recurrent_activation="sigmoid", **k)
    gru = L.CuDNNGRU if cudnn else lambda *a, **k: L.GRU(*a, recurrent_activation="sigmoid", reset_after=True, **k)
    x = L.Input((None, 3), name="steps")
    both = L.Bidirectional(lstm(4, return_sequences=True, name="inner_lstm"), name="both")(x)
    a = L.Input((None, 8))
    inner = tf.keras.Model(a, gru(3, return_sequences=True, go_backwards=True, name="back")(a), name="inside")
    _, h, c = lstm(3, return_state=True, name="states")(inner(both))
    y = L.Dense(2, name="y")(L.Concatenate(name="joined")([gru(4, name="last")(both), h, c]))
    return tf.keras.Model(x, y)


def cudnn():
    tf.set_random_seed(41)
    r = np.random.RandomState(41)
    built = model(True)
    built.set_weights([r.uniform(-1, 1, w.shape) for w in built.get_weights()])
    path = os.path.join(MODELS, "tf1_cudnn.h5")
    built.save(path, include_optimizer=False)
    same = model(False)
    same.load_weights(path)
    x = 2 * r.randn(4, 6, 3).astype("float32")
    np.savez_compressed(os.path.join(EXPECTED, "tf1_cudnn.npz"), in_steps=x, out_y=same.predict(x))


def unshaped():
    """As the first exporters wrote them: TensorFlow Serving's half_plus_three is one."""
    path = os.path.join(MODELS, "tf1_unshaped_savedmodel")
    shutil.rmtree(path, ignore_errors=True)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 1], name="x")
        y = tf.add(tf.multiply(tf.get_variable("a", [], initializer=tf.constant_initializer(0.5)), x), 3.0, name="y")
        session.run(tf.global_variables_initializer())
        info = tf.saved_model.utils.build_tensor_info
        inputs, outputs = {"x": info(x)}, {"y": info(y)}
        for each in list(inputs.values()) + list(outputs.values()):
            each.ClearField("tensor_shape")
        signature = tf.saved_model.signature_def_utils.build_signature_def(inputs, outputs, "tensorflow/serving/predict")
        builder = tf.saved_model.builder.SavedModelBuilder(path)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
        sample = np.array([[1.0], [-4.0], [7.5]], "float32")
        values = session.run(y, {x: sample})
        np.savez_compressed(os.path.join(EXPECTED, "tf1_unshaped_savedmodel.npz"), in_x=sample, out_y=values)


cudnn()
unshaped()
