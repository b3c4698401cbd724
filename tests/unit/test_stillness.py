"""Changes count once the files no longer change."""

from __future__ import annotations

from app.serving.registry.stillness import Stillness


def _at(still: Stillness[str, int], now: float, **values: int) -> dict[str, int]:
    return dict(still.settle(values, now))


def test_what_is_taken_as_it_is_counts_at_once() -> None:
    still: Stillness[str, int] = Stillness(2)
    assert still.accept({"a": 1}) == {"a": 1}
    assert _at(still, 0, a=1) == {"a": 1}


def test_a_change_counts_after_the_time_and_not_before() -> None:
    still: Stillness[str, int] = Stillness(2)
    still.accept({"a": 1})
    assert _at(still, 10, a=2) == {"a": 1}
    assert _at(still, 11.99, a=2) == {"a": 1}
    assert _at(still, 12, a=2) == {"a": 2}


def test_each_further_change_restarts_the_time() -> None:
    still: Stillness[str, int] = Stillness(2)
    for now in range(10):
        assert _at(still, now, a=now) == {}
    assert _at(still, 10, a=9) == {}
    assert _at(still, 11, a=9) == {"a": 9}


def test_what_is_gone_is_believed_after_the_time() -> None:
    still: Stillness[str, int] = Stillness(2)
    still.accept({"a": 1, "b": 1})
    assert _at(still, 0, b=1) == {"a": 1, "b": 1}
    assert _at(still, 1, b=1) == {"a": 1, "b": 1}
    assert _at(still, 2, b=1) == {"b": 1}


def test_what_comes_back_as_it_was_has_never_changed() -> None:
    still: Stillness[str, int] = Stillness(2)
    still.accept({"a": 1})
    _at(still, 0)
    assert _at(still, 1, a=1) == {"a": 1}
    # The time counts from when it went again.
    assert _at(still, 2) == {"a": 1}
    assert _at(still, 3.9) == {"a": 1}
    assert _at(still, 4) == {}


def test_what_comes_and_goes_was_never_there() -> None:
    still: Stillness[str, int] = Stillness(2)
    _at(still, 0, a=1)
    assert _at(still, 1) == {}
    assert _at(still, 2, a=1) == {}
    assert _at(still, 4, a=1) == {"a": 1}


def test_keys_do_not_wait_for_each_other() -> None:
    still: Stillness[str, int] = Stillness(2)
    for now in range(5):
        found = _at(still, now, quiet=1, moving=now)
    assert found == {"quiet": 1}
