"""The static parts of the OpenAPI document agree with the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.openapi import v1, v2
from app.api.openapi.document import document
from app.api.v1.metadata import STATES as V1_STATES
from app.api.v2.metadata import PLATFORM
from app.api.v2.metadata import STATES as V2_STATES
from app.api.v2.request import HEADER_LENGTH, MAX_TENSORS
from app.api.v2.routes import EXTENSIONS
from app.api.v2.tensors import DATATYPES, MAX_DIMENSIONS
from app.serving.signature import CLASSIFY_METHOD
from app.serving.tensors import dtype_kind
from app.settings import Settings
from tests.unit.test_draining import served

V2 = {name.removeprefix("v2."): schema for name, schema in v2.SCHEMAS.items()}


def test_states() -> None:
    status = v1.schemas(1)["v1.Status"]["properties"]["model_version_status"]
    assert status["items"]["properties"]["state"]["enum"] == list(V1_STATES.values())
    assert V2["Index"]["items"]["properties"]["state"]["enum"] == list(V2_STATES.values())


@pytest.mark.parametrize("rows", [1, 7])
def test_the_limit_of_rows_is_that_of_the_settings(rows: int) -> None:
    schemas = document([], Settings(max_rows=rows))["components"]["schemas"]
    predict = schemas["v1.PredictRequest"]["oneOf"][0]["properties"]["instances"]
    examples = schemas["v1.ExamplesRequest"]["properties"]["examples"]
    assert (predict["maxItems"], examples["maxItems"]) == (rows, rows)


def test_signatures_of_v1() -> None:
    (method,) = _values(v1.schemas(1)["v1.Metadata"], "examples")
    assert method == [CLASSIFY_METHOD]


def test_datatypes() -> None:
    every = [*DATATYPES.values()]
    of_tensors = [*_values(V2["Model"], "enum")]
    assert of_tensors == [every, every]
    (taken,) = _values(V2["InferRequest"]["properties"]["inputs"], "enum")
    assert taken == [datatype for datatype in every if datatype != "BF16"]
    answered = [*_values(V2["InferResponse"], "enum")]
    assert answered == [
        [v for k, v in DATATYPES.items() if dtype_kind(k) in kinds and k != "bfloat16"]
        for kinds in ("f", "iu", "b", "s")
    ]


def test_limits_and_names_of_v2() -> None:
    request = V2["InferRequest"]["properties"]
    assert request["inputs"]["maxItems"] == request["outputs"]["maxItems"] == MAX_TENSORS
    assert request["inputs"]["items"]["properties"]["shape"]["maxItems"] == MAX_DIMENSIONS
    for schema in ("Model", "Config"):
        assert V2[schema]["properties"]["platform"] == {"const": PLATFORM}
    paths = document([], Settings())["paths"]
    (extensions,) = _values(paths["/v2"], "enum")
    assert extensions == EXTENSIONS
    (binary,) = _values(
        paths["/v2/models/{name}/infer"]["post"]["requestBody"]["content"][
            "application/octet-stream"
        ],
        "description",
    )
    assert HEADER_LENGTH in binary


def test_a_document_with_keys_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    app, headers = served(tmp_path)
    before = document([], Settings())
    with_keys = app.test_client().get("/openapi.json", headers=headers).get_json()
    assert "securitySchemes" in with_keys["components"]
    assert document([], Settings()) == before


def _values(schema: Any, key: str) -> Iterator[Any]:
    """All values of the key anywhere in the schema."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == key:
                yield value
            else:
                yield from _values(value, key)
    elif isinstance(schema, list):
        for item in schema:
            yield from _values(item, key)
