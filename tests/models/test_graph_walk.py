"""What an untrusted model cannot access: files, other machines, its saver's checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2

from app.errors import LoadError
from app.serving.reading.convert import convert
from tests.models.fixtures import HDF5_NOTICES, TRUSTED, convert_and_run
from tests.models.hostile import ONES, Body, edit, refused, save, writes

pytestmark = HDF5_NOTICES

# --- what a signature does ------------------------------------------------------------------------


def _printing(to: Any) -> Body:
    def body(x: Any) -> dict[str, Any]:
        tf.print("x", output_stream=to)
        return {"y": x}

    return body


def test_printing_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "printed"
    path = save(tmp_path / "sm", serving_default=_printing(f"file://{file}"))
    refused(path, tmp_path)
    assert not file.exists()
    convert_and_run(path, tmp_path / "trusted", ONES, trusted=True)
    assert file.read_text().startswith("x\n")


def test_printing_to_stderr(tmp_path: Path) -> None:
    path = save(tmp_path / "sm", serving_default=_printing(sys.stderr))
    convert_and_run(path, tmp_path / "out", ONES)


def test_python_and_files_in_a_graph(tmp_path: Path) -> None:
    def python(x: Any) -> dict[str, Any]:
        return {"y": tf.py_function(lambda v: v + 1, [x], tf.float32)}

    def file(x: Any) -> dict[str, Any]:
        return {"y": tf.io.read_file("/etc/hostname"), "x": x}

    called = save(tmp_path / "python", serving_default=python)
    for trusted in (False, True):
        with pytest.raises(LoadError, match=r"tf\.py_function"):
            convert(called, tmp_path, trusted=trusted)
    reading = save(tmp_path / "file", serving_default=file)
    with pytest.raises(LoadError, match=f"uses files of this server.*{TRUSTED}"):
        convert(reading, tmp_path, trusted=False)
    _, got = convert_and_run(reading, tmp_path / "out", ONES, trusted=True)
    assert got[1] == Path("/etc/hostname").read_bytes()


def test_saving_a_checkpoint(tmp_path: Path) -> None:
    def body(x: Any) -> dict[str, Any]:
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "c"), tensor_names=["a"], shape_and_slices=[""], tensors=[[1.0]]
        )
        return {"y": x}

    path = save(tmp_path / "sm", serving_default=body)
    refused(path, tmp_path)
    assert not list(tmp_path.glob("c*"))
    convert_and_run(path, tmp_path / "trusted", ONES, trusted=True)


def test_a_file_as_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")

    def body(x: Any) -> dict[str, Any]:
        line = next(iter(tf.data.TextLineDataset(str(tmp_path / "secret"))))
        return {"y": tf.fill([tf.shape(x)[0]], line)}

    path = save(tmp_path / "sm", serving_default=body)
    refused(path, tmp_path)
    _, got = convert_and_run(path, tmp_path / "trusted", ONES, trusted=True)
    assert got[0].tolist() == [b"secret"]


def test_in_a_function_of_a_function_a_loop_and_a_branch(tmp_path: Path) -> None:
    inner = tf.function(
        lambda x: x + tf.cast(tf.io.write_file(str(tmp_path / "f"), "x") is None, tf.float32)
    )
    outer = tf.function(lambda x: inner(x) * 2.0)

    def loop(x: Any) -> dict[str, Any]:
        return {"y": tf.while_loop(lambda i, v: i < 2, lambda i, v: (i + 1, inner(v)), [0, x])[1]}

    def branch(x: Any) -> dict[str, Any]:
        return {"y": tf.cond(x[0, 0] > 0, lambda: inner(x), lambda: x)}

    bodies: list[Body] = [lambda x: {"y": outer(x)}, loop, branch]
    for number, body in enumerate(bodies):
        path = save(tmp_path / f"sm{number}", serving_default=body)
        with pytest.raises(LoadError, match=f"uses files of this server .WriteFile.*{TRUSTED}"):
            convert(path, tmp_path, trusted=False)


def test_in_a_second_signature(tmp_path: Path) -> None:
    def second(x: Any) -> dict[str, Any]:
        writes(tmp_path)
        return {"y": x}

    path = save(tmp_path / "sm", serving_default=lambda x: {"y": x + 1}, second=second)
    refused(path, tmp_path)


def test_what_no_request_can_ask_for_does_not_matter(tmp_path: Path) -> None:
    """TensorFlow 1 exported the whole graph, what read the data for training included."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, (None, 2), name="x")
        tf.io.read_file(v1.placeholder(tf.string))
        writes(tmp_path)
        v1.saved_model.simple_save(session, str(tmp_path / "sm"), {"x": x}, {"y": x + 1})
    convert_and_run(tmp_path / "sm", tmp_path / "out", ONES)


def test_what_tensorflow_computes_while_it_reads_the_graph(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, (None, 2), name="x")
        tf.zeros([tf.strings.length(tf.io.read_file(__file__))])
        v1.saved_model.simple_save(session, str(tmp_path / "sm"), {"x": x}, {"y": x + 1})
    refused(tmp_path / "sm", tmp_path)


# --- what loading runs ----------------------------------------------------------------------------


class _Initialising(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
    """A resource that does something else when it is made ready."""

    def __init__(self, does: Callable[[], Any]) -> None:
        super().__init__()
        self._does = does
        self.resource_handle  # noqa: B018 - made when it is read

    def _create_resource(self) -> Any:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self) -> None:
        self._does()


def test_the_init_op(tmp_path: Path) -> None:
    module = tf.Module()
    module.resource = _Initialising(lambda: writes(tmp_path))
    (tmp_path / "out").mkdir()  # where making it writes, once
    path = save(tmp_path / "sm", module, serving_default=lambda x: {"y": x + 1})
    (tmp_path / "out" / "written").unlink(missing_ok=True)
    (tmp_path / "out").rmdir()
    refused(path, tmp_path)


def _tf1(path: Path, tmp_path: Path, change: Callable[[Any], None]) -> Path:
    """A graph of TensorFlow 1 with a variable, its saver and an operation that writes."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, (None, 2), name="x")
        with tf.control_dependencies([writes(tmp_path)]):
            tf.constant(str(tmp_path / "elsewhere"), name="evil")
        w = v1.get_variable("w", initializer=2.0)
        session.run(w.initializer)
        v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": x * w})
    return edit(path, change)


def _collection(key: str) -> Callable[[Any], None]:
    return lambda meta: meta.collection_def[key].node_list.value.append("evil")


def _restore_op(meta: Any) -> None:
    meta.saver_def.restore_op_name = "evil"


def _restored_from_elsewhere(meta: Any) -> None:
    for node in meta.graph_def.node:
        if node.op == "RestoreV2":
            node.input[0] = "evil"


def _variable(meta: Any) -> None:
    meta.ClearField("saver_def")
    meta.collection_def["saveable_objects"].node_list.value.append("evil")


@pytest.mark.parametrize(
    "change",
    [
        _collection("saved_model_main_op"),
        _collection("legacy_init_op"),
        _restore_op,
        _restored_from_elsewhere,
        _variable,
    ],
)
def test_what_loading_runs_of_tensorflow_1(change: Callable[[Any], None], tmp_path: Path) -> None:
    path = _tf1(tmp_path / "sm", tmp_path, change)
    refused(path, tmp_path)


def test_a_saver_may_be_what_it_is(tmp_path: Path) -> None:
    path = _tf1(tmp_path / "sm", tmp_path, lambda meta: None)
    _, got = convert_and_run(path, tmp_path / "out", ONES)
    assert got[0].tolist() == [[2.0, 2.0]]


def test_the_checkpoint_cannot_be_read_by_a_signature(tmp_path: Path) -> None:
    def body(x: Any) -> dict[str, Any]:
        prefix = str(tmp_path / "other")
        return {
            "y": x
            + tf.raw_ops.RestoreV2(
                prefix=prefix, tensor_names=["w"], shape_and_slices=[""], dtypes=[tf.float32]
            )[0]
        }

    refused(save(tmp_path / "sm", serving_default=body), tmp_path)


def test_the_graph_that_is_looked_at_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    """TensorFlow compares tags as a set."""

    def writing(x: Any) -> dict[str, Any]:
        writes(tmp_path)
        return {"y": x}

    bad = save(tmp_path / "bad", serving_default=writing)
    good = save(tmp_path / "good", serving_default=lambda x: {"y": x + 1})
    proto = saved_model_pb2.SavedModel.FromString((bad / "saved_model.pb").read_bytes())
    proto.meta_graphs[0].meta_info_def.tags.append("serve")
    proto.MergeFromString((good / "saved_model.pb").read_bytes())
    (good / "saved_model.pb").write_bytes(proto.SerializeToString())
    refused(good, tmp_path)


def test_functions_that_tensorflow_may_run_instead(tmp_path: Path) -> None:
    def writing(x: Any) -> dict[str, Any]:
        writes(tmp_path)
        return {"y": x}

    path = save(tmp_path / "sm", serving_default=lambda x: {"y": x + 1})
    other = save(tmp_path / "other", serving_default=writing)
    proto = saved_model_pb2.SavedModel.FromString((other / "saved_model.pb").read_bytes())
    evil = next(
        f
        for f in proto.meta_graphs[0].graph_def.library.function
        if any(n.op == "WriteFile" for n in f.node_def)
    )
    evil.signature.name = "evil"

    def same(meta: Any) -> None:
        library = meta.graph_def.library
        for function in (*library.function, evil):
            function.attr["api_implements"].s = b"same"
        library.function.append(evil)

    def gradient(meta: Any) -> None:
        library = meta.graph_def.library
        name = library.function[0].signature.name
        for function in library.function:
            library.gradient.add(function_name=function.signature.name, gradient_func="evil")
        assert name != "evil"
        library.function.append(evil)

    for number, change in enumerate((same, gradient)):
        original = (path / "saved_model.pb").read_bytes()
        edit(path, change)
        (tmp_path / str(number)).mkdir()
        refused(path, tmp_path / str(number))
        (path / "saved_model.pb").write_bytes(original)


def test_two_functions_of_one_name(tmp_path: Path) -> None:
    path = save(tmp_path / "sm", serving_default=lambda x: {"y": x + 1})

    def twice(meta: Any) -> None:
        meta.graph_def.library.function.append(meta.graph_def.library.function[0])

    with pytest.raises(LoadError, match="two nodes or functions called"):
        convert(edit(path, twice), tmp_path, trusted=False)


def test_a_handle_that_is_written_out(tmp_path: Path) -> None:
    def body(x: Any) -> dict[str, Any]:
        handle = tf.raw_ops.ParseTensor(serialized="", out_type=tf.resource)
        return {"y": x + tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)}

    refused(
        save(tmp_path / "sm", serving_default=body),
        tmp_path,
        "uses operations that access files, the network or the process",
    )


# --- Keras files, which run operations while they are read ----------------------------------------


def _with_layer(tmp_path: Path, layer: dict[str, Any]) -> Path:
    path = tmp_path / "m.h5"
    x = tf_keras.Input((2,), name="x")
    tf_keras.Model(x, tf_keras.layers.Dense(1)(x)).save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].append({"name": "evil", **layer})
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_an_operation_as_a_layer_is_not_run(tmp_path: Path) -> None:
    """On a constant Keras would run it as soon as it reads the file."""
    node = {
        "name": "s",
        "op": "SaveV2",
        "input": ["prefix", "names", "slices", "tensor"],
        "attr": {"dtypes": {"list": {"type": ["DT_FLOAT"]}}},
    }
    constants = {"0": str(tmp_path / "out" / "written"), "1": ["a"], "2": [""]}
    layer = {
        "class_name": "TensorFlowOpLayer",
        "config": {"name": "evil", "node_def": node, "constants": constants},
        "inbound_nodes": [["_CONSTANT_VALUE", -1, 1.0, {}]],
    }
    refused(_with_layer(tmp_path, layer), tmp_path)


def test_a_function_as_a_layer_prints_into_no_file(tmp_path: Path) -> None:
    to = {"output_stream": f"file://{tmp_path / 'out' / 'written'}"}
    layer = {
        "class_name": "TFOpLambda",
        "config": {"name": "evil", "function": "print"},
        "inbound_nodes": [["_CONSTANT_VALUE", -1, "written", to]],
    }
    path = _with_layer(tmp_path, layer)
    (tmp_path / "out").mkdir()
    with pytest.raises(LoadError, match=r"a call of tf\.print.*trusted: true"):
        convert(path, tmp_path / "out", trusted=False)
    assert not list((tmp_path / "out").iterdir())


def test_files_in_the_graph_of_a_keras_model(tmp_path: Path) -> None:
    """TensorFlow 2.0 to 2.3 wrote operations as layers, any operation."""
    layer_of = tf_keras.src.engine.base_layer.TensorFlowOpLayer
    node = {"name": "read", "op": "MatchingFiles", "input": ["x"]}
    x = tf_keras.Input((), dtype="string", name="x")
    tf_keras.Model(x, layer_of(node, name="read")(x)).save(tmp_path / "m.h5")
    with pytest.raises(LoadError, match="uses files of this server"):
        convert(tmp_path / "m.h5", tmp_path, trusted=False)
