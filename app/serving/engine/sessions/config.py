"""The configuration of the TensorFlow sessions of this process."""

from __future__ import annotations

from typing import Any

from app.resources.container import usable_cores
from app.serving.cards.card import Runtime
from app.serving.engine.sessions import tf


def session_config(runtime: Runtime, *, optimised: bool = False) -> Any:
    """Return the configuration of every session of this process. optimised: TensorFlow's optimisers
    have already processed the graph for the CPU: they would only copy its constants."""
    own = runtime.threads != "auto"
    # Of each worker as well: a run that is alone takes all of them, and several together lose less
    # by sharing them than one would by having a part (decision 43).
    cores = usable_cores()
    config = tf.ConfigProto(
        intra_op_parallelism_threads=cores,
        inter_op_parallelism_threads=runtime.threads if own else cores,
        use_per_session_threads=own,
    )
    config.gpu_options.allow_growth = True
    rewrite = config.graph_options.rewrite_options
    if optimised and not tf.BUILT_WITH_CUDA:
        if runtime.precision == "bfloat16":
            _only_fuse(rewrite)
        else:
            rewrite.disable_meta_optimizer = True
        config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
        # The session needs no second copy of the graph, which is complete before the first run.
        config.experimental.optimize_for_static_graph = True
    # TensorFlow's own kernels pool and convolve with channels last only; those of oneDNN, which it
    # uses on some CPUs, do both.
    rewrite.cpu_layout_conversion = type(rewrite).NCHW_TO_NHWC
    if runtime.precision == "bfloat16" and not optimised:
        rewrite.auto_mixed_precision_onednn_bfloat16 = type(rewrite).ON
    return config


def _only_fuse(rewrite: Any) -> None:
    """Turn all of TensorFlow's optimisers off but the one that fuses operations: convolutions that
    it has fused in bfloat16 cannot be imported, because `_FusedConv2D` does not declare that
    type."""
    off = type(rewrite).OFF
    for name in (
        "arithmetic_optimization",
        "common_subgraph_elimination",
        "constant_folding",
        "dependency_optimization",
        "function_optimization",
        "implementation_selector",
        "layout_optimizer",
        "loop_optimization",
        "pin_to_host_optimization",
        "shape_optimization",
        "use_plugin_optimizers",
    ):
        setattr(rewrite, name, off)
    rewrite.memory_optimization = type(rewrite).NO_MEM_OPT
    rewrite.disable_model_pruning = True
    rewrite.meta_optimizer_iterations = type(rewrite).ONE
    rewrite.min_graph_nodes = -1
