"""Locks hold for both architectures, and the check of their wheels sees what is missing."""

from __future__ import annotations

import pytest

from tests.support import ROOT
from tests.wheels import ARCHITECTURES, LOCKS, PYTHONS, locked, missing, problems, wanted

CPU = {"x86_64": "tensorflow-cpu", "aarch64": "tensorflow"}
SHA, OTHER = "ab" * 32, "cd" * 32
LOCK = f"""numpy==2.4.6 ; sys_platform == 'linux' \\
    --hash=sha256:{SHA} \\
    --hash=sha256:{OTHER}
tensorflow-cpu==2.21.0 ; platform_machine == 'x86_64' \\
    --hash=sha256:{SHA}
"""


@pytest.mark.parametrize("python", PYTHONS, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_each_architecture_gets_one_tensorflow(
    name: str, architecture: str, python: tuple[int, int]
) -> None:
    # Both wheels hold the same files.
    found = wanted((ROOT / name).read_text(encoding="utf-8"), architecture, python)
    assert found.keys() & {*CPU.values()} == {CPU[architecture]}
    assert {"keras", "tf-keras", "gevent"} <= found.keys()


@pytest.mark.parametrize("name", LOCKS)
def test_everything_that_is_locked_has_hashes(name: str) -> None:
    found = [*locked((ROOT / name).read_text(encoding="utf-8"))]
    assert len(found) > 10
    for requirement, hashes in found:
        assert hashes, requirement
        assert all(len(each) == 64 for each in hashes)


def wheel(name: str, sha256: str) -> dict[str, object]:
    return {"url": f"https://files.example.org/{name}", "hashes": {"sha256": sha256}}


@pytest.mark.parametrize(
    ("file", "sha256", "lacks"),
    [
        ("numpy-2.4.6-cp313-cp313-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", SHA, []),
        ("numpy-2.4.6-cp39-abi3-manylinux2014_aarch64.whl", OTHER, []),
        ("numpy-2.4.6-py3-none-any.whl", OTHER, []),
        ("numpy-2.4.6-cp313-cp313-manylinux_2_28_aarch64.whl", "ef" * 32, ["numpy"]),
        ("numpy-2.4.6-cp312-cp312-manylinux_2_28_aarch64.whl", SHA, ["numpy"]),
        ("numpy-2.4.6-cp313-cp313-manylinux_2_28_x86_64.whl", SHA, ["numpy"]),
        ("numpy-2.4.6-cp313-cp313-musllinux_1_2_aarch64.whl", SHA, ["numpy"]),
        ("numpy-2.4.6-cp313-cp313-manylinux_2_39_aarch64.whl", SHA, ["numpy"]),
    ],
)
def test_what_counts_as_a_wheel(file: str, sha256: str, lacks: list[str]) -> None:
    packages = [{"name": "numpy", "version": "2.4.6", "wheels": [wheel(file, sha256)]}]
    assert missing(LOCK, packages, "aarch64", (3, 13)) == lacks
    assert "tensorflow-cpu" in missing(LOCK, packages, "x86_64", (3, 13))


@pytest.mark.slow
def test_every_locked_package_has_a_wheel_for_both() -> None:
    """Asks the package index."""
    assert [*problems()] == []
