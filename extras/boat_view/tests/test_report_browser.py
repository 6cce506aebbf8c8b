"""The pages of reports in a real browser: no errors, no requests, tables that sort, charts, dark mode and print."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from boat_core import cli
from boat_view.report.live import LiveServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1><b>"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open an address in a context of its own. Whatever the page complains of or requests fails the test."""
    contexts, complaints = [], []

    def visit(address, viewport=DESKTOP, scheme="light"):
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: complaints.append(request.url) if not allowed(request.url, address) else None
        )
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def allowed(url, address):
    return url.startswith(("data:", address))


@pytest.fixture
def pages(recorded, line, monkeypatch, tmp_path):
    """Write a report on one run and one on three, with hostile texts."""
    monkeypatch.chdir(tmp_path)
    for seed, loss in enumerate((3.0, 1.0, 2.0)):
        steps = [
            line(k, loss / (k + 1), concerns=[EVIL], operations={EVIL: {EVIL: 0.5**k, "word": EVIL}}) for k in range(30)
        ]
        evaluations = [{"iteration": k, EVIL: float(k)} for k in range(3)]
        recorded(f"r{seed}", steps, evaluations, seed=seed, problem=EVIL, summary={"message": EVIL, "status": EVIL})
    assert cli.main(["report", "runs/r0", "--out", "one.html"]) == 0
    assert cli.main(["report", "runs", "--out", "many.html"]) == 0
    return {name: (tmp_path / f"{name}.html").as_uri() for name in ("one", "many")}


@pytest.mark.parametrize("name", ["one", "many"])
@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_page_renders_and_no_text_acts(visit, pages, name, viewport, scheme):
    page = visit(pages[name], viewport, scheme)
    assert page.locator(".u-wrap canvas").count() == page.locator("[data-chart]").count() > 5
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]  # nothing hangs over the edge
    assert page.locator("main").inner_text().count(EVIL) > 3
    assert page.locator("main img, main b b").count() == 0


def test_table_sorts(visit, pages):
    page = visit(pages["many"])

    def losses():
        return page.locator("#runs tbody tr td.number:nth-of-type(4)").all_inner_texts()

    assert losses() == ["0.1", "0.033333", "0.066667"]
    heading = page.locator("#runs thead th", has_text="upper loss")
    heading.click()
    page.wait_for_function("document.querySelector('#runs th[aria-sort]')")
    page.wait_for_timeout(100)
    assert losses() == ["0.033333", "0.066667", "0.1"]
    heading.press("Enter")
    page.wait_for_timeout(100)
    assert losses() == ["0.1", "0.066667", "0.033333"]


def test_dark_mode_print_and_scale_redraw_the_charts(visit, pages):
    page = visit(pages["one"], DESKTOP, "light")

    def ink():
        """Return a digest of the first chart, and its width."""
        canvas = page.locator(".u-wrap canvas").first
        return canvas.evaluate("canvas => canvas.toDataURL()"), page.locator(".u-wrap").first.evaluate(
            "w => w.clientWidth"
        )

    light, width = ink()
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    dark, _ = ink()
    assert dark != light
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert ink() == (dark, width)
    assert page.pdf().startswith(b"%PDF")
    page.locator(".chart label input").first.check()
    assert ink()[0] != dark


def test_live_page_takes_over_what_a_run_writes(visit, recorded, line):
    folder = recorded("a", [line(0, 4.0), line(1, 2.0)])
    recorded("b", [line(0, 3.0)])
    with LiveServer([folder.parent]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = visit(server.url)
        page.locator("#runs thead th", has_text="upper loss").click()
        page.wait_for_function("document.querySelector('#runs tbody th').textContent === 'a'")
        page.evaluate("document.querySelector('main').dataset.first = 'yes'")
        page.wait_for_timeout(2500)
        assert page.locator("main[data-first]").count() == 1  # nothing was written, so nothing is renewed
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line(2, 8.0)) + "\n")
        page.wait_for_selector("main:not([data-first])", timeout=10_000)
        assert page.locator("#runs tbody tr", has_text="a").locator("td.number").nth(1).inner_text() == "8"
        page.wait_for_function("document.querySelector('#runs tbody th').textContent === 'b'")  # sorted as before
        assert page.locator(".u-wrap canvas").count() == page.locator("[data-chart]").count() > 0
        page.close()  # before the server is gone, of which a page complains
        server.shutdown()
