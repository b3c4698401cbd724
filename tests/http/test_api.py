"""The native API over the shipped models."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import keras
import psutil
import pytest

from tests.models import save_picture_model
from tests.support import CAR, ROOT, ServerProcess, picture, serving, shipped_models


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, after checking its shape: the same for every error there is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) == {"id", "error"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["id"] == answer.headers["X-Request-ID"]
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    for detail in body["error"]["details"]:
        assert {"field", "problem"} <= set(detail) <= {"field", "problem", "value", "expected"}
    error: dict[str, Any] = body["error"]
    return error


def test_a_picture_gets_a_label(shipped: ServerProcess) -> None:
    answer = shipped.post("/api/cats-dogs", files={"image": picture()})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"id", "model", "version", "predictions"}
    assert (body["model"], body["version"]) == ("cats-dogs", 1)
    (prediction,) = body["predictions"]
    assert set(prediction) == {"label", "probability", "top"}
    assert prediction["label"] in ("cat", "dog")
    assert 0.5 <= prediction["probability"] <= 1
    assert sum(t["probability"] for t in prediction["top"]) == pytest.approx(1, abs=1e-5)


def test_raw_and_multipart_pictures_answer_alike(shipped: ServerProcess) -> None:
    data = picture(3)
    answers = [
        shipped.post("/api/cats-dogs", files={"image": data}),
        shipped.post("/api/cats-dogs", files={"file": data}),
        shipped.post("/api/cats-dogs", content=data),
        shipped.post("/api/cats-dogs", content=data, headers={"Content-Type": "image/png"}),
        shipped.post(
            "/api/cats-dogs",
            content=data,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
    ]
    assert len({json.dumps(a.json()["predictions"]) for a in answers}) == 1


def test_several_pictures_in_one_request(shipped: ServerProcess) -> None:
    data = [picture(seed) for seed in range(40)]
    together = shipped.post("/api/cats-dogs", files=[("image", d) for d in data])
    alone = [shipped.post("/api/cats-dogs", content=d).json()["predictions"][0] for d in data[:3]]
    predictions = together.json()["predictions"]
    assert len(predictions) == 40
    for one, other in zip(alone, predictions, strict=False):
        assert one["probability"] == pytest.approx(other["probability"], rel=1e-4)


def test_a_car_gets_its_mileage(shipped: ServerProcess) -> None:
    answer = shipped.post("/api/mpg", json=CAR)
    assert answer.status_code == 200
    assert set(answer.json()) == {"id", "model", "version", "predictions"}
    (prediction,) = answer.json()["predictions"]
    # The car is a row of the data: 18 miles per gallon.
    assert prediction["mpg"] == pytest.approx(18, abs=5)
    assert prediction["mpg"] == round(prediction["mpg"], 1)


def test_curl_needs_no_content_type(shipped: ServerProcess) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = shipped.post("/api/mpg", content=json.dumps(CAR), headers=form)
    assert answer.status_code == 200


def test_lists_and_csv_answer_alike(shipped: ServerProcess) -> None:
    cars = [{**CAR, "weight": 2000 + 10 * i} for i in range(100)]
    text = ",".join(CAR) + "\n" + "".join(",".join(map(str, c.values())) + "\n" for c in cars)
    as_list = shipped.post("/api/mpg", json=cars)
    as_csv = shipped.post("/api/mpg", content=text, headers={"Content-Type": "text/csv"})
    as_file = shipped.post("/api/mpg", files={"file": ("cars.csv", text)})
    assert len(as_list.json()["predictions"]) == 100
    assert as_list.json()["predictions"] == as_csv.json()["predictions"]
    assert as_list.json()["predictions"] == as_file.json()["predictions"]


def test_all_problems_of_a_car_at_once(shipped: ServerProcess) -> None:
    car = {k: v for k, v in CAR.items() if k != "weight"} | {"color": "red", "horsepower": 50_000}
    error = error_of(shipped.post("/api/mpg", json=car), 422, "invalid_input")
    problems = {d["field"]: d["problem"] for d in error["details"]}
    assert problems == {"weight": "missing", "color": "unexpected", "horsepower": "out of range"}


def test_the_problems_of_one_weight_each(shipped: ServerProcess) -> None:
    """A car without weight, one with a colour and one with a weight of 50,000, in one request."""
    cars: list[dict[str, Any]] = [
        {k: v for k, v in CAR.items() if k != "weight"},
        {**CAR, "color": "red"},
        {**CAR, "weight": 50_000},
    ]
    error = error_of(shipped.post("/api/mpg", json=cars), 422, "invalid_input")
    assert [(d["field"], d["problem"]) for d in error["details"]] == [
        ("[0].weight", "missing"),
        ("[1].color", "unexpected"),
        ("[2].weight", "out of range"),
    ]
    assert error["details"][2]["value"] == 50_000
    assert "lb" in error["details"][2]["expected"]


def test_one_picture_to_every_image_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("one", "two"):
        (models / name).symlink_to(ROOT / "models" / "cats-dogs")
    (models / "mpg").symlink_to(ROOT / "models" / "mpg")
    broken = models / "broken"
    broken.mkdir()
    (broken / "model.yaml").write_text("task: image-classification\n")
    (broken / "model.h5").write_text("no model")
    with serving(models, tmp_path) as server:
        answer = server.post("/predict", files={"image": picture()})
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {"one", "two", "broken"}
        assert body["one"]["predictions"] == body["two"]["predictions"]
        assert body["broken"]["error"]["code"] == "model_unavailable"
        error_of(server.post("/predict", content=b"no picture"), 422, "invalid_input")
        error_of(server.post("/predict", json={}), 422, "invalid_input")
        # The one that failed says why, and the others serve on.
        error = error_of(server.post("/api/broken", content=b"x"), 503, "model_unavailable")
        assert "not a Keras model" in error["message"]
        listed = {m["name"]: m for m in server.get("/api/models").json()["models"]}
        assert listed["broken"]["state"] == "failed"
        assert "not a Keras model" in listed["broken"]["reason"]
        assert server.get("/readyz").status_code == 200
        assert "not a Keras model" in server.get("/").text


def test_the_models_are_listed(shipped: ServerProcess) -> None:
    models = shipped.get("/api/models").json()["models"]
    names = ["cats-dogs", "membranes", "mpg", "patents", "spam"]
    assert [m["name"] for m in models] == names
    assert {m["state"] for m in models} == {"ready"}
    assert all(m["metrics"]["measured_on"] for m in models)


def test_a_model_describes_itself(shipped: ServerProcess) -> None:
    car = shipped.get("/api/models/mpg").json()
    assert car["input"]["properties"]["weight"]["minimum"] > 1000
    assert car["input"]["required"] == list(CAR)
    assert car["versions"] == [{"version": 1, "state": "ready"}]
    assert car["signature"]["inputs"][0]["shape"] == [None, 7]
    pet = shipped.get("/api/models/cats-dogs").json()
    assert pet["input"]["labels"] == ["cat", "dog"]
    assert pet["parameters"] > 1000


def test_the_page_lists_the_models(shipped: ServerProcess) -> None:
    page = shipped.get("/")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "/models/cats-dogs" in page.text
    assert shipped.get("/static/keraport.css").status_code == 200


def test_health(shipped: ServerProcess) -> None:
    assert shipped.get("/livez").json() == {"alive": True}
    ready = shipped.get("/readyz")
    assert ready.status_code == 200
    names = ("cats-dogs", "membranes", "mpg", "patents", "spam")
    assert ready.json()["models"] == dict.fromkeys(names, "ready")


def test_while_models_load_the_server_lives_but_is_not_ready(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    server = ServerProcess(ROOT / "models", uploads)
    try:
        assert server.get("/livez").status_code == 200
        waiting = server.get("/readyz")
        assert waiting.status_code == 503
        assert set(waiting.json()["models"].values()) == {"loading"}
        refused = server.post("/api/mpg", json=CAR)
        error_of(refused, 503, "model_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        refused = server.post("/predict", content=picture())
        assert "still loading" in error_of(refused, 503, "model_unavailable")["message"]
        assert int(refused.headers["Retry-After"]) >= 1
        server.await_ready()
        assert server.post("/api/mpg", json=CAR).status_code == 200
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status", "code"),
    [
        ("POST", "/api/nothing", {"json": {}}, 404, "model_not_found"),
        ("GET", "/api/models/nothing", {}, 404, "model_not_found"),
        ("GET", "/nothing", {}, 404, "not_found"),
        ("GET", "/api/mpg", {}, 405, "method_not_allowed"),
        ("GET", "/api/nothing", {}, 404, "model_not_found"),
        ("DELETE", "/api/nothing/", {}, 404, "model_not_found"),
        ("DELETE", "/api/models", {}, 405, "method_not_allowed"),
        ("POST", "/api/models", {"json": {}}, 405, "method_not_allowed"),
        ("POST", "/api/models/", {"json": {}}, 405, "method_not_allowed"),
        ("POST", "/livez", {}, 405, "method_not_allowed"),
        ("POST", "/api/mpg", {"content": b"{"}, 400, "bad_request"),
        ("POST", "/api/mpg", {"content": b""}, 400, "bad_request"),
        ("POST", "/api/mpg", {"content": b"\xff\xfe"}, 400, "bad_request"),
        ("POST", "/api/mpg", {"content": b"[]"}, 400, "bad_request"),
        ("POST", "/api/mpg", {"content": b'{"weight": NaN}'}, 400, "bad_request"),
        ("POST", "/api/mpg", {"content": b"[" * 100_000}, 400, "bad_request"),
        ("POST", "/api/mpg", {"content": b"3"}, 422, "invalid_input"),
        ("POST", "/api/mpg", {"files": {"other": b"x"}}, 400, "bad_request"),
        ("POST", "/api/cats-dogs", {"content": b""}, 400, "bad_request"),
        ("POST", "/api/cats-dogs", {"files": {"other": b"x"}}, 400, "bad_request"),
        ("POST", "/api/cats-dogs", {"content": b"x"}, 422, "invalid_input"),
        ("POST", "/api/cats-dogs", {"json": {}}, 422, "invalid_input"),
        ("POST", "/api/cats-dogs", {"json": []}, 400, "bad_request"),
    ],
)
def test_errors_have_one_shape(
    shipped: ServerProcess, method: str, path: str, kwargs: Any, status: int, code: str
) -> None:
    error_of(httpx.request(method, shipped.url + path, **kwargs), status, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/mpg", {"POST", "OPTIONS"}),
        ("DELETE", "/api/models", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/api/models", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_the_methods_that_are_allowed_are_listed(
    shipped: ServerProcess, method: str, path: str, allowed: set[str]
) -> None:
    answer = httpx.request(method, shipped.url + path)
    assert set(answer.headers["Allow"].split(", ")) == allowed
    message = error_of(answer, 405, "method_not_allowed")["message"]
    assert message.endswith(f"it takes {', '.join(sorted(allowed))}")


def test_a_picture_to_a_savedmodel_without_a_card_says_what_is_missing(tmp_path: Path) -> None:
    models = tmp_path / "models"
    save_picture_model(tmp_path / "flowers.keras", rescales=True)
    keras.saving.load_model(tmp_path / "flowers.keras").export(models / "flowers", verbose=False)
    with serving(models, tmp_path) as server:
        for kwargs in (
            {"files": {"image": picture()}},
            {"content": picture(), "headers": {"Content-Type": "image/jpeg"}},
        ):
            answer = server.post("/api/flowers", **kwargs)
            error = error_of(answer, 415, "unsupported_media_type")
            assert "'task: image-classification'" in error["message"]


def test_a_model_of_rows_refuses_pictures(shipped: ServerProcess) -> None:
    answer = shipped.post("/api/mpg", content=picture(), headers={"Content-Type": "image/jpeg"})
    error = error_of(answer, 415, "unsupported_media_type")
    assert "application/json or text/csv" in error["message"]


def test_the_bad_pictures_of_several_are_named(shipped: ServerProcess) -> None:
    files = [("image", d) for d in (picture(), b"no", picture()[:3000], picture())]
    error = error_of(shipped.post("/api/cats-dogs", files=files), 422, "invalid_input")
    assert [d["field"] for d in error["details"]] == ["image[1]", "image[2]"]


def test_the_pixel_limit_holds_on_both_sides(tmp_path: Path) -> None:
    models = shipped_models(tmp_path / "models", "cats-dogs")
    with serving(models, tmp_path, max_pixels=200 * 100) as server:
        at_limit = picture(size=(200, 100))
        above = picture(size=(201, 100))
        assert server.post("/api/cats-dogs", content=at_limit).status_code == 200
        error = error_of(server.post("/api/cats-dogs", content=above), 422, "invalid_input")
        assert "20,000" in error["details"][0]["expected"]


def test_request_ids_of_a_proxy_are_kept_and_forged_ones_are_not(shipped: ServerProcess) -> None:
    given = shipped.post("/api/mpg", json=CAR, headers={"X-Request-ID": "abc-123"})
    assert given.headers["X-Request-ID"] == given.json()["id"] == "abc-123"
    for forged in ("a b", "x" * 129, 'a"b'):
        answer = shipped.post("/api/mpg", json=CAR, headers={"X-Request-ID": forged})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.json()["id"])


def test_outputs_that_are_not_finite_are_an_error_of_their_row_only(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "nan.keras").symlink_to(ROOT / "tests" / "data" / "models" / "nan.keras")
    with serving(models, tmp_path) as server, ThreadPoolExecutor(16) as pool:
        rows = [float(v) for v in (-1, 1, 2, -3, 4) * 8]

        def ask(value: float) -> httpx.Response:
            return server.post("/api/nan", json={"x0": value})

        shape = server.get("/api/models/nan").json()["signature"]["inputs"][0]["shape"]
        width = shape[1]
        body = [{f"x{i}": value for i in range(width)} for value in rows]
        answers = list(pool.map(lambda row: server.post("/api/nan", json=row), body))
        for value, answer in zip(rows, answers, strict=True):
            assert "NaN" not in answer.text.replace("NaN or", "")
            if value < 0:
                error_of(answer, 500, "non_finite_output")
            else:
                assert answer.status_code == 200


def test_two_processes_share_one_port(tmp_path: Path) -> None:
    first_uploads, second_uploads = tmp_path / "first", tmp_path / "second"
    first_uploads.mkdir()
    second_uploads.mkdir()
    models = shipped_models(tmp_path / "models", "mpg")
    with serving(models, first_uploads, reuse_port=True) as first:
        second = ServerProcess(models, second_uploads, reuse_port=True, port=first.port)
        try:
            assert second.port == first.port
            until = time.monotonic() + 60
            while "mpg ready" not in second.log():
                assert time.monotonic() < until, second.log()
                time.sleep(0.05)
            # Each connection goes to one of the two; with forty, both have answered.
            answers = [first.post("/api/mpg", json=CAR) for _ in range(40)]
            assert {a.status_code for a in answers} == {200}
            server = psutil.Process(first.pid)
            first.process.kill()
            first.process.wait(30)
            server.wait(30)  # it ends with its supervisor
            assert [second.post("/api/mpg", json=CAR).status_code for _ in range(10)] == [200] * 10
        finally:
            second.stop()
