"""The pages in a browser: policy, keys, live, narrow screens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import psycopg
import pytest
from playwright.sync_api import expect, sync_playwright

from tests.dashboard.test_pages import HOSTILE, _hostile
from tests.dashboard.test_streams import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.dashboard.conftest import Fleet
    from tests.dashboard.serving import Served

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = ("/", "/logs", "/workers", "/workers/trading/arb-binance-07@trade-03", "/health",
         "/alerts", "/audit", "/kit")  # fmt: skip


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A page at 1440 pixels; any complaint of the browser fails the test."""
    context = browser.new_context(base_url=served.url, viewport={"width": 1440, "height": 900})
    found = context.new_page()
    complaints: list[str] = []
    found.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
    yield found
    context.close()
    assert complaints == []


@pytest.mark.parametrize("width", [1440, 390, 320])
def test_pages_fit_and_break_no_policy(page: Page, width: int) -> None:
    """No page violates its own policy, asks another host, or scrolls sideways at any width."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 844})

    for path in PAGES:
        page.goto(path)
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path

    assert all(url.startswith("http://127.0.0.1:") for url in asked)


def test_hostile_text_runs_nothing(page: Page, fleet: Fleet) -> None:
    """Hostile log lines are shown, open and are copied from as text; nothing of them runs."""
    _hostile(fleet)

    page.goto("/logs?q=worker:etl-fx-1+severity%3E%3Derror")
    row = page.locator(".entry", has_text=HOSTILE[0]).first
    row.locator(".caret").click()

    expect(row.locator(".detail pre.said")).to_contain_text(HOSTILE[0])
    assert page.evaluate("document.querySelectorAll('.rows script, .rows img').length") == 0


def test_a_row_that_cannot_be_opened_says_so(page: Page) -> None:
    """An answer without a line leaves words in the open row, not an empty box."""
    page.route("**/logs/line/**", lambda route: route.fulfill(status=204))
    page.goto("/logs")
    row = page.locator(".entry[data-line]").first
    row.locator(".caret").click()

    expect(row.locator(".detail [role=alert]")).to_contain_text("did not answer")


def test_rows_open_by_keys(page: Page) -> None:
    """The keys j and k move, Enter opens, fields offer what contains and what excludes them."""
    page.goto("/logs?q=severity%3E%3Derror")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    opened = page.locator(".entry.open")
    expect(opened).to_have_count(1)
    expect(opened.locator(".fields")).to_contain_text("error_code")
    opened.get_by_role("link", name=re.compile("^Without event")).click()
    expect(page.locator("#bar textarea")).to_have_value(re.compile(r"-event:"))


def test_older_lines_are_added(page: Page) -> None:
    """The link at the end adds the next page under the rows that are there."""
    page.goto("/logs?range=24h")
    rows = page.locator(".entry[data-line]")
    expect(rows).to_have_count(100)

    page.get_by_role("link", name="Older lines").click()

    expect(rows).to_have_count(200)
    names = page.evaluate("[...document.querySelectorAll('[data-line]')].map(e => e.dataset.line)")
    assert len(set(names)) == 200


def test_new_lines_appear_and_wait(page: Page, fleet: Fleet) -> None:
    """New lines appear on top; while a line is open they wait and are counted."""
    page.goto("/logs")
    expect(page.locator("#live")).to_contain_text("Live")

    write(fleet, "a fresh line")
    first = page.locator(".entry[data-line]").first
    expect(first).to_contain_text("a fresh line", timeout=15_000)
    first.locator(".caret").click()
    write(fleet, "one that waits")
    expect(page.locator("#paused")).to_contain_text("1 newer line", timeout=15_000)
    page.get_by_role("button", name="Show them").click()

    expect(page.locator(".entry[data-line]").first).to_contain_text("one that waits")
    expect(page.locator("#paused")).to_be_hidden()


def test_panels_refresh_when_the_feed_says_so(page: Page, fleet: Fleet) -> None:
    """The overview changes by itself when a worker's state does."""
    page.goto("/")
    expect(page.locator(".states")).to_contain_text("1 dead")

    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("update system_health set state = 'up' where worker = 'arb-binance-07'")
        fleet.seeder.connection = connection
        fleet.seeder.feed("health")

    expect(page.locator(".states")).not_to_contain_text("dead", timeout=15_000)


def test_the_filter_is_painted_while_typing(page: Page) -> None:
    """The layer repeats what is typed to the letter, and Enter searches."""
    page.goto("/logs")
    page.keyboard.press("/")
    page.keyboard.type('(service:etl OR x) -job severity=>error "a  b"')

    layer = page.locator("#bar .layer")
    assert layer.evaluate("e => e.textContent") == page.locator("#bar textarea").input_value()
    expect(layer.locator(".k-error")).to_have_text("=>")
    expect(layer.locator(".term.out")).to_have_text("-job")
    page.keyboard.press("Enter")
    expect(page.locator("#mistake")).to_contain_text("Did you mean")


def test_dragging_over_the_histogram_selects(page: Page) -> None:
    """A drag over the histogram selects a time, in the address and in words."""
    page.goto("/logs")
    box = page.locator(".plot").bounding_box()
    assert box is not None

    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.up()

    page.wait_for_url(re.compile("selected="))
    expect(page.locator(".under")).to_contain_text("15 min")
    expect(page.get_by_role("link", name="Zoom in")).to_be_visible()


def test_unread_marks_live_in_the_browser(page: Page) -> None:
    """Notices are unread until this browser has read them, and stay read after a reload."""
    page.goto("/alerts")
    unread = page.locator(".note.unread")
    expect(unread).to_have_count(4)

    page.get_by_role("button", name="Mark all read").click()
    expect(unread).to_have_count(0)
    page.reload()

    expect(page.locator(".note").first).to_be_visible()
    expect(page.locator(".bell .dot")).to_be_hidden()
    expect(unread).to_have_count(0)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_theme_follows_the_system(page: Page, scheme: Literal["dark", "light"]) -> None:
    """Without a choice the pages follow the system; a choice overrules it."""
    page.emulate_media(color_scheme=scheme)
    page.goto("/")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    grounds = {"dark": "rgb(13, 15, 18)", "light": "rgb(250, 250, 248)"}
    other = "light" if scheme == "dark" else "dark"

    assert page.evaluate(ground) == grounds[scheme]
    page.locator(".clock summary").click()
    page.get_by_role("link", name=other.capitalize(), exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", other)
    assert page.evaluate(ground) == grounds[other]


def test_pages_read_without_scripts(browser: Browser, served: Served) -> None:
    """Without scripts, searching, opening a line and paging work by links and forms."""
    context = browser.new_context(base_url=served.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/logs")
    page.locator("#bar textarea").fill("severity>=error")
    page.locator("#bar button[aria-label=Search]").click()
    expect(page.locator(".entry.e-INFO")).to_have_count(0)

    page.locator(".caret").first.click()

    expect(page.locator("h1")).to_contain_text("UTC")
    expect(page.locator(".detail .fields")).to_contain_text("severity")
    context.close()


def test_the_filter_completes_by_keys(page: Page) -> None:
    """Arrows choose, Enter takes, Escape closes, and Enter without a choice searches."""
    page.goto("/logs")
    page.keyboard.press("/")
    page.keyboard.type("sev")
    options = page.locator("#completions [role=option]")
    expect(options).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.type("x")
    page.keyboard.press("Backspace")
    expect(options.first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#completions")).to_be_hidden()

    field = page.locator("#bar textarea")
    field.fill("")
    page.keyboard.type("error_code:exch")
    expect(options.first).to_contain_text("EXCHANGE")
    expect(page.locator("#completions")).to_contain_text("Counts are for the hour shown.")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#completions [aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(field).to_have_value(re.compile("^error_code:EXCHANGE_"))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=error_code"))


def test_keys_are_told(page: Page) -> None:
    """The question mark lists the keys; Escape closes the list."""
    page.goto("/logs")
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_contain_text("next, previous error")
    page.keyboard.press("Escape")
    expect(page.locator("#keys-help")).to_be_hidden()


def test_the_time_menu_tells_the_cost(page: Page) -> None:
    """Under the pointer a range says what it costs, and its number key chooses it."""
    page.goto("/logs")
    page.locator(".picker summary").click()
    page.get_by_role("link", name="Last 24 h").hover()
    expect(page.locator("#cost")).to_contain_text("1 day, about")
    page.keyboard.press("2")
    page.wait_for_url(re.compile("range=15m"))
