"""The page a figure is drawn for: its type, width and colour, in gradflow's figures and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gradflow import plots
from gradflow.plots.page import CONTEXTS, Page, current_page, points

THEIRS = {"legend.fontsize": 20, "xtick.labelsize": 19, "axes.labelsize": 18, "axes.grid": False}


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """A user with settings of their own finds them as they were, whatever the test did."""
    with mpl.rc_context(THEIRS):
        before = dict(mpl.rcParams)
        yield
        assert dict(mpl.rcParams) == before
    pyplot.close("all")
    assert current_page() == Page()


@pytest.fixture
def comparison(make_comparison: Callable[..., Any]) -> Any:
    return make_comparison(plain=np.geomspace(1e-6, 1, 6)[None], residual=np.ones((1, 6)))


def type_sizes(ax: Axes) -> dict[str, float]:
    ax.figure.draw_without_rendering()
    return {
        "legend": ax.get_legend().get_texts()[0].get_fontsize(),
        "ticks": ax.get_xticklabels()[0].get_fontsize(),
        "label": ax.xaxis.label.get_fontsize(),
    }


BOOK = {"legend": 6.5, "ticks": 6.5, "label": 7.0}


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_enlarges_type_lines_and_width(comparison: Any, context: str) -> None:
    larger, wider, _ = CONTEXTS[context]
    with plots.style(context):
        figure = plots.new_figure(plots.SINGLE_MM, 60)
        ax = comparison.plot(ax=figure.subplots())
        assert points(2) == 2 * larger
    assert type_sizes(ax) == pytest.approx({name: size * larger for name, size in BOOK.items()})
    assert figure.get_size_inches() * 25.4 == pytest.approx([84 * wider, 60 * larger])
    assert ax.get_lines()[0].get_linewidth() == pytest.approx(1.1 * larger)
    assert ax.xaxis.majorTicks[0].tick1line.get_markersize() == pytest.approx(2.5 * larger)


def test_lecture_type_is_legible_from_the_last_row() -> None:
    """At least 3 % of the height of a slide of 16:9, whose width two columns take."""
    slide_mm = plots.DOUBLE_MM * CONTEXTS["lecture"].width
    assert slide_mm / 25.4 == pytest.approx(13 + 1 / 3, rel=1e-3)
    assert 7 * CONTEXTS["lecture"].type * 25.4 / 72 > 0.03 * slide_mm * 9 / 16


def test_a_width_is_exact_whatever_the_context() -> None:
    for context in CONTEXTS:
        with plots.style(context, width_mm=120.5):
            assert plots.new_figure(plots.DOUBLE_MM, 60).get_figwidth() * 25.4 == pytest.approx(120.5, abs=1e-9)


def test_what_is_not_given_is_as_in_the_block_around() -> None:
    with plots.style("lecture", grey=True), plots.style(width_mm=90):
        assert current_page() == Page("lecture", 90, True)
        with plots.style("book", grey=False):
            assert current_page() == Page("book", 90, False)
        assert mpl.rcParams["font.size"] == pytest.approx(7 * 2.4)


def test_grey_is_grey(comparison: Any) -> None:
    with plots.style(grey=True):
        ax = comparison.plot(ax=plots.new_figure().subplots())
    colors = [to_rgb(line.get_color()) for line in ax.get_lines()]
    assert all(len(set(color)) == 1 for color in colors)
    assert len(set(colors)) == 2, "plain and residual differ"


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"context": "slides"}, "context must be one of book, notebook, lecture; got 'slides'"),
        ({"language": "de"}, "language must be one of en, zh; got 'de'"),
        ({"width_mm": 0}, r"width_mm must be a number from 20 to 2000 \(millimetres\); got 0"),
        ({"width_mm": float("nan")}, "width_mm must be a number from 20 to 2000"),
        ({"width_mm": "84mm"}, "width_mm must be a number from 20 to 2000 .*; got '84mm'"),
    ],
)
def test_mistakes_are_told_before_anything_is_drawn(mistake: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said), plots.style(**mistake):
        pytest.fail("the block was entered")


def test_a_plot_of_its_own_is_in_the_look_under_any_settings(comparison: Any) -> None:
    """Also the ticks, which matplotlib makes only when the figure is shown, outside the call."""
    ax = comparison.plot()
    assert type_sizes(ax) == BOOK
    assert ax.figure.get_figwidth() * 25.4 == pytest.approx(plots.SINGLE_MM)
    assert ax.figure.number in pyplot.get_fignums(), "a notebook shows it"


def test_a_new_figure_is_in_the_look_without_a_block(comparison: Any) -> None:
    left, right = plots.new_figure(plots.DOUBLE_MM, 60).subplots(1, 2)
    comparison.plot(ax=left)
    assert type_sizes(left) == BOOK
    assert right.spines["top"].get_visible() is False


def test_a_figure_keeps_its_page(comparison: Any) -> None:
    with plots.style("lecture"):
        figure = plots.new_figure()
    with plots.style("book"):
        ax = comparison.plot(ax=figure.subplots())
    assert type_sizes(ax) == pytest.approx({name: size * 2.4 for name, size in BOOK.items()})


def test_in_a_figure_of_the_user_the_user_decides(comparison: Any) -> None:
    ax = comparison.plot(ax=Figure().subplots())
    assert type_sizes(ax) == {"legend": 20, "ticks": 19, "label": 18}


def test_a_screen_has_larger_type_unless_a_block_says_otherwise() -> None:
    with plots.on_screen():
        assert current_page().context == "notebook"
    with plots.style(grey=True), plots.on_screen():
        assert current_page() == Page("notebook", grey=True)
    with plots.style("book"), plots.on_screen():
        assert current_page().context == "book"
