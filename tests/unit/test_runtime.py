"""Sessions: their own graphs, their threads, their precision, and pictures fed as bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf

from app.errors import InferenceError, InvalidInput, LoadError
from app.serving.card import Runtime
from app.serving.examples import serialised
from app.serving.loading import convert
from app.serving.runtime import ModelSession
from app.serving.signature import Converted, PictureFeed, Scale, Signature, TensorSpec
from tests.models import save_caption_model
from tests.support import ROOT
from tests.unit.fixtures import assert_equal, expected, fixture, run

Precision = Literal["float32", "bfloat16"]


def _graph(
    path: Path,
    body: Callable[[Any], Any],
    shape: tuple[int | None, ...] = (None, 3),
    dtype: str = "float32",
) -> Converted:
    """A frozen graph with the input `x` and the output `y`."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(dtype, shape, name="x")
        y = tf.identity(body(x), name="y")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    out = None if y.shape.rank is None else tuple(y.shape.as_list())
    signature = Signature(
        (TensorSpec("x", "x:0", dtype, shape),), (TensorSpec("y", "y:0", y.dtype.name, out),)
    )
    return Converted(path, signature, frozen=True)


def test_each_session_has_its_own_graph(tmp_path: Path) -> None:
    models = [
        _graph(tmp_path / "a", lambda x: x + 0.0),
        _graph(tmp_path / "b", lambda x: x + 1.0),
    ]
    sessions = [ModelSession(m, Runtime(max_batch_size=2)) for m in models]
    rows = np.zeros((1, 3), "float32")
    assert [float(s.run([rows])[0][0, 0]) for s in sessions] == [0.0, 1.0]
    assert sessions[0]._session.graph is not sessions[1]._session.graph
    assert tf.compat.v1.get_default_graph() not in [s._session.graph for s in sessions]
    sessions[0].close()
    assert float(sessions[1].run([rows])[0][0, 0]) == 1.0
    sessions[1].close()


def test_signatures_of_one_input_answer_their_own_outputs(tmp_path: Path) -> None:
    # The examples must hold what the warm-up cannot know.
    save_caption_model(tmp_path / "model")
    (tmp_path / "out").mkdir()
    model = convert(tmp_path / "model", tmp_path / "out", trusted=False)
    session = ModelSession(model, Runtime())
    texts = serialised([{"image": b"\xff", "caption": "four"}])
    assert isinstance(texts, np.ndarray)
    (labels,) = session.run([texts], "labels_only")
    assert labels.tolist() == [[b"\xff", b"four"]]
    labels, scores = session.run([texts], "classify_objects")
    assert (labels.tolist(), scores.tolist()) == ([[b"\xff", b"four"]], [[0.5, 2.0]])
    session.close()


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "channels"),
    [
        *[(scale, channels) for scale in ("none", "0..1", "-1..1") for channels in (1, 3)],
        ("caffe", 3),
        ("torch", 3),
    ],
)
def test_pictures_are_scaled_as_keras_does_it(scale: Scale, channels: int, tmp_path: Path) -> None:
    from keras.applications.imagenet_utils import preprocess_input

    shape = (5, 4, channels)
    model = _graph(tmp_path / "g", lambda x: x * 1.0, (None, *shape))
    session = ModelSession(model, Runtime(max_batch_size=2), PictureFeed(shape, scale))
    pictures = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    floats = pictures.astype("float32")
    mode = {"-1..1": "tf", "caffe": "caffe", "torch": "torch"}.get(scale)
    wanted = floats / 255 if scale == "0..1" else floats
    if mode:
        wanted = preprocess_input(floats.copy(), "channels_last", mode)
    np.testing.assert_allclose(session.run([pictures])[0], wanted, rtol=1e-5, atol=1e-4)
    session.close()


def test_pictures_for_a_model_of_bytes(tmp_path: Path) -> None:
    model = _graph(tmp_path / "g", lambda x: x, (None, 2, 2, 3), "uint8")
    session = ModelSession(model, Runtime(max_batch_size=1), PictureFeed((2, 2, 3), "none"))
    pictures = np.arange(240, 252, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert (session.run([pictures])[0] == pictures).all()
    session.close()


def test_pictures_for_a_fixture(tmp_path: Path) -> None:
    """The whole way: bytes in, scaled in the graph, the same answer as for floats."""
    inputs, outputs = expected("keras3_multilabel")
    model = convert(fixture("keras3_multilabel"), tmp_path, trusted=False)
    session = ModelSession(model, Runtime(max_batch_size=2), PictureFeed((16, 16, 3), "0..1"))
    pictures = np.rint(inputs["0"] * 255).astype(np.uint8)
    np.testing.assert_allclose(session.run([pictures])[0], outputs["0"], atol=0.01)
    assert_equal(session.run([pictures]), run(model, [pictures / np.float32(255)]))
    session.close()


# --- errors ---------------------------------------------------------------------------------------


def test_an_index_out_of_range_is_the_clients_mistake(tmp_path: Path) -> None:
    model = convert(fixture("keras1_rnn"), tmp_path, trusted=False)
    session = ModelSession(model, Runtime(max_batch_size=2))
    with pytest.raises(InvalidInput, match=r"^the model refuses this input: indices\[0,0\] = 999"):
        session.run([np.full((1, 12), 999, "int32")])
    with pytest.raises(InvalidInput, match="shape"):
        session.run([np.full((1, 7), 1, "int32")])
    session.close()


def test_other_failures_are_the_models(tmp_path: Path) -> None:
    def body(x: Any) -> Any:
        never_set = tf.compat.v1.Variable(1.0, use_resource=True)
        # Not read for the zeros of the warm-up.
        return tf.cond(x[0, 0] > 0, never_set.read_value, lambda: 0.0)

    session = ModelSession(_graph(tmp_path / "g", body), Runtime(max_batch_size=1))
    with pytest.raises(InferenceError, match=r"^TensorFlow: .*[Vv]ariable"):
        session.run([np.ones((1, 3), "float32")])
    session.close()


def test_what_tensorflow_cannot_run_is_a_load_error(tmp_path: Path) -> None:
    model = _graph(tmp_path / "g", lambda x: tf.py_function(lambda v: v, [x], tf.float32))
    # This process knows the Python function; another one would not.
    model.path.write_bytes(model.path.read_bytes().replace(b"pyfunc_", b"pyfunk_"))
    with pytest.raises(LoadError, match=r"^TensorFlow cannot run the model: .*pyfunk_"):
        ModelSession(model, Runtime(max_batch_size=1))


# --- threads --------------------------------------------------------------------------------------

COUNT = """
import json, os, sys
from pathlib import Path
import tensorflow as tf
from app.serving.card import Runtime
from app.serving.examples import serialised
from app.serving.runtime import ModelSession
from app.serving.signature import Converted, Signature, TensorSpec
t = TensorSpec("x", "x:0", "float32", (None, 3))
y = TensorSpec("y", "y:0", "float32", (None, 3))
model = Converted(Path(sys.argv[1]), Signature((t,), (y,)), frozen=True)
sessions, counts = [], []
for threads in json.loads(sys.argv[2]):
    sessions.append(ModelSession(model, Runtime(threads=threads, max_batch_size=1)))
    counts.append(len(os.listdir("/proc/self/task")))
print(json.dumps(counts))
"""


def _thread_counts(path: Path, threads: list[Any]) -> list[int]:
    """Threads of a fresh process after each session with that `runtime.threads`."""
    _graph(path, lambda x: x + 1.0)
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(path), json.dumps(threads)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    counts: list[int] = json.loads(done.stdout)
    return counts


def test_sessions_share_the_pools_unless_they_ask(tmp_path: Path) -> None:
    counts = _thread_counts(tmp_path / "g", ["auto"] * 10 + [3, 5, "auto"])
    added = [b - a for a, b in pairwise(counts)]
    assert added == [0] * 9 + [3, 5, 0]


def test_the_first_model_does_not_size_the_pools_of_all(tmp_path: Path) -> None:
    """TensorFlow sizes the pool that works inside operations by the first session it sees."""
    alone = _thread_counts(tmp_path / "g", ["auto"])[0]
    narrow_first = _thread_counts(tmp_path / "g", [1, "auto"])[1]
    assert narrow_first == alone + 1


# --- precision ------------------------------------------------------------------------------------


def _has_bfloat16() -> bool:
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()


def _optimised_types(session: ModelSession, feed: Any) -> set[int]:
    """The types of the casts in the graph as TensorFlow really ran it."""
    metadata = tf.compat.v1.RunMetadata()
    options = tf.compat.v1.RunOptions(output_partition_graphs=True)
    session._session.run("y:0", {"x:0": feed}, options=options, run_metadata=metadata)
    return {
        node.attr["DstT"].type
        for partition in metadata.partition_graphs
        for node in partition.node
        if node.op in ("Cast", "_MklCast")
    }


def test_bfloat16_reaches_the_kernels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 8, 16)).astype("float32") / 8

    def body(x: Any) -> Any:
        h = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        return tf.reduce_mean(tf.nn.conv2d(h, kernel.transpose(0, 1, 3, 2), 1, "SAME"), [1, 2])

    model = _graph(tmp_path / "g", body, (None, 32, 32, 8))
    rows = rng.normal(size=(4, 32, 32, 8)).astype("float32")
    answers, types = {}, {}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        session = ModelSession(model, Runtime(precision=precision, max_batch_size=4))
        answers[precision] = session.run([rows])[0]
        types[precision] = _optimised_types(session, rows)
        session.close()
    np.testing.assert_allclose(answers["bfloat16"], answers["float32"], atol=2e-2)
    assert tf.bfloat16.as_datatype_enum not in types["float32"]
    if _has_bfloat16():
        assert tf.bfloat16.as_datatype_enum in types["bfloat16"]
        assert (answers["bfloat16"] != answers["float32"]).any()
