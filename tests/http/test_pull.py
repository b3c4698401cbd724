"""Models from elsewhere that arrive while the server runs, and what its status says of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.errors import PullError
from tests.elsewhere import Bucket, bucket_of, pulled
from tests.http.load import Load, Question
from tests.http.reloading import ROWS, Served, always_ready, serving
from tests.metrics import scrape
from tests.models import save_constant_model
from tests.support import eventually

OF_M = frozenset({("model", "m")})


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket_of(monkeypatch) as bucket:
        yield bucket


def unmixed(predictions: list[Any]) -> bool:
    return {number for row in predictions for number in row} <= {1.0, 2.0}


def test_a_model_appears_and_is_replaced_without_a_lost_request(
    bucket: Bucket, models: Path, tmp_path: Path
) -> None:
    appears_and_is_replaced(bucket, models, tmp_path, hidden=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_of_100_mb_is_replaced_without_a_lost_request(
    bucket: Bucket, models: Path, tmp_path: Path
) -> None:
    assert appears_and_is_replaced(bucket, models, tmp_path, hidden=5000) > 100_000_000


def appears_and_is_replaced(bucket: Bucket, models: Path, folder: Path, hidden: int) -> int:
    """Returns the bytes of the second version."""
    url = f"s3://{bucket.name}/m"

    def upload(value: int) -> None:
        save_constant_model(folder / f"{value}.keras", value, hidden=hidden)
        bucket.put("m/model.keras", (folder / f"{value}.keras").read_bytes())

    with serving(models, folder) as server, always_ready(server):
        m = Served(server, models, "m")
        bucket.put("m/model.yaml", b"task: tensor\n")
        upload(1)
        pulled(url, models)
        # Large files take their time on a busy machine.
        eventually(lambda: m.about().get("state") == "ready", 240)
        assert m.ask() == (1, 1)

        load = Load(
            server.port, [Question("/api/m", str(ROWS).encode(), "application/json", unmixed)]
        )
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load.run, 8)
            try:
                upload(2)
                taken = pulled(url, models).taken
                eventually(lambda: m.ask() == (2, 2), 240)
            finally:
                load.stop()
            loading.result()
        assert load.wrong == []
        assert load.answered["/api/m"] > 8

        status = server.get("/api/status").json()
        assert status["summary"]["level"] == "ok"
        assert scrape(server.url).series("keraport_source_failed") == {OF_M: 0}
        for path in ("m/model.keras", "m/model.yaml"):
            bucket.delete(path)
        with pytest.raises(PullError) as caught:
            pulled(url, models)
        status = server.get("/api/status").json()
        assert status["replicas"][0]["sources"] == [{"name": "m", "reason": caught.value.message}]
        assert 'the source of the model "m" fails' in status["summary"]["text"]
        assert scrape(server.url).series("keraport_source_failed") == {OF_M: 1}
        page = server.get("/status").text
        assert "the source of m: there is nothing at s3://" in page
        assert m.ask() == (2, 2)
        upload(2)
        bucket.put("m/model.yaml", b"task: tensor\n")
        pulled(url, models)
        eventually(lambda: server.get("/api/status").json()["summary"]["level"] == "ok")
    return taken
