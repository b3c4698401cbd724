"""What a page loads at first: little, and all of it from this server."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from tests.support import ServerProcess, serving

# Bytes as nginx sends them: static texts are compressed, at level 5.
MOST = 250_000
# Swagger UI alone has 480 kB: the page is for developers, and works without it as openapi.json.
MOST_DOCS = 600_000
TEXTS = ("text/css", "text/javascript", "image/svg+xml")
LOADED = re.compile(
    rb'<(?:script|img|source|audio|video|iframe)\b[^>]*?\ssrc="([^"]+)"'
    rb'|<link\b[^>]*?\shref="([^"]+)"'
)
# Of modules and styles.
IMPORTED = re.compile(rb'(?:\bfrom\s*|\bimport\s*\(?)"([^"]+)"|url\(["\']?([^"\')]+)')
PAGES = (
    "/",
    "/compare",
    "/status",
    *(f"/models/{name}" for name in ("mpg", "patents", "spam")),
)
PICTURES = ("/models/cats-dogs", "/models/membranes")


def found(pattern: re.Pattern[bytes], data: bytes, base: str) -> set[str]:
    """The addresses in a file, without those that hold their content."""
    names = {(a or b).decode() for a, b in pattern.findall(data)}
    return {urljoin(base, name) for name in names if not name.startswith(("data:", "blob:"))}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over models of the kinds that no shipped model has."""
    from tests.detectors import save_ssd
    from tests.kinds import save_couple
    from tests.time_kinds import save_time_kinds

    folder = tmp_path_factory.mktemp("weights")
    save_time_kinds(folder / "models", ("voice", "series"))
    save_ssd(folder / "models" / "boxes")
    save_couple(folder / "models" / "several")
    with serving(folder / "models", folder) as server:
        yield server


@pytest.mark.parametrize("path", [*PAGES, *PICTURES, "/docs"])
def test_the_first_load_of_a_page_is_small_and_of_this_server(
    shipped: ServerProcess, path: str
) -> None:
    check_load(shipped, path)


@pytest.mark.parametrize("name", ["voice", "series", "boxes", "several"])
def test_so_is_that_of_pages_of_other_kinds(kinds: ServerProcess, name: str) -> None:
    check_load(kinds, f"/models/{name}")


def check_load(shipped: ServerProcess, path: str) -> None:
    sizes: dict[str, int] = {}
    left = {shipped.url + path}
    while left:
        address = left.pop()
        assert address.startswith(shipped.url + "/"), f"{path} loads {address}"
        answer = shipped.get(address.removeprefix(shipped.url))
        assert answer.status_code == 200, address
        kind = answer.headers["Content-Type"].partition(";")[0]
        sent = gzip.compress(answer.content, 5) if kind in TEXTS else answer.content
        sizes[address] = len(sent)
        if kind == "text/html":
            left |= found(LOADED, answer.content, address)
        elif kind in ("text/javascript", "text/css") and "/docs/" not in address:
            left |= found(IMPORTED, answer.content, address)
        left -= sizes.keys()
    assert any(address.endswith(".css") for address in sizes)
    assert any(".js" in address for address in sizes) or path == "/"
    assert sum(sizes.values()) <= (MOST_DOCS if path == "/docs" else MOST), sizes
