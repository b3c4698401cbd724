"""Raw tensors in and out of a model, as the standard protocols send them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import InvalidInput
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.models.model import Model
from app.serving.signature import TensorSpec
from app.serving.tasks.base import Payload
from tests.models import save_half_plus_two, save_picture_model, save_text_model
from tests.models.fixtures import fixture
from tests.registries import loaded
from tests.support import picture


def infer(model: Model, inputs: Mapping[str, Array], **options: Any) -> dict[str, Array]:
    call = Call(time.monotonic() + 30)
    with model.admission(call) as asked:
        return model.infer(inputs, call, asked, **options)


def refused(model: Model, inputs: Mapping[str, Array], **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        infer(model, inputs, **options)
    return {d.field: d.problem for d in caught.value.details}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("models")
    save_half_plus_two(folder / "half")
    save_picture_model(folder / "pictures.keras", rescales=False)
    save_text_model(folder / "text")
    for name in ("tf2_two_inputs", "nan"):
        shutil.copy(fixture(name), folder)
    shutil.copytree(fixture("tf1_table_savedmodel"), folder / "table")
    with loaded(folder) as registry:
        yield {entry.name: entry.ready_model() for entry in registry.entries()}


def ones(spec: TensorSpec, rows: int) -> Array:
    return np.ones((rows, *(size or 1 for size in spec.row_shape)), np.float32)


def column(*values: float) -> Array:
    return np.array(values, np.float32)[:, None]


def test_the_signatures_of_a_saved_model(models: dict[str, Model]) -> None:
    half = models["half"]
    methods = {name: s.method.rpartition("/")[2] for name, s in half.signatures.items()}
    assert methods == {
        "serving_default": "predict",
        "regress_x_to_y": "regress",
        "regress_x_to_y2": "regress",
        "regress_x2_to_y3": "regress",
        "classify_x_to_y": "classify",
    }
    assert half.default_signature == "serving_default"
    assert infer(half, {"x": column(1, 2, 5)})["y"].tolist() == [[2.5], [3], [4.5]]


def test_another_signature(models: dict[str, Model]) -> None:
    import tensorflow as tf

    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(8)
    sent = {"inputs": np.array([example.SerializeToString()], object)}
    assert infer(models["half"], sent, signature="regress_x_to_y2")["outputs"].tolist() == [[7]]
    with pytest.raises(InvalidInput, match="no signature 'other'; it has: serving_default, "):
        infer(models["half"], {"x": column(1)}, signature="other")


def test_more_rows_than_a_batch(models: dict[str, Model]) -> None:
    half = models["half"]
    before = half.statistics.snapshot().rows_total
    many = column(*range(100))
    assert infer(half, {"x": many})["y"].tolist() == (many / 2 + 2).tolist()
    assert half.statistics.snapshot().rows_total == before + 100


def test_only_the_outputs_that_are_wanted(models: dict[str, Model]) -> None:
    half = models["half"]
    assert infer(half, {"x": column(1)}, outputs=["y"]).keys() == {"y"}
    assert refused(half, {"x": column(1)}, outputs=["z"]) == {"z": "no such output"}


def test_all_problems_at_once(models: dict[str, Model]) -> None:
    two = models["tf2_two_inputs"]
    first, second = two.signatures[two.default_signature].inputs
    width = first.row_shape[0] or 1
    told = refused(two, {first.name: np.zeros((2, width + 1), np.float32), "other": column(1)})
    assert told == {
        first.name: f"wrong shape: sent [2, {width + 1}]",
        second.name: "missing",
        "other": "unexpected",
    }
    good = {t.name: ones(t, 2) for t in (first, second)}
    assert len(infer(two, good)) == len(two.signature.outputs)
    uneven = {**good, second.name: good[second.name][:1]}
    assert refused(two, uneven) == {"inputs": "different numbers of rows"}
    none = {name: array[:0] for name, array in good.items()}
    assert refused(two, none) == {"inputs": "no rows"}
    doubled = {**good, first.name: good[first.name].astype(np.float64)}
    assert refused(two, doubled) == {first.name: "wrong dtype: sent float64"}


def test_pictures_go_in_encoded_or_as_numbers(models: dict[str, Model], tmp_path: Path) -> None:
    model = models["pictures"]
    (spec,) = model.signatures[model.default_signature].inputs
    height, width = spec.row_shape[:2]
    file = picture(size=(width or 1, height or 1), format="PNG")
    encoded = infer(model, {spec.name: np.array([file, file], object)})
    assert infer(model, {spec.name: np.array([[file]], object)}).keys() == encoded.keys()
    pixels = model.task.decoded({spec.name: [file]}, Call(time.monotonic() + 60))
    numbers = infer(model, {spec.name: pixels[spec.name].astype(np.float32) / 255})
    for name, array in numbers.items():
        assert array[0] == pytest.approx(encoded[name][0], abs=1e-6)
    for files in ([b"none"], [b"none", file]):
        told = refused(model, {spec.name: np.array(files, object)})
        assert told.keys() == {f"{spec.name}[0]"}
    assert "wrong dtype" in refused(model, {spec.name: np.array([[[file]]], object)})[spec.name]


def test_a_model_of_texts_takes_tokens(models: dict[str, Model]) -> None:
    model = models["text"]
    (spec,) = model.signatures[model.default_signature].inputs
    tokens = np.ones((3, spec.row_shape[0] or 5), spec.dtype)
    (probabilities,) = infer(model, {spec.name: tokens}).values()
    assert probabilities.sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_not_a_number_is_answered_as_it_is(models: dict[str, Model]) -> None:
    model = models["nan"]
    (spec,) = model.signatures[model.default_signature].inputs
    (out,) = infer(model, {spec.name: -ones(spec, 1)}).values()
    assert not np.isfinite(out).all()


def test_texts_are_bytes(models: dict[str, Model]) -> None:
    words = np.array([b"plum", b"apple"], object)
    assert infer(models["table"], {"words": words})["ids"].tolist() == [2, 0]


def test_the_stages_of_a_text_and_of_rows(models: dict[str, Model]) -> None:
    call = Call(time.monotonic() + 30)
    payload = Payload("json", data=b'{"seed": "w1 w2", "words": 12}')
    models["text"].predict(payload, call)
    stages = call.stages
    assert (stages.model, stages.version) == ("text", 1)
    assert (stages.rows, stages.words, stages.batch) == (1, 12, 1)
    assert min(stages.decode_ns, stages.queue_ns, stages.infer_ns) > 0
    call = Call(time.monotonic() + 30)
    with models["half"].admission(call) as asked:
        models["half"].infer({"x": column(1, 2, 3)}, call, asked)
    assert (call.stages.model, call.stages.rows, call.stages.batch) == ("half", 3, 3)
