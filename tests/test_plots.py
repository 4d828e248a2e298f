"""Plots by their artists: the numbers, marks and words that are put into the axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradflow import plots
from gradflow.plots.labels import ENGLISH
from gradflow.plots.panels import clear_legend
from gradflow.results import Table
from gradflow.verdicts import smallest_subnormal

DRAWN = ("Trace", "Comparison", "History", "Study", "GradientSplit", "PathSpectrum", "Lesion")
RNG = np.random.default_rng(0)
VALUES = RNG.lognormal(sigma=2, size=(9, 6))


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """No plot leaves a figure in pyplot (unless it made one, which the test closes) or a changed setting."""
    assert not pyplot.get_fignums()
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    assert not pyplot.get_fignums()


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def line(ax: Axes, label: str) -> Line2D:
    found = [one for one in ax.get_lines() if one.get_label() == label]
    assert len(found) == 1, [one.get_label() for one in ax.get_lines()]
    return found[0]


def bands(ax: Axes) -> list[PolyCollection]:
    return [one for one in ax.collections if isinstance(one, PolyCollection)]


def edges(band: PolyCollection, x: float) -> list[float]:
    """Where a band begins and ends above x."""
    corners = np.unique(band.get_paths()[0].vertices, axis=0)
    heights = [y for place, y in corners if np.isclose(place, x)]
    return [min(heights), max(heights)]


# ── gradient flow ──


def test_lines_are_medians_and_bands_are_quartiles(make_comparison: Callable[..., Any], ax: Axes) -> None:
    other = VALUES[::-1] * 3
    assert plots.gradient_flow(make_comparison(plain=VALUES, residual=other), ax=ax) is ax
    for name, values, band in zip(("plain", "residual"), (VALUES, other), bands(ax), strict=True):
        np.testing.assert_array_equal(line(ax, name).get_xdata(), np.arange(1, 7))
        np.testing.assert_allclose(line(ax, name).get_ydata(), np.median(values, axis=0))
        for layer in range(6):
            assert edges(band, layer + 1) == pytest.approx(np.quantile(values[:, layer], [0.25, 0.75]))
    assert ax.get_yscale() == "log"
    assert ax.get_xscale() == "linear"


def test_one_repeat_has_no_band(make_comparison: Callable[..., Any], ax: Axes) -> None:
    plots.gradient_flow(make_comparison(plain=VALUES[:1], residual=VALUES[1:2]), ax=ax)
    assert not bands(ax)
    np.testing.assert_allclose(line(ax, "plain").get_ydata(), VALUES[0])


def test_words_come_from_the_table_of_labels(make_comparison: Callable[..., Any], ax: Axes) -> None:
    comparison = make_comparison({"plain": VALUES[0]}, plain=VALUES, residual=VALUES, third=VALUES)
    plots.gradient_flow(comparison, ax=ax)
    assert ax.get_xlabel() == ENGLISH["layer"]
    assert ax.get_ylabel() == f"{ENGLISH['rms']} of {ENGLISH['output_grad']}"
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == [ENGLISH["plain"], ENGLISH["theory"], ENGLISH["residual"], "third"]


def test_models_differ_in_colour_dashes_and_marker(make_comparison: Callable[..., Any], ax: Axes) -> None:
    names = ("plain", "residual", "c", "d", "e", "f")
    more = [plots.look_of(place) for place in range(12)]
    assert len({(look.color, look.marker, look.filled) for look in more}) == 12
    assert len({look.marker for look in more}) == 12
    plots.gradient_flow(make_comparison(**dict.fromkeys(names, VALUES)), ax=ax)
    lines = [line(ax, name) for name in names]
    for what in (Line2D.get_color, Line2D.get_marker):
        assert len({what(one) for one in lines}) == 6
    assert len({str(one._dash_pattern) for one in lines}) >= 5
    greys = [np.dot(to_rgb(one.get_color()), (0.3, 0.59, 0.11)) for one in lines]
    assert abs(greys[0] - greys[1]) > 0.15, "plain and residual differ in grey print"


def test_different_depths_are_drawn_by_relative_depth(make_comparison: Callable[..., Any], ax: Axes) -> None:
    plots.gradient_flow(make_comparison(plain=VALUES, residual=VALUES[:, :3]), ax=ax)
    np.testing.assert_allclose(line(ax, "plain").get_xdata(), np.arange(6) / 5)
    np.testing.assert_allclose(line(ax, "residual").get_xdata(), [0, 0.5, 1])
    assert ax.get_xlabel() == ENGLISH["relative_depth"]


def test_zeros_are_triangles_at_the_smallest_number(
    make_comparison: Callable[..., Any], make_trace: Callable[..., Any], ax: Axes
) -> None:
    values = np.array([[0.0, 0.0, 1e-3, 1.0]])
    trace = make_trace(values, dtypes=("float16",) * 4)
    plots.gradient_flow(make_comparison(plain=np.ones((1, 4)), residual=trace), ax=ax)
    marks = line(ax, ENGLISH["underflow"])
    assert marks.get_marker() == "v"
    assert marks.get_linestyle() == "None"
    assert marks.get_xdata().tolist() == [1, 2]
    assert marks.get_ydata().tolist() == [smallest_subnormal("float16")] * 2
    assert marks.get_color() == line(ax, "residual").get_color()
    drawn = line(ax, "residual").get_ydata()
    assert np.isnan(drawn[:2]).all()
    assert drawn[2:].tolist() == [1e-3, 1.0]


def test_zeros_have_the_colour_that_was_asked_for(make_comparison: Callable[..., Any], ax: Axes) -> None:
    plots.gradient_flow(make_comparison(residual=np.array([[0.0, 1.0]])), ax=ax, color="#123456")
    assert line(ax, ENGLISH["underflow"]).get_color() == line(ax, "residual").get_color() == "#123456"


@pytest.mark.parametrize("repeats", [1, 4])
def test_values_that_are_not_finite_are_crosses_at_the_top(
    make_comparison: Callable[..., Any], ax: Axes, repeats: int
) -> None:
    values = np.array([[math.inf, math.nan, 10.0, 1.0]] * repeats)
    plots.gradient_flow(make_comparison(plain=values, residual=np.ones((repeats, 4))), ax=ax)
    marks = line(ax, ENGLISH["nonfinite"])
    assert marks.get_marker() == "x"
    assert marks.get_xdata().tolist() == [1, 2]
    assert marks.get_transform() == ax.get_xaxis_transform(), "heights in parts of the axes"
    assert set(marks.get_ydata()) == {0.98}


def test_some_repeats_that_overflow_do_not_break_the_band(make_comparison: Callable[..., Any], ax: Axes) -> None:
    values = np.ones((5, 3)) * np.arange(1, 6)[:, None]
    values[4, 0] = math.inf
    values[4, 1] = math.nan
    plots.gradient_flow(make_comparison(plain=values, residual=np.ones((5, 3))), ax=ax)
    np.testing.assert_allclose(line(ax, "plain").get_ydata(), [3, 2.5, 3])
    assert edges(bands(ax)[0], 1) == [2, 4]
    assert edges(bands(ax)[0], 3) == [2, 4]


def test_a_band_does_not_run_across_a_layer_it_leaves_out(make_comparison: Callable[..., Any], ax: Axes) -> None:
    values = np.ones((4, 5)) * np.arange(1, 5)[:, None]
    values[:, 2] = 0
    plots.gradient_flow(make_comparison(plain=values, residual=np.ones((4, 5))), ax=ax)
    inside = [path.contains_point((3, 2.5)) for path in bands(ax)[0].get_paths()]
    assert not any(inside), "layer 3 is zero in every repeat"


def test_theory_goes_through_the_last_layer_it_covers(make_comparison: Callable[..., Any], ax: Axes) -> None:
    theory = np.array([1e-3, 1e-2, 1e-1, 1.0, math.nan])
    measured = np.array([[1.0, 2.0, 3.0, 5.0, 7.0]])
    comparison = make_comparison({"plain": theory}, plain=measured, residual=measured)
    plots.gradient_flow(comparison, ax=ax)
    np.testing.assert_allclose(line(ax, ENGLISH["theory"]).get_ydata()[:4], 5 * theory[:4])
    assert np.isnan(line(ax, ENGLISH["theory"]).get_ydata()[4])
    bare = plots.gradient_flow(comparison, ax=Figure().subplots(), theory=False)
    assert ENGLISH["theory"] not in [one.get_label() for one in bare.get_lines()]


def test_a_head_behind_pooling_is_a_marker_of_its_own(
    make_comparison: Callable[..., Any], make_trace: Callable[..., Any], ax: Axes
) -> None:
    shapes = (*[(4, 8, 5, 5)] * 5, (4, 10))
    trace = make_trace(VALUES, shapes=shapes)
    plots.gradient_flow(make_comparison(plain=trace, residual=trace), ax=ax)
    assert line(ax, "plain").get_xdata().tolist() == [1, 2, 3, 4, 5]
    heads = [one for one in ax.get_lines() if one.get_label() == "_head"]
    assert [head.get_xdata().tolist() for head in heads] == [[6], [6]]
    np.testing.assert_allclose(heads[0].get_ydata(), [np.median(VALUES[:, 5])])
    assert all(head.get_linestyle() == "None" for head in heads)


def test_keywords_reach_the_lines(make_comparison: Callable[..., Any], ax: Axes) -> None:
    plots.gradient_flow(make_comparison(plain=VALUES, residual=VALUES), ax=ax, linewidth=4.5)
    assert {line(ax, name).get_linewidth() for name in ("plain", "residual")} == {4.5}


def test_many_layers_keep_their_dashes_visible(make_comparison: Callable[..., Any], ax: Axes) -> None:
    plots.gradient_flow(make_comparison(plain=np.ones((1, 100)), residual=np.ones((1, 100))), ax=ax)
    assert line(ax, "plain").get_markevery() == 5
    assert set(ax.get_xticks()) <= {1, *range(0, 101, 10), *range(0, 101, 20)}
    assert {1, 100} <= set(ax.get_xticks())


# ── traces ──


def test_trace_lines(make_trace: Callable[..., Any], ax: Axes) -> None:
    values = RNG.lognormal(size=(5, 4, 2))
    plots.trace_lines(make_trace(values), ax=ax, quantity="weight_grad")
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), np.median(values[:, :, 1], axis=0))
    assert ax.get_ylabel() == f"{ENGLISH['rms']} of {ENGLISH['weight_grad']}"
    assert ax.get_yscale() == "log"
    assert edges(bands(ax)[0], 2) == pytest.approx(np.quantile(values[:, 1, 1], [0.25, 0.75]))


@pytest.mark.parametrize("quantity", ["dead", "saturation", "update_ratio"])
def test_fractions_and_logarithms_have_a_linear_axis(make_trace: Callable[..., Any], ax: Axes, quantity: str) -> None:
    values = [[-3.0, 0.0, -1.0]] if quantity == "update_ratio" else [[0.0, 0.5, 1.0]]
    plots.trace_lines(make_trace(values, quantities=(quantity,)), ax=ax)
    assert ax.get_lines()[0].get_ydata().tolist() == values[0], "zero is a value here"
    assert ax.get_yscale() == "linear"
    assert ax.get_ylabel() == ENGLISH[quantity]
    assert len(ax.get_lines()) == 1


def test_marks_have_the_colour_of_their_line(make_trace: Callable[..., Any], ax: Axes) -> None:
    plots.trace_lines(make_trace([[0.0, 1.0, math.inf]]), ax=ax)
    values, *marks = ax.get_lines()
    assert len(marks) == 2
    assert {mark.get_color() for mark in marks} == {values.get_color()}


def test_relative_norms(make_trace: Callable[..., Any], ax: Axes) -> None:
    shapes = (*[(4, 8, 5, 5)] * 5, (4, 10))
    traces = {"rms": make_trace(VALUES, shapes=shapes), "l2": make_trace(2 * VALUES**2, shapes=shapes, norm="l2")}
    plots.relative_norms(traces, "output_grad", ax=ax)
    medians = np.median(VALUES, axis=0)[:5]
    np.testing.assert_allclose(line(ax, ENGLISH["rms"]).get_ydata(), medians / medians[-1])
    squares = np.median(2 * VALUES**2, axis=0)[:5]
    np.testing.assert_allclose(line(ax, ENGLISH["l2"]).get_ydata(), squares / squares[-1])


def test_layer_factors(ax: Axes) -> None:
    table = Table(
        columns={
            "activation": ("relu", "relu", "tanh"),
            "init": ("he", "default", "he"),
            "measured": np.array([1.04, 0.41, 0.8]),
            "low": np.array([1.0, 0.4, 0.7]),
            "high": np.array([1.1, 0.42, 0.9]),
            "predicted": np.array([1.0, 0.408, 0.82]),
        }
    )
    plots.layer_factors(table, ax=ax)
    bars = [one for one in ax.get_lines() if len(one.get_xdata()) == 2 and one.get_linewidth() == 1.6]
    predicted = [bar.get_xdata()[0] for bar in bars]
    assert predicted == [1.0, 0.408, 0.82]
    points = [(container.lines[0].get_xdata()[0], container.lines[0].get_ydata()[0]) for container in ax.containers]
    assert [x for x, _ in points] == [1.04, 0.41, 0.8]
    assert [round(y) for _, y in points] == [0, 0, 1]
    whiskers = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in ax.containers]
    np.testing.assert_allclose(whiskers, [[1.0, 1.1], [0.4, 0.42], [0.7, 0.9]])
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["relu", "tanh"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["he", "default", ENGLISH["theory"]]


def test_element_steps(ax: Axes) -> None:
    plots.element_steps([100, 400, 50], ax=ax)
    values, at, _ = ax.patches[0].get_data()
    assert values.tolist() == [100, 400, 50]
    assert at.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert ax.get_yscale() == "log"


# ── training ──


def test_learning_curves_in_percent(make_history: Callable[..., Any], ax: Axes) -> None:
    plots.learning_curves(make_history(), ax=ax)
    np.testing.assert_allclose(line(ax, ENGLISH["train_error"]).get_ydata(), [90, 50, 25])
    np.testing.assert_allclose(line(ax, ENGLISH["test_error"]).get_ydata(), [95, 55, 30])
    assert line(ax, ENGLISH["test_error"]).get_xdata().tolist() == [0, 1, 2]
    assert ax.get_xlabel() == ENGLISH["epoch"]
    assert ax.get_ylim()[0] == 0


def test_error_curves_are_medians_over_seeds_with_their_range(make_study: Callable[[], Any], ax: Axes) -> None:
    plots.error_curves(make_study(), "train_error", ax=ax)
    labels = [one.get_label() for one in ax.get_lines()]
    assert labels == ["plain-8", "plain-20", "residual-8", "residual-20"]
    np.testing.assert_allclose(line(ax, "plain-20").get_ydata(), [90, 70, 61])
    assert edges(bands(ax)[1], 2) == pytest.approx([60, 62])
    assert line(ax, "plain-20").get_linewidth() > line(ax, "plain-8").get_linewidth()
    assert ax.get_ylabel() == ENGLISH["train_error"]
    narrow = plots.error_curves(make_study(), "train_error", ax=Figure().subplots(), seed=1)
    np.testing.assert_allclose(line(narrow, "plain-20").get_ydata(), [90, 70, 62])


def test_error_by_depth(make_study: Callable[[], Any], ax: Axes) -> None:
    plots.error_by_depth(make_study(), ax=ax)
    middles = {c.get_label(): c.lines[0].get_ydata() for c in ax.containers}
    np.testing.assert_allclose(middles["plain"], [14, 66])
    np.testing.assert_allclose(middles["residual"], [14, 26])
    ranges = [segment[:, 1].tolist() for segment in ax.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(ranges, [[13, 15], [65, 67]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "20"]
    assert ax.get_ylabel() == ENGLISH["test_error"]


def test_kinds_of_other_depths_stand_at_their_own_places(make_study: Callable[[], Any], ax: Axes) -> None:
    whole = make_study()
    kept = [run for run, setting in enumerate(whole.settings) if (setting["kind"], setting["depth"]) != ("plain", 8)]
    study = replace(
        whole,
        settings=tuple(whole.settings[run] for run in kept),
        histories=tuple(whole.histories[run] for run in kept),
    )
    plots.error_by_depth(study, ax=ax)
    plain, residual = (container.lines[0].get_xdata() for container in ax.containers)
    assert plain == pytest.approx([1], abs=0.1), "20 is the second of two depths"
    assert residual == pytest.approx([0, 1], abs=0.1)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["8", "20"]


def test_a_study_of_one_kind_has_its_depths_below(make_study: Callable[[], Any], ax: Axes) -> None:
    study = make_study().subset(kind="plain")
    assert [tick.get_text() for tick in plots.error_by_depth(study, ax=ax).get_xticklabels()] == ["8", "20"]
    ax.clear()
    assert [tick.get_text() for tick in plots.steps_by_depth(study, 0.5, ax=ax).get_xticklabels()] == ["8", "20"]


def test_steps_by_depth_marks_what_never_gets_there(make_study: Callable[[], Any], ax: Axes) -> None:
    plots.steps_by_depth(make_study(), 0.5, ax=ax)
    middles = {c.get_label(): c.lines[0].get_ydata() for c in ax.containers}
    np.testing.assert_array_equal(middles["plain"], [10])
    np.testing.assert_array_equal(middles["residual"], [10, 10])
    arrows = [one for one in ax.get_lines() if one.get_marker() == "^" and len(one.get_xdata())]
    assert [arrow.get_xdata().tolist() for arrow in arrows] == [[1]]
    assert ENGLISH["never"].format(budget=20) in [text.get_text() for text in ax.texts]


def test_drift_by_layer(make_history: Callable[..., Any], make_trace: Callable[..., Any], ax: Axes) -> None:
    values = np.array([[0.0, 0.0, 0.0], [1e-3, 1e-2, 0.1], [1e-2, 0.1, 0.5]])
    trace = make_trace(values, quantities=("drift",))
    history = make_history(trace=trace, traced_steps=np.array([0, 5, 10]))
    plots.drift_by_layer(history, ax=ax, steps=(5, 10))
    np.testing.assert_array_equal(line(ax, "5").get_ydata(), values[1])
    np.testing.assert_array_equal(line(ax, "10").get_ydata(), values[2])
    assert ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="trace_every"):
        plots.drift_by_layer(make_history(), ax=ax, steps=(5,))


# ── house rules for all ──


def test_every_plot_draws_into_the_given_axes_only(each_kind: dict[str, Any]) -> None:
    for kind in DRAWN:
        figure = Figure()
        target, neighbour = figure.subplots(1, 2)
        empty = len(neighbour.get_children())
        artists = len(target.get_children())
        assert each_kind[kind].plot(ax=target) is target
        assert len(target.get_children()) > artists
        assert len(neighbour.get_children()) == empty
        assert figure.axes == [target, neighbour]
        assert not figure.legends


def test_without_axes_a_new_figure_is_made(each_kind: dict[str, Any]) -> None:
    for kind in DRAWN:
        ax = each_kind[kind].plot()
        assert pyplot.get_fignums() == [ax.figure.number]
        assert ax.figure.get_size_inches()[0] * 25.4 == pytest.approx(plots.SINGLE_MM)
        pyplot.close(ax.figure)


def test_plots_leave_results_as_they_are(each_kind: dict[str, Any]) -> None:
    import copy

    for kind in DRAWN:
        before = copy.deepcopy(each_kind[kind])
        each_kind[kind].plot(ax=Figure().subplots())
        assert each_kind[kind] == before


def test_style_is_given_back_also_when_something_fails() -> None:
    before = dict(mpl.rcParams)
    inside: dict[str, Any] = {}

    def draw() -> None:
        with plots.style():
            inside.update(mpl.rcParams)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        draw()
    assert (inside["font.size"], inside["pdf.fonttype"]) == (7, 42)
    assert dict(mpl.rcParams) == before
    try:
        mpl.rcParams["lines.linewidth"] = 9
        with plots.style():
            assert mpl.rcParams["lines.linewidth"] == 1.1, "the look does not depend on the user's settings"
        assert mpl.rcParams["lines.linewidth"] == 9
    finally:
        mpl.rcParams.update(before)


def test_pictures_do_not_depend_on_the_users_settings(each_kind: dict[str, Any]) -> None:
    first = each_kind["Comparison"]._picture("svg")
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20, "svg.hashsalt": "other", "axes.grid": False}):
        assert each_kind["Comparison"]._picture("svg") == first


def test_new_figures_have_their_size_in_millimetres() -> None:
    assert plots.new_figure(100, 50).get_size_inches() * 25.4 == pytest.approx([100, 50])


def test_shared_legend_shows_each_entry_once(make_comparison: Callable[..., Any]) -> None:
    figure = Figure(layout="constrained")
    axes = figure.subplots(1, 2)
    for ax in axes:
        plots.gradient_flow(make_comparison(plain=VALUES, residual=VALUES), ax=ax)
    plots.shared_legend(figure, axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "residual"]


def test_no_words_outside_the_table_of_labels(each_kind: dict[str, Any]) -> None:
    for kind in ("Comparison", "History", "Study"):
        ax = each_kind[kind].plot(ax=Figure().subplots())
        known = set(ENGLISH.values())
        for words in (ax.get_xlabel(), ax.get_ylabel()):
            assert words == "" or all(part in known for part in words.split(" of "))
    drawn = each_kind["History"].plot(ax=Figure().subplots())
    assert "%" in drawn.get_ylabel() + "".join(t.get_text() for t in drawn.get_legend().get_texts())


def test_minor_ticks_have_names_where_less_than_a_decade_is_in_sight(make_comparison: Callable[..., Any]) -> None:
    def names(values: np.ndarray) -> list[str]:
        ax = make_comparison(plain=values).plot(ax=Figure().subplots())
        ax.figure.draw_without_rendering()
        low, high = ax.get_ylim()
        ticks = [*ax.yaxis.get_major_ticks(), *ax.yaxis.get_minor_ticks()]
        return [tick.label1.get_text() for tick in ticks if tick.label1.get_text() and low <= tick.get_loc() <= high]

    assert len(names(np.linspace(2e-4, 6e-4, 5)[None])) >= 2
    assert not [name for name in names(np.geomspace(1e-6, 1, 5)[None]) if "times" in name]


def test_each_mark_is_named_once(make_comparison: Callable[..., Any], ax: Axes) -> None:
    lost = np.array([[0.0, math.inf, 1.0]])
    plots.gradient_flow(make_comparison(plain=lost, residual=lost), ax=ax)
    shown = [words.get_text() for words in ax.get_legend().get_texts()]
    assert sorted(shown) == sorted([ENGLISH[key] for key in ("plain", "residual", "underflow", "nonfinite")])


# ── legends of figures that stand alone ──


def apart(*levels: float) -> dict[str, np.ndarray]:
    """Models whose gradients are level lines at these decades."""
    return {f"net{place}": np.full((1, 20), 10.0**level) for place, level in enumerate(levels)}


def legend_is_free(ax: Axes) -> bool:
    """Whether no line of the axes has a pixel under the legend inside them, from the picture itself."""
    figure = ax.figure
    canvas, legend = FigureCanvasAgg(figure), ax.get_legend()
    canvas.draw()
    box = legend.get_window_extent()
    legend.set_visible(False)
    ax.grid(False)
    canvas.draw()
    rows = slice(math.ceil(figure.bbox.height - box.y1), math.floor(figure.bbox.height - box.y0))
    pixels = np.asarray(canvas.buffer_rgba())[rows, math.ceil(box.x0) : math.floor(box.x1), :3]
    legend.set_visible(True)
    return bool((pixels == 255).all())


@pytest.mark.parametrize("context", ["book", "notebook", "lecture"])
def test_a_comparison_alone_has_its_legend_where_no_line_is(make_comparison: Callable[..., Any], context: str) -> None:
    crowded, roomy = make_comparison(**apart(0, 1, 2, 3, 4, 5)), make_comparison(**apart(0, 9))
    with plots.style(context):
        inside, above = roomy.plot(), crowded.plot()
    try:
        assert not inside.figure.legends
        assert legend_is_free(inside)
        height = inside.figure.get_figheight()
        assert above.get_legend() is None
        (legend,) = above.figure.legends
        assert [words.get_text() for words in legend.get_texts()] == [f"net{place}" for place in range(6)]
        assert above.figure.get_figheight() > height, "the figure grows, and the curves keep their room"
        above.figure.draw_without_rendering()
        assert legend.get_window_extent().y0 >= above.bbox.y1
    finally:
        pyplot.close("all")


def test_lines_without_strokes_and_bars_are_kept_free_too() -> None:
    for draw in (
        lambda ax, x, y: ax.plot(x, y, "o"),
        lambda ax, x, y: ax.vlines(x, y - 0.01, y + 0.01),
        lambda ax, x, y: ax.plot(x, y, "-", marker=""),
    ):
        for there in (False, True):
            ax = plots.new_figure().subplots()
            ax.plot([0, 1], [0, 0], label="line")
            ax.set(xlim=(0, 1), ylim=(0, 1))
            ax.legend(loc="upper right")
            ax.figure.draw_without_rendering()
            box = ax.get_legend().get_window_extent()
            (x0, y0), (x1, y1) = ax.transData.inverted().transform(box.get_points())
            middle = (np.array([x0 + x1, x0 + x1]) / 2, np.array([y0 + y1, y0 + y1]) / 2)
            draw(ax, *(middle if there else (middle[0] / 4, middle[1] / 4)))
            assert clear_legend(ax) is ax
            assert bool(ax.figure.legends) == there


def test_a_long_name_moves_the_legend_and_a_picture_grows(make_comparison: Callable[..., Any]) -> None:
    long = {"a residual network with a scaled shortcut and a name that is longer than the axes are wide" * 2: VALUES}
    ax = plots.new_figure().subplots()
    make_comparison(**long).plot(ax)
    before = ax.figure.get_figheight()
    clear_legend(ax)
    assert ax.figure.get_figheight() > before
    assert len(ax.figure.legends) == 1

    def height(comparison: Any) -> float:
        return float(re.search(rb'height="([0-9.]+)pt"', comparison._picture("svg"))[1])

    assert height(make_comparison(**apart(0, 1, 2, 3, 4, 5))) > height(make_comparison(**apart(0, 9)))


def test_legends_of_other_figures_stay_in_their_axes(make_comparison: Callable[..., Any]) -> None:
    crowded = make_comparison(**apart(0, 1, 2, 3, 4, 5))
    figure = plots.new_figure()
    panel, _ = figure.subplots(1, 2)
    for ax in (Figure().subplots(), panel, plots.new_figure().subplots()):
        assert crowded.plot(ax).get_legend() is not None, "axes of others, who may draw a legend for all"
    for ax in (Figure().subplots(), panel):
        assert clear_legend(crowded.plot(ax)).get_legend() is not None
    assert clear_legend(plots.new_figure().subplots()).get_legend() is None


def test_a_study_by_itself_says_which_line_is_which(each_kind: dict[str, Any], ax: Axes) -> None:
    study = each_kind["Study"]
    legend = study.plot(ax).get_legend()
    assert [words.get_text() for words in legend.get_texts()] == [ENGLISH["plain"], ENGLISH["residual"]]
    colours = dict.fromkeys(key.get_color() for key in legend.findobj(Line2D))
    assert list(colours) == [plots.model_color(kind) for kind in ("plain", "residual")]
    assert plots.error_by_depth(study, ax=Figure().subplots()).get_legend() is None, "panels have one for all"
    alone = study.subset(kind="plain").plot(Figure().subplots())
    assert [words.get_text() for words in alone.get_legend().get_texts()] == [ENGLISH["plain"]], "what is not drawn"


# ── training by step, in grey ──


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_depths_can_be_told_apart_in_grey(each_kind: dict[str, Any], kind: str) -> None:
    few = each_kind["Study"]
    deep = few.subset(depth=20)
    more = tuple({**setting, "depth": 56} for setting in deep.settings)
    study = replace(few, settings=(*few.settings, *more), histories=(*few.histories, *deep.histories))

    def shades(grey: bool) -> list[tuple[float, ...]]:
        with plots.style(grey=grey):
            ax = plots.errors_by_step(study, kind, published={kind: {}}, above={kind: {}}, ax=Figure().subplots())
        return [to_rgb(line(ax, f"{ENGLISH[kind]}-{depth}").get_color()) for depth in (8, 20, 56)]

    greys = [shade[0] for shade in shades(grey=True)]
    assert greys[0] > greys[1] + 0.15 > greys[2] + 0.3, "deeper nets are darker"
    colours = shades(grey=False)
    assert len(set(colours)) == 3
    assert colours[2] == pytest.approx(to_rgb(plots.model_color(kind))), "in colour the deepest net has its kind's own"
