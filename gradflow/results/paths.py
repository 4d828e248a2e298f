"""The gradient by path length: what :func:`gradflow.path_spectrum` gives.

Letters: S draws, U units, N sampled paths of each length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import theory
from gradflow.quantiles import quantile
from gradflow.results.base import Result, count, known, number, power, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PathSpectrum(Result):
    """RMS over B × D of the part of ∂loss/∂x_0 that all paths through k branches carry together, k = 0 … U.

    ``units`` are the names of the U units, ``plain`` how many of them have no shortcut. ``values`` is (S, U + 1);
    the parts add up, as vectors, to the gradient, whose RMS is ``whole`` (S,). ``single`` (S, U + 1, N), if asked for,
    is the RMS along single random paths. ``theory`` (U + 1,), for networks with a closed form, is log10 of the RMS by
    length over that of ∂loss/∂x_U in a wide net whose gradient there is independent of its weights.
    """

    units: tuple[str, ...]
    plain: int
    values: np.ndarray
    whole: np.ndarray
    single: np.ndarray | None = None
    theory: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """The path lengths 0 … U."""
        return np.arange(len(self.units) + 1)

    @property
    def log10_counts(self) -> np.ndarray:
        """log10 of the number of paths of each length, shape (U + 1,): binomial, −inf where there is none."""
        return theory.log10_path_counts(len(self.units), self.plain)

    @property
    def log10_per_path(self) -> np.ndarray:
        """log10 of the RMS of the mean over the paths of each length, shape (S, U + 1): ``values`` over the number of
        paths; NaN where there is none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isfinite(self.log10_counts), np.log10(self.values) - self.log10_counts, np.nan)

    @property
    def shares(self) -> np.ndarray:
        """RMS(G_k)/Σ_k RMS(G_k), shape (S, U + 1); NaN where no gradient came through at all."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.values / self.values.sum(1, keepdims=True))

    def share(self, low: int, high: int) -> np.ndarray:
        """Part of Σ_k RMS(G_k) in lengths ``low`` … ``high``, both included, shape (S,).

        Raises ValueError unless 0 ≤ low ≤ high ≤ U.
        """
        if not 0 <= low <= high <= len(self.units):
            raise ValueError(f"lengths go from 0 to {len(self.units)}; got low={low}, high={high}")
        return np.asarray(self.shares[:, low : high + 1].sum(1))

    def interval(self, share: float = 0.95) -> tuple[int, int]:
        """The shortest range of lengths with at least that share of Σ_k RMS(G_k), median over the draws.

        Raises ValueError for a share that is not above 0 and at most 1, and where no gradient came through.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must lie above 0 and not above 1; got share={share!r}")
        middle = quantile(self.shares, 0.5)
        if not np.isfinite(middle.sum()) or middle.sum() == 0:
            raise ValueError("no finite gradient reaches the first unit, so no length has a share of it")
        total = np.concatenate([[0.0], np.cumsum(middle / middle.sum())])
        ranges = (
            (high - low, low, high - 1)
            for low in range(len(middle))
            for high in range(low + 1, len(total))
            if total[high] - total[low] >= share - 1e-12
        )
        _, low, high = min(ranges)
        return low, high

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots
        from gradflow.plots.labels import text
        from gradflow.plots.panels import legend_of_drawn

        ax = plots.path_lengths(self, ax=ax, **{"label": text("measured"), **keywords})
        return ax if self.theory is None and "label" not in keywords else legend_of_drawn(ax=ax)

    def _columns(self) -> dict[str, Any]:
        draws, lengths = np.indices(self.values.shape).reshape(2, -1)
        return {
            "draw": draws,
            "length": lengths,
            "log10_count": self.log10_counts[lengths],
            "rms": self.values.ravel(),
            "log10_per_path": self.log10_per_path.ravel(),
        }

    def __repr__(self) -> str:
        over = f"median of {count(len(self.values), 'draw')}" if len(self.values) > 1 else "one draw"
        rows = {
            "branches passed": [str(length) for length in self.lengths],
            "paths": [power(value) for value in self.log10_counts],
            "RMS of all": [known(value) for value in quantile(self.values, 0.5)],
            "share": ["–" if np.isnan(value) else f"{value:.1%}" for value in quantile(self.shares, 0.5)],
        }
        return (
            f"PathSpectrum: RMS of ∂loss/∂x_0 by path length through {count(len(self.units), 'unit')} ({over})\n"
            f"{text_table(list(rows), list(rows.values()))}\n{self._summary()}"
        )

    def _summary(self) -> str:
        try:
            low, high = self.interval()
        except ValueError as error:
            return str(error)
        paths = 100 * theory.path_share(len(self.units) - self.plain, low - self.plain, high - self.plain)
        return f"95 % of it comes from paths of length {low} to {high}, which are {number(paths)} % of all paths"
