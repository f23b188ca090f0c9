"""What every page keeps to: it fits, can be read and reached, and costs little to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import sync_playwright

from outrider_dashboard.rendering import STATIC
from tests.dashboard.serving import serving
from tests.dashboard.test_browser import ARGUMENTS, PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

    from tests.dashboard.serving import Served

MOST_STATIC_BYTES = 150_000

ALL = (
    *PAGES,
    "/workers/trading/arb-binance-01@trade-06",
    "/logs?q=servce%3A%3Dx",
    "/logs?q=service%3Aetl+nowhere",
    "/logs?columns=service,worker,host,logger,event,error_code,attributes",
    "/health?hosts=all",
    "/status",
    "/alerts/2",
    "/nowhere",
)

# The contrast of every text with the first opaque ground behind it, measured as the browser draws.
CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (a, b) => a.slice(0, 3).map((v, i) => v * a[3] + b[i] * (1 - a[3]));
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 0) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255]);
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const said = walker.currentNode.data.trim().slice(0, 40);
    if (!said || !node.checkVisibility({ visibilityProperty: true })) continue;
    if (node.closest("svg, textarea, .sr, script, style, title, .skip")) continue;
    const style = getComputedStyle(node);
    const behind = ground(node);
    const text = over(rgba(style.color), behind);
    const [a, b] = [light(text), light(behind)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${said} .${node.className}`);
  }
  return [...new Set(low)];
}
"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield found
        found.close()


def _watched(context: BrowserContext) -> tuple[Page, list[str]]:
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda m: (
            complaints.append(f"{page.url}: {m.text}")
            if m.type == "error" and "404 (Not Found)" not in m.text
            else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    return page, complaints


@pytest.mark.browser
@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [320, 390, 720, 1440])
def test_every_page_fits(browser: Browser, served: Served, width: int, scripts: bool) -> None:
    """No page scrolls sideways at 320, 390, 1440 or 1440 at 200 % zoom, with scripts or without."""
    context = browser.new_context(
        base_url=served.url,
        viewport={"width": width, "height": 844},
        java_script_enabled=scripts,
    )
    page, complaints = _watched(context)
    for path in ALL:
        page.goto(path)
        page.wait_for_load_state("load")
        widest = page.locator("html").evaluate("e => e.scrollWidth")
        assert widest <= width, f"{path} is {widest} px wide"
        assert page.locator("h1").count() == 1, path
        assert page.locator("main").count() == 1, path
    context.close()
    assert complaints == []


@pytest.mark.browser
def test_the_first_run_fits(browser: Browser, database_url: str) -> None:
    """The pages of a database where nothing has happened fit at every width and break no policy."""
    with serving(database_url) as served:
        for width in (320, 390, 1440):
            viewport: ViewportSize = {"width": width, "height": 844}
            context = browser.new_context(base_url=served.url, viewport=viewport)
            page, complaints = _watched(context)
            for path in ("/", "/logs", "/workers", "/health", "/alerts"):
                page.goto(path)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            context.close()
            assert complaints == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_text_can_be_read(
    browser: Browser, served: Served, scheme: Literal["dark", "light"]
) -> None:
    """Every text of every page has a contrast of 4.5 or more with what is behind it."""
    context = browser.new_context(
        base_url=served.url,
        viewport={"width": 1440, "height": 900},
        color_scheme=scheme,
    )
    page, complaints = _watched(context)
    for path in ALL:
        page.goto(path)
        assert page.evaluate(CONTRAST) == [], path
    context.close()
    assert complaints == []


@pytest.mark.browser
def test_the_focus_is_always_seen(browser: Browser, served: Served) -> None:
    """Whatever the Tab key reaches has an outline, itself or around it."""
    context = browser.new_context(base_url=served.url, viewport={"width": 1440, "height": 900})
    page, _ = _watched(context)
    for path in ("/", "/logs", "/health", "/alerts"):
        page.goto(path)
        for _ in range(25):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => {
                  const body = document.body;
                  for (let at = document.activeElement; at && at !== body; at = at.parentElement) {
                    const { outlineStyle, outlineWidth } = getComputedStyle(at);
                    if (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) return true;
                  }
                  return document.activeElement === body;
                }"""
            )
            assert seen, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    context.close()


@pytest.mark.browser
def test_no_page_needs_inline_styles_or_scripts(browser: Browser, served: Served) -> None:
    """As sent, no page has a style attribute, a script of its own text, or an event attribute."""
    context = browser.new_context(base_url=served.url, java_script_enabled=False)
    page = context.new_page()
    for path in ALL:
        page.goto(path)
        inline = page.locator(
            "css=[style], style, script:not([src]), [onclick], [onload], [onerror]"
        )
        assert inline.count() == 0, path
    context.close()


def test_static_files_are_few_bytes() -> None:
    """All static files together, uncompressed, are less than 150 kB."""
    files = [path for path in STATIC.rglob("*") if path.is_file()]

    assert len(files) > 10
    assert sum(path.stat().st_size for path in files) < MOST_STATIC_BYTES
