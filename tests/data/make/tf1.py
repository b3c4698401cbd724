# Python 3.6:  pip install tensorflow==1.15.5 h5py==2.10.0 "protobuf<3.20"
"""What TensorFlow 1.15 writes: SavedModels with variables and with a lookup table (vocabulary as asset), and tf.keras HDF5."""
import os
import shutil
import tempfile

import numpy as np
import tensorflow as tf

DATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, EXPECTED = os.path.join(DATA, "models"), os.path.join(DATA, "expected")


def fresh(name):
    path = os.path.join(MODELS, name)
    shutil.rmtree(path, ignore_errors=True)
    return path


def variables():
    path, r = fresh("tf1_savedmodel"), np.random.RandomState(31)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(31)
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        target = tf.placeholder(tf.float32, [None, 3])
        w1 = tf.get_variable("w1", [4, 8])
        b1 = tf.get_variable("b1", [8], initializer=tf.zeros_initializer())
        w2 = tf.get_variable("w2", [8, 3], use_resource=True)
        hidden = tf.nn.relu(tf.matmul(x, w1) + b1)
        logits = tf.matmul(hidden, w2)
        y = tf.nn.softmax(logits, name="y")
        train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.losses.softmax_cross_entropy(target, logits))
        session.run(tf.global_variables_initializer())
        for _ in range(20):
            session.run(train, {x: r.randn(32, 4), target: np.eye(3)[r.randint(0, 3, 32)]})
        tf.saved_model.simple_save(session, path, inputs={"x": x}, outputs={"y": y})
        sample = r.randn(5, 4).astype("float32")
        np.savez_compressed(os.path.join(EXPECTED, "tf1_savedmodel.npz"), in_x=sample, out_y=session.run(y, {x: sample}))


def table():
    path = fresh("tf1_table_savedmodel")
    folder = tempfile.mkdtemp()
    vocabulary = os.path.join(folder, "vocabulary.txt")
    with open(vocabulary, "w") as f:
        f.write("\n".join(["apple", "pear", "plum", "cherry", "fig"]) + "\n")
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.string, [None], name="words")
        lookup = tf.contrib.lookup.index_table_from_file(vocabulary_file=vocabulary, num_oov_buckets=2)
        ids = tf.identity(lookup.lookup(x), name="ids")
        session.run(tf.tables_initializer())
        builder = tf.saved_model.builder.SavedModelBuilder(path)
        signature = tf.saved_model.predict_signature_def({"words": x}, {"ids": ids})
        builder.add_meta_graph_and_variables(
            session, [tf.saved_model.tag_constants.SERVING], {"serving_default": signature},
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS), main_op=tf.tables_initializer())
        builder.save()
        sample = np.array(["plum", "apple", "nothing", "fig", "", "z\u00fcrich"])
        values = session.run(ids, {x: [w.encode("utf8") for w in sample]})
        np.savez_compressed(os.path.join(EXPECTED, "tf1_table_savedmodel.npz"), in_words=sample, out_ids=values)
    os.rmdir(os.path.join(path, "variables"))  # empty, and git keeps no empty folder
    shutil.rmtree(folder)


def keras_gru():
    """tf.keras of TensorFlow 1.15 stamps its files "2.2.4-tf"; GRU(reset_after=False) with hard_sigmoid gates."""
    np.random.seed(32)
    tf.set_random_seed(32)
    r = np.random.RandomState(32)
    m = tf.keras.Sequential([tf.keras.layers.GRU(5, recurrent_activation="hard_sigmoid", input_shape=(6, 3)), tf.keras.layers.Dense(2)])
    m.compile(loss="mse", optimizer="adam")
    m.fit(r.randn(64, 6, 3), 3 * r.randn(64, 2), epochs=10, verbose=0)
    x = 2 * r.randn(4, 6, 3).astype("float32")
    m.save(os.path.join(MODELS, "tf1_keras_gru.h5"), include_optimizer=False)
    np.savez_compressed(os.path.join(EXPECTED, "tf1_keras_gru.npz"), in_0=x, out_0=m.predict(x))


variables()
table()
keras_gru()
