"""The explorer's notebook in JupyterLab: keyboard and mouse move it, and what it shows, says, copies and saves."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from explorer_page import ExplorerPage
from needs import expect
from notebook_page import SECONDS, NotebookPage
from PIL import Image

import gradflow
from gradflow.explorer import State, code


@pytest.fixture(scope="module")
def notebook(opened: Any) -> Iterator[NotebookPage]:
    with opened("07_explorer.ipynb") as page:
        page.run_all()
        yield page


@pytest.fixture
def explorer(notebook: NotebookPage, keep: Callable[..., Path]) -> Iterator[ExplorerPage]:
    """A new explorer for each test, in one notebook; nothing may have gone wrong when the test is over."""
    page = ExplorerPage.fresh(notebook)
    yield page
    page.cell.scroll_into_view_if_needed()
    keep(notebook)
    notebook.check()


def test_the_picture_is_that_of_the_first_state(explorer: ExplorerPage) -> None:
    expect(explorer.caption).to_contain_text("Gradient by layer of FC, depth 50, width 64")
    expect(explorer.caption).to_contain_text("plain: vanishes toward the input")
    picture = Image.open(io.BytesIO(explorer.picture()))
    assert picture.width >= explorer.image.evaluate("image => image.clientWidth"), "never blown up"
    explorer.image.scroll_into_view_if_needed()
    expect(explorer.image).to_be_in_viewport(ratio=0.99)


def move_by_keys(explorer: ExplorerPage, name: str, *moves: tuple[str, int]) -> None:
    """Press an arrow key on a slider for each of the moves, and see a new picture and the value it leads to."""
    slider = explorer.slider(name)
    slider.focus()
    for key, value in moves:
        with explorer.redraws():
            explorer.page.keyboard.press(key)
        expect(slider).to_have_attribute("aria-valuenow", re.compile(rf"^{value}(\.0)?$"))


def test_the_arrow_keys_move_a_slider(explorer: ExplorerPage) -> None:
    move_by_keys(explorer, "Depth", ("ArrowRight", 51), ("ArrowRight", 52), ("ArrowLeft", 51))
    expect(explorer.all).to_contain_text("depth 51, width 64")


def test_the_mouse_drags_a_slider(explorer: ExplorerPage) -> None:
    mouse, handle = explorer.page.mouse, explorer.slider("Depth")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    with explorer.redraws():
        mouse.move(x, y)
        mouse.down()
        mouse.move(x - 40, y, steps=8)
        mouse.up()
    depth = int(float(handle.get_attribute("aria-valuenow") or "nan"))
    assert 2 < depth < 45
    expect(explorer.all).to_contain_text(f"depth {depth}, width 64")
    expect(explorer.caption).to_contain_text(f"over {depth} layers")


def test_a_menu_is_picked_by_mouse(explorer: ExplorerPage) -> None:
    with explorer.redraws():
        explorer.menu("Stack").select_option("conv")
    expect(explorer.all).to_contain_text("Gradient by layer of conv, depth 50, width 16")


def test_a_menu_is_picked_by_keyboard(explorer: ExplorerPage) -> None:
    """JupyterLab has commands on arrow keys and letters: on a menu they must not go to its cells."""
    cells = explorer.page.locator(".jp-Cell").count()
    shortcut = explorer.menu("Shortcut")
    shortcut.focus()
    for keys, picked in (("ArrowDown", "scaled-0"), ("d", "dropout"), ("c", "conv1x1")):
        with explorer.redraws():
            explorer.page.keyboard.press(keys)
            expect(shortcut.locator("option:checked")).to_have_text(picked, timeout=10 * SECONDS)
        expect(shortcut).to_be_focused()
    assert explorer.page.locator(".jp-Cell").count() == cells
    expect(explorer.field("λ")).to_be_disabled()


def test_a_box_is_ticked_with_the_space_bar(explorer: ExplorerPage) -> None:
    box = explorer.controls()["BatchNorm"]
    box.focus()
    with explorer.redraws():
        explorer.page.keyboard.press("Space")
    expect(box).to_be_checked()
    expect(explorer.caption).to_contain_text("plain: explodes")


def test_a_mistake_gets_a_sentence_and_leaves_the_picture(explorer: ExplorerPage, keep: Callable[..., Path]) -> None:
    before, lam = explorer.picture(), explorer.field("λ")
    lam.fill("much")
    lam.press("Enter")
    expect(explorer.alerts).to_have_text(["λ must be a number such as 0.9; got 'much'"])
    label, sentence = lam.bounding_box(), explorer.alerts.first.bounding_box()
    assert label is not None
    assert sentence is not None
    assert 0 <= sentence["y"] - label["y"] < 60, "right under the field"
    assert explorer.picture() == before
    explorer.notebook.check()
    keep(explorer.notebook, "-mistake")
    with explorer.redraws():
        lam.fill("0.9")
        lam.press("Enter")
    expect(explorer.alerts).to_have_count(0)


@pytest.mark.parametrize(
    ("tab", "says"),
    [("λ-split", "shortcut part"), ("Path spectrum", "95 % of the gradient")],
    ids=["split", "paths"],
)
def test_each_view_has_its_picture(explorer: ExplorerPage, tab: str, says: str, keep: Callable[..., Path]) -> None:
    with explorer.redraws():
        explorer.button(tab).click()
    expect(explorer.caption).to_contain_text(says)
    expect(explorer.caption).to_contain_text(f"{tab} of FC, depth 50, width 64")
    keep(explorer.notebook, "-view")
    with explorer.redraws():
        explorer.button("Gradient by layer").press("Enter")
    expect(explorer.caption).to_contain_text("plain: vanishes toward the input")


def test_the_replay_of_a_training(explorer: ExplorerPage) -> None:
    explorer.replay()
    expect(explorer.caption).to_contain_text("training error")
    move_by_keys(explorer, "Step", ("ArrowRight", 3), ("ArrowRight", 6), ("ArrowLeft", 3))
    shown = explorer.source()
    expect(explorer.caption).to_have_attribute("aria-live", "polite")
    explorer.button("Play the training").press("Enter")
    expect(explorer.caption).to_have_attribute("aria-live", "off")
    for _ in range(3):
        shown = explorer.next_picture(shown)
    explorer.button("Pause").press("Enter")
    expect(explorer.caption).to_have_attribute("aria-live", "polite")
    explorer.wait()
    reached = int(float(explorer.slider("Step").get_attribute("aria-valuenow") or "nan"))
    assert reached > 3
    expect(explorer.caption).to_contain_text(f"step {reached} of 90")


def test_the_code_is_copied(explorer: ExplorerPage) -> None:
    with explorer.redraws():
        explorer.slider("Depth").press("ArrowRight")
    expected = code(State(depth=51, width=64))
    explorer.button("Copy code").click()
    shown = explorer.all.locator("textarea")
    expect(shown).to_be_visible()
    expect(shown).to_have_value(expected)
    inside = (
        "text => text.getBoundingClientRect().right <= text.parentElement.parentElement.getBoundingClientRect().right"
    )
    assert shown.evaluate(inside), "no border is cut off"
    explorer.page.wait_for_function("async text => await navigator.clipboard.readText() === text", arg=expected)


def test_the_figure_is_saved(explorer: ExplorerPage) -> None:
    with explorer.redraws():
        explorer.field("λ").fill("0.9")
        explorer.field("λ").press("Enter")
    explorer.field("File name").fill("mine/lambda 0.9")
    explorer.button("Save figure").click()
    expect(explorer.saved).to_contain_text("saved lambda 0.9.pdf, lambda 0.9.svg, lambda 0.9.png, lambda 0.9.json in ")
    pdf, svg, png, numbers = (
        explorer.notebook.lab.folder / "mine" / f"lambda 0.9.{kind}" for kind in ("pdf", "svg", "png", "json")
    )
    assert re.match(rb"%PDF-1\.\d.*%%EOF\s*$", pdf.read_bytes(), flags=re.DOTALL)
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
    names: dict[str, Any] = {}
    exec(code(State(depth=50, width=64, lam=0.9)), names)
    assert gradflow.load(numbers) == names["result"]


def test_a_figure_without_a_name_is_not_saved(explorer: ExplorerPage) -> None:
    explorer.field("File name").fill(" ")
    explorer.button("Save figure").click()
    expect(explorer.alerts).to_contain_text(["type a file name first"])


def test_the_tab_key_reaches_every_control(explorer: ExplorerPage) -> None:
    left = explorer.controls()
    explorer.menu("Stack").focus()
    for _ in range(2 * len(left)):
        left = {name: control for name, control in left.items() if not explorer.has_focus(control)}
        explorer.page.keyboard.press("Tab")
    assert not left


def test_what_is_said_stays_on_the_page_while_it_changes(explorer: ExplorerPage) -> None:
    """A screen reader announces new text in an old place, not a new place."""
    regions = (explorer.caption, explorer.status, explorer.saved)
    for place, region in enumerate(regions):
        region.evaluate("(region, place) => region.dataset.place = place", place)
    with explorer.redraws():
        explorer.slider("Depth").press("ArrowRight")
    explorer.button("Copy code").click()
    expect(explorer.saved).to_contain_text("the code is below")
    for place, region in enumerate(regions):
        expect(region).to_have_attribute("data-place", str(place))
    said = explorer.caption.inner_text().splitlines()
    assert said[0] == "Gradient by layer of FC, depth 51, width 64"
    assert [line.split()[0] for line in said[1:]] == ["plain:", "residual:"]
    alt = explorer.image.get_attribute("alt") or ""
    assert alt.startswith(said[0])
    assert not any(line in alt for line in said[1:])


def test_every_control_has_a_name(explorer: ExplorerPage) -> None:
    """What a screen reader says of all that can be operated in the view with the most controls."""
    explorer.replay()
    explorer.button("Copy code").click()
    expect(explorer.all.locator("textarea")).to_be_visible()
    roles = ("slider", "combobox", "textbox", "checkbox", "button")
    found = re.findall(rf"- ({'|'.join(roles)})(?: \"(.*?)\")?", explorer.all.aria_snapshot())
    more = {"Step", "Play the training", "Stop, back to the first step", "Play again and again", "Code of this picture"}
    assert more <= {name for _, name in found}
    assert len(found) >= len(explorer.controls()) + len(more) + 3, "and the numbers beside three sliders"
    nameless = [role for role, name in found if not re.search(r"\w{2}|λ", name)]  # an icon is no name
    assert not nameless, f"without a name: {', '.join(nameless)}"
    expect(explorer.image).to_have_attribute("alt", re.compile(r"\w{3,}"))


def test_two_explorers_on_one_page_and_again(notebook: NotebookPage, keep: Callable[..., Path]) -> None:
    """Each has its own names, also when its cell has run again."""
    cell = notebook.cell("def shown(what)")
    cell.locator(".jp-InputArea-editor").click()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.insert_text("gradflow.explore(depth=8, width=8)  # the second")
    second = ExplorerPage(notebook, notebook.cell("# the second"))
    for _ in range(2):
        notebook.run(second.cell)
        second.wait()
        first = ExplorerPage.fresh(notebook)
        for explorer in (first, second):
            for name, control in explorer.controls().items():
                expect(control, name).to_have_count(1)
    shown = first.picture()
    with second.redraws():
        second.menu("Shortcut").focus()
        notebook.page.keyboard.press("ArrowDown")
    expect(second.menu("Shortcut")).to_be_focused()
    expect(second.caption).to_contain_text("depth 8, width 8")
    expect(first.caption).to_contain_text("depth 50, width 64")
    assert first.picture() == shown
    keep(notebook)
    notebook.check()
