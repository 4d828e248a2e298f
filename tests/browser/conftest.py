"""A browser, a JupyterLab server and open notebooks for the tests in this folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import needs
import pytest
from lab import Lab, running_lab
from notebook_page import NotebookPage

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
FLAGS = (
    "--no-sandbox",  # which root cannot have, and CI is often root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_open: list[NotebookPage] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as slow."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Say of a test that failed where its screenshot is."""
    report = yield
    if report.failed and Path(__file__).parent in item.path.parents:
        for page in _open:
            kept = page.screenshot(_path(item, f"-failed-{Path(page.name).stem}"))
            report.sections.append(("browser", f"screenshot: {kept}"))
    return report


def _path(item: Any, what: str) -> Path:
    """Where a screenshot of a test is kept: in GRADFLOW_SCREENSHOTS, or in pytest's temporary folder."""
    named = os.environ.get("GRADFLOW_SCREENSHOTS")
    folder = Path(named) if named else item.config._tmp_path_factory.getbasetemp() / "screenshots"
    return folder / (re.sub(r"\W+", "_", item.name).strip("_") + what + ".png")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a copy of the notebooks, and of the recorded numbers that they show."""
    needs.chromium()
    home = tmp_path_factory.mktemp("lab")
    folder = shutil.copytree(NOTEBOOKS, home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "figures" / "data", home / "figures" / "data")
    with running_lab(folder, home=home / "jupyter") as lab:
        yield lab


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window. Not for the session: Playwright's event loop would be in the way of other tests."""
    program = needs.chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser: Any, lab: Lab) -> Callable[[str], AbstractContextManager[NotebookPage]]:
    """Opens a notebook by its file name, until a block ends."""

    @contextmanager
    def opened(name: str) -> Iterator[NotebookPage]:
        page = NotebookPage.opened(browser, lab, name)
        _open.append(page)
        try:
            yield page
        finally:
            _open.remove(page)
            page.close()

    return opened


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Keeps a screenshot of a notebook under the test's name."""

    def kept(notebook: NotebookPage, what: str = "", **options: Any) -> Path:
        return notebook.screenshot(_path(request.node, what), **options)

    return kept
