"""The explorer as it stands in a notebook: its controls by their names, its picture, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from needs import expect
from notebook_page import ANSWERS_WITHIN, SECONDS, NotebookPage

if TYPE_CHECKING:
    from playwright.sync_api import Locator

TRAINED_WITHIN = 200 * SECONDS
MENUS = ("Stack", "Activation", "Shortcut", "Dtype", "Mode")
SLIDERS = ("Depth", "Width")
FIELDS = ("λ", "Batch", "Seed", "File name")
TABS = ("Gradient by layer", "λ-split", "Path spectrum", "Replay of training")
BUTTONS = ("Copy code", "Save figure")
_BYTES = "async image => [...new Uint8Array(await (await fetch(image.src)).arrayBuffer())]"


class ExplorerPage:
    """The explorer that a cell of a notebook shows."""

    def __init__(self, notebook: NotebookPage, cell: Locator) -> None:
        self.notebook = notebook
        self.page = notebook.page
        self.cell = cell
        self.all = cell.locator(".jp-OutputArea-output").first
        self.image = self.all.locator("img").first
        # In the order of the page: above the picture, under it, and under the buttons.
        self.caption, self.status, self.saved = (self.all.get_by_role("status").nth(place) for place in range(3))
        self.alerts = self.all.get_by_role("alert")

    @classmethod
    def fresh(cls, notebook: NotebookPage) -> ExplorerPage:
        """A new explorer in a notebook whose cells have run: the cell that shows it runs again."""
        here = cls(notebook, notebook.cell("gradflow.explore("))
        here.status.evaluate("status => status.dataset.old = true")
        notebook.run(here.cell)
        expect(here.status).not_to_have_attribute("data-old", "true", timeout=ANSWERS_WITHIN)
        here.wait()
        return here

    def menu(self, name: str) -> Locator:
        """A menu by its label."""
        return self.all.get_by_role("combobox", name=name, exact=True)

    def field(self, name: str) -> Locator:
        """A text field by its label."""
        return self.all.get_by_role("textbox", name=name, exact=True)

    def button(self, name: str) -> Locator:
        """A button by what is written on it."""
        return self.all.get_by_role("button", name=name, exact=True)

    def slider(self, label: str) -> Locator:
        """The handle of a slider by the label that is to be seen beside it."""
        row = self.all.locator(".widget-slider", has=self.page.locator("label", has_text=re.compile(f"^{label}$")))
        return row.get_by_role("slider")

    def controls(self) -> dict[str, Locator]:
        """Everything that can be operated in every view."""
        found = {name: self.menu(name) for name in (*MENUS, "Init")}
        found |= {name: self.slider(name) for name in SLIDERS}
        found |= {name: self.field(name) for name in FIELDS}
        found |= {name: self.button(name) for name in (*TABS, *BUTTONS)}
        return found | {"BatchNorm": self.all.get_by_role("checkbox", name="BatchNorm", exact=True)}

    def replay(self) -> None:
        """Show the replay of a training that is over in seconds: two ResNets of eight layers."""
        self.menu("Stack").select_option("ResNet")
        self.slider("Depth").press("Home")
        with self.redraws(TRAINED_WITHIN):
            self.button("Replay of training").click()

    def wait(self, timeout: float = ANSWERS_WITHIN) -> None:
        """Wait until a picture is there and nothing is under way."""
        expect(self.status).to_contain_text(re.compile(r"done in [\d.]+ s"), timeout=timeout)
        expect(self.image).to_have_js_property("complete", True, timeout=timeout)
        assert self.image.evaluate("image => image.naturalWidth") > 100
        self.notebook.wait_for_kernel()

    def picture(self) -> bytes:
        """The file that is shown."""
        return bytes(self.image.evaluate(_BYTES))

    @contextmanager
    def redraws(self, timeout: float = ANSWERS_WITHIN) -> Iterator[None]:
        """Check that what is done in the block leads to another picture, and to no error."""
        before, shown = self.picture(), self.source()
        yield
        self.next_picture(shown, timeout)
        self.wait(timeout)
        assert self.picture() != before, "the picture is the same"
        assert self.alerts.count() == 0, self.alerts.all_inner_texts()
        self.notebook.check()

    def source(self) -> str:
        """The address of the file that is shown, or all of it."""
        return str(self.image.get_attribute("src"))

    def next_picture(self, shown: str, timeout: float = ANSWERS_WITHIN) -> str:
        """Wait until another picture than that of source ``shown`` is there; its source."""
        expect(self.image).not_to_have_attribute("src", shown, timeout=timeout)
        expect(self.image).to_have_js_property("complete", True, timeout=timeout)
        return self.source()

    def has_focus(self, control: Locator) -> bool:
        """Whether keys go to a control."""
        return bool(control.evaluate("control => control === document.activeElement"))
