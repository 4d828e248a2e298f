"""Every notebook in JupyterLab: it runs from top to bottom, without an error, and its figures are to be seen."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NOTEBOOKS
from needs import expect
from notebook_page import NotebookPage
from PIL import Image

NAMES = sorted(path.name for path in NOTEBOOKS.glob("0[1-6]_*.ipynb"))


def test_there_are_six_besides_the_explorer() -> None:
    assert [int(name[:2]) for name in NAMES] == [1, 2, 3, 4, 5, 6]


@pytest.fixture
def notebook(request: Any, opened: Any) -> Iterator[NotebookPage]:
    with opened(request.param) as page:
        yield page


@pytest.mark.parametrize("notebook", NAMES, ids=[Path(name).stem for name in NAMES], indirect=True)
def test_the_notebook_runs_and_shows_its_figures(notebook: NotebookPage, keep: Callable[..., Path]) -> None:
    notebook.run_all()
    keep(notebook, whole=True)
    pictures = notebook.pictures()
    assert pictures, f"{notebook.name} has no picture"
    for picture in pictures:
        assert_seen(picture)
    for film in notebook.films():
        assert_plays(film)
    notebook.check()


def assert_plays(film: Any) -> None:
    """From its first frame a film goes on by itself once it is started, until it is stopped."""
    place = film.get_by_role("slider", name="frame", exact=True)
    film.get_by_role("button", name="first frame").click()
    expect(place).to_have_value("0")
    film.get_by_role("button", name="play", exact=True).click()
    expect(place).not_to_have_value(re.compile("^[01]$"))
    film.get_by_role("button", name="pause", exact=True).click()
    assert film.locator("img:not([hidden])").count() == 1


def assert_seen(picture: Any) -> None:
    """Somebody who scrolls to a picture sees it, whole and with something on it."""
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_in_viewport()
    if picture.evaluate("shown => shown instanceof HTMLImageElement"):
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth * image.naturalHeight") > 0, "not a picture"
    pixels = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L"))
    assert min(pixels.shape) > 50, f"too small to read: {pixels.shape}"
    assert pixels.std() > 3, "an empty sheet"
