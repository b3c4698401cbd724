"""The part of TensorFlow that runs graphs.

`import tensorflow` also imports what builds, trains and distributes models: in a process that runs
finished graphs, that would be two thirds of the time of its start and 130 MB of its memory. Here
the modules of TensorFlow that are needed are imported without `tensorflow/__init__.py`, whose names
they have here as well (see docs/decisions/0051-part-of-tensorflow.md). Where TensorFlow is imported
already, as in the process that reads models, they are the same objects.
"""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import find_spec
from multiprocessing import current_process
from pathlib import Path
from types import ModuleType
from typing import Any

from app.serving.quiet import quiet_import

# Set for libraries of devices that are not part of TensorFlow, which its own import loads.
_DEVICES = "TF_PLUGGABLE_DEVICE_LIBRARY_PATH"


def _begin() -> None:
    """Let modules of TensorFlow be imported without its own import, if nothing has imported it."""
    if "tensorflow" in sys.modules:
        return
    spec = find_spec("tensorflow")
    places = None if spec is None else spec.submodule_search_locations
    # A process that `multiprocessing` has started may read models. Before anything else it imports
    # the program that started it, and the engine with that.
    is_child = current_process().name != "MainProcess"
    if spec is None or not places or is_child or _uses_devices(Path(places[0])):
        import tensorflow  # noqa: F401 - which also says what is wrong

        return
    package = ModuleType("tensorflow")
    package.__spec__ = spec
    package.__file__ = spec.origin
    package.__path__ = list(places)
    package.__getattr__ = _missing  # type: ignore[method-assign]
    sys.modules["tensorflow"] = package
    # As its own import does.
    os.environ["TF2_BEHAVIOR"] = "1"
    from tensorflow.python import pywrap_tensorflow, tf2  # noqa: F401 - the library, then a flag

    tf2.enable()


def _uses_devices(package: Path) -> bool:
    """Whether TensorFlow may find devices beside the CPU, for which it is imported as it comes."""
    build = runpy.run_path(str(package / "python/platform/build_info.py"))["build_info"]
    return (
        _DEVICES in os.environ
        or (package.parent / "tensorflow-plugins").exists()
        or build["is_cuda_build"]
        or build["is_rocm_build"]
    )


def _missing(name: str) -> Any:
    raise AttributeError(
        f"tensorflow.{name}: this process has imported only what runs graphs "
        "(app/serving/engine/sessions/tf.py); import tensorflow before that to have all of it"
    )


with quiet_import():
    _begin()
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.client.session import Session
    from tensorflow.python.framework import errors
    from tensorflow.python.framework.constant_op import constant
    from tensorflow.python.framework.dtypes import as_dtype, float32, int32, string, uint8
    from tensorflow.python.framework.dtypes import bool as bool_
    from tensorflow.python.framework.importer import import_graph_def
    from tensorflow.python.framework.ops import Graph, GraphKeys
    from tensorflow.python.ops import (
        tensor_getitem_override,  # noqa: F401 - `tensor[...]`
        tensor_math_operator_overrides,  # noqa: F401 - `tensor * 2`
    )
    from tensorflow.python.ops.array_ops import placeholder, reshape, zeros
    from tensorflow.python.ops.array_ops import shape_v2 as shape
    from tensorflow.python.ops.array_ops import where_v2 as where
    from tensorflow.python.ops.array_ops_stack import stack
    from tensorflow.python.ops.clip_ops import clip_by_value
    from tensorflow.python.ops.gen_array_ops import ImmutableConst
    from tensorflow.python.ops.gen_control_flow_ops import Merge, Switch
    from tensorflow.python.ops.gen_math_ops import is_finite
    from tensorflow.python.ops.gen_resource_variable_ops import (
        AssignVariableOp,
        ReadVariableOp,
        VarHandleOp,
    )
    from tensorflow.python.ops.math_ops import argmax_v2 as argmax
    from tensorflow.python.ops.math_ops import cast, reduce_all, reduce_max, round
    from tensorflow.python.platform.build_info import build_info
    from tensorflow.python.saved_model.loader_impl import load as load_saved_model

ConfigProto = config_pb2.ConfigProto
OptimizerOptions = config_pb2.OptimizerOptions
RunOptions = config_pb2.RunOptions
BUILT_WITH_CUDA: bool = build_info["is_cuda_build"]

__all__ = [
    "BUILT_WITH_CUDA",
    "AssignVariableOp",
    "ConfigProto",
    "Graph",
    "GraphDef",
    "GraphKeys",
    "ImmutableConst",
    "Merge",
    "OptimizerOptions",
    "ReadVariableOp",
    "RunOptions",
    "Session",
    "Switch",
    "VarHandleOp",
    "argmax",
    "as_dtype",
    "bool_",
    "cast",
    "clip_by_value",
    "constant",
    "errors",
    "float32",
    "import_graph_def",
    "int32",
    "is_finite",
    "load_saved_model",
    "placeholder",
    "reduce_all",
    "reduce_max",
    "reshape",
    "round",
    "shape",
    "stack",
    "string",
    "uint8",
    "where",
    "zeros",
]
