"""A study by one of its settings: curves, and final errors in rows beside published ones."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gradflow.plots.curves import KINDS, depths
from gradflow.plots.labels import norm_of, text
from gradflow.plots.look import INK, Look, axes_or_new, in_look, look_of, tint
from gradflow.plots.page import points
from gradflow.plots.units import powers_of_ten

if TYPE_CHECKING:
    from gradflow.results import Study, Table

FAILURE = 0.2
"""He16 Table 1 calls a test error of more than 20 % a failure."""


@in_look
def curves_by(
    study: Study,
    key: str,
    curve: str,
    *,
    ax: Axes | None = None,
    names: Mapping[Any, str],
    place: int = 0,
    **keywords: Any,
) -> Axes:
    """A curve by epoch for each value of a setting, errors in percent: median over seeds and their whole range.

    ``names`` gives the values in order and what the legend calls them; ``place`` is the first one's look.
    """
    ax = axes_or_new(ax)
    unit = 100 if curve.endswith("error") else 1
    for look, (value, name) in zip(map(look_of, count(place)), names.items(), strict=False):
        runs = study.select(**{key: value})
        values = unit * np.array([getattr(run, curve) for run in runs])
        band: dict[str, Any] = {"color": tint(look.color, 0.16), "linewidth": 0, "zorder": 1}
        ax.fill_between(runs[0].epoch, values.min(axis=0), values.max(axis=0), **band)
        ax.plot(runs[0].epoch, np.median(values, axis=0), **{**look.line(), "label": name, **keywords})
    ax.set(xlabel=text("epoch"), ylabel=text(curve), xlim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    if unit == 100:
        ax.set_ylim(0, 100)
    return ax


@in_look
def error_rows(
    study: Study, key: str, names: Mapping[str, str], *, ax: Axes | None = None, published: Mapping[str, float]
) -> Axes:
    """Final training and test error in percent, a row for each value of a setting, beside published test errors.

    Medians over the seeds, bars over their range; a published error that is infinite is drawn as "over 20 %".
    """
    ax = axes_or_new(ax)
    for row, value in enumerate(names):
        for shift, place, curve in ((-0.15, 0, "train_error"), (0.15, 1, "test_error")):
            final = 100 * study.final(curve, **{key: value})
            label = {"label": text(curve)} if row == 0 else {}
            median_and_range(ax, row + shift, final, look_of(place), filled=bool(place), across=True, **label)
        paper = published[value]
        mark: dict[str, Any] = {"color": INK, "linestyle": "none", "markersize": points(4), "zorder": 5}
        if np.isfinite(paper):
            ax.plot([paper], [row], **mark, marker="|", markeredgewidth=points(1.4), label=_once(ax, text("published")))
        else:
            ax.plot([100 * FAILURE], [row], **mark, marker=">", label=_once(ax, text("published_fails")))
    ax.set_yticks(range(len(names)), list(names.values()))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set(xlabel=text("error"), xlim=(-2, 100))
    ax.grid(axis="y", visible=False)
    return ax


@in_look
def gain_rows(table: Table, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """log10 of a gain, a row for each entry: median and range; one that begins at no gain is drawn far left."""
    ax = axes_or_new(ax)
    look = look_of(3)
    values = np.concatenate([table[column] for column in ("log10_gain", "low", "high")])
    nothing = np.min(values[np.isfinite(values)], initial=0.0) - 1
    for row, (middle, low, high) in enumerate(zip(table["log10_gain"], table["low"], table["high"], strict=True)):
        if not np.isfinite(middle):
            ax.annotate(
                "0",
                (0, row),
                (points(2), 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
            )
            continue
        shown = {**look.line(), "linestyle": "none", **keywords}
        bar: dict[str, Any] = {"elinewidth": points(0.8), "capsize": points(2)}
        ax.errorbar(middle, row, xerr=[[middle - max(low, nothing)], [high - middle]], **bar, **shown)
    ax.axvline(0, color=INK, linewidth=points(0.8), zorder=1)
    powers_of_ten(ax.xaxis)
    ax.set_xlabel(text("shortcut_gain"))
    ax.grid(axis="y", visible=False)
    return ax


@in_look
def gradient_by_depth(study: Study, *, ax: Axes | None = None, steps: slice = slice(None), **keywords: Any) -> Axes:
    """Norm of the first traced quantity by relative depth for each kind and depth of a study, over the ``steps``.

    Medians over steps and seeds; deeper nets have thicker lines.
    """
    ax = axes_or_new(ax)
    for kind in KINDS:
        for place, depth in enumerate(depths(study, kind=kind)):
            traces = [run.trace for run in study.select(kind=kind, depth=depth) if run.trace is not None]
            values = np.median([np.median(one.values[steps, :, 0], axis=0)[one.body] for one in traces], axis=0)
            look = look_of(KINDS.index(kind))
            shown = {**look.line(), "marker": "", "linewidth": points(0.7 + 0.5 * place), **keywords}
            ax.plot(np.linspace(0, 1, len(values)), values, **{"label": f"{text(kind)}-{depth}", **shown})
    ax.set_yscale("log")
    ax.set(xlabel=text("relative_depth"), ylabel=norm_of(traces[0].norm, traces[0].quantities[0]))
    return ax


@in_look
def correlation_lines(table: Table, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Correlation between gradients by the number of layers they have come through, for each kind and depth."""
    ax = axes_or_new(ax)
    for kind in KINDS:
        for place, depth in enumerate(sorted(set(table["depth"].tolist()))):
            rows = (np.asarray(table["kind"]) == kind) & (table["depth"] == depth)
            look, x = look_of(KINDS.index(kind)), table["layers"][rows]
            band: dict[str, Any] = {"color": tint(look.color, 0.16), "linewidth": 0, "zorder": 1}
            ax.fill_between(x, table["low"][rows], table["high"][rows], **band)
            shown = {
                **look.line(),
                "linewidth": points(0.7 + 0.5 * place),
                "label": f"{text(kind)}-{depth}",
                **keywords,
            }
            ax.plot(x, table["correlation"][rows], **shown)
    ax.set(xlabel=text("layers_behind"), ylabel=text("gradient_correlation"))
    return ax


def median_and_range(
    ax: Axes, place: float, values: np.ndarray, look: Look, *, filled: bool, across: bool = False, **keywords: Any
) -> None:
    """The median of some runs as a marker with a bar over their range, upright or ``across``."""
    middle = float(np.median(values))
    bar = [[middle - values.min()], [values.max() - middle]]
    shown: dict[str, Any] = {**look.line(), "linestyle": "none", "zorder": 4}
    shown |= {"elinewidth": points(0.8), "capsize": points(1.5)}
    shown["markerfacecolor"] = look.color if filled else "white"
    if across:
        ax.errorbar(middle, place, xerr=bar, **{**shown, **keywords})
    else:
        ax.errorbar(place, middle, yerr=bar, **{**shown, **keywords})


def _once(ax: Axes, label: str) -> str:
    """The label, or one that the legend leaves out if it is there already."""
    return f"_{label}" if label in ax.get_legend_handles_labels()[1] else label
