"""Masks and pictures over HTTP: native, v1, v2, OpenAPI, the command line. What Keras answers for
the same tensor is what counts."""

from __future__ import annotations

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import keras
import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.answers import problems
from tests.command_line import CommandLine
from tests.drawn import FRAME, decoded, encoded, noise, save_drawn
from tests.support import ServerProcess, serving

PNG = {"Accept": "image/png"}
DATA_URL = "data:image/png;base64,"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_drawn(tmp_path_factory.mktemp("drawn") / "models")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(folder, tmp_path_factory.mktemp("drawn-uploads")) as found:
        yield found


def asked(folder: Path, name: str, fed: Any) -> Any:
    """What Keras answers for one row of float32."""
    model = keras.saving.load_model(folder / name / "model.keras")
    return np.asarray(model(fed[None].astype(np.float32), training=False))[0]


def value(answer: httpx.Response, output: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    found: dict[str, Any] = prediction[output]
    return found


def pixels(value: dict[str, Any]) -> Any:
    """The numbers of a palette, or the pixels."""
    image = decoded(b64decode(value["png"].removeprefix(DATA_URL)))
    assert [image.height, image.width] == value["size"]
    return np.asarray(image)


# --- masks


@pytest.mark.parametrize("size", [(64, 48), (33, 70), (1, 1)])
def test_a_mask_of_a_picture_of_any_size(
    server: ServerProcess, folder: Path, size: tuple[int, int]
) -> None:
    picture = noise(size, 1)
    mask = value(server.post("/api/membranes", content=encoded(picture)), "cells")
    height, width = (-(-side // 4) * 4 for side in size)
    # The picture is extended by its mirror image to sides that can be halved twice.
    padding = [(0, height - size[0]), (0, width - size[1]), (0, 0)]
    cells = asked(folder, "membranes", np.pad(picture, padding, "symmetric"))[..., 0] >= 0.5
    np.testing.assert_array_equal(pixels(mask), cells[: size[0], : size[1]])
    shares = {each["label"]: each["share"] for each in mask["classes"]}
    assert shares["cell"] == pytest.approx(pixels(mask).mean(), abs=1e-6)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_mask_is_laid_over_a_picture_that_was_padded(server: ServerProcess, folder: Path) -> None:
    # Twice as wide as high: rows 8 to 24 of the model's 32 show the picture.
    picture = noise((16, 32))
    large = picture.repeat(5, 0).repeat(5, 1)
    fed = np.zeros((32, 32, 3), np.uint8)
    fed[8:24] = picture
    ground = asked(folder, "streets", fed / 127.5 - 1).argmax(-1)[8:24]
    small = value(server.post("/api/streets?size=model", content=encoded(picture)), "ground")
    np.testing.assert_array_equal(pixels(small), ground)
    mask = value(server.post("/api/streets?size=original", content=encoded(picture)), "ground")
    assert mask == small
    mask = value(server.post("/api/streets", content=encoded(large)), "ground")
    assert pixels(mask).shape == (80, 160)
    assert [each["label"] for each in mask["classes"]] == ["road", "grass", "water"]


def test_the_picture_itself_is_answered_where_it_is_asked_for(server: ServerProcess) -> None:
    body = encoded(noise((40, 40), 1))
    mask = value(server.post("/api/membranes", content=body), "cells")
    answer = server.post("/api/membranes", content=body, headers=PNG)
    assert answer.headers["Content-Type"] == "image/png"
    assert mask["png"] == DATA_URL + b64encode(answer.content).decode()
    image = decoded(answer.content)
    assert image.mode == "P"
    colors = [each["color"] for each in mask["classes"]]
    assert bytes(image.getpalette() or ()).hex() == "".join(color[1:] for color in colors)
    two = [("image", ("a.png", body)), ("image", ("b.png", body))]
    assert "Accept" in problems(server.post("/api/membranes", files=two, headers=PNG))
    assert len(server.post("/api/membranes", files=two).json()["predictions"]) == 2
    for wanted in ("*/*", "application/json, image/png;q=0.5"):
        answer = server.post("/api/membranes", content=body, headers={"Accept": wanted})
        assert answer.headers["Content-Type"] == "application/json"


def test_many_pictures_are_answered_as_a_zip(server: ServerProcess) -> None:
    bodies = [encoded(noise((40, 40), 1, seed)) for seed in range(3)]
    masks = [server.post("/api/membranes", content=body, headers=PNG).content for body in bodies]
    names = ["../a.png", "a.tif", "b.png"]
    files = [("image", (name, body)) for name, body in zip(names, bodies, strict=True)]
    answer = server.post("/api/membranes", files=files, headers={"Accept": "application/zip"})
    assert answer.headers["Content-Type"] == "application/zip"
    assert "membranes-answers.zip" in answer.headers["Content-Disposition"]
    check_zip(answer, dict(zip(["a.png", "a-2.png", "b.png"], masks, strict=True)))
    # The page without scripts.
    answer = server.post("/models/membranes?download", files=files)
    check_zip(answer, dict(zip(["a.png", "a-2.png", "b.png"], masks, strict=True)))
    # Pictures without a name.
    sent = [{"image": b64encode(body).decode()} for body in bodies[:2]]
    answer = server.post("/api/membranes", json=sent, headers={"Accept": "application/zip"})
    check_zip(answer, {"1.png": masks[0], "2.png": masks[1]})


def check_zip(answer: httpx.Response, files: dict[str, bytes]) -> None:
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == files


@pytest.mark.parametrize("name", ["framed", "framed-own"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_mask_without_its_border_lies_where_the_model_has_looked(
    server: ServerProcess, folder: Path, name: str, times: int
) -> None:
    picture = noise((28, 28), 1)
    large = picture if times == 1 else picture.repeat(times, 0).repeat(times, 1)
    top, bottom, left, right = (times * side if name == "framed" else side for side in FRAME)
    mask = value(server.post(f"/api/{name}", content=encoded(large)), "out")
    image = decoded(b64decode(mask["png"].removeprefix(DATA_URL)))
    height, width = large.shape[:2]
    seen = np.zeros((height, width), bool)
    seen[top : height - bottom, left : width - right] = True
    np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3] == 255, seen)
    small = value(server.post(f"/api/{name}?size=model", content=encoded(large)), "out")
    shown = np.asarray(image)[top : height - bottom, left : width - right]
    enlarged = times if name == "framed" else 1
    wanted = pixels(small).repeat(enlarged, 0).repeat(enlarged, 1)
    np.testing.assert_array_equal(shown, wanted)
    if enlarged == 1:
        np.testing.assert_array_equal(shown.ravel(), (large[..., 0] >= 128)[seen])
        wanted = asked(folder, name, large / 255)[..., 0] >= 0.5
        np.testing.assert_array_equal(shown, wanted)
    sides = (left, top, width - right, height - bottom)
    assert small["box"] == dict(zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True))


def test_a_picture_that_is_all_border_is_refused(server: ServerProcess) -> None:
    answer = server.post("/api/framed-own", content=encoded(noise((2, 2), 1)))
    assert answer.status_code == 422
    assert "the model refuses this input" in answer.json()["error"]["message"]


def test_a_picture_without_its_border_says_which_part_it_is(
    server: ServerProcess, folder: Path
) -> None:
    picture = noise((28, 28), 1)
    out = value(server.post("/api/framed-picture", content=encoded(picture)), "out")
    top, bottom, left, right = FRAME
    part = picture[top : 28 - bottom, left : 28 - right, 0]
    np.testing.assert_allclose(pixels(out), part, atol=0.51)
    wanted = asked(folder, "framed-picture", picture / 255)[..., 0] * 255
    np.testing.assert_allclose(pixels(out), wanted, atol=0.51)
    assert out["box"] == {"xmin": left, "ymin": top, "xmax": 28 - right, "ymax": 28 - bottom}
    page = server.post("/models/framed-picture", files={"image": ("a.png", encoded(picture))})
    assert f"It shows the part from {left}, {top} to {28 - right}, {28 - bottom}." in page.text


@pytest.mark.parametrize(
    ("address", "field"),
    [("/api/membranes?size=huge", "size"), ("/api/digits?size=model", "size")],
)
def test_another_size_is_refused(server: ServerProcess, address: str, field: str) -> None:
    assert field in problems(server.post(address, content=encoded(noise((28, 28), 1))))


def test_pictures_of_other_sizes_in_one_request(server: ServerProcess, folder: Path) -> None:
    pictures = [noise(size, 1) for size in ((40, 40), (44, 30), (40, 40))]
    files = [("image", encoded(picture)) for picture in pictures]
    predictions = server.post("/api/membranes", files=files).json()["predictions"]
    alone = [server.post("/api/membranes", content=file).json() for _, file in files]
    assert predictions == [answer["predictions"][0] for answer in alone]
    # A side of at most 1,024 is fed; the mask has all of it.
    large = server.post("/api/membranes", content=encoded(noise((40, 1100), 1)))
    assert pixels(value(large, "cells")).shape == (40, 1100)


def test_a_mask_that_is_larger_than_any_picture_is_refused(server: ServerProcess) -> None:
    # Each is decoded at an eighth of its size; the masks would have 80 million pixels.
    photo = encoded(np.zeros((4000, 5000, 3), np.uint8), "JPEG")
    four = [("image", ("a.jpg", photo))] * 4
    assert "answer" in problems(server.post("/api/streets", files=four))
    answer = server.post("/api/streets?size=model", files=four)
    assert len(answer.json()["predictions"]) == 4


# --- pictures


def test_a_picture_of_the_models_size(server: ServerProcess, folder: Path) -> None:
    picture = noise((28, 28), 1)
    out = value(server.post("/api/digits", content=encoded(picture)), "clean")
    wanted = asked(folder, "digits", picture / 255)[..., 0] * 255
    np.testing.assert_allclose(pixels(out), wanted, atol=0.51)


def test_a_picture_twice_as_large(server: ServerProcess, folder: Path) -> None:
    picture = noise((13, 22))
    answer = server.post("/api/doubled", content=encoded(picture), headers=PNG)
    found = np.asarray(decoded(answer.content))
    wanted = (asked(folder, "doubled", picture / 255) * 255).clip(0, 255)
    assert found.shape == (26, 44, 3)
    np.testing.assert_allclose(found, wanted, atol=0.51)


# --- other protocols


def test_v1_and_v2_answer_the_tensors_of_the_model(server: ServerProcess, folder: Path) -> None:
    picture = noise((32, 32))
    fed = picture / np.float32(127.5) - 1
    wanted = asked(folder, "streets", fed)
    instances = [fed.tolist(), {"b64": b64encode(encoded(picture)).decode()}]
    for instance in instances:
        body = {"instances": [instance]}
        answer = server.post("/v1/models/streets:predict", json=body)
        np.testing.assert_allclose(answer.json()["predictions"], [wanted], atol=1e-5)
    tensor = {"name": "street", "datatype": "FP32", "shape": [1, 32, 32, 3]}
    body = {"inputs": [{**tensor, "data": fed.ravel().tolist()}]}
    (out,) = server.post("/v2/models/streets/infer", json=body).json()["outputs"]
    assert out["shape"] == [1, 32, 32, 3]
    np.testing.assert_allclose(out["data"], wanted.ravel(), atol=1e-5)


def test_the_document_is_valid_and_true(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    validate(document)
    for name, body in (("membranes", noise((8, 8), 1)), ("digits", noise((28, 28), 1))):
        operation = document["paths"][f"/api/{name}"]["post"]
        content = operation["responses"]["200"]["content"]
        assert set(content) == {"application/json", "image/png", "application/zip"}
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        answer = server.post(f"/api/{name}", content=encoded(body)).json()
        OAS31Validator(schema).validate(answer)
        about = server.get(f"/api/models/{name}").json()
        model = {**document["components"]["schemas"]["Model"], "components": schema["components"]}
        OAS31Validator(model).validate(about)


def test_a_model_is_described_by_its_kinds(server: ServerProcess) -> None:
    about = server.get("/api/models/membranes").json()
    assert about["inputs"]["street"]["size"] == "own"
    assert about["inputs"]["street"]["multiple"] == 4
    assert about["outputs"]["cells"]["labels"] == ["membrane", "cell"]
    bare = server.get("/api/models/bare").json()
    assert bare["outputs"]["mask"]["kind"] == "mask"
    assert "outputs.mask.kind" in bare["guessed"]
    digits = server.get("/api/models/digits").json()
    (out,) = digits["outputs"].values()
    assert (out["kind"], out["scale"]) == ("picture", "0..1")


# --- the page without scripts, and the command line


def test_the_page_shows_the_picture(server: ServerProcess) -> None:
    files = {"image": ("a.png", encoded(noise((40, 40), 1)))}
    page = server.post("/models/membranes", files=files)
    assert page.status_code == 200, page.text
    assert f'src="{DATA_URL}' in page.text
    assert "membrane" in page.text


def test_predict_saves_pictures(command_line: CommandLine, folder: Path, tmp_path: Path) -> None:
    picture = noise((24, 16), 1)
    (tmp_path / "slice.png").write_bytes(encoded(picture))
    into = tmp_path / "mask.png"
    run = command_line.run(
        folder, "predict", "membranes", tmp_path / "slice.png", "--save", into, "--json"
    )
    assert run.returncode == 0, run.stderr
    mask = np.asarray(decoded(into.read_bytes()))
    np.testing.assert_array_equal(mask, asked(folder, "membranes", picture)[..., 0] >= 0.5)
    (prediction,) = json.loads(run.stdout)["predictions"]
    assert prediction["cells"]["size"] == [24, 16]
