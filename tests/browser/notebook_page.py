"""A notebook in JupyterLab, as somebody in front of the screen uses it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import Lab
from needs import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SECONDS = 1000
"""In milliseconds, as Playwright counts. All limits below are for a machine that has more to do."""
STARTS_WITHIN = 120 * SECONDS
RUNS_WITHIN = 400 * SECONDS
ANSWERS_WITHIN = 60 * SECONDS
_MISTAKES = (
    '[data-mime-type="application/vnd.jupyter.stderr"]',
    '[data-mime-type="application/vnd.jupyter.error"]',
    ".jupyter-widgets-error-widget",
)
_ALL_RUN_OR_ONE_FAILED = """mistakes => document.querySelector(mistakes) || (
    prompts => prompts.length > 0 && prompts.every(prompt => /^\\[\\d+\\]:/.test(prompt.textContent))
)([...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")])"""
_HEIGHT = 'document.querySelector(".jp-WindowedPanel-outer").scrollHeight'
_TO_THE_TOP = 'document.querySelector(".jp-WindowedPanel-outer").scrollTop = 0'
_TALLEST = 16_000
"""Pixels; Chromium draws no taller picture."""


@dataclass
class NotebookPage:
    """An open notebook: its ``page``, and in ``complaints`` what the browser's console called an error."""

    page: Page
    lab: Lab
    name: str
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, browser: Browser, lab: Lab, name: str) -> NotebookPage:
        """Open a notebook of a lab in a fresh profile, and wait for its kernel."""
        # With reduced motion a film stands still on its last frame until somebody presses play.
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(ANSWERS_WITHIN)
        here = cls(context.new_page(), lab, name)
        here.page.on("pageerror", lambda error: here.complaints.append(str(error)))
        here.page.on("console", here._listen)
        here.page.goto(lab.url(name), timeout=STARTS_WITHIN)
        here.wait_for_kernel(STARTS_WITHIN)
        return here

    def close(self) -> None:
        """Close the notebook, and end its kernel first."""
        self.page.request.delete(f"{self.lab.address}/api/sessions/{self._session()}?token={self.lab.token}")
        self.page.context.close()

    def run_all(self) -> None:
        """Run all cells from the menu, and wait until the last one has run or one has failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(_ALL_RUN_OR_ONE_FAILED, arg=", ".join(_MISTAKES), timeout=RUNS_WITHIN)
        self.check()
        self.wait_for_kernel(RUNS_WITHIN)

    def run(self, cell: Locator) -> None:
        """Run a cell with the keyboard and wait until it has run."""
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text(before, timeout=ANSWERS_WITHIN)
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=ANSWERS_WITHIN)

    def wait_for_kernel(self, timeout: float = ANSWERS_WITHIN) -> None:
        """Wait until the status bar calls the kernel idle."""
        expect(self.page.get_by_text("(ipykernel) | Idle")).to_be_visible(timeout=timeout)

    def cell(self, code: str) -> Locator:
        """The first code cell with this in its code."""
        return self.page.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea-editor", has_text=code)).first

    def check(self) -> None:
        """Fail with what went wrong, if anything did: in a cell, in a widget or in the page."""
        wrong = self.page.locator(", ".join(_MISTAKES)).all_inner_texts()
        assert not wrong, f"{self.name} shows {len(wrong)} errors:\n" + "\n".join(text[-2000:] for text in wrong)
        assert not self.complaints, f"the browser complains of {self.name}:\n" + "\n".join(self.complaints)

    def pictures(self) -> list[Locator]:
        """Every picture among the outputs, of a film the frame that is shown."""
        return self.page.locator(".jp-OutputArea-output").locator("img:not([hidden]), svg").all()

    def films(self) -> list[Locator]:
        """Every film among the outputs."""
        return self.page.locator(".jp-OutputArea-output figure.gradflow-film").all()

    def screenshot(self, path: Path, *, whole: bool = False) -> Path:
        """Keep what is to be seen, or, with ``whole``, everything from the title to the last cell."""
        path.parent.mkdir(parents=True, exist_ok=True)
        before = self.page.viewport_size
        if whole and before:
            height = min(self.page.evaluate(_HEIGHT) + 140, _TALLEST)
            self.page.set_viewport_size({**before, "height": height})
            self.page.evaluate(_TO_THE_TOP)
        self.page.screenshot(path=path)
        if before:
            self.page.set_viewport_size(before)
        return path

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _session(self) -> str:
        sessions = self.page.request.get(f"{self.lab.address}/api/sessions?token={self.lab.token}").json()
        return next(session["id"] for session in sessions if session["path"] == self.name)
