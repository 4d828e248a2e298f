"""What a network still knows without some of its units: what :func:`gradflow.lesion` gives.

Letters: U units, D draws, N reorderings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow.results.base import Result, count, number, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Lesion(Result):
    """Errors, as fractions of wrong answers, of a trained network with units removed or swapped (Veit16 Fig. 3 and 5).

    ``units`` are the names of the U units; ``changes_size`` and ``has_shortcut`` (U,) of bool tell of each whether its
    output has another shape than its input, and whether it has a shortcut. ``error`` is that of the whole net,
    ``chance`` that of the answer that is right most often. ``without_one`` (U,) has the error after removal of each
    unit, ``without_several`` (U, D) after removal of k = 1 … U random ones. ``swaps``, ``tau`` and ``reordered`` (N,):
    how many random pairs of units were swapped, Kendall's τ between the order they gave and the original, over all
    units, and the error; N = 0 where no two units can be swapped. ``plain`` is the Lesion of a net to draw beside.
    """

    units: tuple[str, ...]
    changes_size: np.ndarray
    has_shortcut: np.ndarray
    error: float
    chance: float
    without_one: np.ndarray
    without_several: np.ndarray
    swaps: np.ndarray
    tau: np.ndarray
    reordered: np.ndarray
    plain: Lesion | None = None

    @property
    def kind(self) -> str:
        """ "residual" for a net with a shortcut in any unit, "plain" otherwise."""
        return "residual" if self.has_shortcut.any() else "plain"

    @property
    def removed(self) -> np.ndarray:
        """How many units are removed together in the rows of ``without_several``: 1 … U."""
        return np.arange(1, len(self.units) + 1)

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.lesion_by_unit(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        rows = [("model", *row) for row in self._rows()]
        if self.plain is not None:
            rows += [("plain", *row) for row in self.plain._rows()]
        names = ("net", "lesion", "unit", "count", "draw", "tau", "error")
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

    def _rows(self) -> list[tuple[Any, ...]]:
        """Lesion, unit, count, draw, tau and error of every measurement."""
        units, draws = self.without_several.shape
        rows: list[tuple[Any, ...]] = [("none", "", 0, 0, 1.0, self.error)]
        rows += [("one", unit, 1, 0, np.nan, error) for unit, error in zip(self.units, self.without_one, strict=True)]
        rows += [
            ("several", "", k + 1, draw, np.nan, self.without_several[k, draw]) for k, draw in np.ndindex(units, draws)
        ]
        order = zip(self.swaps, self.tau, self.reordered, strict=True)
        rows += [("swaps", "", swaps, at % draws, tau, error) for at, (swaps, tau, error) in enumerate(order)]
        return rows

    def __repr__(self) -> str:
        beside = "" if self.plain is None else f"\n\nbeside it: {self.plain!r}"
        size = f"{self.kind} net of {count(len(self.units), 'unit')}"
        samples = f", {self.provenance['samples']} samples" if "samples" in self.provenance else ""
        title = (
            f"Lesion: {size}, error {_percent(self.error)} (always the same answer: {_percent(self.chance)}){samples}"
        )
        rows = {
            "unit removed": self.units,
            "error": [_percent(error) for error in self.without_one],
            "changes size": ["yes" if changes else "" for changes in self.changes_size],
        }
        table = text_table(list(rows), list(rows.values()))
        return "\n".join([title, table, self._one_line(), self._several_line(), *self._order_line()]) + beside

    def _one_line(self) -> str:
        worst = int(np.argmax(self.without_one))
        note = ", which changes size" if self.changes_size[worst] else ""
        middle, most = _percent(np.median(self.without_one)), _percent(self.without_one[worst])
        return f"one removed: error {middle} in the median, {most} without {self.units[worst]}{note}"

    def _several_line(self) -> str:
        draws = self.without_several.shape[1]
        middle = np.median(self.without_several, axis=1)
        shown = dict.fromkeys(max(1, round(share * len(middle))) for share in (0, 0.25, 0.5, 1))
        parts = [f"{_percent(middle[k - 1])} with {k}" for k in shown]
        return f"random units removed: error {', '.join(parts)} (median of {count(draws, 'draw')})"

    def _order_line(self) -> list[str]:
        parts = []
        for swaps in np.unique(self.swaps)[[0, -1] if len(np.unique(self.swaps)) > 1 else slice(None)]:
            here = self.swaps == swaps
            tau, error = np.median(self.tau[here]), np.median(self.reordered[here])
            parts.append(f"{_percent(error)} after {count(int(swaps), 'swap')} (τ = {number(float(tau))})")
        return [f"units swapped: error {', '.join(parts)}"] if parts else []


def _percent(fraction: Any) -> str:
    return f"{100 * float(fraction):.1f} %"
