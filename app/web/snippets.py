"""Short programs that ask a model, to copy from its page and run unchanged."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.api.native.examples import MadeUpFile, Repeated, form_of, is_long
from app.serving.cards.card import TEXT_TASK
from app.serving.tasks.files.file_kinds import PICTURES, RECORDINGS, FileKind
from app.web.layout import json_scalar, layout

# A file of each kind.
FILES = {PICTURES: "picture.jpg", RECORDINGS: RECORDINGS.example}
# The file for a body that is too long for a command line.
BODY = "input.json"
# A placeholder, since the page does not know the key.
AUTHORIZATION = "Bearer YOUR_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A program. caption: what it does, if its language has several."""

    code: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """The programs in one language. key: for addresses and ids. note: what they need."""

    key: str
    name: str
    note: str
    snippets: tuple[Snippet, ...]


def languages(
    about: dict[str, Any],
    root: str,
    body: Any,
    *,
    keys: bool = False,
    scale: str | None = None,
) -> list[Language]:
    """Return programs in each language that ask the model.

    about: the answer of `GET /api/models/NAME`. root: the address of the server, with a slash at
    the end. body: an example, as `example_of` returns it. keys: whether the server requires an API
    key, for which the programs have `YOUR_KEY`.
    scale: that the page tries in place of the model's, which is a guess.
    """
    url = f"{root}api/{about['name']}" + (f"?scale={scale}" if scale else "")
    if isinstance(body, MadeUpFile):
        field, file = body.kind.field, FILES[body.kind]
        sends = f"Sends {file} from the current folder."
        return [
            Language(
                "curl",
                "curl",
                sends,
                _curls_file(url, about, root, body.kind, keys),
            ),
            Language(
                "python",
                "Python",
                f"{sends} {_REQUESTS}",
                (Snippet(_python_file(url, field, file, keys)),),
            ),
            Language(
                "javascript",
                "JavaScript",
                f"{sends} {_NODE}",
                (Snippet(_javascript_file(url, field, file, keys)),),
            ),
        ]
    if form_of(about) == "several" and _holds_files(body):
        return _forms(url, body, keys)
    note = f"Sends {BODY} from the current folder." if _is_file(about) else ""
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
    return form_of(about) in ("tensor", "series") and is_long(about)


def _holds_files(body: dict[str, Any]) -> bool:
    return any(isinstance(value, MadeUpFile) for value in body.values())


def _forms(url: str, body: dict[str, Any], keys: bool) -> list[Language]:
    """Programs that send a form with a part for each input."""
    files = {
        n: n + Path(FILES[value.kind]).suffix
        for n, value in body.items()
        if isinstance(value, MadeUpFile)
    }
    values = {n: value for n, value in body.items() if n not in files}
    sends = f"Sends {' and '.join(files.values())} from the current folder."
    long = any(isinstance(value, Repeated) for value in values.values())
    note = f"{sends} {BODY} holds the lists." if long else sends
    return [
        Language("curl", "curl", note, (Snippet(_curl_form(url, files, values, keys)),)),
        Language(
            "python",
            "Python",
            f"{sends} {_REQUESTS}",
            (Snippet(_python_form(url, files, values, keys)),),
        ),
        Language(
            "javascript",
            "JavaScript",
            f"{sends} {_NODE}",
            (Snippet(_javascript_form(url, files, values, keys)),),
        ),
    ]


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


def _curls_file(
    url: str, about: dict[str, Any], root: str, kind: FileKind, keys: bool
) -> tuple[Snippet, ...]:
    own = _curl(url, *_curl_key(keys), f"-F {kind.field}=@{FILES[kind]}")
    if not about.get("examples"):
        return (Snippet(own),)
    example = _curl(f"{root}api/models/{about['name']}/example", *_curl_key(keys))
    sent = _curl(url, *_curl_key(keys), "-H 'Content-Type: application/json'", "-d @-")
    return (
        Snippet(own, f"A {kind.noun} of your own"),
        Snippet(f"{example} |\n  {sent}", "An example of this model"),
    )


def _curl_form(url: str, files: dict[str, str], values: dict[str, Any], keys: bool) -> str:
    parts = [f"{name}=@{file}" for name, file in files.items()]
    for name, value in values.items():
        text = f"<{BODY}" if isinstance(value, Repeated) else layout(value)
        parts.append(f"{name}={text}")
    return _curl(url, *_curl_key(keys), *(f"-F {shlex.quote(part)}" for part in parts))


# --- Python --------------------------------------------------------------------------------------

_PRINT = """\
answer = response.json()
print(answer["predictions"] if response.ok else answer["error"])"""


def _python_key(keys: bool, indent: str) -> str:
    """Return the line of a call that sends a key, empty without keys."""
    return f'\n{indent}headers={{"Authorization": "{AUTHORIZATION}"}},' if keys else ""


def _python_file(url: str, field: str, file: str, keys: bool) -> str:
    return f"""\
import requests

with open("{file}", "rb") as {field}:
    response = requests.post(
        {json_scalar(url)},{_python_key(keys, " " * 8)}
        files={{"{field}": {field}}},
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


def _python_form(url: str, files: dict[str, str], values: dict[str, Any], keys: bool) -> str:
    key = _python_key(keys, " " * 4)
    opened = ", ".join(
        f'{json_scalar(n)}: open({json_scalar(file)}, "rb")' for n, file in files.items()
    )
    lines = [f"    files={{{opened}}},"]
    if values:
        written = ", ".join(
            f"{json_scalar(n)}: json.dumps({layout(value, _python_scalar, indent='    ')})"
            for n, value in values.items()
        )
        lines.append(f"    data={{{written}}},")
    parts = "\n".join(lines)
    imports = "import json\n\n" if values else ""
    return f"""\
{imports}import requests

response = requests.post(
    {json_scalar(url)},{key}
{parts}
    timeout=60,
)
{_PRINT}"""


def _python_scalar(value: Any) -> str:
    if isinstance(value, Repeated):
        code = _python_scalar(value.value)
        for size in reversed(value.shape):
            code = f"[{code}] * {size}"
        return code
    # A JSON string is a Python string too; only the names of truth values differ.
    return repr(value) if isinstance(value, bool) else json_scalar(value)


# --- JavaScript ----------------------------------------------------------------------------------

_LOG = """\
const answer = await response.json();
console.log(JSON.stringify(response.ok ? answer.predictions : answer.error, null, 2));"""


def _javascript_file(url: str, field: str, file: str, keys: bool) -> str:
    headers = f'headers: {{ Authorization: "{AUTHORIZATION}" }}, ' if keys else ""
    return f"""\
import {{ openAsBlob }} from "node:fs";

const body = new FormData();
body.set("{field}", await openAsBlob("{file}"), "{file}");
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


def _javascript_form(url: str, files: dict[str, str], values: dict[str, Any], keys: bool) -> str:
    headers = f'headers: {{ Authorization: "{AUTHORIZATION}" }}, ' if keys else ""
    sets = [
        f"body.set({json_scalar(n)}, await openAsBlob({json_scalar(file)}), {json_scalar(file)});"
        for n, file in files.items()
    ]
    sets += [
        f"body.set({json_scalar(n)}, JSON.stringify({layout(value, _javascript_scalar)}));"
        for n, value in values.items()
    ]
    parts = "\n".join(sets)
    return f"""\
import {{ openAsBlob }} from "node:fs";

const body = new FormData();
{parts}
const response = await fetch({json_scalar(url)}, {{ method: "POST", {headers}body }});
{_LOG}"""


def _javascript_scalar(value: Any) -> str:
    if isinstance(value, Repeated):
        code = _javascript_scalar(value.value)
        for size in reversed(value.shape):
            code = f"Array({size}).fill({code})"
        return code
    return json_scalar(value)
