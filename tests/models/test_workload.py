"""Models of every kind at work, as `profile` measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
import tensorflow as tf

from app.cli import offline
from app.cli.profiling import workload
from app.cli.profiling.measurements import Stated
from app.cli.profiling.process import AdaptedCard, Order
from app.cli.profiling.workload import Workload, workload_of
from app.errors import LoadError
from app.resources.room import Room
from app.serving import row_room
from app.serving.limits import Limits
from tests.conversions import shared_reader
from tests.detectors import save_ssd
from tests.drawn import save_drawn
from tests.kinds import save_couple
from tests.models.saved import save_picture_model, save_text_model
from tests.support import ROOT
from tests.time_kinds import save_time_kinds

# The most rows to measure.
MOST = 6
SHIPPED = ("cats-dogs", "membranes", "mpg", "patents", "spam")


@pytest.fixture(scope="module", autouse=True)
def _one_reader() -> Iterator[None]:
    with patch.object(offline, "ReaderProcess", shared_reader):
        yield


def _save_function(folder: Path, serve: Callable[..., Any], *specs: Any, **options: Any) -> None:
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=specs, autograph=False, **options)
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=module.serve)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models")
    for name in SHIPPED:
        (folder / name).symlink_to(ROOT / "models" / name)
    save_drawn(folder, "streets", "doubled")
    save_time_kinds(folder, ("voice", "any-series"))
    save_couple(folder / "couple")
    (folder / "ssd").mkdir()
    save_ssd(folder / "ssd")
    save_text_model(folder / "writer", kind="bidirectional")
    save_picture_model(folder / "bare.keras", rescales=True)
    row = tf.TensorSpec((None, 4), tf.float32, name="x")
    _save_function(folder / "compiled", lambda x: {"y": 2 * x}, row, jit_compile=True)
    pair = tf.TensorSpec((2, 3), tf.float32, name="x")
    _save_function(folder / "pair", lambda x: {"y": 2 * x}, pair)
    any_row = tf.TensorSpec((None, None), tf.float32, name="x")
    _save_function(folder / "fours", lambda x: {"y": tf.reshape(x, (-1, 4))}, any_row)
    return folder


@contextmanager
def working(folder: Path, name: str, **limits: int) -> Iterator[tuple[Workload, AdaptedCard]]:
    """A model that is loaded to be measured."""
    order = Order(folder, name, "float32", MOST, Limits(**limits))
    adapted = AdaptedCard(order)
    with offline.load(offline.find(folder, name), order.limits, adapted) as (model, footprint):
        assert footprint.seconds > 0
        yield workload_of(model, order.limits), adapted


@pytest.mark.parametrize(
    ("name", "source", "rows", "examples"),
    [
        ("cats-dogs", "examples", 2, 2),
        # Both of the same size, in which they are fed.
        ("membranes", "examples", 2, 2),
        ("mpg", "examples", 3, 3),
        ("patents", "examples", 3, 3),
        ("spam", "examples", 6, 6),
        ("streets", "made up", 1, 0),
        ("doubled", "made up", 1, 0),
        ("voice", "made up", 1, 0),
        ("any-series", "made up", 1, 0),
        ("couple", "made up", 1, 0),
        ("ssd", "made up", 1, 0),
        ("writer", "made up", 1, 0),
        ("bare", "made up", 1, 0),
    ],
)
def test_every_kind_of_model_runs(
    models: Path, name: str, source: str, rows: int, examples: int
) -> None:
    with working(models, name) as (work, adapted):
        assert (work.source, work.rows, work.problems) == (source, rows, [])
        sizes = work.sizes(adapted.most, [3, 4096])
        if name == "ssd":
            assert sizes == [1]
        else:
            assert sizes == [1, 2, 3, 4, MOST]
        for size in (sizes[0], sizes[-1]):
            most, peak = work.first(size)
            assert most >= 1
            assert peak is None or peak > 100_000_000
            assert work.run(size, 0) > 0
        answers = work.answers()
        assert len(answers) == examples
        for answer in answers:
            assert answer is not None
            assert len(orjson.loads(answer)) == 1
        took = work.decode(0)
        assert (took is None) is (source == "made up")
        assert work.problems == []


def test_requests_are_read_one_after_the_other_in_the_same_room(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "PATIENCE_S", 1)
    room = Room(1_000_001, "rows")
    monkeypatch.setattr(row_room, "_room", lambda limit: room)
    with working(models, "membranes") as (work, _):
        assert work.decode(0) is not None
        assert work.problems == []


def test_next_words_are_compared_with_all_their_probabilities(models: Path) -> None:
    with working(models, "patents") as (work, _):
        (answer,) = orjson.loads(work.answers()[0] or b"[]")
        assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-3)
        words = (models / "patents" / "vocabulary.txt").read_text().splitlines()
        best = max(range(len(words)), key=answer["probabilities"].__getitem__)
        assert answer["label"] == words[best]


def test_compiled_models_run_with_their_own_sizes_only(models: Path) -> None:
    """Any other would be padded to one of these."""
    with working(models, "compiled") as (work, adapted):
        assert work.sizes(adapted.most, [3]) == [1, 2, 4, MOST]


def test_a_model_of_one_size_is_measured_in_it(models: Path) -> None:
    with working(models, "pair") as (work, adapted):
        (size,) = work.sizes(adapted.most, [32])
        work.first(size)
        assert work.run(size, 0) > 0


def test_what_refuses_made_up_inputs_asks_for_examples(models: Path) -> None:
    with (
        working(models, "fours") as (work, _),
        pytest.raises(LoadError, match=r"made-up inputs \(.*\): add 'examples' to its card"),
    ):
        work.first(1)


def test_what_one_run_may_take_bounds_the_sizes(models: Path) -> None:
    """As it does in the server: here the bytes of the answer, 4 a row."""
    for limit, most in ((100, 25), (64, 16), (4, 1)):
        with working(models, "mpg", max_answer_bytes=limit) as (work, _):
            # The least of several: another program may have had the core.
            assert min(work.first(4)[0] for _ in range(3)) == most


def test_an_example_that_is_not_answered_is_left_out(models: Path, tmp_path: Path) -> None:
    """An answer of NaN, for one."""

    def serve(x: Any) -> Any:
        return {"y": tf.math.log(x)}

    spec = tf.TensorSpec((None, 1), tf.float32, name="x")
    _save_function(tmp_path / "logarithm", serve, spec)
    (tmp_path / "logarithm" / "model.yaml").write_text("task: tensor\nexamples: [[1], [-1]]\n")
    with working(tmp_path, "logarithm") as (work, _):
        good, bad = work.answers()
        assert (good, bad) == (b"[[0.0]]", None)
        (problem,) = work.problems
        assert problem.startswith("examples[1] (Example 2) is left out: ")
        work.answers()
        assert len(work.problems) == 1


@pytest.mark.parametrize(
    ("card", "option", "stated", "most"),
    [
        (None, None, Stated(False, "float32", 32), 128),
        ("title: A\n", None, Stated(True, "float32", 32), 128),
        (
            "runtime: {precision: bfloat16, max_batch_size: 500}\n",
            None,
            Stated(True, "bfloat16", 500),
            500,
        ),
        ("runtime: {max_batch_size: 500}\n", 64, Stated(True, "float32", 500), 64),
    ],
)
def test_the_card_is_used_but_for_what_is_measured(
    tmp_path: Path, card: str | None, option: int | None, stated: Stated, most: int
) -> None:
    save_picture_model(tmp_path / "bare.keras", rescales=True)
    if card is not None:
        (tmp_path / "bare").mkdir()
        (tmp_path / "bare.keras").rename(tmp_path / "bare" / "model.keras")
        (tmp_path / "bare" / "model.yaml").write_text(card)
    adapted = AdaptedCard(Order(tmp_path, "bare", "bfloat16", option, Limits()))
    with offline.load(offline.find(tmp_path, "bare"), Limits(), adapted) as (model, _):
        assert (adapted.stated, adapted.most) == (stated, most)
        assert model.card.runtime.precision == "bfloat16"
        assert model.card.runtime.max_batch_size == most
