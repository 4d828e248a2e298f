"""Panels in rows of as many as the page is wide, shared legends, and words that keep to the room they have."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from gradflow import plots
from gradflow.plots.linebreaks import BREAKS, best_cuts


@pytest.fixture(autouse=True)
def _page() -> Iterator[None]:
    with plots.style():
        yield


def rows_of(axes: list[Axes]) -> list[int]:
    """How many panels stand in each row, from the top."""
    tops = [round(ax.get_position().y1, 3) for ax in axes]
    return [tops.count(top) for top in sorted(set(tops), reverse=True)]


def labelled(count: int, *, width_mm: float, **words: str) -> tuple[Figure, list[Axes]]:
    with plots.style(width_mm=width_mm):
        figure, axes = plots.panel_grid(count)
        for ax in axes:
            ax.plot([0, 1], label="a line")
            ax.set(**words)
    return figure, axes


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        ({}, 3),
        ({"width_mm": 84}, 2),
        ({"width_mm": 60}, 1),
        ({"context": "lecture"}, 3),
        ({"context": "lecture", "width_mm": 174}, 2),
        ({"context": "lecture", "width_mm": 84}, 1),
    ],
)
def test_as_many_panels_side_by_side_as_fit_with_type_of_this_size(page: dict[str, Any], columns: int) -> None:
    with plots.style(**page):
        assert plots.page_columns(3) == columns
        assert plots.page_columns(1) == 1
        _, axes = plots.panel_grid(3)
        assert max(rows_of(axes)) == columns


def test_rows_are_filled_evenly_and_the_figure_grows_with_them() -> None:
    figure, axes = plots.panel_grid(4, row_mm=50)
    assert rows_of(axes) == [2, 2], "rather than three and one"
    assert figure.get_size_inches() * 25.4 == pytest.approx([174, 100])
    with plots.style(width_mm=84):
        figure, axes = plots.panel_grid(5, row_mm=50, tallest=1)
    assert rows_of(axes) == [2, 2, 1]
    assert figure.get_size_inches() * 25.4 == pytest.approx([84, 3 * 42]), "no higher than wide"
    with plots.style("lecture"):
        figure, _ = plots.panel_grid(2, row_mm=50)
    assert figure.get_figheight() * 25.4 == pytest.approx(50 * 2.4)
    with pytest.raises(ValueError, match="at least 1; got count=0"):
        plots.panel_grid(0)


def test_a_legend_stands_in_the_cell_that_is_left_over() -> None:
    figure, axes = labelled(3, width_mm=84)
    height = figure.get_figheight()
    axes[0].legend()
    legend = plots.shared_legend(figure, axes, title="of all")
    assert axes[0].get_legend() is None
    assert not figure.legends
    free = figure.axes[3]
    assert (free.get_legend(), free.axison) == (legend, False)
    assert [one.get_text() for one in legend.get_texts()] == ["a line"]
    assert legend.get_title().get_text() == "of all"
    assert figure.get_figheight() == height


def test_a_legend_above_has_as_many_columns_as_fit_and_the_figure_grows() -> None:
    widths, columns, heights = (60, 84, 174), [], []
    for width in widths:
        with plots.style(width_mm=width):
            figure, (ax,) = plots.panel_grid(1, row_mm=50, tallest=9)
            names = [f"number {number} of the lines" for number in range(6)]
            legend = plots.add_legend(figure, [ax.plot([0, 1])[0] for _ in names], names)
            figure.draw_without_rendering()
        assert legend.get_window_extent().width <= figure.bbox.width
        columns.append(legend._ncols)
        heights.append(figure.get_figheight() * 25.4)
    assert columns == sorted(columns)
    assert columns[0] < columns[-1]
    assert heights[0] > heights[1] > heights[2] >= 50


def test_labels_that_a_neighbour_has_are_left_out() -> None:
    figure, axes = labelled(4, width_mm=84, xlabel="x", ylabel="y")
    axes[3].set_ylabel("z")
    plots.fitted(figure)
    assert [ax.get_xlabel() for ax in axes] == ["", "", "x", "x"]
    assert [ax.get_ylabel() for ax in axes] == ["y", "", "y", "z"]
    assert all(ax.xaxis.get_tick_params()["labelbottom"] for ax in axes), "their axes are their own"


def test_numbers_of_a_shared_axis_are_at_the_edge_only() -> None:
    with plots.style(width_mm=84):
        figure, axes = plots.panel_grid(3, sharex=True, sharey=True)
        plots.fitted(figure)
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes] == [False, True, True], "nothing is below the 2nd"
    assert [ax.yaxis.get_tick_params()["labelleft"] for ax in axes] == [True, False, True]


@pytest.mark.parametrize("width_mm", [84, 174])
def test_long_words_are_broken_and_short_ones_are_not(width_mm: float) -> None:
    long = "along the way (one is the whole length of it, x = 3 %)"
    figure, axes = labelled(2, width_mm=width_mm, xlabel=long, title=f"a  {long}")
    for ax in axes[1:]:
        ax.set(xlabel="short", title="b  short")
    height = figure.get_figheight()
    plots.fitted(figure)
    shown = axes[0].get_title(loc="left"), axes[0].get_xlabel()
    assert [one.replace("\n", " ") for one in shown] == [f"a  {long}", long], "not a word is lost"
    assert axes[1].get_xlabel() == "short"
    if width_mm == 84:
        assert all("\n" in one for one in shown)
        assert not any(re_glued in one for one in shown for re_glued in ("x\n", "=\n", "\n%", "a\n"))
        assert figure.get_figheight() > height
    else:
        assert not any("\n" in one for one in shown)
        assert figure.get_figheight() == height


def test_a_fitted_figure_is_laid_out_for_good() -> None:
    figure, axes = labelled(3, width_mm=84, xlabel="one", ylabel="two")
    plots.fitted(figure)
    before = [ax.get_position().bounds for ax in axes]
    figure.draw_without_rendering()
    assert [ax.get_position().bounds for ax in axes] == before
    assert plots.render(figure, "svg") == plots.render(figure, "svg")


@pytest.mark.parametrize(
    ("count", "page", "height_mm"),
    [
        (2, {"context": "lecture"}, 62 * 2.4),  # one row is low enough
        (4, {"context": "lecture"}, 190.5),
        (4, {"context": "lecture", "width_mm": 338.6}, 2 * 62 * 2.4),
        (4, {"context": "notebook"}, 2 * 62 * 1.4),
        (4, {}, 2 * 62),
    ],
)
def test_on_a_slide_panels_are_as_high_as_fits(count: int, page: dict[str, Any], height_mm: float) -> None:
    with plots.style(**page):
        figure, axes = plots.panel_grid(count, most=2)
        for ax in axes:
            ax.set(xlabel="layer", ylabel="gradient " * 9)
        plots.fitted(figure)
    assert figure.get_figheight() * 25.4 == pytest.approx(height_mm, abs=0.1)
    for ax in axes:
        words = Text.get_window_extent(ax.yaxis.label)
        assert figure.bbox.y0 <= words.y0
        assert words.y1 <= figure.bbox.y1, "broken for the height that is left"


def test_on_a_slide_panels_stay_large_enough() -> None:
    with plots.style("lecture"):
        figure, axes = plots.panel_grid(10, most=2)
        for ax in axes:
            ax.set(xlabel="layer", title="gradient")
        plots.fitted(figure)
    assert figure.get_figheight() * 25.4 > 300
    assert min(ax.get_window_extent().height for ax in axes) / figure.dpi * 25.4 > 18 * 2.4


def test_figures_of_the_user_keep_their_size() -> None:
    figure = Figure(figsize=(2, 2), layout="constrained")
    ax = figure.subplots()
    lines = [ax.plot([0, 1])[0] for _ in range(4)]
    plots.add_legend(figure, lines, [f"a long name of line {place}" for place in range(4)])
    ax.set_xlabel("a label that is much longer than the axes are wide")
    plots.fitted(figure)
    assert figure.get_size_inches().tolist() == [2, 2]
    assert "\n" in ax.get_xlabel()


@given(st.lists(st.integers(1, 30), min_size=2, max_size=7), st.integers(30, 80))
def test_lines_are_few_and_none_is_too_long(widths: list[int], room: int) -> None:
    pieces = ["word"] * len(widths)
    cuts = [0, *best_cuts(pieces, widths, room), len(widths)]
    lines = [sum(widths[start:end]) for start, end in pairwise(cuts)]
    assert all(start < end for start, end in pairwise(cuts))
    assert max(lines) <= room
    greedy = [0]
    for width in widths:
        greedy = [*greedy[:-1], greedy[-1] + width] if greedy[-1] + width <= room else [*greedy, width]
    assert len(lines) == max(len(greedy), 2), "asked only where one line is too long"


@given(st.lists(st.tuples(st.sampled_from(("a ", "b, ", "(c ")), st.integers(1, 30)), min_size=2, max_size=8))
def test_no_other_lines_are_fewer_end_better_or_are_shorter(words: list[tuple[str, int]]) -> None:
    """Beside all ways of breaking the words."""
    pieces, widths = zip(*words, strict=True)

    def key(cuts: tuple[int, ...]) -> tuple[int, int, int]:
        lengths = [sum(widths[start:end]) for start, end in pairwise((0, *cuts, len(pieces)))]
        natural = [pieces[cut].startswith("(") or pieces[cut - 1].endswith(", ") for cut in cuts]
        return (len(cuts), -sum(natural), max(lengths)) if max(lengths) <= 40 else (len(pieces), 0, 0)

    ways = [cuts for many in range(1, len(pieces)) for cuts in combinations(range(1, len(pieces)), many)]
    assert key(best_cuts(pieces, widths, 40)) == min(map(key, ways))


def test_a_whole_paragraph_is_broken_too() -> None:
    """There are far too many ways to try each of them."""
    cuts = best_cuts(["word "] * 300, [10.0] * 300, 100)
    assert cuts == tuple(range(10, 300, 10))


def test_lines_end_at_brackets_and_commas_where_that_costs_no_line() -> None:
    assert best_cuts(["one ", "two ", "(three ", "four)"], [10, 10, 10, 10], 31) == (2,)
    assert best_cuts(["one, ", "two ", "three ", "four"], [10, 10, 10, 10], 31) == (1,)
    assert best_cuts(["one ", "two ", "three ", "four"], [10, 10, 10, 10], 31) == (2,)
    assert best_cuts(["残", "差 ", "÷ 快", "捷", "连"], [10, 10, 20, 10, 10], 45) == (2,), "not inside a Chinese word"


def test_where_a_line_may_end_in_english_and_in_chinese() -> None:
    assert BREAKS.split("b  of x = 3 %, and")[::2] == ["b  of", "x = 3 %,", "and"]
    assert BREAKS.split("残差，β = 1，24 层（共 3 个）")[::2] == [
        "残",
        "差，",
        "β = 1，",
        "24",
        "层",
        "（共",
        "3",
        "个）",
    ]
