"""Ten models at once under many clients: every answer is right, and memory does not grow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.load import Load, Question, build
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, list[Question]]]:
    folder = tmp_path_factory.mktemp("ten")
    models = folder / "models"
    models.mkdir()
    questions = build(models)
    with serving(models, folder) as server:
        states = server.get("/readyz").json()["models"]
        assert len(states) >= 10
        assert set(states.values()) == {"ready"}, server.log()
        yield server, questions


def test_64_clients_mixing_ten_models_get_no_wrong_answer(
    ten: tuple[ServerProcess, list[Question]],
) -> None:
    server, questions = ten
    load = Load(server.port, questions)
    load.run(64, count=960)
    assert load.wrong == []
    assert set(load.answered) == {q.path for q in questions}
    assert load.answered.total() > 250


@pytest.mark.slow
def test_memory_after_20_000_mixed_requests(ten: tuple[ServerProcess, list[Question]]) -> None:
    server, questions = ten
    load = Load(server.port, questions)
    load.run(16, count=2_000)
    before = server.rss
    load.run(16, count=20_000)
    assert load.wrong == []
    assert load.answered.total() >= 22_000
    assert server.rss <= before * 1.05, f"{before:,} bytes became {server.rss:,}"
