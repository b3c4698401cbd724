"""Parts of the fuzzer: finds survive in files and can be made smaller, and faults are noticed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz import agreement, framing, oracle
from tests.fuzz.connection import Answer, Exchange
from tests.fuzz.corpus import Corpus
from tests.fuzz.floods import FLOODS, flood
from tests.fuzz.minimise import minimised
from tests.fuzz.mutate import mutated, picture_request
from tests.fuzz.pictures import lossless
from tests.fuzz.request import Find, Piece, Request, load, post, save
from tests.fuzz.seeds import Seed, seeds

INPUTS = {"sums": "x", "three": "picture", "cats-dogs": "picture", "stars": "ids"}
JSON = {"content-type": "application/json"}
NATIVE = b'{"id": "1", "error": {"code": "bad_request", "message": "m", "details": []}}'


def answered(*answers: Answer, problem: str = "", closed: bool = False) -> Exchange:
    return Exchange(answers, problem, closed, 0.0)


def test_a_find_is_read_as_it_was_written(tmp_path: Path) -> None:
    request = Request(
        "/api/sums?a=é",
        headers=(("A", "b"),),
        body=(Piece(b"\xff\0"), Piece(b"c#,\n", 1000, numbered=True)),
        framing="chunked",
        chunk=7,
        origin="test",
        strict=False,
    )
    save(Find("rule", "detail", request), tmp_path / "find.json")
    assert load(tmp_path / "find.json") == Find("rule", "detail", request)


def test_repetitions_are_counted_up_and_bytes_left_out() -> None:
    request = post(
        "/api/sums", "text/csv", b"alpha,beta\nsomething", Piece(b"x#,", 10_000, True), b"\n1,2"
    )

    def breaks(tried: Request) -> bool:
        return tried.content.count(b"x") >= 100 and b"some" in tried.content

    small = minimised(request, breaks)
    assert small is not None
    assert breaks(small)
    assert small.headers == ()
    assert [piece.data for piece in small.body] == [b"some", b"x#,"]
    assert small.body[1].times < 200


def test_what_is_not_broken_alone_is_not_made_small() -> None:
    assert minimised(post("/", "text/csv", b"abc"), lambda request: False) is None


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_as_large_as_they_may_be(name: str) -> None:
    assert len(flood(name, 0.01).wire()) < 700_000
    if "picture" not in name and "bomb" not in name:  # seconds of encoding
        assert len(flood(name, 1).wire()) < 16_000_000


def test_mutation_is_the_same_for_the_same_seed() -> None:
    def some(seed: int) -> list[bytes]:
        rng = random.Random(seed)
        asked = [seed.request for seed in seeds(INPUTS)]
        changed = [mutated(rng, rng.choice(asked)) for _ in range(200)]
        return [r.wire() for r in (*changed, *(picture_request(rng, INPUTS) for _ in range(50)))]

    assert some(1) == some(1)
    assert some(1) != some(2)


@pytest.mark.parametrize("body", [b"", b"\n", b"a", b",", b"{", b"\xff"])
@pytest.mark.parametrize("kind", ["text/csv", "application/json", "image/png", "text/plain"])
def test_any_body_can_be_mutated(kind: str, body: bytes) -> None:
    for seed in range(100):
        mutated(random.Random(seed), post("/predict/sums", kind, body)).wire()


@pytest.mark.parametrize(
    ("path", "answer", "rule"),
    [
        ("/api/sums", Answer(500, JSON, NATIVE), "status"),
        ("/api/sums", Answer(499, JSON, NATIVE), "status"),
        ("/api/sums", Answer(503, JSON, NATIVE), "retry-after"),
        ("/api/sums", Answer(405, JSON, NATIVE), "allow"),
        ("/api/sums", Answer(400, JSON, b'{"error": "m"}'), "shape"),
        ("/api/sums", Answer(400, {"content-type": "text/html"}, b"no</html>"), "shape"),
        ("/api/sums", Answer(200, JSON, b'{"predictions": [1'), "shape"),
        ("/api/sums", Answer(200, JSON, b"{}"), "shape"),
        ("/v1/models/a:predict", Answer(400, JSON, NATIVE), "shape"),
        ("/v2/models/a/infer", Answer(400, JSON, NATIVE), "shape"),
        ("/v2/models/a/infer", Answer(200, JSON, b"{}"), "shape"),
        ("/models/sums", Answer(200, {"content-type": "text/html"}, b"<html>"), "shape"),
    ],
)
def test_answers_that_no_server_should_give(path: str, answer: Answer, rule: str) -> None:
    assert [rule for rule, _ in oracle.judge(Request(path), answered(answer))] == [rule]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/sums", Answer(400, JSON, NATIVE)),
        ("/api/sums", Answer(200, JSON, b'{"id": "1", "predictions": []}')),
        ("/v1/models/a:predict", Answer(400, JSON, b'{"error": "m"}')),
        ("/v1/models/a:predict", Answer(200, JSON, b'{"predictions": [NaN]}')),
        ("/readyz", Answer(503, JSON, b'{"ready": false}')),
        ("/models/sums", Answer(422, {"content-type": "text/html"}, b"<html></html>\n")),
    ],
)
def test_answers_that_are_right(path: str, answer: Answer) -> None:
    assert oracle.judge(Request(path), answered(answer)) == []


def test_a_request_without_an_answer() -> None:
    closed = answered(problem="closed", closed=True)
    request = Request("/api/sums")
    assert [rule for rule, _ in oracle.judge(request, closed)] == ["answer-closed"]
    assert oracle.judge(replace(request, strict=False), closed) == []


def test_a_valid_request_must_be_answered_as_before() -> None:
    seed = Seed(Request("/api/sums"), expected=(b"3.0",))
    body = b'{"id": "1", "predictions": [3.0]}'
    baseline = oracle.plain(Answer(200, JSON, body))

    def rules(answer: Answer) -> list[str]:
        return [rule for rule, _ in oracle.right(seed, answered(answer), baseline)]

    assert rules(Answer(200, JSON, body.replace(b'"1"', b'"2"'))) == []
    assert rules(Answer(200, JSON, b'{"predictions": [3.1]}')) == ["wrong-answer"]
    assert rules(Answer(200, JSON, b'{"predictions": [4.0, 3.0]}')) == ["wrong-answer"]
    assert rules(Answer(400, JSON, NATIVE)) == ["valid-refused"]


@pytest.mark.parametrize("name", framing.BAD)
def test_a_smuggled_request_is_seen(name: str) -> None:
    refused, smuggled = Answer(400), Answer(200)
    assert framing.judge(name, answered(refused, closed=True)) == []
    for answers in ((smuggled,), (refused, smuggled), (smuggled, smuggled), ()):
        assert framing.judge(name, answered(*answers, closed=True))


def test_good_framing_has_two_answers() -> None:
    assert framing.judge("length", answered(Answer(200), Answer(200))) == []
    assert framing.judge("length", answered(Answer(400), problem="closed", closed=True))


def test_forms_that_disagree() -> None:
    forms, truth = agreement.rows(random.Random(1), INPUTS)
    body = str([{"sum": value} for value in truth]).replace("'", '"')
    right = Answer(200, JSON, f'{{"predictions": {body}}}'.encode())
    wrong = Answer(200, JSON, f'{{"predictions": {body[:-1]}, {{"sum": 1}}]}}'.encode())
    assert agreement.disagreements([(forms[0], right), (forms[1], right)], truth) == []
    assert len(agreement.disagreements([(forms[0], right), (forms[1], wrong)], truth)) == 1
    assert len(agreement.disagreements([(forms[0], Answer(400, JSON, NATIVE))], truth)) == 1


def test_a_picture_in_all_formats() -> None:
    assert {"PNG", "BMP", "TIFF", "WEBP", "GIF"} <= set(lossless(1))


def test_requests_with_new_answers_are_kept(tmp_path: Path) -> None:
    corpus = Corpus([], tmp_path)
    request = Request("/api/sums")
    for answer in (Answer(400, JSON, NATIVE), Answer(400, JSON, NATIVE), Answer(422, JSON, b"{}")):
        corpus.offer(request, answer)
    corpus.offer(replace(request, strict=False), Answer(404, JSON, NATIVE))
    assert len(corpus) == 2
    assert len(Corpus([], tmp_path)) == 2
