"""Error of trained nets with units taken out or swapped, in the three pictures of Veit16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from gradflow.plots.labels import text
from gradflow.plots.look import INK, Look, axes_or_new, in_look, look_of, tint
from gradflow.plots.page import points
from gradflow.quantiles import quantile

if TYPE_CHECKING:
    from gradflow.results import Lesion

    Lesions: TypeAlias = Lesion | Sequence[Lesion]


class _Net(NamedTuple):
    """One net, its lesions by training seed, and how it is drawn."""

    lesions: list[Lesion]
    look: Look
    label: str

    @property
    def units(self) -> int:
        return len(self.lesions[0].units)


@in_look
def lesion_by_unit(lesions: Lesions, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Error in percent after removal of each unit, with stars for those that change size, and of the whole net (thin).

    lesions: one, or several of nets that differ in their training seed only: then medians, and bands over the range.
    Nets with different numbers of units are drawn against relative depth.
    """
    ax, nets = axes_or_new(ax), _nets(lesions)
    relative = len({net.units for net in nets}) > 1
    for net in nets:
        places = np.linspace(0, 1, net.units) if relative else np.arange(net.units)
        errors = 100 * np.array([lesion.without_one for lesion in net.lesions])
        if len(errors) > 1:
            _band(ax, places, errors.min(0), errors.max(0), net.look)
        middle, changes = np.median(errors, axis=0), net.lesions[0].changes_size
        shown = {**net.look.line(), "label": net.label, "zorder": 4, **keywords}
        ax.plot(places, middle, **shown)
        large: dict[str, Any] = {
            **shown,
            "linestyle": "none",
            "marker": "*",
            "markersize": points(8),
            "markeredgecolor": shown["color"],
        }
        large |= {"label": "_changes", "zorder": 5, "markeredgewidth": points(0.7)}
        ax.plot(places[changes], middle[changes], **large)
        _whole(ax, net)
    if any(net.lesions[0].changes_size.any() for net in nets):
        mark: dict[str, Any] = {
            "linestyle": "none",
            "marker": "*",
            "markersize": points(8),
            "color": INK,
            "markerfacecolor": "white",
        }
        ax.plot([], [], **mark, markeredgewidth=points(0.7), label=text("changes_size"))
    if not relative:
        _whole_numbers(ax, nets[0].units - 1)
    return _finished(ax, nets, text("removed_unit_relative" if relative else "removed_unit"))


@in_look
def lesion_by_count(lesions: Lesions, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Error in percent after removal of k random units: median over draws and seeds, and quartile band.

    lesions: as in :func:`lesion_by_unit`. Nets with different numbers of units are drawn against the part removed.
    """
    ax, nets = axes_or_new(ax), _nets(lesions)
    relative = len({net.units for net in nets}) > 1
    for net in nets:
        counts = np.arange(net.units + 1)
        places = 100 * counts / net.units if relative else counts
        draws = 100 * np.concatenate([_from_intact(lesion) for lesion in net.lesions], axis=1).T
        _band(ax, places, quantile(draws, 0.25), quantile(draws, 0.75), net.look)
        ax.plot(places, quantile(draws, 0.5), **{**net.look.line(), "label": net.label, "zorder": 4, **keywords})
    if not relative:
        _whole_numbers(ax, nets[0].units)
    return _finished(ax, nets, text("removed_part" if relative else "removed_count"))


@in_look
def lesion_by_order(lesions: Lesions, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Error in percent by Kendall's τ of the order of the units: every draw, and medians by number of swaps.

    lesions: as in :func:`lesion_by_unit`. The axis starts at the original order, τ = 1.
    """
    ax, nets = axes_or_new(ax), _nets(lesions)
    for net in nets:
        tau = np.concatenate([[1.0], *(lesion.tau for lesion in net.lesions)])
        errors = 100 * np.concatenate([[_middle_error(net)], *(lesion.reordered for lesion in net.lesions)])
        swaps = np.concatenate([[0], *(lesion.swaps for lesion in net.lesions)])
        point: dict[str, Any] = {"linestyle": "none", "marker": net.look.marker, "markersize": points(2), "zorder": 2}
        edge = tint(net.look.color, 0.4)
        ax.plot(tau, errors, **point, color=edge, markeredgewidth=points(0.5), markerfacecolor="white")
        middle = np.array([(np.median(tau[swaps == m]), np.median(errors[swaps == m])) for m in np.unique(swaps)])
        # By τ, and not by swaps: with many swaps τ no longer falls steadily.
        middle = middle[np.argsort(-middle[:, 0], kind="stable")]
        ax.plot(*middle.T, **{**net.look.line(), "label": net.label, "zorder": 4, **keywords})
    ax = _finished(ax, nets, text("kendall_tau"))
    ax.invert_xaxis()
    return ax


def _nets(lesions: Lesions) -> list[_Net]:
    """The nets to draw, those that stand beside first."""
    several: list[Lesion] = list(lesions) if isinstance(lesions, Sequence) else [lesions]
    if not several or len({(one.units, one.plain is None) for one in several}) > 1:
        raise ValueError("lesions drawn together must be of nets that differ in their training seed only")
    beside = [one.plain for one in several if one.plain is not None]
    groups = [(look_of(0), beside)] if beside else []
    alone = not beside and several[0].kind == "plain"
    groups.append((look_of(0 if alone else 1), several))
    return [_Net(group, look, _name(group[0])) for look, group in groups]


def _name(lesion: Lesion) -> str:
    units = len(lesion.units)
    return text("lesion_net" if units > 1 else "lesion_net_one", kind=text(lesion.kind), units=units)


def _from_intact(lesion: Lesion) -> np.ndarray:
    """Errors with 0 … U units removed, shape (U + 1, D)."""
    return np.vstack([np.full((1, lesion.without_several.shape[1]), lesion.error), lesion.without_several])


def _middle_error(net: _Net) -> float:
    return float(np.median([lesion.error for lesion in net.lesions]))


def _band(ax: Axes, places: np.ndarray, low: np.ndarray, high: np.ndarray, look: Look) -> None:
    ax.fill_between(places, low, high, color=tint(look.color), linewidth=0, zorder=1)


def _whole(ax: Axes, net: _Net) -> None:
    line: dict[str, Any] = {"color": net.look.color, "linestyle": net.look.linestyle, "linewidth": points(0.6)}
    ax.axhline(100 * _middle_error(net), **line, zorder=1.5)


def _whole_numbers(ax: Axes, last: int) -> None:
    """Ticks at whole numbers from 0 to ``last`` only."""
    # A locator finds fractions around a single place.
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True) if last else FixedLocator([0]))


def _finished(ax: Axes, nets: list[_Net], xlabel: str) -> Axes:
    chance = 100 * nets[-1].lesions[0].chance
    line: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 2)), "linewidth": points(0.9)}
    ax.axhline(chance, **line, zorder=1.5, label=text("chance"))
    ax.set(xlabel=xlabel, ylabel=text("error"), ylim=(0, 100))
    ax.legend()
    return ax
