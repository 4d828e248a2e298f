"""Long trainings on images: error by step and by depth, accuracy by the part of a run, beside published nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from gradflow.plots.curves import KINDS, depths
from gradflow.plots.labels import text
from gradflow.plots.look import INK, Look, axes_or_new, in_look, look_of, paler, tint
from gradflow.plots.page import current_page, points
from gradflow.plots.panels import add_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradflow.results import History, Study

_PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
Errors = Mapping[str, Mapping[int, float]]
"""Errors in percent by kind and depth."""

_ASIDE = 0.13
"""How far to the left of a depth our errors stand, and to its right published ones, so that none is hidden."""

_LABEL_GAP = 7.5
"""Least distance of two depths written at the right edge, in points: that of two lines of small print."""


@in_look
def errors_by_step(
    study: Study,
    kind: str,
    *,
    published: Errors,
    above: Errors,
    ax: Axes | None = None,
    **keywords: Any,
) -> Axes:
    """Training (thin, dashed) and test error (bold) of one kind of net by optimiser step, after He15 Fig. 6.

    Deeper nets are darker and thicker, in grey up to black for both kinds; medians over the seeds and, for the test
    error, their whole range. Published final test errors (%, by kind and depth) are open markers at the right edge,
    their depth beside them; ``above`` are those of which only a lower bound is known. The axis is logarithmic and the
    same for both kinds. A training error that is NaN (before training) is left out.
    """
    ax = axes_or_new(ax)
    _error_scale(ax, study, published)
    look, present = look_of(KINDS.index(kind)), depths(study, kind=kind)
    # A kind's own grey leaves no room for paler ones that can be told apart, and here the panel says which kind it is.
    shade = look_of(KINDS.index("residual")).color if current_page().grey else look.color
    for depth, strength in zip(present, np.linspace(1, 0, len(present))[::-1], strict=True):
        color, runs = paler(shade, 0.45 + 0.55 * strength), study.select(kind=kind, depth=depth)
        steps, train = _percent(runs, "train_error")
        ax.plot(steps, np.median(train, axis=0), **{"color": color, **_train(), "zorder": 2, **keywords})
        steps, test = _percent(runs, "test_error")
        shown = {"color": color, **_test(0.9 + 0.8 * strength), "label": f"{text(kind)}-{depth}"}
        ax.plot(steps, np.median(test, axis=0), **{**shown, "zorder": 3, **keywords})
        band: dict[str, Any] = {"color": tint(look.color, 0.16), "linewidth": 0, "zorder": 1}
        ax.fill_between(steps, test.min(axis=0), test.max(axis=0), **band)
    ax.set(xlabel=text("step"), ylabel=text("error"), xlim=(0, max(float(run.steps[-1]) for run in study.histories)))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    _at_the_edge(ax, look, published[kind], above[kind])
    return ax


@in_look
def final_errors_by_depth(
    study: Study,
    *,
    published: Errors,
    above: Errors,
    ax: Axes | None = None,
    **keywords: Any,
) -> Axes:
    """Final training (thin, dashed) and test error (bold) in percent by depth, and published test errors (open).

    The depths, those of the study and the published ones, at equal distances; medians over the seeds, bars over their
    range; ``above`` as in :func:`errors_by_step`.
    """
    ax = axes_or_new(ax)
    _error_scale(ax, study, published)
    everything = {depth for kind in KINDS for depth in (*published[kind], *above[kind])} | set(depths(study))
    places = {depth: place for place, depth in enumerate(sorted(everything))}
    for kind in KINDS:
        look, present = look_of(KINDS.index(kind)), depths(study, kind=kind)
        x = [places[depth] - _ASIDE for depth in present]
        for curve, line in (("train_error", {**_train(), "markersize": points(1.8)}), ("test_error", _test())):
            runs = [100 * study.final(curve, kind=kind, depth=depth) for depth in present]
            shown = {**line, "color": look.color, "marker": look.marker, "label": text(kind)}
            if curve == "train_error":
                shown["label"] = f"_{text(kind)}"
            ax.plot(x, [np.median(run) for run in runs], **{**shown, **keywords})
            low, high = [run.min() for run in runs], [run.max() for run in runs]
            ax.vlines(x, low, high, color=look.color, linewidth=points(0.8))
        for depth, error in {**published[kind], **above[kind]}.items():
            ax.plot([places[depth] + _ASIDE], [error], **_published(look))
        for depth, bound in above[kind].items():
            _arrow_up(ax, places[depth] + _ASIDE, bound, look)
    ax.set_xticks(list(places.values()), [str(depth) for depth in places])
    ax.set(xlabel=text("depth"), ylabel=text("error"))
    ax.grid(axis="x", visible=False)
    return ax


def error_legend(figure: Figure, title: str) -> None:
    """The legend of :func:`errors_by_step`, above all panels: which line is which, and whose the open markers are."""
    marks: Any = tuple(Line2D([], [], **_published(look_of(place))) for place in range(len(KINDS)))
    lines = (Line2D([], [], color=INK, **_train()), Line2D([], [], color=INK, **_test()))
    names = (text("train_error_short"), text("test_error_short"), text("published_cifar10"))
    add_legend(figure, [*lines, marks], names, title=title, handler_map={tuple: HandlerTuple(ndivide=None)})


@in_look
def accuracy_by_progress(
    runs: Mapping[str, Study], curve: str, *, looks: Mapping[str, Look], ax: Axes | None = None, **keywords: Any
) -> Axes:
    """Accuracy in percent, 100 − the error ``curve``, against the finished part of the run in percent.

    ``runs`` has a study for each name in the legend; medians over its runs and their whole range.
    """
    ax = axes_or_new(ax)
    for name, study in runs.items():
        steps, errors = _percent(study.histories, curve)
        progress, accuracy, look = 100 * steps / study.histories[0].steps[-1], 100 - errors, looks[name]
        band: dict[str, Any] = {"color": tint(look.color, 0.16), "linewidth": 0, "zorder": 1}
        ax.fill_between(progress, accuracy.min(axis=0), accuracy.max(axis=0), **band)
        shown = {**look.line(), "markevery": max(1, len(steps) // 8), "label": name, "zorder": 3, **keywords}
        ax.plot(progress, np.median(accuracy, axis=0), **shown)
    ax.set(xlabel=text("progress"), ylabel=text("accuracy"), xlim=(0, 103), ylim=(0, None))
    return ax


def published_marks(ax: Axes, marks: Mapping[str, Sequence[tuple[float, float]]]) -> list[Line2D]:
    """Published values as open dark markers, one shape for each name, with points (x, y); they are returned."""
    shown: dict[str, Any] = {"color": INK, "markersize": points(4), "markerfacecolor": "none", "linestyle": "none"}
    drawn: list[Line2D] = []
    for marker, (name, pairs) in zip("o^D", marks.items(), strict=False):
        x, y = zip(*pairs, strict=True)
        drawn += ax.plot(x, y, **shown, marker=marker, label=name, zorder=5, clip_on=False)
    return drawn


def legend_in_rows(figure: Figure, *rows: Sequence[Artist], title: str) -> None:
    """A legend above all panels with a row for each of some lists of what was drawn."""
    empty = Line2D([], [], linestyle="none", label=" ")
    columns = list(zip_longest(*rows, fillvalue=empty))
    handles = [handle for column in columns for handle in column]
    labels = [str(handle.get_label()) for handle in handles]
    add_legend(figure, handles, labels, title=title, columns=len(columns))


@in_look
def rate_by_progress(
    runs: Mapping[str, History], *, looks: Mapping[str, Look], ax: Axes | None = None, **keywords: Any
) -> Axes:
    """Learning rate, on a logarithmic axis, against the finished part of the run in percent.

    ``runs`` has a run for each name in the legend. Schedules in steps and exponential ones are drawn as their recipes
    give them, others as the rates of the last steps of the epochs.
    """
    ax = axes_or_new(ax)
    for name, run in runs.items():
        progress, rates = _rates(run)
        ax.plot(100 * progress, rates, **{**looks[name].line(), "marker": "", "label": name, **keywords})
    ax.set_yscale("log")
    ax.set(xlabel=text("progress"), ylabel=text("learning_rate"), xlim=(0, 103))
    return ax


def stage_lines(ax: Axes, milestones: Sequence[float]) -> None:
    """Vertical lines where the learning rate falls, ``milestones`` as parts of the run."""
    for place in milestones:
        ax.axvline(100 * place, color="#777777", linewidth=points(0.7), linestyle=":", zorder=1.5)


def _error_scale(ax: Axes, study: Study, published: Errors) -> None:
    """A logarithmic axis of errors in percent that holds all curves of a study and the published errors."""
    curves = [_percent([run], curve)[1] for run in study.histories for curve in ("train_error", "test_error")]
    values = np.concatenate([curve.ravel() for curve in curves])
    marked = [error for errors in published.values() for error in errors.values()]
    lowest = max(float(np.min([*values[values > 0], *marked])), _PERCENTS[0])
    ax.set_yscale("log", nonpositive="clip")
    ax.set_yticks(_PERCENTS, [f"{percent:g}" for percent in _PERCENTS])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(0.8 * lowest, 105)


def _percent(runs: Sequence[History], curve: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (K,) and errors in percent (runs, K) where all runs have one."""
    values = 100 * np.array([getattr(run, curve) for run in runs])
    kept = ~np.isnan(values).any(axis=0)
    return runs[0].steps[kept], values[:, kept]


def _rates(run: History) -> tuple[np.ndarray, np.ndarray]:
    """Finished part of the run, and the learning rate there."""
    recipe = run.provenance["recipe"]
    if recipe["schedule"] not in ("steps", "exponential") or "warmup_lr" in recipe:
        return np.arange(1, run.epochs + 1) / run.epochs, run.learning_rate
    if recipe["schedule"] == "exponential":
        return np.array([0, 1]), recipe["lr"] * np.array([1, recipe["factor"]])
    stages = np.arange(len(recipe["milestones"]) + 1)
    ends = np.array([0, *recipe["milestones"], 1])
    return np.stack([ends[:-1], ends[1:]], axis=1).ravel(), np.repeat(recipe["lr"] * recipe["factor"] ** stages, 2)


def _train() -> dict[str, Any]:
    """How a training error is drawn: thin and dashed."""
    return {"linestyle": (0, (2.5, 1.2)), "linewidth": points(0.7)}


def _test(width: float = 1.5) -> dict[str, Any]:
    """How a test error is drawn: bold."""
    return {"linestyle": "-", "linewidth": points(width)}


def _published(look: Look) -> dict[str, Any]:
    """How a published error is marked: an open marker of the kind's colour and shape."""
    shown: dict[str, Any] = {"color": look.color, "marker": look.marker, "markerfacecolor": "white"}
    return {**shown, "linestyle": "none", "markersize": points(4), "zorder": 5, "clip_on": False}


def _arrow_up(ax: Axes, x: float, y: float, look: Look, **keywords: Any) -> None:
    """A short arrow upward from a marker: the true value lies above it."""
    arrow = {"arrowstyle": "<-", "color": look.color, "linewidth": points(0.8), "shrinkA": 0, "shrinkB": points(2)}
    shown = {"arrowprops": arrow, "annotation_clip": False, **keywords}
    ax.annotate("", (x, y), (0, points(11)), textcoords="offset points", **shown)


def _at_the_edge(ax: Axes, look: Look, published: Mapping[int, float], above: Mapping[int, float]) -> None:
    """Published errors at the right edge with their depths, which are pushed apart where they would overlap."""
    known = {**published, **above}
    order = sorted(known, key=lambda depth: known[depth])
    scale = ax.get_yaxis_transform()
    low, high = np.log(ax.get_ylim())
    gap = points(_LABEL_GAP) * ax.figure.dpi / 72 / ax.bbox.height
    heights = _apart([(np.log(known[depth]) - low) / (high - low) for depth in order], gap)
    for depth, height in zip(order, heights, strict=True):
        ax.plot([1], [known[depth]], transform=scale, **_published(look))
        if depth in above:
            _arrow_up(ax, 1, known[depth], look, xycoords=scale)
        line = {"arrowstyle": "-", "color": look.color, "linewidth": points(0.5)}
        line |= {"shrinkA": points(0.5), "shrinkB": points(2)}
        words: dict[str, Any] = {"fontsize": points(6), "color": INK, "va": "center", "annotation_clip": False}
        ax.annotate(
            str(depth),
            (1, known[depth]),
            (1.07, height),
            xycoords=scale,
            textcoords="axes fraction",
            arrowprops=line,
            **words,
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights moved as little as a simple pass does, so that neighbours are at least ``gap`` apart."""
    groups = [([height], height) for height in heights]  # members, middle
    while True:
        for place, (below, over) in enumerate(pairwise(groups)):
            room = over[1] - below[1] - gap * (len(below[0]) + len(over[0])) / 2
            if room < -1e-12:
                members = below[0] + over[0]
                groups[place : place + 2] = [(members, float(np.mean(members)))]
                break
        else:
            break
    return [middle + gap * (k - (len(members) - 1) / 2) for members, middle in groups for k in range(len(members))]
