"""The same tensors through native, v1, v2, TensorFlow Serving's gRPC and v2's: every protocol
answers what the model's session gives, bit by bit where the protocol has the bits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.api.v2.tensors import DTYPES
from app.serving.tensors import numpy_dtype
from tests.models import ECHOED
from tests.models.fixtures import expected, fixture
from tests.models.test_convert import READABLE
from tests.protocols import Array, Arrays, Protocols, Refused, datatype_of
from tests.support import ServerProcess, serving

# `echo` is slow to describe, not to ask.
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HALVES = ("FP16", "BF16")


@pytest.fixture(scope="module")
def protocols(v2: ServerProcess) -> Iterator[Protocols]:
    with closing(Protocols(v2)) as found:
        yield found


def of_any_bits(datatype: str, shape: tuple[int, int]) -> st.SearchStrategy[Array]:
    """Values of a datatype, NaN of all kinds, Infinity and the smallest numbers among them."""
    if datatype == "BYTES":
        return arrays(object, shape, elements=st.binary(max_size=20))
    if datatype == "BOOL":
        return arrays(np.bool_, shape)
    dtype = numpy_dtype(DTYPES[datatype])
    return arrays(np.dtype(f"u{dtype.itemsize}"), shape).map(lambda bits: bits.view(dtype))


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Array]:
    """Inputs of `echo`: as many rows of each datatype."""
    rows = draw(st.integers(1, 3))
    return {
        datatype.lower(): draw(of_any_bits(datatype, (rows, draw(st.integers(1, 3)))))
        for datatype in ECHOED
    }


def check(found: Mapping[str, Array], sent: Arrays, *, bits: bool = False) -> None:
    """bits: whether those of NaN count, which become those of one NaN in bfloat16."""
    assert {*found} == {f"same_{name}" for name in sent}
    for name, array in sent.items():
        same = found[f"same_{name}"]
        assert (same.dtype, same.shape) == (array.dtype, array.shape), name
        if array.dtype == object:
            assert same.tolist() == array.tolist()
        elif array.dtype.kind in "iub" or (bits and array.dtype != ml_dtypes.bfloat16):
            assert same.tobytes() == array.tobytes(), name
        else:
            # NumPy itself does not know what bfloat16 is.
            with np.errstate(invalid="ignore"):
                got, wanted = same.astype(np.float64), array.astype(np.float64)
            np.testing.assert_array_equal(got, wanted, err_msg=name)
            assert (np.signbit(got) == np.signbit(wanted))[~np.isnan(got)].all(), name


def for_native(array: Array) -> Array:
    """The same array without what native JSON cannot represent."""
    if array.dtype == object:
        flat = [text.decode(errors="replace").encode() for text in array.ravel()]
        return np.array([*flat, None], object)[:-1].reshape(array.shape)
    if datatype_of(array) in (*HALVES, "FP32", "FP64"):
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(array), array, np.zeros_like(array))
    return array


@FEW
@given(sent=batches())
def test_every_datatype(protocols: Protocols, sent: dict[str, Array]) -> None:
    check(protocols.v2_binary("echo", sent), sent, bits=True)
    check(protocols.v2_grpc("echo", sent), sent, bits=True)
    for ask in (protocols.v1, protocols.v2_json, protocols.tfs):
        check(ask("echo", sent), sent)
    plain = {name: for_native(array) for name, array in sent.items()}
    check(protocols.native("echo", plain), plain)


@FEW
@given(data=st.data())
@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BOOL"])
def test_typed_contents(protocols: Protocols, datatype: str, data: st.DataObject) -> None:
    model = {"FP32": "numbers", "BYTES": "texts", "BOOL": "flags"}[datatype]
    sent = {datatype.lower(): data.draw(of_any_bits(datatype, (2, data.draw(st.integers(1, 3)))))}
    check(protocols.v2_grpc_typed(model, sent), sent)


ASKS = ("native", "v1", "v2_json", "v2_binary", "tfs", "v2_grpc", "v2_grpc_typed")


@pytest.mark.parametrize("ask", ASKS)
def test_empty_batches_are_refused(protocols: Protocols, ask: str) -> None:
    with pytest.raises(Refused, match=r"no rows|shape \[0\]"):
        getattr(protocols, ask)("numbers", {"fp32": np.ones((0, 3), np.float32)})


def test_what_json_cannot_say_is_refused(protocols: Protocols) -> None:
    odd = {"fp32": np.array([[np.nan]], np.float32)}
    with pytest.raises(Refused, match="not JSON"):
        protocols.native("numbers", odd)


# --- all models of the tests ----------------------------------------------------------------------


# A `model.yaml` that is an architecture leaves no room for a card.
TENSOR_MODELS = [name for name in READABLE if not (fixture(name) / "model.yaml").exists()]


@pytest.fixture(scope="module")
def every_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protocols]:
    """A server over all models of `tests/data`, as models of tensors."""
    folder = tmp_path_factory.mktemp("every")
    for name in TENSOR_MODELS:
        source, own = fixture(name), folder / "models" / name
        own.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, own, dirs_exist_ok=True)
        else:
            shutil.copy(source, own)
        (own / "model.yaml").write_text("task: tensor\n")
    with (
        serving(folder / "models", folder, grpc_port=0) as server,
        closing(Protocols(server)) as found,
    ):
        yield found


def given_inputs(protocols: Protocols, name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and outputs, by the names that the server gives them, as its own library had them."""
    described: Any = protocols.http.get(f"/v2/models/{name}").json()
    found = []
    for side, known in zip(("inputs", "outputs"), expected(name), strict=True):
        tensors = described[side]
        if any(key.isdecimal() for key in known):
            known = dict(zip([t["name"] for t in tensors], known.values(), strict=True))
        found.append({t["name"]: cast(known[t["name"]], t["datatype"]) for t in tensors})
    inputs, outputs = found
    return inputs, outputs


def cast(array: Array, datatype: str) -> Array:
    if datatype == "BYTES":
        flat = [str(text).encode() for text in array.ravel()]
        return np.array([*flat, None], object)[:-1].reshape(array.shape)
    return array.astype(numpy_dtype(DTYPES[datatype]))


@pytest.mark.slow
@pytest.mark.parametrize("name", TENSOR_MODELS)
def test_answers_what_its_own_library_answered(every_model: Protocols, name: str) -> None:
    inputs, outputs = given_inputs(every_model, name)
    asks = [*ASKS]
    if name == "nan":
        asks.remove("native")
        with pytest.raises(Refused, match="non_finite_output"):
            every_model.native(name, inputs)
    answers = {ask: getattr(every_model, ask)(name, inputs) for ask in asks}
    for ask, found in answers.items():
        assert {*found} == {*outputs}
        for key, wanted in outputs.items():
            if wanted.dtype == object:
                assert found[key].tolist() == wanted.tolist(), (ask, key)
                continue
            np.testing.assert_allclose(found[key], wanted, rtol=1e-4, atol=1e-6, err_msg=ask)
            # The same session: the same bits.
            np.testing.assert_array_equal(found[key], answers["v2_binary"][key], err_msg=ask)
