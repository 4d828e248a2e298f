"""The gradient at every unit, split by where it came through: what :func:`gradflow.split` gives.

Letters: S draws, U units. Places l = 0 … U are the inputs x_l of the units and the last unit's output x_U.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradflow import theory
from gradflow.quantiles import quantile
from gradflow.results.base import Result, count, known, power, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATIO_EDGES = np.sinh(np.arange(-20.0, 20.25, 0.25))
"""Bin edges of residual part ÷ shortcut part, evenly spaced in asinh: like a logarithm on either side of zero."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GradientSplit(Result):
    """∂E/∂x_l as a shortcut part, (∏_{i≥l} h′_i)ᵀ ∂E/∂x_U, and a residual part, which is all the rest.

    ``units`` are the names of the U units, ``posts`` (U) their post-activations, ``gaps`` (U) whether a layer stands in
    front of each; ``lam`` (S, U) are their λ: 0 for plain units, NaN for a shortcut that is not λx.

    Backward, all (S, U + 1): ``log10_shortcut``, ``log10_residual`` and ``log10_whole``, log10 of the RMS over all
    B × D elements of each part (−inf for zero); ``cosine`` between the two parts; ``share``, ⟨shortcut part, whole⟩
    over ⟨whole, whole⟩, which with the residual part's share adds to one; ``cancelled``, the fraction of elements where
    residual ÷ shortcut part is within a tenth of −1. ``ratio_counts`` (U + 1, bins) counts that quotient over draws,
    samples and coordinates in ``RATIO_EDGES``, the outermost bins with all beyond. Both leave out elements whose
    shortcut part is zero.

    Forward, RMS as above and anew behind a gap, (S, U + 1): ``log10_signal`` of x_l, ``log10_carried`` of what
    shortcuts carry of x_0, ``log10_summed`` of what they carry of every F, ``log10_left_over`` of x_l less both.
    (S, U): ``log10_branch`` of F(x_l), and ``falling``, the fraction of elements with x_{l+1} < x_l, NaN where the
    shape changes. For λx without post nothing is left over: He16 eq. 6.

    ``theory`` may hold "shortcut", "residual" and "whole": log10 of each over the whole at x_U as mean field theory has
    it, (U + 1,).
    """

    ratio_edges: ClassVar[np.ndarray] = RATIO_EDGES

    units: tuple[str, ...]
    lam: np.ndarray
    posts: tuple[str, ...]
    gaps: tuple[bool, ...]
    log10_shortcut: np.ndarray
    log10_residual: np.ndarray
    log10_whole: np.ndarray
    cosine: np.ndarray
    share: np.ndarray
    cancelled: np.ndarray
    ratio_counts: np.ndarray
    log10_signal: np.ndarray
    log10_carried: np.ndarray
    log10_summed: np.ndarray
    log10_left_over: np.ndarray
    log10_branch: np.ndarray
    falling: np.ndarray
    theory: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def log10_product(self) -> np.ndarray:
        """log10 |∏_{i=l}^{U−1} λ_i|, shape (S, U + 1): He16 eq. 8's first factor; NaN from a gap, or from a shortcut
        that is not λx, on toward the input."""
        return np.stack([self._product(lam) for lam in self.lam])

    def _product(self, lam: np.ndarray) -> np.ndarray:
        places = range(len(lam) + 1)
        start = max((place for place in places[:-1] if not np.isfinite(lam[place])), default=-1) + 1
        gap = max((place for place in places[:-1] if self.gaps[place]), default=0)
        start = max(start, gap)
        product = theory.log10_shortcut_product(lam[start:].tolist(), len(lam) - start)
        return np.concatenate([np.full(start, np.nan), product])

    @property
    def log10_contributions(self) -> np.ndarray:
        """log10 of the RMS of F̂(x_i) = (∏_{j>i} λ_j) F(x_i) in x_U, shape (S, U): He16 eq. 6; NaN as above."""
        return self.log10_branch + self.log10_product[:, 1:]

    def relative(self, part: str) -> np.ndarray:
        """log10 of the RMS of a part ("shortcut", "residual" or "whole") over that of ∂E/∂x_U: (S, U + 1)."""
        values: np.ndarray = getattr(self, f"log10_{part}")
        with np.errstate(invalid="ignore"):
            return values - self.log10_whole[:, -1:]

    def median(self, part: str) -> np.ndarray:
        """The median of :meth:`relative` over the draws, shape (U + 1,)."""
        return quantile(self.relative(part), 0.5)

    @property
    def draws(self) -> int:
        """How often weights and batch were drawn."""
        return len(self.log10_whole)

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.split_lines(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        draws, places = np.indices(self.log10_whole.shape).reshape(2, -1)
        columns: dict[str, Any] = {"draw": draws, "place": places, "log10_product": self.log10_product.ravel()}
        for name in ("shortcut", "residual", "whole", "signal", "carried", "summed", "left_over"):
            columns[f"log10_{name}"] = getattr(self, f"log10_{name}").ravel()
        return columns | {name: getattr(self, name).ravel() for name in ("cosine", "share", "cancelled")}

    def __repr__(self) -> str:
        over = f"median of {count(self.draws, 'draw')}" if self.draws > 1 else "one draw"
        title = f"GradientSplit: RMS of ∂E/∂x at {count(len(self.units), 'unit')}, relative to ∂E/∂x_U ({over})"
        parts = [[power(value) for value in self.median(part)] for part in ("shortcut", "residual", "whole")]
        rows = {
            "input of": (*self.units, "(output)"),
            "λ": [*map(known, quantile(self.lam, 0.5)), ""],
            "∏λ": [power(value) for value in quantile(self.log10_product, 0.5)],
            "shortcut part": parts[0],
            "residual part": parts[1],
            "whole": parts[2],
            "cosine": ["–" if np.isnan(value) else f"{value:.2f}" for value in quantile(self.cosine, 0.5)],
            "share": [*map(known, quantile(self.share, 0.5))],
        }
        return f"{title}\n{text_table(list(rows), list(rows.values()))}{self._note()}"

    def _note(self) -> str:
        """How far the closed form ∏λ is from the measured shortcut part, where posts make it approximate."""
        apart = quantile(self.relative("shortcut")[:, 0] - self._finite_product()[:, 0], 0.5)
        if not any(self.posts) or not np.isfinite(apart):
            return ""
        return (
            f"\nthe posts ({'; '.join(dict.fromkeys(filter(None, self.posts)))}) belong to both parts, so ∏λ is "
            f"approximate: the shortcut part measured at the first unit is {power(float(apart))} times ∏λ"
        )

    def _finite_product(self) -> np.ndarray:
        """∏λ where it is not zero, else NaN."""
        product = self.log10_product
        return np.where(np.isfinite(product), product, np.nan)
