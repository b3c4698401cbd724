"""What the graphs of this process run on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from app.serving.engine.sessions import tf

CPU = "CPU"
# In TensorFlow's description of a GPU.
_NAME = re.compile(r"\bname: ([^,]+)")


def device_name(session: Any) -> str:
    """Return the name of the GPU that a session uses, which is the first that the process sees
    (CUDA_VISIBLE_DEVICES); CPU if there is none."""
    has_gpu = any(device.device_type == "GPU" for device in session.list_devices())
    return _first_gpu() if has_gpu else CPU


@cache
def _first_gpu() -> str:
    # Only where there is a GPU: listing devices by their description opens them once more.
    from tensorflow.python.client.device_lib import list_local_devices

    config = tf.ConfigProto()
    config.gpu_options.allow_growth = True
    devices = list_local_devices(config)
    return name_in(d.physical_device_desc for d in devices if d.device_type == "GPU")


def name_in(descriptions: Iterable[str]) -> str:
    """Return the name in the first of TensorFlow's descriptions of GPUs."""
    found = _NAME.search(next(iter(descriptions), ""))
    return found[1].strip() if found else "GPU"
