"""SavedModels: which graph and signature is served, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from app.errors import LoadError
from app.serving.reading.convert import convert
from tests.models.fixtures import (
    assert_as_expected,
    assert_equal,
    convert_and_run,
    fixture,
)


def _save(path: Path, **functions: Any) -> Path:
    tf.saved_model.save(tf.Module(), str(path), signatures=functions or None)
    return path


def _function(body: Callable[..., Any], *specs: Any) -> Any:
    return tf.function(body, input_signature=list(specs)).get_concrete_function()


X = tf.TensorSpec((None, 2), tf.float32, name="x")


def _edit(path: Path, change: Callable[[Any], None]) -> Path:
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    change(proto)
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return path


def test_the_default_signature_is_served(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "sm",
        a=_function(lambda x: {"y": x + 1}, X),
        serving_default=_function(lambda x: {"y": x + 2}, X),
    )
    model, got = convert_and_run(path, tmp_path / "out", np.zeros((1, 2)))
    assert_equal(got, [np.full((1, 2), 2.0)])
    assert model.frozen


def test_without_a_default_the_first_by_name_is_served(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "sm",
        b=_function(lambda x: {"y": x + 1}, X),
        a=_function(lambda x: {"y": x + 3}, X),
    )
    assert_equal(
        convert_and_run(path, tmp_path / "out", np.zeros((1, 2)))[1], [np.full((1, 2), 3.0)]
    )


def test_types_that_json_or_numpy_lack(tmp_path: Path) -> None:
    def outputs(x: Any) -> dict[str, Any]:
        return {
            "bf": tf.cast(x, tf.bfloat16),
            "bool": x > 0,
            "half": tf.cast(x, tf.float16),
            "int": tf.cast(x, tf.int8),
            "text": tf.strings.as_string(x),
        }

    path = _save(tmp_path / "sm", serving_default=_function(outputs, X))
    _, got = convert_and_run(path, tmp_path / "out", np.array([[0.0, 1.5]]))
    bf, flag, half, whole, text = got
    assert [str(a.dtype) for a in got[:4]] == ["float32", "bool", "float32", "int8"]
    assert bf.tolist() == half.tolist() == [[0.0, 1.5]]
    assert flag.tolist() == [[False, True]]
    assert whole.tolist() == [[0, 1]]
    assert text.tolist() == [[b"0.000000", b"1.500000"]]


def test_an_unused_input_of_a_savedmodel_can_be_fed(tmp_path: Path) -> None:
    """TensorFlow 1 exported whatever graph there was."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x, idle = (v1.placeholder(tf.float32, (None, n), name=f"i{n}") for n in (2, 7))
        w = v1.Variable(2.0)
        session.run(w.initializer)
        builder = v1.saved_model.Builder(str(tmp_path / "sm"))
        signature = v1.saved_model.predict_signature_def({"x": x, "idle": idle}, {"y": x * w})
        signatures = {"serving_default": signature}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    model, got = convert_and_run(
        tmp_path / "sm", tmp_path / "out", np.ones((1, 7)), np.ones((1, 2))
    )
    assert model.frozen
    assert [t.name for t in model.signature.inputs] == ["idle", "x"]
    assert_equal(got, [np.full((1, 2), 2.0)])


def _retag(*tags: str) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        del proto.meta_graphs[0].meta_info_def.tags[:]
        proto.meta_graphs[0].meta_info_def.tags.extend(tags)

    return change


def _rename_operations(proto: Any) -> None:
    for function in proto.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "AddV2":
                node.op = "MyFancyAdd"


def _sparse(proto: Any) -> None:
    proto.meta_graphs[0].signature_def["serving_default"].inputs[
        "x"
    ].coo_sparse.values_tensor_name = "x:0"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_retag("train"), "no graph with the tag 'serve'.*train"),
        (_retag("eval", "gpu"), "no graph with the tag 'serve'.*eval, gpu"),
        (_rename_operations, "operation 'MyFancyAdd', which this TensorFlow does not have"),
        (_sparse, "'x' of the signature 'serving_default' is a sparse"),
        (lambda proto: proto.meta_graphs[0].signature_def.clear(), "no signature"),
        (lambda proto: proto.Clear(), "holds no graph"),
    ],
)
def test_a_savedmodel_that_cannot_be_served(
    change: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    path = _save(tmp_path / "sm", serving_default=_function(lambda x: {"y": x + 1}, X))
    with pytest.raises(LoadError, match=reason):
        convert(_edit(path, change), tmp_path, trusted=False)


def test_the_only_graph_without_tags_is_meant(tmp_path: Path) -> None:
    """Modules of TensorFlow Hub for TensorFlow 1 have it beside one with the tag `train`."""
    path = _save(tmp_path / "sm", serving_default=_function(lambda x: {"y": x + 1}, X))

    def change(proto: Any) -> None:
        _retag("train")(proto)
        proto.meta_graphs.add().CopyFrom(proto.meta_graphs[0])
        del proto.meta_graphs[1].meta_info_def.tags[:]

    _edit(path, change)
    assert_equal(convert_and_run(path, tmp_path / "out", np.ones((1, 2)))[1], [np.full((1, 2), 2)])


def test_further_tags_do_not_matter(tmp_path: Path) -> None:
    path = _save(tmp_path / "sm", serving_default=_function(lambda x: {"y": x + 1}, X))
    _edit(path, _retag("serve", "gpu"))
    assert_equal(convert_and_run(path, tmp_path / "out", np.ones((1, 2)))[1], [np.full((1, 2), 2)])


def test_a_savedmodel_without_signatures(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no signature with inputs and outputs"):
        convert(_save(tmp_path / "sm"), tmp_path, trusted=False)


def test_a_signature_without_inputs(tmp_path: Path) -> None:
    path = _save(tmp_path / "sm", serving_default=_function(lambda: {"y": tf.ones((1,))}))
    with pytest.raises(LoadError, match="no signature with inputs and outputs"):
        convert(path, tmp_path, trusted=False)


def _without_shapes(proto: Any) -> None:
    for signature in proto.meta_graphs[0].signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            info.ClearField("tensor_shape")


def _of_any_rank(proto: Any) -> None:
    for signature in proto.meta_graphs[0].signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            del info.tensor_shape.dim[:]
            info.tensor_shape.unknown_rank = True


def _open(proto: Any) -> None:
    for signature in proto.meta_graphs[0].signature_def.values():
        for info in signature.inputs.values():
            for dim in info.tensor_shape.dim:
                dim.size = -1


@pytest.mark.parametrize("change", [_without_shapes, _of_any_rank, _open])
@pytest.mark.parametrize("shape", [(None, 2), (3, 2), (None, 2, None), (), (None,)])
def test_a_signature_that_says_less_than_its_placeholder(
    change: Callable[[Any], None], shape: tuple[int | None, ...], tmp_path: Path
) -> None:
    """TensorFlow goes by the graph: what the signature lacks is found there."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, shape, name="x")
        signatures = {
            "serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": x + 3.0}),
            "other": v1.saved_model.predict_signature_def({"x": x}, {"z": x * 2.0}),
        }
        builder = v1.saved_model.Builder(str(tmp_path / "sm"))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    _edit(tmp_path / "sm", change)
    rows = np.ones([3 if d is None else d for d in shape], "float32")
    model, got = convert_and_run(tmp_path / "sm", tmp_path / "out", rows)
    assert_equal(got, [rows + 3])
    for signature in (model.signature, model.others["other"]):
        assert signature.inputs[0].shape == shape
        assert signature.outputs[0].shape == shape
        assert signature.batchable == (shape != () and shape[0] is None)


@pytest.mark.parametrize("name", ["tf1_savedmodel", "tf2_savedmodel_keras2"])
@pytest.mark.parametrize("lost", ["variables", "variables/variables.index", "variables/*data*"])
def test_a_savedmodel_without_its_variables(name: str, lost: str, tmp_path: Path) -> None:
    """The message names the folder that is missing; once it is copied there, the model answers."""
    source = shutil.copytree(fixture(name), tmp_path / "sm")
    for path in source.glob(lost):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    with pytest.raises(LoadError, match=r"was not copied whole: .* to /") as caught:
        convert(source, tmp_path, trusted=False)
    place = caught.value.message.rpartition(" to ")[2]
    shutil.copytree(fixture(name) / "variables", place, dirs_exist_ok=True)
    (tmp_path / "out").mkdir()
    assert_as_expected(name, convert(source, tmp_path / "out", trusted=False))


def test_variables_that_git_has_not_fetched(tmp_path: Path) -> None:
    source = shutil.copytree(fixture("tf1_savedmodel"), tmp_path / "sm")
    (data,) = source.glob("variables/*data*")
    data.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n")
    with pytest.raises(LoadError, match=r"Git LFS pointer.*git lfs pull"):
        convert(source, tmp_path, trusted=False)


def test_a_signature_that_is_not_offered_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _save(
        tmp_path / "sm",
        serving_default=_function(lambda x: {"y": x + 1}, X),
        sparse=_function(lambda x: {"y": x + 2}, X),
        constant=_function(lambda: {"y": tf.ones((1,))}),
    )

    def change(proto: Any) -> None:
        info = proto.meta_graphs[0].signature_def["sparse"].inputs["x"]
        info.coo_sparse.values_tensor_name = "x:0"

    (tmp_path / "out").mkdir()
    with caplog.at_level("WARNING"):
        model = convert(_edit(path, change), tmp_path / "out", trusted=False)
    assert list(model.others) == []
    assert "'sparse'" in caplog.text
    assert "'constant'" in caplog.text
