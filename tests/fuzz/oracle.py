"""What every answer must look like, whatever was asked."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import orjson

from tests.fuzz.connection import Answer, Exchange
from tests.fuzz.request import Request
from tests.fuzz.seeds import Seed

# The native API says 500 for a model that answers NaN or Infinity: the fault is the model's.
NON_FINITE = "non_finite_output"
RTOL, ATOL = 1e-4, 2e-5
# They say with 503 what they have to say.
_HEALTH = ("/readyz", "/livez", "/ready", "/live")


def judge(request: Request, exchange: Exchange) -> list[tuple[str, str]]:
    """The rules that are broken, each with details."""
    if exchange.problem:
        bare = exchange.problem.partition(":")[0]
        if not request.strict and bare in ("closed", "silent"):
            return []  # what came may have been less than a request
        return [(f"answer-{bare}", exchange.problem)]
    return [found for answer in exchange.answers for found in check(request, answer)]


def check(request: Request, answer: Answer) -> list[tuple[str, str]]:
    """The rules that one answer breaks."""
    broken: list[tuple[str, str]] = []
    status = answer.status
    shown = f"{status} {answer.body[:300]!r}"
    if status >= 500 and status not in (503, 504) and not _models_fault(answer):
        broken.append(("status", shown))
    if status in (499, 444) or status < 200:
        broken.append(("status", shown))
    retries = answer.headers.get("retry-after", "").isdecimal()
    if status == 503 and not retries and not request.path.endswith(_HEALTH):
        broken.append(("retry-after", shown))
    if status == 405 and "allow" not in answer.headers:
        broken.append(("allow", shown))
    if request.method != "HEAD" and (problem := _shape(request, answer)):
        broken.append(("shape", f"{problem}: {shown}"))
    return broken


def right(seed: Seed, exchange: Exchange, baseline: Any) -> list[tuple[str, str]]:
    """The rules that the answer to a valid request breaks. baseline: `plain` of the first one."""
    if broken := judge(seed.request, exchange):
        return broken
    answer = exchange.answers[0]
    shown = f"{answer.status} {answer.body[:300]!r}"
    if answer.status in (503, 504):
        return []
    if answer.status != 200:
        return [("valid-refused", shown)]
    missing = [text for text in seed.expected if text not in answer.body]
    if missing or (seed.stable and baseline is not None and not close(plain(answer), baseline)):
        return [("wrong-answer", shown)]
    return []


def plain(answer: Answer) -> Any:
    """What an answer says, without what differs from one request to the next."""
    if "json" not in answer.headers.get("content-type", ""):
        return answer.body
    value = _parsed(answer.body)
    if isinstance(value, dict):
        value.pop("id", None)
        for nested in value.values():
            if isinstance(nested, dict):
                nested.pop("id", None)
    return value


def close(a: Any, b: Any) -> bool:
    """Whether two values are the same, numbers almost: batches of other sizes round differently."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RTOL, abs_tol=ATOL) or (a != a and b != b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    return bool(a == b)


def _models_fault(answer: Answer) -> bool:
    return answer.status == 500 and NON_FINITE.encode() in answer.body[:300]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)  # NaN and Infinity, in the protocols that have them


def _protocol(path: str) -> str:
    for protocol, beginnings in {
        "native": ("/api/", "/predict"),
        "v1": ("/v1/",),
        "v2": ("/v2/",),
    }.items():
        if f"{path}/".startswith(beginnings):
            return protocol
    return "page"


def _shape(request: Request, answer: Answer) -> str:
    """What is wrong with the form of an answer, if anything."""
    kind = answer.headers.get("content-type", "")
    body = answer.body
    if coding := answer.headers.get("content-encoding"):
        try:
            body = zlib.decompress(body, zlib.MAX_WBITS | 32)
        except zlib.error as error:
            return f"not {coding}: {error}"
    if not body:
        empty = answer.status in (204, 304) or request.method in ("OPTIONS", "HEAD")
        return "" if empty or answer.status == 200 else "no body"
    protocol = _protocol(request.path)
    if protocol != "page" and answer.status >= 400 and "json" not in kind and request.strict:
        return f"an error as {kind!r}"
    if kind.startswith("text/html"):
        # Redirects of the framework have no end tag.
        ends = b"</html>" in body[-100:] or 300 <= answer.status < 400
        return "" if ends else "a page that is cut off"
    if "json" in kind:
        try:
            value = _parsed(body)
        except ValueError as error:
            return f"not JSON: {error}"
        return _document(request, protocol, answer.status, value)
    return ""


def _document(request: Request, protocol: str, status: int, value: Any) -> str:
    if status >= 400:
        if not isinstance(value, dict):
            return "an error that is no object"
        if request.path.endswith(_HEALTH) and status == 503:
            return ""
        return _error(protocol, value, strict=request.strict)
    if request.method != "POST" or not request.strict or not isinstance(value, dict):
        return ""
    if protocol == "v1" and not value.keys() & {"predictions", "outputs", "results"}:
        return "no predictions"
    if protocol == "v2" and request.path.endswith("/infer"):
        return "" if isinstance(value.get("outputs"), list) else "no outputs"
    if request.path.startswith("/api/") and not isinstance(value.get("predictions"), list):
        return "no predictions"
    return ""


def _error(protocol: str, value: dict[str, Any], *, strict: bool) -> str:
    error = value.get("error")
    if protocol in ("v1", "v2") and strict:
        good = list(value) == ["error"] and isinstance(error, str) and error != ""
        return "" if good else f"an error that is not that of {protocol}"
    if isinstance(error, str) and not strict:
        return ""  # the path is not what it was
    good = (
        set(value) == {"id", "error"}
        and isinstance(error, dict)
        and set(error) == {"code", "message", "details"}
        and isinstance(error["code"], str)
        and isinstance(error["message"], str)
        and all({"field", "problem"} <= set(detail) for detail in error["details"])
    )
    return "" if good else "an error that is not that of the native API"
