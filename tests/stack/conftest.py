"""Starts the stack once, always removes it, and prints its logs if a test failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.compose import Stack, copy_of_the_repository

# Some seconds of writing, on any machine.
LONG_TEXTS = "words: {min: 10, max: 500, default: 50}"
# Longer than any run takes here, and shorter than a request may take.
WATCHDOG_S = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits until the images are built."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900), append=True)


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """`docker compose up -d --wait` in a fresh copy, nothing edited but the ports, the limit of
    requests a second, which the load of the tests would meet, and the patience with models that
    hang; and a model that writes slowly."""
    from tests.models import save_text_model

    folder = copy_of_the_repository(tmp_path_factory.mktemp("stack"))
    writer = folder / "models" / "writer"
    save_text_model(writer, kind="bidirectional", units=256)
    card = writer / "model.yaml"
    card.write_text(card.read_text().replace("text: {", f"text: {{{LONG_TEXTS}, "))
    stack = Stack(
        folder,
        "keraport-test",
        rate_limit=100000,
        connection_limit=1000,
        watchdog_s=WATCHDOG_S,
    )
    failed = request.session.testsfailed
    try:
        stack.up()
        yield stack
    finally:
        try:
            if request.session.testsfailed > failed or not stack.container("nginx"):
                print(stack.compose("logs", "--no-color", "--tail", "300"))
                print(stack.compose("ps", "--all"))
        finally:
            stack.down()
