"""Sessions: their graphs, threads and precision, and pictures fed as bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

from app.errors import InferenceError, InvalidInput, LoadError
from app.serving.arrays import Array
from app.serving.cards.card import Precision, Runtime
from app.serving.engine.sessions.session import ModelSession
from app.serving.reading import freezing
from app.serving.reading.convert import convert
from app.serving.signature import Converted, Order, PictureFeed, Scale, Signature, TensorSpec
from app.serving.tf_example import serialised
from tests.kinds import couple
from tests.models import save_caption_model
from tests.models.fixtures import assert_equal, expected, fixture, needs_bfloat16, run
from tests.support import ROOT


def _graph(
    path: Path,
    body: Callable[[Any], Any],
    shape: tuple[int | None, ...] = (None, 3),
    dtype: str = "float32",
    precision: Precision = "float32",
) -> Converted:
    """Save a frozen graph with the input `x` and the output `y` in the folder `path`."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(dtype, shape, name="x")
        y = tf.identity(body(x), name="y")
    path.mkdir(exist_ok=True)
    frozen = freezing.FrozenGraph(graph.as_graph_def(), (), path)
    weights = freezing.optimise(frozen, ["x:0", "y:0"], precision)
    out = None if y.shape.rank is None else tuple(y.shape.as_list())
    signature = Signature(
        (TensorSpec("x", "x:0", dtype, shape),), (TensorSpec("y", "y:0", y.dtype.name, out),)
    )
    return Converted(path / freezing.GRAPH_FILE, signature, frozen=True, weights=weights)


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
        *[(scale, channels) for scale in ("none", "0..1", "-1..1") for channels in (1, 3, 4)],
        ("caffe", 3),
        ("torch", 3),
    ],
)
def test_pictures_are_scaled_as_keras_does_it(scale: Scale, channels: int, tmp_path: Path) -> None:
    from keras.applications.imagenet_utils import preprocess_input

    shape = (5, 4, channels)
    model = _graph(tmp_path / "g", lambda x: x * 1.0, (None, *shape))
    session = ModelSession(
        model, Runtime(max_batch_size=2), _only(model, PictureFeed(shape, scale))
    )
    pictures = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    floats = pictures.astype("float32")
    mode = {"-1..1": "tf", "caffe": "caffe", "torch": "torch"}.get(scale)
    wanted = floats / 255 if scale == "0..1" else floats
    if mode:
        wanted = preprocess_input(floats.copy(), "channels_last", mode)
    np.testing.assert_allclose(session.run([pictures])[0], wanted, rtol=1e-5, atol=1e-4)
    session.close()


@pytest.mark.parametrize("scale", ["none", "0..1", "-1..1", "torch"])
def test_the_order_of_colours_changes_after_the_scaling(scale: Scale, tmp_path: Path) -> None:
    model = _graph(tmp_path / "g", lambda x: x * 1.0, (None, 5, 4, 3))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    rgb, bgr = (
        ModelSession(
            model, Runtime(max_batch_size=2), _only(model, PictureFeed((5, 4, 3), scale, order))
        )
        for order in get_args(Order)
    )
    assert_equal(bgr.run([pictures]), [rgb.run([pictures])[0][..., ::-1]])
    rgb.close()
    bgr.close()


def test_grey_pictures_without_a_dimension_for_colours(tmp_path: Path) -> None:
    model = _graph(tmp_path / "g", lambda x: x * 1.0, (None, 5, 4))
    feed = PictureFeed((5, 4), "0..1")
    session = ModelSession(model, Runtime(max_batch_size=2), _only(model, feed))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
    assert_equal(session.run([pictures]), [pictures / np.float32(255)])
    session.close()


def _only(model: Converted, feed: PictureFeed) -> dict[str, PictureFeed]:
    """The feed of the only input."""
    return {model.signature.inputs[0].name: feed}


def test_pictures_for_a_model_of_bytes(tmp_path: Path) -> None:
    model = _graph(tmp_path / "g", lambda x: x, (None, 2, 2, 3), "uint8")
    session = ModelSession(
        model, Runtime(max_batch_size=1), _only(model, PictureFeed((2, 2, 3), "none"))
    )
    pictures = np.arange(240, 252, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert (session.run([pictures])[0] == pictures).all()
    session.close()


def test_pictures_for_a_fixture(tmp_path: Path) -> None:
    """The whole way: bytes in, scaled in the graph, the same answer as for floats."""
    inputs, outputs = expected("keras3_multilabel")
    model = convert(fixture("keras3_multilabel"), tmp_path, trusted=False)
    session = ModelSession(
        model, Runtime(max_batch_size=2), _only(model, PictureFeed((16, 16, 3), "0..1"))
    )
    pictures = np.rint(inputs["0"] * 255).astype(np.uint8)
    np.testing.assert_allclose(session.run([pictures])[0], outputs["0"], atol=0.01)
    assert_equal(session.run([pictures]), run(model, [pictures / np.float32(255)]))
    session.close()


def test_two_pictures_beside_a_row(tmp_path: Path) -> None:
    """Fed as pictures, or as raw tensors in their place; the row is the same for both."""
    couple().save(tmp_path / "couple.keras")
    (tmp_path / "converted").mkdir()
    model = convert(tmp_path / "couple.keras", tmp_path / "converted", trusted=False)
    feeds = {
        "left": PictureFeed((6, 8, 3), "0..1"),
        "right": PictureFeed((4, 4, 1), "none"),
    }
    session = ModelSession(model, Runtime(max_batch_size=4), feeds)
    rng = np.random.default_rng(0)
    pictures: dict[str, Array] = {
        name: rng.integers(0, 256, (3, *map(int, feed.shape)), np.uint8)  # type: ignore[arg-type]
        for name, feed in feeds.items()
    }
    facts = rng.random((3, 2), np.float32)
    names = [t.name for t in model.signature.inputs]
    fed = [{**pictures, "facts": facts}[name] for name in names]
    raw: dict[str, Array] = {
        "left": pictures["left"].astype(np.float32) / 255,
        "right": pictures["right"].astype(np.float32),
        "facts": facts,
    }
    assert_equal(session.run(fed), session.run([raw[name] for name in names], model.name))
    outputs = dict(zip((t.name for t in model.signature.outputs), session.run(fed), strict=True))
    wanted = raw["left"].mean((1, 2, 3)) + raw["right"].mean((1, 2, 3)) + facts[:, 0]
    np.testing.assert_allclose(outputs["age"][:, 0], wanted, rtol=1e-5)
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
from app.serving.cards.card import Runtime
from app.serving.tf_example import serialised
from app.serving.engine.sessions.session import ModelSession
from app.serving.signature import Converted, Signature, TensorSpec
t = TensorSpec("x", "x:0", "float32", (None, 3))
y = TensorSpec("y", "y:0", "float32", (None, 3))
model = Converted(Path(sys.argv[1]) / "graph.pb", Signature((t,), (y,)), frozen=True)
sessions, counts = [], []
for threads in json.loads(sys.argv[2]):
    sessions.append(ModelSession(model, Runtime(threads=threads, max_batch_size=1)))
    counts.append(len(os.listdir("/proc/self/task")))
print(json.dumps(counts))
"""


def _thread_counts(path: Path, threads: list[Any]) -> list[int]:
    """Return the threads of a fresh process after each session with that `runtime.threads`."""
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
    """Whether TensorFlow's kernels take it here: oneDNN's do, on some processors."""
    off = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"
    return not off and "avx512_bf16" in Path("/proc/cpuinfo").read_text()


def _optimised_types(session: ModelSession, feed: Any) -> set[int]:
    """Return the types of the casts in the graph that TensorFlow really ran."""
    metadata = tf.compat.v1.RunMetadata()
    options = tf.compat.v1.RunOptions(output_partition_graphs=True)
    session._session.run("y:0", {"x:0": feed}, options=options, run_metadata=metadata)
    return {
        node.attr["DstT"].type
        for partition in metadata.partition_graphs
        for node in partition.node
        if node.op in ("Cast", "_MklCast")
    }


@needs_bfloat16
def test_bfloat16_reaches_the_kernels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 8, 16)).astype("float32") / 8

    def body(x: Any) -> Any:
        h = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        return tf.reduce_mean(tf.nn.conv2d(h, kernel.transpose(0, 1, 3, 2), 1, "SAME"), [1, 2])

    rows = rng.normal(size=(4, 32, 32, 8)).astype("float32")
    answers, types = {}, {}
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        folder = tmp_path / precision
        model = _graph(folder, body, (None, 32, 32, 8), precision=precision)
        session = ModelSession(model, Runtime(precision=precision, max_batch_size=4))
        answers[precision] = session.run([rows])[0]
        types[precision] = _optimised_types(session, rows)
        session.close()
    np.testing.assert_allclose(answers["bfloat16"], answers["float32"], atol=2e-2)
    assert tf.bfloat16.as_datatype_enum not in types["float32"]
    if _has_bfloat16():
        assert tf.bfloat16.as_datatype_enum in types["bfloat16"]
        assert (answers["bfloat16"] != answers["float32"]).any()


def test_memory_of_the_weights(tmp_path: Path) -> None:
    for i, source in enumerate([ROOT / "models/mpg/model.keras", fixture("keras3_lookup")]):
        (tmp_path / str(i)).mkdir()
        model = convert(source, tmp_path / str(i), trusted=False)
        session = ModelSession(model, Runtime(max_batch_size=1))
        parameters = model.signature.parameters or 0
        assert 4 * parameters <= session.weight_bytes <= 4 * parameters + 10_000
        session.close()
