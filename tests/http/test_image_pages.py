"""The pages for pictures, as a browser without JavaScript sends their forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.models import save_image_models
from tests.support import ROOT, ServerProcess, picture, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("image-pages")
    save_image_models(folder / "models")
    with serving(folder / "models", folder) as server:
        yield server


def send(server: ServerProcess, path: str, **files: bytes) -> httpx.Response:
    parts = [("image", (f"{name}.jpg", data, "image/jpeg")) for name, data in files.items()]
    return server.post(path, files=parts, headers={"Accept": "text/html"})


def verdicts(page: str) -> list[str]:
    return re.findall(r'class="verdict">([^<]*)<', page)


def test_each_picture_has_a_row_with_the_answer_of_the_api(server: ServerProcess) -> None:
    data = {f"p{i}": picture(i) for i in range(3)}
    page = send(server, "/models/cats-dogs", **data)
    assert page.status_code == 200
    rows = page.text.split('<li class="picture plain">')[1:]
    for row, (name, sent) in zip(rows, data.items(), strict=True):
        (answer,) = server.post("/api/cats-dogs", content=sent).json()["predictions"]
        assert f"{name}.jpg" in row
        assert verdicts(row) == [answer["label"]]
        assert f"{answer['probability'] * 100:.1f} %" in row


def test_one_that_cannot_be_read_does_not_take_the_others_along(server: ServerProcess) -> None:
    page = send(server, "/models/cats-dogs", good=picture(), notes=b"%PDF-1.4", fine=picture(2))
    assert page.status_code == 200
    good, notes, fine = page.text.split('<li class="picture plain">')[1:]
    assert verdicts(good)
    assert verdicts(fine)
    assert not verdicts(notes)
    assert "notes.jpg" in notes
    assert "not a picture in a supported format: expected JPEG" in notes


def test_none_that_can_be_read(server: ServerProcess) -> None:
    page = send(server, "/models/cats-dogs", one=b"1", two=b"2")
    assert page.status_code == 422
    assert "none of these pictures can be read" in page.text
    assert "<strong>one.jpg</strong>: not a picture" in page.text
    assert "<strong>two.jpg</strong>: not a picture" in page.text
    page = send(server, "/models/cats-dogs", one=b"1")
    assert page.status_code == 422
    problem = re.search(r'id="picture-problem">([^<]*)<', page.text)
    assert problem is not None
    assert problem[1].startswith("not a picture")
    assert 'aria-invalid="true"' in page.text


def test_a_name_is_text_never_html(server: ServerProcess) -> None:
    parts = {"image": ("<img src=x>.jpg", picture(), "image/jpeg")}
    page = server.post("/models/cats-dogs", files=parts)
    assert "&lt;img src=x&gt;.jpg" in page.text
    assert "<img src=x" not in page.text


@pytest.mark.parametrize("path", ["/models/cats-dogs", "/compare"])
def test_nothing_chosen(server: ServerProcess, path: str) -> None:
    # As browsers send a field that was left empty.
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\n\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    page = server.post(path, content=body, headers=headers)
    assert page.status_code == 422
    assert "no picture" in page.text


def test_the_models_answer_side_by_side(server: ServerProcess) -> None:
    page = send(server, "/compare", cat=picture(4))
    assert page.status_code == 200
    whole = server.post("/predict", content=picture(4)).json()
    cards = re.split(r'data-model="', page.text)[1:]
    assert [card.partition('"')[0] for card in cards] == ["broken", "cats-dogs", "three"]
    broken, pets, three = cards
    assert not verdicts(broken)
    assert whole["broken"]["error"]["message"].partition(":")[2] in broken
    assert verdicts(pets) == [whole["cats-dogs"]["predictions"][0]["label"]]
    assert verdicts(three) == [whole["three"]["predictions"][0]["label"]]
    assert three.count("<meter") == 3


def test_a_picture_that_no_model_can_read(server: ServerProcess) -> None:
    page = send(server, "/compare", notes=b"%PDF-1.4")
    assert page.status_code == 422
    assert "not a picture in a supported format" in page.text
    assert not verdicts(page.text)


def test_no_model_takes_pictures(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "mpg").symlink_to(ROOT / "models" / "mpg")
    with serving(models, tmp_path) as server:
        none = server.get("/compare").text
        assert "No model on this server takes pictures" in none
        assert "<form" not in none
        assert server.post("/compare", files={"image": picture()}).status_code == 404


def test_while_models_load_and_the_limits_after(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    server = ServerProcess(
        ROOT / "models", tmp_path / "uploads", max_body_mb=2.5, max_pixels=1500000
    )
    try:
        assert "still loading" in server.get("/compare").text
        assert server.post("/compare", files={"image": picture()}).status_code == 503
        server.await_ready()
        page = server.get("/compare").text
        assert "still loading" not in page
        assert "on this server takes pictures" not in page  # several do
        for path in ("/compare", "/models/cats-dogs"):
            page = server.get(path).text
            assert "at most 2.5 MB and 1.5 million pixels" in page
            assert 'data-max-bytes="2500000"' in page
            assert 'data-max-pixels="1500000"' in page
            assert "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF" in page
    finally:
        server.stop()
