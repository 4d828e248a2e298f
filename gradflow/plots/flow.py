"""Gradients by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter

from gradflow.plots.labels import named, norm_of, text
from gradflow.plots.look import INK, THEORY, axes_or_new, in_look, look_of, number_layers, tint
from gradflow.plots.page import points
from gradflow.quantiles import quantile
from gradflow.verdicts import smallest_subnormal

if TYPE_CHECKING:
    from gradflow.results import Comparison, Table, Trace

FACTOR_TICKS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0)
_LINEAR = ("dead", "saturation", "update_ratio")
MARKERS_UP_TO = 24
"""More layers than this are drawn as a line with every n-th marker, so that dashes stay visible."""


@in_look
def gradient_flow(comparison: Comparison, *, ax: Axes | None = None, theory: bool = True, **keywords: Any) -> Axes:
    """Norm by layer for each model on a log axis: median, band between the quartiles, and the closed form as dots.

    Layers are numbered where all models have as many, else placed by relative depth. Exact zeros are drawn as triangles
    at the dtype's smallest number, values that are not finite as crosses at the top. ``keywords`` go to ``Axes.plot``.
    """
    ax = axes_or_new(ax)
    counts = {len(trace.layers) for trace in comparison.traces.values()}
    for place, (name, trace) in enumerate(comparison.traces.items()):
        layers = np.arange(1, len(trace.layers) + 1)
        x = layers if len(counts) == 1 else (layers - 1) / max(len(layers) - 1, 1)
        keywords_here = {**look_of(place).line(), "label": text(name), "zorder": 3 + place, **keywords}
        _norm_line(ax, x, trace, comparison.quantity, keywords_here)
        if theory and name in comparison.theory:
            _theory_line(ax, x, trace.median(comparison.quantity), comparison.theory[name], place == 0)
    colored = [
        (trace, keywords.get("color", look_of(place).color)) for place, trace in enumerate(comparison.traces.values())
    ]
    _norm_axis(ax, colored, comparison.quantity, len(counts) == 1)
    ax.set_ylabel(norm_of(comparison.norm, comparison.quantity))
    ax.set_xlabel(text("layer" if len(counts) == 1 else "relative_depth"))
    if len(counts) == 1:
        number_layers(ax, counts.pop())
    ax.legend()
    return ax


@in_look
def trace_lines(trace: Trace, *, ax: Axes | None = None, quantity: str | None = None, **keywords: Any) -> Axes:
    """One quantity (by default the first) of a trace by layer: median over the steps and band between the quartiles."""
    ax = axes_or_new(ax)
    quantity = quantity or trace.quantities[0]
    x = np.arange(1, len(trace.layers) + 1)
    _norm_line(ax, x, trace, quantity, {**look_of(1).line(), **keywords})
    _norm_axis(ax, [(trace, look_of(1).color)], quantity, True)
    ax.set(xlabel=text("layer"), ylabel=norm_of(trace.norm, quantity))
    number_layers(ax, len(trace.layers))
    return ax


@in_look
def relative_norms(traces: Mapping[str, Trace], quantity: str, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """The same gradients by several norms, each relative to its last layer of the body; ``traces`` by name of the
    norm."""
    ax = axes_or_new(ax)
    for place, (norm, trace) in enumerate(traces.items()):
        values = trace.median(quantity)[trace.body]
        ax.plot(
            np.arange(1, len(values) + 1),
            values / values[-1],
            **{**look_of(place).line(), "label": text(norm), **keywords},
        )
    _log_norm_axis(ax, text("relative_norm"))
    ax.set_xlabel(text("layer"))
    number_layers(ax, len(values))
    return ax


@in_look
def layer_factors(table: Table, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Measured factor per layer (marker, quartiles) on the predicted one (bar), a row per activation and init."""
    ax = axes_or_new(ax)
    activations, inits = list(dict.fromkeys(table["activation"])), list(dict.fromkeys(table["init"]))
    for row, (activation, init) in enumerate(zip(table["activation"], table["init"], strict=True)):
        place = inits.index(init)
        y = activations.index(activation) + (place - (len(inits) - 1) / 2) * 0.16
        middle, low, high = (table[column][row] for column in ("measured", "low", "high"))
        ax.plot(
            [table["predicted"][row]] * 2,
            [y - 0.075, y + 0.075],
            color=INK,
            linewidth=points(1.6),
            solid_capstyle="butt",
        )
        shown = {**look_of(place).line(), "linestyle": "none", "zorder": 4, **keywords}
        ax.errorbar(middle, y, xerr=[[middle - low], [high - middle]], elinewidth=points(0.7), **shown)
    ax.set_xscale("log")
    ax.set_yticks(range(len(activations)), [named("activation", one) for one in activations])
    ax.set_ylim(len(activations) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    for line in np.arange(len(activations) - 1) + 0.5:
        ax.axhline(line, color="#BBBBBB", linewidth=points(0.5))
    ax.set_xlabel(text("factor"))
    ax.xaxis.set_major_locator(FixedLocator(FACTOR_TICKS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.axvline(1, color=INK, linewidth=points(0.8), zorder=1)
    handles = [
        ax.plot([], [], **{**look_of(place).line(), "linestyle": "none"}, label=named("init", init))[0]
        for place, init in enumerate(inits)
    ]
    mark: dict[str, Any] = {"marker": "|", "markersize": points(6), "markeredgewidth": points(1.6), "color": INK}
    handles += ax.plot([], [], **mark, linestyle="none", label=text("theory"))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def _norm_line(ax: Axes, x: np.ndarray, trace: Trace, quantity: str, keywords: dict[str, Any]) -> None:
    """The median as a line through the body of a network, its other layers as single markers, and the quartile band."""
    values, body = np.where(trace.median(quantity) > 0, trace.median(quantity), np.nan), trace.body
    linear = quantity in _LINEAR
    if linear:
        values = trace.median(quantity)
    if trace.steps > 1:
        low, high = (quantile(trace[quantity], q) for q in (0.25, 0.75))
        band = {"color": tint(keywords["color"]), "linewidth": 0, "zorder": keywords.get("zorder", 3) - 1.5}
        shown = body & np.isfinite(low) & np.isfinite(high) & ((low > 0) | linear)
        ax.fill_between(x, low, high, where=shown, **band)
    every = max(1, -(-int(body.sum()) // MARKERS_UP_TO))
    ax.plot(x[body], values[body], markevery=every, **keywords)
    if not body.all():
        ax.plot(x[~body], values[~body], **{**keywords, "linestyle": "none", "label": "_head"})


def _theory_line(ax: Axes, x: np.ndarray, measured: np.ndarray, relative: np.ndarray, first: bool) -> None:
    """A closed form relative to the last layer it covers, put through the measurement there."""
    last = np.flatnonzero(np.isfinite(relative) & (relative > 0))[-1]
    ax.plot(
        x, relative / relative[last] * measured[last], zorder=8, label=text("theory") if first else "_theory", **THEORY
    )


def _norm_axis(ax: Axes, traces: Sequence[tuple[Trace, str]], quantity: str, numbered: bool) -> None:
    """A log axis with marks for what has no place on it; a linear one for fractions and for what is a log itself."""
    if quantity not in _LINEAR:
        _log_norm_axis(ax, "")
        _mark_lost(ax, traces, quantity, numbered)


def _mark_lost(ax: Axes, traces: Sequence[tuple[Trace, str]], quantity: str, numbered: bool) -> None:
    """Triangles at the dtype's smallest number for zeros, crosses at the top for what is not finite."""
    for trace, color in traces:
        values = trace.median(quantity)
        layers = np.arange(len(values))
        x = layers + 1 if numbered else layers / max(len(layers) - 1, 1)
        zero, lost = values == 0, ~np.isfinite(values)
        known = ax.get_legend_handles_labels()[1]
        if zero.any():
            floor, words = smallest_subnormal(trace.dtype), text("underflow")
            once = "_" * (words in known) + words
            ax.plot(x[zero], np.full(zero.sum(), floor), "v", color=color, label=once, clip_on=False)
        if lost.any():
            top, words = ax.get_xaxis_transform(), text("nonfinite")
            once = "_" * (words in known) + words
            ax.plot(x[lost], np.full(lost.sum(), 0.98), "x", color=color, transform=top, label=once)


def _log_norm_axis(ax: Axes, label: str) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(numticks=7))
    # Minor ticks have names only where less than a decade is in sight.
    ax.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1, 0.4)))
    ax.set_ylabel(label)


@in_look
def element_steps(sizes: Sequence[int], *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Number of elements measured in each layer, as steps on a log axis."""
    ax = axes_or_new(ax)
    edges = np.arange(len(sizes) + 1) + 0.5
    ax.stairs(sizes, edges, **{"color": INK, "linewidth": points(0.9), "baseline": None, **keywords})
    ax.set_yscale("log")
    ax.set(xlabel=text("layer"), ylabel=text("elements"))
    number_layers(ax, len(sizes))
    return ax
