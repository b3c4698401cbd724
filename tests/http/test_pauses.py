"""The hub never stands still for long: the largest requests of each kind, one at a time and three
at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.largest import Largest, largest_requests, save_largest_models
from tests.pauses import Pauses, Watched, watched

# CPU time that the hub may work without a turn: what other processes do does not lengthen it by
# much. The aim is 20 ms; one text of 16 MB, which cannot be cut, takes 70 ms on a fast machine.
BUSY_S = 0.15
# How late a timer may be, and an answer to /livez, unless this machine is as late with that of a
# trivial server: also where a native thread holds the interpreter's lock.
LATE_S = 0.3
OF_CONTROL = 4
# Millions of texts in one row, which TensorFlow copies in one go with the interpreter's lock: as
# long as this for each, 0.1 to 0.2 s on a fast machine. A row is so long only where its card says.
COPIED = ("texts", "v1 texts", "v2 texts", "v2 empty BYTES", "v2 empty BYTES to binary")
# A pause that is the server's comes again.
TRIES = 3
REQUESTS = {request.name: request for request in largest_requests()}
CROWD = 3
# Seconds of work each, whose way through the server a quicker one takes as well (in brackets).
SLOW = (
    "rows too many",  # [too many rows of 100 labels]
    "rows of 10 numbers",  # [rows of 100 labels]
    "CSV of 100 labels",  # [CSV, rows of 100 labels]
    "CSV of 1,000 columns",  # [CSV, rows of 1,000 columns]
    "form of a CSV",  # [CSV, page of a CSV]
    "download of a CSV",  # [download of 100 labels]
    "page of 1,000 columns",  # [page of a CSV]
    "texts",  # [v2 texts]
    "texts in objects",  # [words of texts]
    "CSV of texts",  # [page of texts]
    "v1 numbers",  # [v1 numbers in gzip]
    "v1 NaN",  # [v1 objects with NaN]
    "v1 objects",  # [v1 objects with NaN]
    "v1 texts",  # [v1 base64]
    "v1 words of texts",  # [v2 words of texts]
    "v1 regress",  # [v1 classify]
    "v1 too many zeros in gzip",  # [v1 zeros in gzip]
    "v2 nested numbers",  # [v2 numbers]
    "v2 NaN",  # [v2 binary to JSON with NaN]
    "v2 base64",  # [v1 base64, v2 one base64]
    "v2 empty BYTES to binary",  # [v2 empty BYTES]
    "series, many",  # [series of v1]
    "picture: gif",  # [picture: tiff]
    "picture: avif",  # [picture: webp]
    "picture: png",  # [picture: palette PNG, picture with boxes]
    "page of 900 masks",  # [900 masks, mask on the page]
)
# One of each way through the server, for many at once; the first take seconds for each.
SLOW_CROWDS = (
    "rows",
    "CSV",
    "tensor of rows",
    "v1 base64",
    "v1 classify",
    "v2 NaN",
    "download of 100 labels",
    "series, many",
)
CROWDED = (
    "rows of 100 labels",
    "v2 binary to JSON",
    "page of a row",
    "words of the longest texts",
    "900 small pictures",
    "pictures in JSON",
    "pairs of pictures in JSON",
    "pairs of pictures in a form",
    "mask of 1024x1024",
    "900 masks",
    "61 pictures with boxes",
    "sound: 900 of any length",
    "longest texts",
    "picture, explained",
    "text, explained",
)
# CPU time of the hub for a mask of 1024x1024, more than for a small one: what it takes is not done
# there.
MASK_S = 0.005


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("pauses")
    save_largest_models(folder / "models")
    with watched(folder / "models", folder) as found:
        # Else each answer would be a refusal, which is quick.
        models = found.server.get("/api/models").json()["models"]
        assert {model["state"] for model in models} == {"ready"}, models
        yield found


def _slow(*names: str) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", [*(name for name in REQUESTS if name not in SLOW), *_slow(*SLOW)])
def test_one_at_a_time(server: Watched, name: str) -> None:
    check(server, REQUESTS[name], 1)


@pytest.mark.parametrize("name", [*CROWDED, *_slow(*SLOW_CROWDS)])
def test_many_at_once(server: Watched, name: str) -> None:
    check(server, REQUESTS[name], CROWD)


def test_the_size_of_a_mask_costs_the_hub_nothing(server: Watched) -> None:
    """Pixels are drawn in native threads, and the answer is written there."""
    small, large = (
        min(server.ask(REQUESTS[name])[0].busy for _ in range(5))
        for name in ("mask of 32x32", "mask of 1024x1024")
    )
    assert large - small < MASK_S


def check(server: Watched, request: Largest, clients: int) -> None:
    """The figures of all tries are printed, for `pytest -rP`."""
    for _ in range(TRIES):
        pauses, statuses = server.ask(request, clients)
        print(f"{request.name} x {clients}: {pauses} {dict(statuses)}")
        assert set(statuses) <= {200, 400, 413, 415, 422, 503, 504}, statuses
        if is_short(pauses, 2 if request.name in COPIED else clients):
            return
    raise AssertionError(f"{request.name}, {clients} at once: {pauses}")


def is_short(pauses: Pauses, clients: int = 1) -> bool:
    # Those that come together may have a step each in a row.
    steps = 1 if clients == 1 else 2
    late = max(LATE_S, OF_CONTROL * pauses.control)
    return pauses.busy <= steps * BUSY_S and pauses.longest <= steps * late


def test_a_pause_is_noticed(server: Watched) -> None:
    """Of the clocks themselves: a hub that works without a turn is busy, and late."""
    assert not is_short(Pauses(late=0.0, busy=0.2, livez=0.0, control=0.0))
    assert not is_short(Pauses(late=0.5, busy=0.0, livez=0.5, control=0.1))
    assert is_short(Pauses(late=0.5, busy=0.0, livez=0.5, control=0.2))
    assert is_short(Pauses(late=0.5, busy=0.2, livez=0.5, control=0.1), CROWD)
    assert not is_short(Pauses(late=0.9, busy=0.0, livez=0.9, control=0.1), CROWD)
    assert not is_short(Pauses(late=0.0, busy=0.4, livez=0.0, control=0.0), CROWD)
    with server.watching() as found:
        assert server.server.get("/livez").status_code == 200
    assert 0 < found[0].livez < 5
    assert 0 < found[0].control < 5
    assert 0 < found[0].busy < 1
