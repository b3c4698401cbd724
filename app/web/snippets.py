"""Programs of a few lines that ask a model, to be copied from its page and run as they stand."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from app.api.examples import Repeated, example_input, is_long
from app.serving.card import TEXT_TASK
from app.web.layout import json_scalar, layout

PICTURE = "picture.jpg"
# Where the body is too long for a command line.
BODY = "input.json"
# Where a key is needed, which the page does not know.
AUTHORIZATION = "Bearer YOUR_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """code: the program. caption: what it does, where a language has several."""

    code: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """key: for addresses and ids. note: what the programs need."""

    key: str
    name: str
    note: str
    snippets: tuple[Snippet, ...]


def languages(about: dict[str, Any], root: str, *, keys: bool = False) -> list[Language]:
    """How to ask the model that `about` tells of, in each language.

    about: as `GET /api/models/NAME` answers. root: the address of the server, with a slash at the
    end. keys: whether an API key has to be sent, in whose place there is `YOUR_KEY`.
    """
    url = f"{root}api/{about['name']}"
    body = example_input(about)
    if body is None:
        sends = f"Sends {PICTURE} of the current folder."
        return [
            Language(
                "curl",
                "curl",
                sends,
                (Snippet(_curl(url, *_curl_key(keys), f"-F image=@{PICTURE}")),),
            ),
            Language(
                "python", "Python", f"{sends} {_REQUESTS}", (Snippet(_python_file(url, keys)),)
            ),
            Language(
                "javascript",
                "JavaScript",
                f"{sends} {_NODE}",
                (Snippet(_javascript_file(url, keys)),),
            ),
        ]
    note = f"Sends {BODY} of the current folder." if _is_file(about) else ""
    return [
        Language("curl", "curl", note, _curls(url, body, about, keys)),
        Language("python", "Python", _REQUESTS, (Snippet(_python(url, body, keys)),)),
        Language(
            "javascript",
            "JavaScript",
            f"{_NODE} The console of a browser takes it too.",
            (Snippet(_javascript(url, body, keys)),),
        ),
    ]


_REQUESTS = "Needs the package requests."
_NODE = "Save it as ask.mjs and run it with Node 20 or later."


def _is_file(about: dict[str, Any]) -> bool:
    return about["task"] == "tensor" and is_long(about)


# --- curl ----------------------------------------------------------------------------------------


def _curl(url: str, *options: str, streams: bool = False) -> str:
    return " \\\n  ".join([f"curl {'-N ' if streams else ''}{shlex.quote(url)}", *options])


def _curl_key(keys: bool) -> list[str]:
    return [f"-H {shlex.quote(f'Authorization: {AUTHORIZATION}')}"] if keys else []


def _curls(url: str, body: Any, about: dict[str, Any], keys: bool) -> tuple[Snippet, ...]:
    data = f"@{BODY}" if _is_file(about) else shlex.quote(layout(body))
    options = [*_curl_key(keys), "-H 'Content-Type: application/json'", f"-d {data}"]
    if about["task"] != TEXT_TASK:
        return (Snippet(_curl(url, *options)),)
    word = "Character by character" if about["input"]["level"] == "character" else "Word by word"
    streaming = _curl(url, "-H 'Accept: text/event-stream'", *options, streams=True)
    return (Snippet(_curl(url, *options), "All at once"), Snippet(streaming, word))


# --- Python --------------------------------------------------------------------------------------

_PRINT = """\
answer = response.json()
print(answer["predictions"] if response.ok else answer["error"])"""


def _python_key(keys: bool, indent: str) -> str:
    """A line of a call, or nothing."""
    return f'\n{indent}headers={{"Authorization": "{AUTHORIZATION}"}},' if keys else ""


def _python_file(url: str, keys: bool) -> str:
    return f"""\
import requests

with open("{PICTURE}", "rb") as picture:
    response = requests.post(
        {json_scalar(url)},{_python_key(keys, " " * 8)}
        files={{"image": picture}},
        timeout=60,
    )
{_PRINT}"""


def _python(url: str, body: Any, keys: bool) -> str:
    data = layout(body, _python_scalar, step="    ", indent="    ", used=len("json=,"))
    return f"""\
import requests

response = requests.post(
    {json_scalar(url)},{_python_key(keys, " " * 4)}
    json={data},
    timeout=60,
)
{_PRINT}"""


def _python_scalar(value: Any) -> str:
    if isinstance(value, Repeated):
        code = _python_scalar(value.value)
        for size in reversed(value.shape):
            code = f"[{code}] * {size}"
        return code
    # A text of JSON is one of Python too; the other names of JSON are not.
    return repr(value) if isinstance(value, bool) else json_scalar(value)


# --- JavaScript ----------------------------------------------------------------------------------

_LOG = """\
const answer = await response.json();
console.log(JSON.stringify(response.ok ? answer.predictions : answer.error, null, 2));"""


def _javascript_file(url: str, keys: bool) -> str:
    headers = f'headers: {{ Authorization: "{AUTHORIZATION}" }}, ' if keys else ""
    return f"""\
import {{ openAsBlob }} from "node:fs";

const body = new FormData();
body.set("image", await openAsBlob("{PICTURE}"), "{PICTURE}");
const response = await fetch({json_scalar(url)}, {{ method: "POST", {headers}body }});
{_LOG}"""


def _javascript(url: str, body: Any, keys: bool) -> str:
    key = f', Authorization: "{AUTHORIZATION}"' if keys else ""
    data = layout(body, _javascript_scalar, indent="  ", used=len("body: JSON.stringify(),"))
    return f"""\
const response = await fetch({json_scalar(url)}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json"{key} }},
  body: JSON.stringify({data}),
}});
{_LOG}"""


def _javascript_scalar(value: Any) -> str:
    if isinstance(value, Repeated):
        code = _javascript_scalar(value.value)
        for size in reversed(value.shape):
            code = f"Array({size}).fill({code})"
        return code
    return json_scalar(value)
