"""Recordings and series over HTTP: native, v1, v2, pages, OpenAPI and the command line, compared
with what Keras answers to the same tensor."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.answers import predictions, problems
from tests.command_line import CommandLine
from tests.rpc import PREDICT, fed, predict_request, refusal, serving_stubs, triton_client
from tests.sounds import recording
from tests.support import ServerProcess, serving
from tests.time_kinds import asked, check_four

SERIES = [[i / 10, (i % 3) - 1] for i in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("time-kinds") / "models"


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Any]:
    import keras

    from tests.time_kinds import MODELS, save_time_kinds

    save_time_kinds(folder)
    return {name: keras.models.load_model(folder / name / "model.keras") for name in MODELS}


@pytest.fixture(scope="module")
def server(
    folder: Path, models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    uploads = tmp_path_factory.mktemp("time-kinds-uploads")
    with serving(folder, uploads, grpc_port=0) as found:
        yield found


@pytest.fixture(scope="module")
def samples() -> Any:
    from tests.time_kinds import spoken

    return spoken()


@pytest.fixture(scope="module")
def voice(samples: Any) -> bytes:
    """0.3 s, of which the models hear the first 0.2."""
    return recording(samples, 8_000, subtype="FLOAT")


# --- sound


def ways(data: bytes, name: str = "wave") -> list[dict[str, Any]]:
    """A recording in every form."""
    text = b64encode(data).decode()
    return [
        {"content": data, "headers": {"Content-Type": "audio/wav"}},
        {"content": data},
        {"files": {"audio": ("a.wav", data)}},
        {"files": {name: ("a.wav", data)}},
        {"json": {"audio": text}},
        {"json": [{name: f"data:audio/wav;base64,{text}"}]},
    ]


def test_a_spoken_word(
    server: ServerProcess, models: dict[str, Any], samples: Any, voice: bytes
) -> None:
    expected = asked(models["voice"], samples[:1600])
    for way in ways(voice):
        (prediction,) = predictions(server.post("/api/voice", **way))
        chances = {each["label"]: each["probability"] for each in prediction["top"]}
        found = [chances[label] for label in ("yes", "no", "other")]
        assert found == pytest.approx(expected, abs=1e-5), way


def test_sound_gives_every_kind_of_output(
    server: ServerProcess, models: dict[str, Any], samples: Any, voice: bytes
) -> None:
    (prediction,) = predictions(server.post("/api/sound", content=voice))
    check_four(prediction, asked(models["sound"], samples[:1600, None]))


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("FLAC", None), ("OGG", "VORBIS")]
)
def test_stereo_of_another_rate(
    server: ServerProcess, models: dict[str, Any], format: str, subtype: str | None
) -> None:
    """What the decoder makes of the file is tested for each format on its own."""
    import io

    from app.serving.tasks.files.recordings import RecordingSpec, decode
    from tests.sounds import tone

    both = np.stack([tone(0.1, 44_100, 300), tone(0.1, 44_100, 700)], 1)
    data = recording(both, 44_100, format, subtype)
    heard = decode(io.BytesIO(data), RecordingSpec(8_000, 1600, 1600))
    assert not heard[800:].any()
    (prediction,) = predictions(server.post("/api/sound", content=data))
    check_four(prediction, asked(models["sound"], heard[:, None]))


def test_sound_of_any_length(server: ServerProcess, models: dict[str, Any], samples: Any) -> None:
    for count in (100, 1600, len(samples)):
        data = recording(samples[:count], 8_000, subtype="FLOAT")
        (prediction,) = predictions(server.post("/api/any-sound", content=data))
        expected = asked(models["any-sound"], samples[:count])
        assert prediction == {"y": pytest.approx(expected, abs=1e-5)}


def test_v1_and_v2_take_recordings_and_samples(
    server: ServerProcess, models: dict[str, Any], samples: Any, voice: bytes
) -> None:
    expected = asked(models["voice"], samples[:1600])
    text = b64encode(voice).decode()
    raw = samples[:1600].tolist()
    for instance in ({"b64": text}, f"data:audio/wav;base64,{text}", raw):
        answer = server.post("/v1/models/voice:predict", json={"instances": [instance] * 2})
        assert answer.status_code == 200, answer.text
        for row in answer.json()["predictions"]:
            assert row == pytest.approx(expected, abs=1e-5)
    one = {"name": "wave", "shape": [1], "datatype": "BYTES", "data": [text]}
    for sent in (
        {**one, "parameters": {"content_type": "base64"}},
        {"name": "wave", "shape": [1, 1600], "datatype": "FP32", "data": raw},
    ):
        answer = server.post("/v2/models/voice/infer", json={"inputs": [sent]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == pytest.approx(expected, abs=1e-5)
    head = {"name": "wave", "shape": [1], "datatype": "BYTES"}
    data = struct.pack("<I", len(voice)) + voice
    text_head = json.dumps({"inputs": [{**head, "parameters": {"binary_data_size": len(data)}}]})
    answer = server.post(
        "/v2/models/voice/infer",
        content=text_head.encode() + data,
        headers={"Inference-Header-Content-Length": str(len(text_head))},
    )
    assert answer.json()["outputs"][0]["data"] == pytest.approx(expected, abs=1e-5)


def test_grpc_takes_recordings_and_samples(
    server: ServerProcess, models: dict[str, Any], samples: Any, voice: bytes
) -> None:
    expected = asked(models["voice"], samples[:1600])
    files = np.array([voice, voice], object)
    raw = samples[None, :1600].astype(np.float32)
    with serving_stubs(server.grpc) as tfs, triton_client(server.grpc) as triton:
        for sent, kind in ((files, "BYTES"), (raw, "FP32")):
            served = tfs.predict("voice", wave=sent)["word"]
            inferred = triton.infer("voice", [fed("wave", sent, kind)]).as_numpy("word")
            assert len(served) == len(inferred) == len(sent)
            for row in (*served, *inferred):
                assert row == pytest.approx(expected, abs=1e-5)
        error = refusal(
            tfs.channel,
            PREDICT,
            predict_request("voice", wave=np.array([b"no"], object)).SerializeToString(),
        )
    assert error.code().name == "INVALID_ARGUMENT"
    assert "not a recording in a supported format" in error.details()


def test_what_v1_and_v2_expect_of_a_recording(server: ServerProcess) -> None:
    answer = server.post("/v1/models/voice:predict", json={"instances": [{"b64": "YWE="}]})
    assert answer.status_code == 400
    assert "not a recording in a supported format" in answer.json()["error"]
    answer = server.post("/v1/models/voice:predict", json={"instances": ["a"]})
    assert 'or encoded recordings: {"b64": …} or "data:…" each' in answer.json()["error"]
    sent = {"name": "wave", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    answer = server.post("/v2/models/voice/infer", json={"inputs": [sent]})
    assert (answer.status_code, "not a recording" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("way", "status", "message"),
    [
        ({"content": b"no"}, 422, "audio: not a recording in a supported format, expected WAV"),
        ({"content": b""}, 400, "no recording: send it as the body, or as the field 'audio'"),
        ({"files": {"image": ("a.wav", b"no")}}, 422, "audio: not a recording"),
        ({"files": {"sound": ("a.wav", b"no")}}, 400, "as the field 'audio', found the field 'sou"),
        ({"data": {"audio": "x"}, "files": {"file": ("", b"")}}, 400, "-F audio=@voice.wav"),
        ({"content": "a,b", "headers": {"Content-Type": "text/csv"}}, 415, "takes recordings, not"),
        ({"json": {"image": "x"}}, 422, "the input has 2 problems"),
        ({"json": []}, 400, "the list is empty"),
    ],
)
def test_requests_without_a_recording(
    server: ServerProcess, way: dict[str, Any], status: int, message: str
) -> None:
    answer = server.post("/api/voice", **way)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


# --- series


def test_a_series_gives_every_kind_of_output(server: ServerProcess, models: dict[str, Any]) -> None:
    expected = asked(models["series"], SERIES)
    named = [{"temp": temp, "wind": wind} for temp, wind in SERIES]
    lines = "\n".join(["day,wind,temp", *(f"d{i},{w},{t}" for i, (t, w) in enumerate(SERIES))])
    table = {"Content-Type": "text/csv"}
    for way in (
        {"json": SERIES},
        {"json": [[9, 9], *SERIES]},
        {"json": named},
        {"json": {"series": SERIES}},
        {"json": [{"table": named}]},
        {"content": lines, "headers": table},
        {"files": {"file": ("a.csv", lines)}},
    ):
        (prediction,) = predictions(server.post("/api/series", **way))
        check_four(prediction, expected)
    found = predictions(server.post("/api/series", json=[SERIES, SERIES[::-1]]))
    check_four(found[0], expected)
    check_four(found[1], asked(models["series"], SERIES[::-1]))


def test_series_in_v1_and_v2(server: ServerProcess, models: dict[str, Any]) -> None:
    expected = asked(models["sales"], np.arange(8)[:, None])
    rows = [[i] for i in range(8)]
    answer = server.post("/v1/models/sales:predict", json={"instances": [rows]})
    assert answer.json()["predictions"][0] == pytest.approx(expected, abs=1e-5)
    sent = {"name": "sales", "shape": [1, 8, 1], "datatype": "FP32", "data": [*range(8)]}
    answer = server.post("/v2/models/sales/infer", json={"inputs": [sent]})
    assert answer.json()["outputs"][0]["data"] == pytest.approx(expected, abs=1e-5)
    (prediction,) = predictions(server.post("/api/sales", json=[*range(8)]))
    assert prediction == {"sales": pytest.approx(expected, abs=1e-5)}


def test_a_bare_lstm_forecasts_from_a_series(server: ServerProcess, models: dict[str, Any]) -> None:
    about = server.get("/api/models/forecast").json()
    (taken,) = about["inputs"].values()
    assert taken == {"kind": "series", "steps": 5, "columns": 2, "dtype": "float32"}
    assert "inputs" in about["guessed"]
    (name,) = about["outputs"]
    (prediction,) = predictions(server.post("/api/forecast", json=SERIES))
    assert prediction == {name: pytest.approx(asked(models["forecast"], SERIES[1:])[0], abs=1e-5)}


def test_series_of_any_length(server: ServerProcess, models: dict[str, Any]) -> None:
    for count in (1, 5):
        (prediction,) = predictions(server.post("/api/any-series", json=SERIES[:count]))
        (values,) = prediction.values() if isinstance(prediction, dict) else (prediction,)
        np.testing.assert_allclose(values, asked(models["any-series"], SERIES[:count]), atol=1e-5)
    assert problems(server.post("/api/any-series", json=[[0, 0]] * 4097)) == {"body": "4,097 long"}
    assert len(predictions(server.post("/api/any-series", json=[[0, 0]] * 4096))) == 1


def test_problems_of_a_series(server: ServerProcess) -> None:
    assert problems(server.post("/api/series", json=SERIES[:3])) == {"body": "3 rows"}
    bad = [*SERIES[:4], [1], {"temp": "x", "rain": 2}]
    assert problems(server.post("/api/series", json=bad)) == {
        "[4]": "1 values",
        "[5].rain": "unexpected",
        "[5].wind": "missing",
        "[5].temp": "wrong type",
    }
    answer = server.post("/api/series", content=b"a", headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 415


# --- both


def test_sound_a_series_and_fields(
    server: ServerProcess, models: dict[str, Any], samples: Any, voice: bytes
) -> None:
    facts = {"a": 1, "b": -1}
    expected = asked(models["together"], samples[:1600], SERIES, [1, -1])
    row = {"wave": b64encode(voice).decode(), "table": SERIES, "facts": facts}
    (prediction,) = predictions(server.post("/api/together", json=row))
    check_four(prediction, expected)
    lines = "\n".join(f"{a},{b}" for a, b in SERIES)
    for table in (json.dumps(SERIES), lines):
        files = [
            ("wave", ("a.wav", voice)),
            ("table", (None, table)),
            ("facts", (None, json.dumps(facts))),
        ]
        (prediction,) = predictions(server.post("/api/together", files=files))
        check_four(prediction, expected)
    bad = {"wave": "YWE=", "table": [[1, 2]], "facts": {"a": 1}}
    assert problems(server.post("/api/together", json=bad)) == {
        "wave": "not a recording in a supported format",
        "table": "1 row",
        "facts.b": "missing",
    }


def test_openapi_describes_both(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    validate(document)
    body = document["paths"]["/api/voice"]["post"]["requestBody"]["content"]
    assert {"audio/wav", "audio/flac", "audio/ogg", "multipart/form-data"} < body.keys()
    (prediction,) = predictions(server.post("/api/voice", json=body["application/json"]["example"]))
    schemas = document["components"]
    resolver = {"components": schemas, **schemas["schemas"]["voice.prediction"]}
    OAS31Validator(resolver).validate(prediction)
    content = document["paths"]["/api/series"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    assert len(predictions(server.post("/api/series", json=example))) == 1
    OAS31Validator({"components": schemas, **schemas["schemas"]["series.input"]}).validate(example)
    for name in ("voice", "series", "sales", "together", "any-sound"):
        for protocol in ("v1", "v2"):
            key = f"/{protocol}/models/{{name}}" + (":predict" if protocol == "v1" else "/infer")
            media = document["paths"][key]["post"]["requestBody"]["content"]["application/json"]
            example = media["examples"][name]["value"]
            path = key.format(name=name)
            assert server.post(path, json=example).status_code == 200, (path, example)


def test_the_command_line(
    command_line: CommandLine,
    folder: Path,
    models: dict[str, Any],
    samples: Any,
    voice: bytes,
    tmp_path: Path,
) -> None:
    (tmp_path / "voice.wav").write_bytes(voice)
    row = {"wave": "voice.wav", "table": SERIES, "facts": {"a": 1, "b": -1}}
    (tmp_path / "row.json").write_text(json.dumps(row))
    run = command_line.run(folder, "predict", "together", str(tmp_path / "row.json"), "--json")
    assert run.returncode == 0, run.stderr
    (prediction,) = json.loads(run.stdout)["predictions"]
    check_four(prediction, asked(models["together"], samples[:1600], SERIES, [1, -1]))
    (tmp_path / "weather.csv").write_text("\n".join(f"{a},{b}" for a, b in SERIES))
    (tmp_path / "bad.csv").write_text("1,2\n" * 5 + "1,x\n")
    files = [str(tmp_path / name) for name in ("weather.csv", "bad.csv")]
    run = command_line.run(folder, "predict", "series", *files)
    assert "6: wind: not a number" in run.stderr
    assert "next" in run.stdout


# --- pages


def test_the_page_of_sound(server: ServerProcess, voice: bytes) -> None:
    page = server.get("/models/sound").text
    assert 'data-seconds="0.2"' in page
    assert "the model hears the first 0.2 s" in page
    page = server.post("/models/sound", files={"input0": ("a.wav", voice)}).text
    assert "5 numbers, length" in page
    answer = server.post("/models/sound", files={"input0": ("a.mp3", b"ID3" + bytes(50))})
    assert (answer.status_code, "MP3 is not supported" in answer.text) == (422, True)
    answer = server.post("/models/sound", files={"input0": ("", b"")})
    assert "missing: expected WAV, FLAC or Ogg" in answer.text


def test_the_page_of_a_series(server: ServerProcess) -> None:
    page = server.get("/models/series").text
    assert "temp,wind\n0.5,0.5" in page
    lines = "\n".join(f"{a},{b}" for a, b in SERIES)
    page = server.post("/models/series", files={"input0": (None, lines)}).text
    assert page.count("<polyline") == 4  # two columns, each with what comes next
    assert "6 values from 0 to 0.5; then 3 more" in page
    file = {"input0": (None, "ignored"), "input0_file": ("a.csv", lines)}
    assert server.post("/models/series", files=file).text.count("<polyline") == 4
    answer = server.post("/models/series", files={"input0": (None, "1,2\n3,x")})
    assert answer.status_code == 422
    assert "2 rows: expected a list of at least 6 rows" in answer.text
    page = server.post("/models/sales", files={"input0": (None, "1\n" * 8)}).text
    assert "8 values" in page
    assert "then 3 more" in page


def test_the_page_of_all(server: ServerProcess, voice: bytes) -> None:
    page = server.get("/models/together").text
    assert page.count('class="kind-audio"') == 1
    lines = "\n".join(f"{a},{b}" for a, b in SERIES)
    parts = {
        "input0": ("a.wav", voice),
        "input1": (None, lines),
        "input2_0": (None, "1"),
        "input2_1": (None, "2"),
    }
    answer = server.post("/models/together", files=parts)
    assert answer.status_code == 200
    assert "5 numbers, length" in answer.text
