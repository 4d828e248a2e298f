"""The loss around a model: along random directions, and as contours on the plane of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gradflow.plots.labels import text
from gradflow.plots.look import INK, axes_or_new, in_look, look_of, tint
from gradflow.plots.page import current_page, points
from gradflow.quantiles import quantile

if TYPE_CHECKING:
    from gradflow.results import LossSlice

_PER_DECADE, _MOST_LEVELS = (8, 4, 2, 1), 20
"""Contours in each decade: as many as there is room for."""
_FEW_DECADES = 100.0
_ROUNDING = 0.03
"""Contour levels have two digits: 3.2 for the root of ten."""
_NUMBER_ROOM = (0.45, 0.22)
"""Width and height that the number of a contour needs, as parts of the radius of the plane."""
_CLEARANCE = 0.07
"""How near another contour may come to a number, as a part of the radius."""
_PALEST, _DARKEST, _DARKEST_GREY = 0.02, 0.62, 0.45
"""How much of the colour there is in the lowest and in the highest area, so dark that dark numbers stay legible."""


@in_look
def loss_curves(
    slices: Mapping[str, LossSlice | Sequence[LossSlice]], *, ax: Axes | None = None, **keywords: Any
) -> Axes:
    """Loss along random directions, by name of the model: median over its slices and, if several, their whole range.

    The axis is logarithmic where every loss is positive. A cross at the top marks a place where the loss is not finite
    in any of the directions. ``keywords`` go to ``Axes.plot``. Raises ValueError for slices along two directions, or
    at different places.
    """
    families = {name: _same_places(given) for name, given in slices.items()}
    ax = axes_or_new(ax)
    for place, (name, (alphas, losses)) in enumerate(families.items()):
        shown = {**look_of(place).line(), "label": text(name), "markevery": 2, "zorder": 3 + place, **keywords}
        finite = np.isfinite(losses).all(axis=0)
        if len(losses) > 1:
            band: dict[str, Any] = {"color": tint(shown["color"], 0.16), "linewidth": 0, "zorder": 1}
            ax.fill_between(alphas, losses.min(axis=0), losses.max(axis=0), where=finite, **band)
        middle = quantile(losses, 0.5)
        ax.plot(alphas, np.where(np.isfinite(middle), middle, np.nan), **shown)
        if not finite.all():
            mark: dict[str, Any] = {"color": shown["color"], "linestyle": "none", "label": text("nonfinite")}
            top = np.full(np.sum(~finite), 0.98)
            ax.plot(alphas[~finite], top, "x", transform=ax.get_xaxis_transform(), **mark)
    known = np.concatenate([losses[np.isfinite(losses)] for _, losses in families.values()])
    if len(known) and known.min() > 0:
        _log_axis(ax, known.max() / known.min() < _FEW_DECADES)
    ax.set(xlabel=text("loss_direction"), ylabel=text("loss"))
    ax.legend()
    return ax


@in_look
def loss_contours(
    plane: LossSlice, *, ax: Axes | None = None, levels: Sequence[float] | None = None, **keywords: Any
) -> Axes:
    """Contours of the loss on the plane of two directions, the higher the darker; the + is the model itself.

    levels: where to draw them, the same for all planes that are compared (see :func:`loss_levels`). A small × marks a
    grid point where the loss is not finite. ``keywords`` go to ``Axes.contour``. Raises ValueError
    for a slice along one direction.
    """
    if plane.directions != 2:
        raise ValueError("loss_contours needs a plane, loss_slice(..., directions=2); draw a line with loss_curves")
    chosen = np.asarray(loss_levels(plane) if levels is None else levels, dtype=float)
    ax = axes_or_new(ax)
    alphas, loss = plane.alphas, np.ma.masked_invalid(plane.loss.T)
    ax.set(xlim=(alphas[0], alphas[-1]), ylim=(alphas[0], alphas[-1]), aspect="equal")
    strengths = np.linspace(_PALEST, _DARKEST_GREY if current_page().grey else _DARKEST, len(chosen) + 1)
    shades = [tint(look_of(1).color, strength) for strength in strengths]
    if not loss.mask.all():
        ax.contourf(alphas, alphas, loss, levels=chosen, colors=shades, extend="both")
        crossed = chosen[(chosen > loss.min()) & (chosen < loss.max())]
        if len(crossed):
            shown = {"colors": INK, "linewidths": points(0.5), **keywords}
            lines = ax.contour(alphas, alphas, loss, levels=crossed, **shown)
            _number_contours(ax, lines, [level for level in crossed if _is_named(level)], alphas[-1])
    ax.plot(0, 0, "P", color="white", markeredgecolor=INK, markersize=points(5), zorder=5)
    if plane.lost:
        first, second = np.nonzero(~np.isfinite(plane.loss))
        mark: dict[str, Any] = {"color": INK, "markersize": points(2), "linestyle": "none", "label": text("nonfinite")}
        ax.plot(alphas[first], alphas[second], "x", **mark)
    ax.set(xlabel=text("first_direction"), ylabel=text("second_direction"))
    ticks = alphas[-1] * np.array([-1, -0.5, 0, 0.5, 1])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator(ticks.tolist()))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    ax.grid(visible=False)
    return ax


def loss_levels(*planes: LossSlice, low: float = 0.0, high: float = np.inf) -> list[float]:
    """Contour levels for one or several planes, between ``low`` and ``high``: equally far apart on a log scale, as many
    in each decade as can be told apart; round numbers where a loss is not positive.
    """
    known = np.concatenate([plane.loss[np.isfinite(plane.loss)] for plane in planes] or [np.empty(0)])
    known = np.clip(known, low, high)
    if not len(known):
        return [1.0, 10.0]
    if known.min() <= 0:
        return [float(level) for level in MaxNLocator(12).tick_values(known.min(), known.max())]
    first, last = np.log10(known.min()), np.log10(known.max())
    each = next((each for each in _PER_DECADE if (last - first) * each <= _MOST_LEVELS), 1)
    powers = np.arange(np.floor(first * each + 1e-9), np.ceil(last * each - 1e-9) + 1) / each
    # Two digits are enough, and are what is printed.
    return [float(f"{10**power:.1e}") for power in powers] if len(powers) > 1 else [known.min(), 10 * known.min()]


def _log_axis(ax: Axes, short: bool) -> None:
    """A log axis with a number at each decade; a ``short`` one at 1, 2 and 5 of each."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if short else (1,), numticks=7))
    ax.yaxis.set_minor_formatter(NullFormatter())
    if short:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _same_places(given: LossSlice | Sequence[LossSlice]) -> tuple[np.ndarray, np.ndarray]:
    """The places (P,) and losses (slices, P) of one model."""
    several = list(given) if isinstance(given, Sequence) else [given]
    if not several or any(one.directions != 1 for one in several):
        raise ValueError("loss_curves needs slices along one direction; draw a plane with loss_contours")
    alphas = several[0].alphas
    if not all(np.array_equal(one.alphas, alphas) for one in several):
        raise ValueError("the slices of a model must have the same radius and steps")
    return alphas, np.array([one.loss for one in several])


def _number_contours(ax: Axes, lines: ContourSet, named: Sequence[float], radius: float) -> None:
    """Numbers above or below the middle, where most contours run across and can be read, none upon another, and none
    where other contours are so near that they would strike it through."""
    room = radius * np.array(_NUMBER_ROOM)
    taken = [np.zeros(2)]  # the model itself
    corners = {level: np.asarray(path.vertices) for level, path in zip(lines.levels, lines.get_paths(), strict=True)}
    for level in named:
        inside = corners[level][np.abs(corners[level]).max(axis=1, initial=0) < radius - room[1]]
        others = np.concatenate([path for other, path in corners.items() if other != level] or [np.empty((0, 2))])
        for place in inside[np.argsort(np.abs(inside[:, 0]), kind="stable")]:
            clear = np.hypot(*(others - place).T).min(initial=np.inf) > _CLEARANCE * radius
            if clear and all((np.abs(place - other) > room).any() for other in taken):
                taken.append(place)
                break
    shown: dict[str, Any] = {"fontsize": points(6), "inline_spacing": points(1.5), "fmt": lambda level: f"{level:g}"}
    ax.clabel(lines, named, manual=[tuple(place) for place in taken[1:]], **shown)


def _is_named(level: float) -> bool:
    """Whether a contour carries its number: every half decade, and what is not positive."""
    return level <= 0 or abs(2 * np.log10(level) - round(2 * np.log10(level))) < _ROUNDING
