"""Takes the pictures of the documentation: `make screenshots`, with Chromium.

Each page light and dark into docs/images. The cat is drawn here.
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import FilePayload, Page, expect, sync_playwright

from tests.browser.chromium import LAUNCH
from tests.support import CAR, ROOT, ServerProcess, serving

FOLDER = ROOT / "docs" / "images"
SIZE = (1120, 760)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def cat() -> bytes:
    """A JPEG that the shipped model takes for a cat."""
    fur, dark, light = (70, 60, 55), (42, 36, 33), (101, 87, 80)
    width, height = 640, 480
    shade = np.linspace(1, 0.75, height)[:, None, None] * np.array((120, 90, 70))
    image = Image.fromarray((shade + np.zeros((height, width, 3))).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((180, 250, 460, 660), fill=fur)
    for side in (-1, 1):
        ear = [(320 + side * 115, 180), (320 + side * 105, 40), (320 + side * 10, 110)]
        inner = [(320 + side * 95, 150), (320 + side * 90, 75), (320 + side * 40, 115)]
        draw.polygon(ear, fill=fur)
        draw.polygon(inner, fill=(205, 150, 140))
    draw.ellipse((190, 90, 450, 320), fill=fur)
    for x in (285, 320, 355):
        draw.line((x, 92, x, 140), fill=dark, width=10)
    for k in range(5):
        draw.arc((215, 330 + 35 * k, 425, 420 + 35 * k), 200, 340, fill=dark, width=10)
    draw.ellipse((262, 220, 378, 312), fill=light)
    for side in (-1, 1):
        x = 320 + side * 58
        for k in range(3):
            stripe = (320 + side * 128, 210 + 25 * k, 320 + side * 85, 215 + 20 * k)
            draw.line(stripe, fill=dark, width=8)
            whisker = (320 + side * 20, 250 + 8 * k, 320 + side * 150, 235 + 22 * k)
            draw.line(whisker, fill=(245, 240, 230), width=2)
        draw.ellipse((x - 30, 160, x + 30, 212), fill=(170, 190, 90))
        draw.ellipse((x - 8, 162, x + 8, 210), fill=(10, 10, 10))
        draw.ellipse((x + 2, 170, x + 9, 178), fill="white")
        mouth = sorted((320, 320 + side * 30))
        draw.arc((mouth[0], 240, mouth[1], 272), 0, 180, fill=dark, width=3)
    draw.polygon([(305, 232), (335, 232), (320, 250)], fill=(180, 100, 100))
    grain = np.random.default_rng(3).normal(0, 10, (height // 3, width // 3))
    rough = np.array(Image.fromarray(grain.astype(np.float32)).resize((width, height)))
    pixels = np.array(image.filter(ImageFilter.GaussianBlur(1.5))) + rough[:, :, None]
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def save(page: Page, name: str) -> None:
    """The page as `NAME-light.png` and `NAME-dark.png`."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shot.save(FOLDER / f"{name}-{scheme}.png", optimize=True)


def show(page: Page, selector: str) -> None:
    """Scroll until the end of the first element is in view."""
    page.locator(selector).first.evaluate("element => element.scrollIntoView({ block: 'end' })")


def take(server: ServerProcess, page: Page) -> None:
    """All of them."""
    page.goto("/")
    save(page, "home")

    page.goto("/models/cats-dogs")
    picture: FilePayload = {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": cat()}
    page.locator("input[type=file]").first.set_input_files(picture)
    expect(page.get_by_text("cat", exact=True).first).to_be_visible()
    show(page, ".picture")
    save(page, "image")

    page.goto("/models/membranes")
    page.locator("#examples button").first.click()
    expect(page.locator(".drawn img").first).to_be_visible(timeout=30_000)
    show(page, ".drawn")
    save(page, "mask")

    page.goto("/models/spam")
    page.locator("#examples button").last.click()
    page.get_by_role("button", name="Which words count?").click()
    expect(page.locator(".heat-text")).to_be_visible(timeout=30_000)
    save(page, "message")

    page.goto("/models/mpg")
    page.get_by_role("spinbutton").first.press("Tab")
    page.wait_for_load_state("networkidle")
    save(page, "tabular")

    page.goto("/models/patents")
    page.get_by_role("textbox").first.fill("a neural network for recognizing")
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("button", name="Again")).to_be_enabled(timeout=30_000)
    save(page, "text")

    load(server, 12)
    page.goto("/status")
    page.wait_for_load_state("networkidle")
    save(page, "status")


def load(server: ServerProcess, seconds: float) -> None:
    """Requests of all kinds, so that there is something to see."""
    until, picture = time.monotonic() + seconds, cat()
    with httpx.Client(base_url=server.url, timeout=30) as client:
        while time.monotonic() < until:
            client.post("/api/cats-dogs", content=picture)
            for _ in range(5):
                client.post("/api/mpg", json=CAR)
            client.post("/api/patents", json={"seed": None, "words": 20})


def main() -> None:
    """Start a server over the shipped models and take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(ROOT / "models", Path(folder), replica="app-1") as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(**LAUNCH) as browser,
    ):
        width, height = SIZE
        page = browser.new_page(
            base_url=server.url, viewport={"width": width, "height": height}, device_scale_factor=1
        )
        take(server, page)
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")


if __name__ == "__main__":
    main()
