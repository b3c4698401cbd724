"""The name of what models run on."""

from __future__ import annotations

import pytest

from app.serving.engine.sessions.device import name_in


@pytest.mark.parametrize(
    ("descriptions", "name"),
    [
        (
            [
                "device: 0, name: NVIDIA H200, pci bus id: 0000:00:04.0, compute capability: 9.0",
                "device: 1, name: Tesla T4, pci bus id: 0000:00:05.0, compute capability: 7.5",
            ],
            "NVIDIA H200",
        ),
        (["device: XPU"], "GPU"),
        ([], "GPU"),
    ],
)
def test_a_gpu_has_the_name_of_its_maker(descriptions: list[str], name: str) -> None:
    assert name_in(descriptions) == name
