"""The Docker image of the application."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stack.compose import Stack, run


@pytest.fixture(scope="module")
def image(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("docker", "image", "inspect", f"{stack.project}-app-1"))[
        0
    ]
    return found


def test_it_is_at_most_one_and_a_half_gigabytes(image: dict[str, Any]) -> None:
    assert image["Size"] <= 1_500_000_000


def test_it_says_what_it_is(image: dict[str, Any]) -> None:
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["python", "-m", "app", "serve"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_nothing_to_build_with_is_left_inside(stack: Stack) -> None:
    tools = "gcc g++ cc clang make cmake ld"
    assert stack.shell("app-1", f"for t in {tools}; do command -v $t; done; true") == ""
    assert stack.shell("app-1", "find / -xdev -name '*.h' 2>/dev/null; true") == ""
    assert stack.shell("app-1", "ls /opt/keraport/bin | grep -c pip || true").strip() == "0"


def test_a_change_of_the_source_leaves_the_packages_alone(stack: Stack) -> None:
    source = stack.folder / "app" / "__init__.py"
    before = source.read_text()
    try:
        source.write_text(before + "# changed\n")
        tag = f"{stack.project}-changed"
        run("docker", "build", "--tag", tag, ".", cwd=stack.folder, timeout=120)
        old, new = (
            json.loads(run("docker", "image", "inspect", name))[0]["RootFS"]["Layers"]
            for name in (f"{stack.project}-app-1", tag)
        )
        run("docker", "image", "rm", tag)
    finally:
        source.write_text(before)
    changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    assert changed, "the change is not in the image"
    assert changed[0] >= len(old) - 3, "more than the last layers was built again"
