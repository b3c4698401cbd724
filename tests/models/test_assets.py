"""The tables of an untrusted model are filled from its own assets only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from app.serving.reading.convert import convert
from tests.models.fixtures import assert_as_expected, convert_and_run, fixture
from tests.models.hostile import TEXTS, concrete, edit, refused, save


class _Words(tf.Module):  # type: ignore[misc]
    """Numbers words by the lines of a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        index = tf.lookup.TextFileIndex
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(file), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
            ),
            -1,
        )

    def look_up(self, x: Any) -> dict[str, Any]:
        return {"y": self.table.lookup(x)}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text("a\nb\n")
    module = _Words(tmp_path / "words.txt")
    signature = concrete(module.look_up, TEXTS)
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures=signature)
    (tmp_path / "words.txt").unlink()
    return tmp_path / "sm"


def test_a_table_from_an_asset(words: Path, tmp_path: Path) -> None:
    for trusted in (False, True):
        texts = np.array(["b", "c"], object)
        out = tmp_path / f"out{trusted}"
        _, got = convert_and_run(words, out, texts, trusted=trusted)
        assert got[0].tolist() == [1, -1]


def test_a_table_from_an_asset_of_a_model_saved_twice(words: Path, tmp_path: Path) -> None:
    again = tf.saved_model.load(str(words))
    tf.saved_model.save(again, str(tmp_path / "again"), signatures=again.signatures)
    _, got = convert_and_run(tmp_path / "again", tmp_path / "out", np.array(["b"], object))
    assert got[0].tolist() == [1]


NO_ASSET = "fills a table from a file that is none of its assets"


def _constant_path(meta: Any) -> None:
    """The variable with the path is given another one."""
    for node in meta.graph_def.node:
        if node.op == "AssignVariableOp" and node.input[1].startswith("asset_path_initializer"):
            node.input[1] = "evil"
    node = meta.graph_def.node.add(name="evil", op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))


def _second_path(meta: Any) -> None:
    """A second assignment, which may come first."""
    _constant_path(meta)
    nodes = {node.name: node for node in meta.graph_def.node}
    old = next(n for n in nodes.values() if n.op == "AssignVariableOp" and n.input[1] == "evil")
    new = meta.graph_def.node.add()
    new.CopyFrom(old)
    new.name = "evil_assign"
    old.input[1] = "asset_path_initializer"
    nodes["NoOp"].input.append("^evil_assign")


def _same_variable(meta: Any) -> None:
    """The assignment goes by another handle of the same variable."""
    _second_path(meta)
    nodes = {node.name: node for node in meta.graph_def.node}
    handle = meta.graph_def.node.add()
    handle.CopyFrom(nodes[nodes["evil_assign"].input[0]])
    handle.name = "evil_handle"
    nodes["evil_assign"].input[0] = "evil_handle"


def _in_the_function(meta: Any) -> None:
    for function in meta.graph_def.library.function:
        for node in function.node_def:
            if node.op == "InitializeTableFromTextFileV2":
                node.input[1] = "evil:output:0"
                evil = function.node_def.add(name="evil", op="Const")
                evil.attr["dtype"].type = tf.string.as_datatype_enum
                evil.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
                return
    raise AssertionError


def _called_twice(meta: Any) -> None:
    _constant_path(meta)
    nodes = {node.name: node for node in meta.graph_def.node}
    for node in nodes.values():
        if node.op == "AssignVariableOp" and node.input[1] == "evil":
            node.input[1] = "asset_path_initializer"
    call = meta.graph_def.node.add()
    call.CopyFrom(nodes["StatefulPartitionedCall_1"])
    call.name = "evil_call"
    call.input[0] = "evil"
    nodes["NoOp"].input.append("^evil_call")


def _no_placeholder(meta: Any) -> None:
    """Assigned before it is fed: the restore op, too, runs the assignment."""
    for node in meta.graph_def.node:
        if node.name == "asset_path_initializer":
            node.op = "Const"
            node.attr.pop("shape", None)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))


@pytest.mark.parametrize(
    "change",
    [
        _constant_path,
        _second_path,
        _same_variable,
        _in_the_function,
        _called_twice,
        _no_placeholder,
    ],
)
def test_a_table_from_a_file_that_is_no_asset(
    change: Callable[[Any], None], words: Path, tmp_path: Path
) -> None:
    refused(edit(words, change), tmp_path, NO_ASSET)


def test_a_table_from_a_file_in_a_signature(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")

    def body(x: Any) -> dict[str, Any]:
        table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string)
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table, filename=str(tmp_path / "secret"), key_index=-1, value_index=-2
        )
        return {
            "y": tf.raw_ops.LookupTableFindV2(
                table_handle=table, keys=tf.zeros([1], tf.int64), default_value=""
            ),
            "x": x,
        }

    refused(save(tmp_path / "sm", serving_default=body), tmp_path)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "words.txt/../../x", "link"])
def test_an_asset_that_lies_elsewhere(name: str, words: Path, tmp_path: Path) -> None:
    (words / "assets" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("a\n")

    def change(meta: Any) -> None:
        meta.asset_file_def[0].filename = name

    refused(edit(words, change), tmp_path, "lies outside its folder assets")


def test_a_folder_of_assets_that_lies_elsewhere(words: Path, tmp_path: Path) -> None:
    (words / "assets").rename(tmp_path / "elsewhere")
    (words / "assets").symlink_to(tmp_path / "elsewhere")
    refused(words, tmp_path, "lies outside its folder assets")


def test_a_table_of_tensorflow_1_from_another_file(tmp_path: Path) -> None:
    path = Path(shutil.copytree(fixture("tf1_table_savedmodel"), tmp_path / "sm"))

    def change(meta: Any) -> None:
        del meta.collection_def["saved_model_assets"]

    (tmp_path / "plain").mkdir()
    assert_as_expected("tf1_table_savedmodel", convert(path, tmp_path / "plain", trusted=False))
    refused(edit(path, change), tmp_path, NO_ASSET)
