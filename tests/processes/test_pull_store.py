"""Models from a server of S3: what arrives, what stays, and what a failure leaves."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from app.errors import PullError
from app.sources import object_store
from app.sources.place import opened
from app.sources.record import PULLS, RECORD_FILE, read_records, troubles
from tests.elsewhere import Bucket, Cut, pulled, reach, s3_server, tree
from tests.support import ROOT
from tests.unit.test_archives import file, tar_of, zip_of

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    reach(server, monkeypatch)
    return Bucket(server, f"bucket-{next(NUMBERS)}")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def problem(models: Path) -> str | None:
    (record,) = read_records(models)
    return record.problem


def test_a_folder_is_a_version_and_so_is_each_change_of_it(bucket: Bucket, models: Path) -> None:
    url = f"s3://{bucket.name}/flowers"
    first = {"model.keras": b"weights", "labels.txt": b"daisy\nrose\n", "assets/words.txt": b"a"}
    for path, content in first.items():
        bucket.put(f"flowers/{path}", content)
    bucket.put("flowers-of-others/model.keras", b"no")
    bucket.put("flowers/.cache/x", b"hidden")
    outcome = pulled(url, models)
    assert (outcome.arrived, outcome.taken) == (["1"], sum(map(len, first.values())))
    assert tree(models) == {f"m/1/{path}": content for path, content in first.items()}

    again = pulled(url, models)
    assert (again.is_change, again.taken) == (False, 0)

    bucket.put("flowers/labels.txt", b"daisy\ntulip\n")
    assert pulled(url, models).arrived == ["2"]
    assert tree(models / "m/2") == {**first, "labels.txt": b"daisy\ntulip\n"}
    assert tree(models / "m/1") == first
    assert troubles(models) == {}


def test_the_newest_versions_stay(bucket: Bucket, models: Path) -> None:
    for i in range(5):
        bucket.put("flowers/model.keras", b"%d" % i)
        outcome = pulled(f"s3://{bucket.name}/flowers", models, keep=2)
    assert outcome.removed == ["3"]
    assert tree(models / "m") == {"4/model.keras": b"3", "5/model.keras": b"4"}
    # Numbers that someone else has used are not used again.
    (models / "m/20").mkdir()
    bucket.put("flowers/model.keras", b"5")
    assert pulled(f"s3://{bucket.name}/flowers", models, keep=2).arrived == ["21"]
    assert (models / "m/20").is_dir()


def test_numbered_folders_are_versions(bucket: Bucket, models: Path) -> None:
    url = f"s3://{bucket.name}/flowers"
    for path in ("1/model.keras", "2/model.keras", "0003/model.keras", "model.yaml"):
        bucket.put(f"flowers/{path}", path.encode())
    assert pulled(url, models, keep=2).arrived == ["2", "0003"]
    assert set(tree(models / "m")) == {"2/model.keras", "0003/model.keras", "model.yaml"}

    bucket.put("flowers/0003/model.keras", b"better")
    bucket.put("flowers/model.yaml", b"title: x")
    outcome = pulled(url, models, keep=2)
    assert (outcome.arrived, outcome.removed, outcome.taken) == (["0003"], [], 6 + 8)
    assert tree(models / "m")["0003/model.keras"] == b"better"
    assert tree(models / "m")["model.yaml"] == b"title: x"

    bucket.put("flowers/4/model.keras", b"4")
    assert pulled(url, models, keep=2).removed == ["2"]
    # What the source no longer has stays, until that is what is asked for.
    bucket.delete("flowers/4/model.keras")
    assert not pulled(url, models, keep=2).is_change
    outcome = pulled(url, models, keep=2, delete=True)
    assert (outcome.removed, outcome.arrived) == (["4"], ["2"])
    assert {path.partition("/")[0] for path in tree(models / "m")} == {"2", "0003", "model.yaml"}


def test_a_file_and_an_archive_are_recognised_by_their_tags(bucket: Bucket, models: Path) -> None:
    url = f"s3://{bucket.name}/a/flowers.tar.gz"
    bucket.put("a/flowers.tar.gz", tar_of((file("f/model.keras"), b"1")))
    assert pulled(url, models).arrived == ["1"]
    again = pulled(url, models)
    assert (again.is_change, again.taken) == (False, 0)
    # Packed again, it is another file with the same content.
    packed = zip_of(**{"f/model.keras": b"1"})
    bucket.put("a/flowers.zip", packed)
    assert not pulled(url.replace("tar.gz", "zip"), models).is_change
    bucket.put("a/flowers.keras", b"2")
    assert pulled(f"s3://{bucket.name}/a/flowers.keras", models).arrived == ["2"]
    assert tree(models / "m") == {"1/model.keras": b"1", "2/flowers.keras": b"2"}


def test_what_is_missing_or_empty_removes_nothing(bucket: Bucket, models: Path) -> None:
    url = f"s3://{bucket.name}/flowers"
    with pytest.raises(PullError, match="there is nothing at s3://"):
        pulled(url, models)
    bucket.put("flowers/model.keras", b"1")
    pulled(url, models)
    bucket.delete("flowers/model.keras")
    stays = "what has come from it stays"
    missing = {url: stays, f"{url}/model.keras": stays, "s3://no-bucket/x": "NoSuchBucket: The"}
    for address, said in missing.items():
        with pytest.raises(PullError, match=said):
            pulled(address, models)
        assert tree(models) == {"m/1/model.keras": b"1"}
        assert problem(models) is not None
    assert pulled(url, models, delete=True).removed == ["1"]
    assert not (models / "m").exists()
    assert troubles(models) == {}


def test_a_store_that_is_down_is_reported_until_it_answers(
    bucket: Bucket, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket.name}/flowers"
    bucket.put("flowers/model.keras", b"1")
    pulled(url, models)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PullError, match="cannot be read") as caught:
        pulled(url, models, delete=True)
    assert troubles(models) == {"m": caught.value.message}
    assert tree(models) == {"m/1/model.keras": b"1"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    assert not pulled(url, models).is_change
    assert troubles(models) == {}


def test_credentials_that_end_are_reported_without_them(
    bucket: Bucket, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket.name}/flowers"
    bucket.put("flowers/model.keras", b"1")

    def iam(**action: str) -> ElementTree.Element:
        answer = httpx.post(
            bucket.url,
            data=action,
            headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/x"},
            timeout=120,
        )
        answer.raise_for_status()
        return ElementTree.fromstring(answer.content)

    allowed = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    everything = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam(Action="CreateUser", UserName="sync")
    iam(Action="PutUserPolicy", UserName="sync", PolicyName="p", PolicyDocument=everything)
    key = iam(Action="CreateAccessKey", UserName="sync")
    found = {each.tag.rpartition("}")[2]: each.text or "" for each in key.iter()}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", found["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", found["SecretAccessKey"])
    try:
        httpx.post(f"{bucket.url}/moto-api/reset-auth", content=b"0")
        assert pulled(url, models).arrived == ["1"]
        httpx.post(f"{bucket.url}/moto-api/reset-auth", content=b"1000")
        iam(Action="DeleteAccessKey", UserName="sync", AccessKeyId=found["AccessKeyId"])
        bucket.put("flowers/model.keras", b"2")
        httpx.post(f"{bucket.url}/moto-api/reset-auth", content=b"0")
        with pytest.raises(PullError, match="cannot be read") as caught:
            pulled(url, models, delete=True)
    finally:
        httpx.post(f"{bucket.url}/moto-api/reset-auth", content=b"1000000000")
    assert tree(models) == {"m/1/model.keras": b"1"}
    assert "InvalidAccessKeyId" in caught.value.message
    for secret in (found["AccessKeyId"], found["SecretAccessKey"]):
        assert secret not in caught.value.message
        assert secret not in (models / PULLS / "m" / RECORD_FILE).read_text()


FILES = {f"flowers/part-{i}": os.urandom(300_000) for i in range(3)} | {"flowers/model.keras": b"k"}
SENT = sum(map(len, FILES.values()))


@pytest.mark.parametrize("tenths", range(10))
def test_a_transfer_that_is_cut_leaves_nothing_half(
    bucket: Bucket, models: Path, monkeypatch: pytest.MonkeyPatch, tenths: int
) -> None:
    monkeypatch.setattr(object_store, "RANGE", 100_000)
    bucket.put("flowers/model.keras", b"before")
    pulled(f"s3://{bucket.name}/flowers", models)
    for path, content in FILES.items():
        bucket.put(path, content)
    address = urlsplit(bucket.url)
    cut = Cut((address.hostname or "", address.port or 0), 1000 + SENT * tenths // 10)
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cut.port}")
        with pytest.raises(PullError, match="cannot be read"):
            pulled(f"s3://{bucket.name}/flowers", models)
        assert cut.is_cut
    finally:
        cut.close()
    assert tree(models) == {"m/1/model.keras": b"before"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    assert pulled(f"s3://{bucket.name}/flowers", models).arrived == ["2"]
    assert tree(models / "m/2") == {p.removeprefix("flowers/"): c for p, c in FILES.items()}


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_process_that_is_killed_leaves_nothing_half(
    bucket: Bucket, models: Path, share: float
) -> None:
    for path, content in FILES.items():
        bucket.put(path, content)
    address = urlsplit(bucket.url)
    started: list[subprocess.Popen[bytes]] = []
    cut = Cut(
        (address.hostname or "", address.port or 0),
        int(1000 + SENT * share),
        lambda: started[0].send_signal(signal.SIGKILL),
    )
    command = [sys.executable, "-m", "app", "pull", f"s3://{bucket.name}/flowers", "m"]
    environ = {**os.environ, "KERAPORT_MODELS_DIR": str(models)}
    try:
        through = {**environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{cut.port}"}
        with subprocess.Popen(command, cwd=ROOT, env=through) as process:
            started.append(process)
        assert process.returncode == -signal.SIGKILL
    finally:
        cut.close()
    assert tree(models) == {}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "m: version 1 arrived (0.9 MB" in done.stdout
    assert tree(models / "m/1") == {p.removeprefix("flowers/"): c for p, c in FILES.items()}
    # Of what the first one left, nothing.
    left = {p.name for p in (models / PULLS / "m").rglob("*")}
    assert left <= {RECORD_FILE, "new"}


def test_a_replacement_that_was_interrupted_is_undone(bucket: Bucket, models: Path) -> None:
    bucket.put("flowers/3/model.keras", b"3")
    pulled(f"s3://{bucket.name}/flowers", models)
    old = models / PULLS / "m" / "old"
    old.mkdir()
    (models / "m/3").rename(old / "3")
    assert not pulled(f"s3://{bucket.name}/flowers", models).is_change
    assert tree(models) == {"m/3/model.keras": b"3"}
    # What someone removes arrives again.
    (models / "m/3/model.keras").unlink()
    (models / "m/3").rmdir()
    assert pulled(f"s3://{bucket.name}/flowers", models).arrived == ["3"]


def test_what_did_not_come_from_a_source_is_left_alone(bucket: Bucket, models: Path) -> None:
    url = f"s3://{bucket.name}/flowers"
    bucket.put("flowers/3/model.keras", b"3")
    (models / "a.h5").write_bytes(b"own")
    (models / "b").mkdir()
    (models / "b/model.keras").write_bytes(b"own")
    (models / "c/3").mkdir(parents=True)
    (models / "c/3/model.keras").write_bytes(b"own")
    (models / "d").mkdir()
    (models / "d/model.yaml").write_text("title: D")
    before = tree(models)
    for name in "abc":
        with pytest.raises(PullError, match="did not come from"):
            pulled(url, models, name)
    assert tree(models) == before
    # A card that was there first holds for what arrives.
    assert pulled(url, models, "d").arrived == ["3"]
    assert tree(models / "d") == {"3/model.keras": b"3", "model.yaml": b"title: D"}
    with pytest.raises(PullError, match="reserved"):
        pulled(url, models, "status")
    with pytest.raises(PullError, match="letters, digits"):
        pulled(url, models, "../x")


def test_one_process_at_a_time_fetches_a_model(bucket: Bucket, models: Path) -> None:
    bucket.put("flowers/model.keras", b"3")
    with opened(models, "m"), pytest.raises(PullError, match="another process"):
        pulled(f"s3://{bucket.name}/flowers", models)


def test_sizes_are_bounded(bucket: Bucket, models: Path) -> None:
    bucket.put("flowers/model.keras", b"x" * 2_000_000)
    for url in (f"s3://{bucket.name}/flowers", f"s3://{bucket.name}/flowers/model.keras"):
        with pytest.raises(PullError, match=r"more than 0.001 GB: raise --max-gb"):
            pulled(url, models, max_bytes=1_000_000)
    assert tree(models) == {}


def test_a_source_that_nobody_asks_any_more_is_reported(bucket: Bucket, models: Path) -> None:
    bucket.put("flowers/model.keras", b"3")
    pulled(f"s3://{bucket.name}/flowers", models, every_s=10)
    (record,) = read_records(models)
    assert record.trouble(time.time()) is None
    assert record.trouble(time.time() + 80) is None
    assert record.trouble(time.time() + 600) == "not asked for 10 minutes: does models-sync run?"
    (models / PULLS / "m" / RECORD_FILE).write_text("{")
    assert troubles(models) == {}
    assert not read_records(models)
