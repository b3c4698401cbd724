"""The part of TensorFlow that the engine imports, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from app.serving.engine.sessions import tf as part
from tests.support import ROOT

# The names in TensorFlow of what has another name, or another place, here.
ELSEWHERE = {
    "AssignVariableOp": tf.raw_ops.AssignVariableOp,
    "BUILT_WITH_CUDA": tf.test.is_built_with_cuda(),
    "ConfigProto": tf.compat.v1.ConfigProto,
    "GraphDef": tf.compat.v1.GraphDef,
    "GraphKeys": tf.compat.v1.GraphKeys,
    "ImmutableConst": tf.raw_ops.ImmutableConst,
    "Merge": tf.raw_ops.Merge,
    "OptimizerOptions": tf.compat.v1.OptimizerOptions,
    "ReadVariableOp": tf.raw_ops.ReadVariableOp,
    "RunOptions": tf.compat.v1.RunOptions,
    "Session": tf.compat.v1.Session,
    "Switch": tf.raw_ops.Switch,
    "VarHandleOp": tf.raw_ops.VarHandleOp,
    "as_dtype": tf.dtypes.as_dtype,
    "bool_": tf.bool,
    "is_finite": tf.math.is_finite,
    "load_saved_model": tf.compat.v1.saved_model.load,
    "placeholder": tf.compat.v1.placeholder,
}


@pytest.mark.parametrize("name", part.__all__)
def test_names_mean_what_they_mean_in_tensorflow(name: str) -> None:
    ours = getattr(part, name)
    if name == "errors":
        assert ours.OpError is tf.errors.OpError
        assert ours.DeadlineExceededError is tf.errors.DeadlineExceededError
    else:
        assert ours == ELSEWHERE.get(name, getattr(tf, name, None))


def python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_engine_imports_a_part_and_says_so() -> None:
    done = python(
        "import sys, app.serving.models.tensor_model, app.serving.models.text_model\n"
        "import app.serving.tf_example\n"
        "print('keras' in sys.modules, 'tensorflow._api' in sys.modules)\n"
        "import tensorflow\n"
        "tensorflow.keras\n"
    )
    assert done.stdout == "False False\n", done.stderr
    assert "tensorflow.keras: this process has imported only what runs graphs" in done.stderr


@pytest.mark.parametrize(
    ("first", "device"),
    [
        ("import tensorflow\n", False),
        ("from multiprocessing import process\nprocess.current_process().name = 'reader'\n", False),
        ("", True),
    ],
    ids=["imported before", "a process that reads models", "library of a device"],
)
def test_all_of_tensorflow_is_used_where_it_is_there_or_needed(
    first: str, device: bool, tmp_path: Path
) -> None:
    environ = {"TF_PLUGGABLE_DEVICE_LIBRARY_PATH": str(tmp_path)} if device else {}
    done = python(
        f"{first}from app.serving.engine.sessions import tf as part\n"
        "import tensorflow as tf\n"
        "print(tf.cast is part.cast, tf.keras.Model.__name__)\n",
        **environ,
    )
    assert done.stdout == "True Model\n", done.stderr
