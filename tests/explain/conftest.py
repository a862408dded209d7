"""A browser for the tests that need one: Chromium without a window, and pages that must stay quiet in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import chromium
from convmat.explain.webpage.page import page_example

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worked example's page."""
    return page_example(tmp_path_factory.mktemp("page") / "example.html")


class Visit:
    """A page in a window of its own; whatever it complains about or fetches is kept."""

    def __init__(self, browser: Any, path: Path, fragment: str = "", **options: Any) -> None:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        options.setdefault("reduced_motion", "reduce")
        self._context = browser.new_context(**options)
        self.page = self._context.new_page()
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.goto(path.as_uri() + fragment)

    def close(self) -> None:
        self._context.close()
        assert self.complaints == []
        assert all(url.startswith(("file:", "data:")) for url in self.fetched), self.fetched


@pytest.fixture
def visit(browser: Any, written: Path) -> Iterator[Any]:
    """Open the worked example's page, or another, at a fragment; it must have been quiet when the test ends."""
    visits: list[Visit] = []

    def open_(fragment: str = "", path: Path = written, **options: Any) -> Any:
        visits.append(Visit(browser, path, fragment, **options))
        return visits[-1].page

    yield open_
    for each in visits:
        each.close()


@pytest.fixture
def example(visit: Any) -> Any:
    """The worked example's page."""
    return visit()
