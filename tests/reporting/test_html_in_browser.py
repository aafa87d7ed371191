"""The page in a real browser, with no network: what no parser can see."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pkd.reporting.front import write_front
from pkd.reporting.html import write_report
from pkd.reporting.results import Record, write_results
from reporting.searches import search

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def opened(browser: Any, page_file: Path, **context: Any) -> tuple[Any, list[str], list[str]]:
    """The page once all charts are drawn, what the console said, and what was asked of the network."""
    page = browser.new_context(offline=True, **context).new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    page.locator("[data-spec]:not([data-drawn])").first.wait_for(state="detached", timeout=20_000)
    return page, said, asked


@pytest.fixture
def report(tmp_path: Path, records: list[Record]) -> Path:
    write_results(records, tmp_path)
    return write_report(tmp_path)


def test_every_chart_is_drawn_with_marks_and_the_console_stays_silent(browser: Any, report: Path) -> None:
    page, said, asked = opened(browser, report)
    charts = page.locator("[data-spec]")
    assert charts.count() == 6
    for index in range(charts.count()):
        chart = charts.nth(index)
        assert chart.locator("svg.marks .role-mark path, svg.marks .role-mark line").count() >= 6
    assert page.locator("#chart-kept svg text", has_text="pkd-skip-L3-spread 83.2").count() == 1
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_front_of_a_search_is_drawn_with_its_points_named(browser: Any, tmp_path: Path) -> None:
    write_front(search(), tmp_path)
    page, said, _ = opened(browser, write_report(tmp_path))
    assert page.locator("#chart-front svg text", has_text="2  L3  89.5 %").count() == 1
    assert page.locator("#chart-front svg text", has_text="at most 3 ms").count() == 1
    assert page.locator("#chart-front svg .role-mark path").count() >= 8
    assert said == []


def test_a_script_in_a_review_is_shown_and_not_run(browser: Any, report: Path) -> None:
    page, said, _ = opened(browser, report)
    assert page.locator("blockquote", has_text="<script>alert(1)</script>").count() == 2
    assert said == []


def test_a_script_smuggled_into_the_finished_page_does_not_run(browser: Any, report: Path) -> None:
    source = report.read_text(encoding="utf-8")
    report.write_text(source.replace("<main>", "<main><script>window.smuggled = 1</script>"), encoding="utf-8")
    page, said, _ = opened(browser, report)
    assert page.evaluate("window.smuggled") is None
    assert len(said) == 1
    assert "Content Security Policy" in said[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_width_in_light_and_dark(browser: Any, report: Path, width: int, scheme: str) -> None:
    page, said, _ = opened(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    label = page.locator("#chart-kept svg text", has_text="teacher").first
    bright = page.evaluate("element => getComputedStyle(element).fill", label.element_handle())
    assert bright == ("rgb(232, 235, 241)" if scheme == "dark" else "rgb(28, 36, 48)")
    assert said == []


def test_charts_are_drawn_anew_when_the_theme_changes(browser: Any, report: Path) -> None:
    page, said, _ = opened(browser, report, color_scheme="light")
    page.emulate_media(color_scheme="dark")
    label = page.locator("#chart-kept svg text", has_text="teacher").first
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect(label).to_have_css("fill", "rgb(232, 235, 241)")
    assert said == []
