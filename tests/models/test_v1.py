"""TensorFlow Serving's REST API over real models, with good and bad requests."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from app.factory import create_app
from app.serving.tf_example import serialised
from app.settings import Settings
from tests.models import (
    save_caption_model,
    save_half_plus_two,
    save_picture_model,
    save_tagged_model,
)
from tests.registries import loaded
from tests.support import picture

PICTURE = {"b64": b64encode(picture(size=(8, 8))).decode()}
# A good question to each model, and its answer where it is the same every time.
GOOD: dict[str, tuple[dict[str, Any], Any]] = {
    "half:predict": ({"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
    "half:regress": (
        {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}], "context": {}},
        {"results": [2.5]},
    ),
    "half:classify": (
        {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]},
        {"results": [[["", 2.5]]]},
    ),
    "captions:classify": (
        {"examples": [{"image": {"b64": "YQ=="}, "caption": "b"}]},
        {"results": [[["a", 0.5], ["b", 0.5]]]},
    ),
    "tagged:predict": (
        {"inputs": {"tag": ["a"], "signal": [[1] * 5], "sensor": [[[1, 2], [3, 4]]]}},
        None,
    ),
    "pictures:predict": ({"instances": [PICTURE]}, None),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("models")
    save_half_plus_two(folder / "half")
    save_tagged_model(folder / "tagged")
    save_caption_model(folder / "captions")
    save_picture_model(folder / "pictures.keras", rescales=False)
    with loaded(folder) as registry:
        assert [entry.reason for entry in registry.entries()] == [None] * 4
        settings = Settings(models_dir=folder, uploads_dir=folder)
        yield create_app(settings, registry).test_client()


# --- whatever is sent ----------------------------------------------------------------------------

# Words and values that mean something somewhere, in places where they mean nothing.
_NAMES = st.text(max_size=5) | st.sampled_from(
    [
        "instances",
        "inputs",
        "examples",
        "context",
        "signature_name",
        "b64",
        "x",
        "tag",
        "signal",
        "sensor",
        "image",
        "caption",
    ]
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["serving_default", "regress_x_to_y", "YQ==", "classify_x_to_y", 1.0, 1]),
    st.just(PICTURE),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[key], (*path, key))


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = _with(value[path[0]], path[1:], new)
    return copied


@st.composite
def _bodies(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """A good body with one of its values replaced by anything, or cut off."""
    kind = draw(st.sampled_from(["changed", "other", "cut", "bytes"]))
    if kind == "bytes":
        return draw(st.binary(max_size=50))
    if kind == "other":
        return json.dumps(draw(_VALUES)).encode()
    body = json.dumps(good).encode()
    if kind == "cut":
        return body[: draw(st.integers(0, len(body) - 1))]
    path = draw(st.sampled_from(list(_paths(good))))
    return json.dumps(_with(good, path, draw(_VALUES))).encode()


@pytest.mark.parametrize("what", GOOD)
@hypothesis.settings(deadline=None)
@given(data=st.data())
def test_whatever_is_sent_gets_an_answer(
    client: FlaskClient, what: str, data: st.DataObject
) -> None:
    body = data.draw(_bodies(GOOD[what][0]))
    answer = client.post(f"/v1/models/{what}", data=body)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        told = answer.get_json()
        assert told.keys() == {"error"}
        assert isinstance(told["error"], str)
        assert told["error"]
    question, expected = GOOD[what]
    after = client.post(f"/v1/models/{what}", json=question)
    assert after.status_code == 200, after.text
    if expected is not None:
        assert after.get_json() == expected


@given(st.text(alphabet="models/:predictversions0123labelhf%\n é", max_size=30))
@hypothesis.settings(deadline=None)
def test_whatever_address_is_asked(client: FlaskClient, rest: str) -> None:
    path = f"/v1/{rest}"
    for answer in (client.get(path), client.post(path, json={"instances": [1]})):
        if 300 <= answer.status_code < 400:  # two slashes: redirects to the right address
            continue
        assert answer.status_code in (200, 400, 404, 405), answer.text
        if answer.status_code != 200:
            assert isinstance(answer.get_json()["error"], str)


def test_examples_hold_what_the_features_say() -> None:
    from tensorflow.core.example.example_pb2 import Example

    features = {"a": [1, True], "b": 0.5, "c": ["é", b"\xff"], "d": []}
    texts = serialised([features, {}])
    assert isinstance(texts, np.ndarray)
    first, second = (Example.FromString(text) for text in texts)
    found = first.features.feature
    assert list(found["a"].int64_list.value) == [1, 1]
    assert list(found["b"].float_list.value) == [0.5]
    assert list(found["c"].bytes_list.value) == ["é".encode(), b"\xff"]
    assert found["d"].WhichOneof("kind") is None
    assert not second.features.feature
    problems = serialised([{"a": None, "b": [1, 1.0]}, {"a": [2**63]}])
    assert isinstance(problems, list)
    assert [d.field for d in problems] == ["examples[0].a", "examples[0].b", "examples[1].a"]
