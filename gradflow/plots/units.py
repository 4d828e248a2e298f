"""The gradient at every unit of a row: by the way it came, and by the length of its paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator

from gradflow.plots.labels import text
from gradflow.plots.look import INK, THEORY, axes_or_new, in_look, look_of, tint
from gradflow.plots.page import points
from gradflow.quantiles import quantile

if TYPE_CHECKING:
    from gradflow.results import GradientSplit, PathSpectrum, Table

PARTS = ("shortcut", "residual", "whole")
FORWARD = ("carried", "summed", "signal")
_MARKERS = 16


@in_look
def split_lines(split: GradientSplit, *, ax: Axes | None = None, parts: Sequence[str] = PARTS, **keywords: Any) -> Axes:
    """Shortcut part, residual part and whole of ∂E/∂x_l by unit, relative to ∂E/∂x_U; ∏λ and theory as dots.

    Dots that would be a single point, such as a ∏λ that no unit has, are left out. Lines are medians over the draws,
    bands the quartiles. The axis counts powers of ten, so nothing leaves it.
    """
    ax = axes_or_new(ax)
    places = np.arange(len(split.units) + 1)
    for place, part in enumerate(parts):
        look = look_of((1, 0, 2)[PARTS.index(part)])
        values = split.relative(part)
        _band(ax, places, values, look.color, 1 + 0.1 * place)
        shown = {**look.line(), "label": text(f"{part}_part"), "zorder": 3 + place, **keywords}
        _line(ax, places, quantile(values, 0.5), shown)
    closed = [quantile(split.log10_product, 0.5), split.theory.get("whole", np.full(len(places), np.nan))]
    there = [values for values in closed if np.isfinite(values).sum() > 1]
    names = (text("product"), "_theory") if len(there) > 1 else (text("theory"),)
    for values, name in zip(there, names, strict=False):
        _dots(ax, places, values, name)
    powers_of_ten(ax.yaxis)
    ax.set(xlabel=text("unit"), ylabel=text("split"))
    _number_units(ax, len(split.units))
    ax.legend()
    return ax


@in_look
def signal_lines(
    split: GradientSplit,
    *,
    ax: Axes | None = None,
    parts: Sequence[str] = FORWARD,
    place: int | None = None,
    **keywords: Any,
) -> Axes:
    """RMS of the signal x_l by unit, of what shortcuts carry of x_0, and of the sum of what they carry of every F."""
    ax = axes_or_new(ax)
    places = np.arange(len(split.units) + 1)
    for part in parts:
        look = look_of((1, 0, 2)[FORWARD.index(part)] if place is None else place)
        values: np.ndarray = getattr(split, f"log10_{part}") - split.log10_signal[:, :1]
        _band(ax, places, values, look.color, 1)
        _line(ax, places, quantile(values, 0.5), {**look.line(), "label": text(part), **keywords})
    powers_of_ten(ax.yaxis)
    ax.set(xlabel=text("unit"), ylabel=text("signal_split"))
    _number_units(ax, len(split.units))
    ax.legend()
    return ax


@in_look
def branch_lines(split: GradientSplit, *, ax: Axes | None = None, place: int = 1, **keywords: Any) -> Axes:
    """RMS of F(x_l) over that of x_l by unit: how much each unit changes the signal."""
    ax = axes_or_new(ax)
    look, units = look_of(place), np.arange(len(split.units))
    values = split.log10_branch - split.log10_signal[:, :-1]
    _band(ax, units, values, look.color, 1)
    _line(ax, units, quantile(values, 0.5), {**look.line(), **keywords})
    powers_of_ten(ax.yaxis)
    ax.set(xlabel=text("unit"), ylabel=text("branch_over_signal"))
    _number_units(ax, len(split.units))
    return ax


@in_look
def part_ratio(split: GradientSplit, *, ax: Axes | None = None, unit: int = 0, place: int = 1, **keywords: Any) -> Axes:
    """Distribution of residual ÷ shortcut part at one unit over draws, samples and coordinates, peak 1; −1 is marked.

    The axis is an asinh: like a logarithm on either side of zero. Raises ValueError for a unit that is not there.
    """
    if not 0 <= unit < len(split.ratio_counts):
        raise ValueError(f"unit must be 0 … {len(split.units)}, the last for the output; got unit={unit!r}")
    ax = axes_or_new(ax)
    counts, edges = split.ratio_counts[unit], np.arcsinh(split.ratio_edges)
    shown = np.flatnonzero(counts)
    low, high = (shown[0], shown[-1] + 1) if len(shown) else (0, len(counts))
    density = counts[low:high] / max(counts.max(), 1)
    look = look_of(place)
    line: dict[str, Any] = {"color": look.color, "linestyle": look.linestyle, "linewidth": points(0.9), **keywords}
    ax.stairs(density, edges[low : high + 1], **line)
    if not any(line.get_gid() == "cancelled" for line in ax.lines):
        ax.axvline(np.arcsinh(-1), color=INK, linewidth=points(0.6), gid="cancelled")
        left: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top", "fontsize": points(6)}
        ax.annotate("−1", (np.arcsinh(-1), 1), (points(-2), 0), xycoords=("data", "axes fraction"), **left)
        ax.set_xticks(np.arcsinh([-1e6, 0, 1e6]), ["$-10^6$", "0", "$10^6$"])
        ax.set(xlabel=text("part_ratio"), ylabel=text("density"))
    ax.set_ylim(0, None)
    return ax


@in_look
def path_lengths(spectrum: PathSpectrum, *, ax: Axes | None = None, place: int = 1, **keywords: Any) -> Axes:
    """Share of the gradient carried by all paths of each length, median and quartile band; dots: theory."""
    ax = axes_or_new(ax)
    share = spectrum.shares
    look = look_of(place)
    low, high = (quantile(share, q) for q in (0.25, 0.75))
    ax.fill_between(spectrum.lengths, low, high, color=tint(look.color), linewidth=0)
    _line(ax, spectrum.lengths, quantile(share, 0.5), {**look.line(), **keywords})
    if spectrum.theory is not None:
        predicted = 10 ** (spectrum.theory - spectrum.theory.max())
        _dots(ax, spectrum.lengths, predicted / predicted.sum(), text("theory"))
    ax.autoscale(axis="y")
    ax.set_ylim(bottom=0)
    _whole_numbers(ax)
    ax.set(xlabel=text("path_length"), ylabel=text("path_share"))
    return ax


@in_look
def response_line(table: Table, *, ax: Axes | None = None, place: int = 1, **keywords: Any) -> Axes:
    """Standard deviation of the responses of a network's layers, by layer: median over seeds and range."""
    ax = axes_or_new(ax)
    look, layers = look_of(place), np.arange(1, len(table["median"]) + 1)
    ax.fill_between(layers, table["low"], table["high"], color=tint(look.color, 0.16), linewidth=0)
    _line(ax, layers, np.asarray(table["median"]), {**look.line(), **keywords})
    ax.autoscale(axis="y")
    ax.set_ylim(bottom=0)
    _whole_numbers(ax)
    ax.set(xlabel=text("layer"), ylabel=text("response"))
    return ax


@in_look
def path_counts(spectrum: PathSpectrum, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Number of paths of each length, on a logarithmic axis."""
    ax = axes_or_new(ax)
    _line(ax, spectrum.lengths, spectrum.log10_counts, {"color": INK, **keywords})
    powers_of_ten(ax.yaxis)
    _whole_numbers(ax)
    ax.set(xlabel=text("path_length"), ylabel=text("path_counts"))
    return ax


@in_look
def gradient_per_path(spectrum: PathSpectrum, *, ax: Axes | None = None, place: int = 1, **keywords: Any) -> Axes:
    """RMS of the mean over all paths of each length, and dotted the RMS along single random paths, relative to
    the whole gradient."""
    ax = axes_or_new(ax)
    look = look_of(place)
    with np.errstate(divide="ignore"):
        whole = np.log10(np.where(spectrum.whole > 0, spectrum.whole, np.nan))[:, None]
    _line(ax, spectrum.lengths, quantile(spectrum.log10_per_path - whole, 0.5), {**look.line(), **keywords})
    if spectrum.single is not None:
        with np.errstate(divide="ignore"):
            along = (np.log10(spectrum.single) - whole[:, :, None]).transpose(0, 2, 1)
        single = quantile(along.reshape(-1, len(spectrum.lengths)), 0.5)
        shown = {"color": look.color, "linestyle": ":", "linewidth": points(1.0), "label": "_single"}
        _line(ax, spectrum.lengths, single, shown)
    powers_of_ten(ax.yaxis)
    _whole_numbers(ax)
    ax.set(xlabel=text("path_length"), ylabel=text("per_path"))
    return ax


class _Decades(Locator):
    """Ticks on an axis of decimal logarithms: whole decades, or 1, 2, 5 where there are few."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        vmin, vmax = min(vmin, vmax), max(vmin, vmax)
        decades = np.arange(np.floor(vmin), np.ceil(vmax) + 1)
        if vmax - vmin >= 2:
            step = max(1, -(-(len(decades) - 1) // 6))
            ticks = decades[decades % step == 0]
        else:
            # The digits that are marked in each decade: more of them, the less of it is seen.
            digits = np.arange(1, 10) if vmax - vmin < 0.7 else np.array([1, 2, 5])
            ticks = np.add.outer(decades, np.log10(digits)).ravel()
        return ticks[(ticks >= vmin) & (ticks <= vmax)]

    def __call__(self) -> Any:
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]


def _power(value: float, _: object = None) -> str:
    """10^value as a tick label: a plain number near 1, else a power of ten, with digits in front if it has any."""
    whole = round(value) if abs(value - round(value)) < 1e-9 else None
    if abs(value) < 4 and (whole is None or abs(whole) < 2):
        return f"{10**value:.3g}"
    if whole is not None:
        return f"$10^{{{whole}}}$"
    return f"${10 ** (value % 1):.2g}\\cdot 10^{{{np.floor(value):.0f}}}$"


def powers_of_ten(axis: Axis) -> None:
    """Label an axis of decimal logarithms by what they are the logarithms of."""
    axis.set_major_locator(_Decades())
    axis.set_major_formatter(FuncFormatter(_power))


def _number_units(ax: Axes, units: int) -> None:
    """Even ticks from 0, the first unit."""
    every = next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if units / step <= 8), 500)
    ax.set_xticks(range(0, units + 1, every))


def _whole_numbers(ax: Axes) -> None:
    """The ticks that matplotlib finds, but none between two whole numbers."""
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))


def _band(ax: Axes, x: np.ndarray, values: np.ndarray, color: str, zorder: float) -> None:
    if len(values) > 1:
        low, high = (quantile(values, q) for q in (0.25, 0.75))
        there = np.isfinite(low) & np.isfinite(high)
        ax.fill_between(x, low, high, where=there, color=tint(color), linewidth=0, zorder=zorder)


def _line(ax: Axes, x: np.ndarray, values: np.ndarray, keywords: dict[str, Any]) -> None:
    there = np.isfinite(values)
    every = max(1, -(-int(there.sum()) // _MARKERS))
    if there.any():
        ax.plot(x[there], values[there], markevery=every, **keywords)


def _dots(ax: Axes, x: np.ndarray, values: np.ndarray, label: str) -> None:
    there = np.isfinite(values)
    if there.any():
        ax.plot(x[there], values[there], **{**THEORY, "zorder": 8, "label": label})
