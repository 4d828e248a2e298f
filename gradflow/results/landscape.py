"""Slices through the loss as a function of the weights: what :func:`gradflow.measure.landscape.loss_slice` gives.

Letters: P grid points along one direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow.quantiles import quantile
from gradflow.results.base import Result, count, number, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROUNDING = 1e-6
"""Second differences below zero by less than this share of the loss are float32's rounding, not a shape."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LossSlice(Result):
    """The loss along one random direction in weight space, or on the plane of two (Li et al. 2018, §4).

    ``alphas`` (P,) are the multiples of a direction, in units of the length of each filter; the middle one is 0, the
    model itself. ``loss`` is (P,) along one direction; (P, P) on a plane, with ``loss[i, j]`` at
    θ + ``alphas[i]``·d₁ + ``alphas[j]``·d₂. ``error`` (same shape) is the fraction of wrong answers, None unless the
    model classifies. Losses that are not finite are kept as they are.
    """

    alphas: np.ndarray
    loss: np.ndarray
    error: np.ndarray | None = None

    @property
    def directions(self) -> int:
        """Number of directions, 1 or 2."""
        return self.loss.ndim

    @property
    def centre(self) -> tuple[int, ...]:
        """The index of the model itself."""
        return (len(self.alphas) // 2,) * self.directions

    @property
    def distances(self) -> np.ndarray:
        """Distance of each grid point from the centre, √(a² + b²), in the shape of ``loss``."""
        squares = np.meshgrid(*[self.alphas**2] * self.directions, indexing="ij")
        return np.asarray(np.sqrt(np.sum(squares, axis=0)))

    @property
    def lost(self) -> int:
        """Number of grid points where the loss is not finite."""
        return int(np.sum(~np.isfinite(self.loss)))

    def reach(self, rise: float = 1.0) -> float:
        """Distance to the nearest grid point where the loss is more than ``rise`` above the centre, or not finite.

        It is known to one grid step; infinity if there is no such point.
        """
        beyond = ~(self.loss <= self.loss[self.centre] + rise)
        return float(self.distances[beyond].min()) if beyond.any() else float("inf")

    @property
    def convexity(self) -> float:
        """Share of the inner grid points where the slice curves upward in every direction it shows.

        Along one direction: the second difference is not negative. On a plane: the smaller eigenvalue of the 2 × 2
        matrix of second differences is not. Points beside a loss that is not finite are left out; NaN if none is left.
        Li et al. (§6) ask the same of the Hessian in all dimensions, of which this sees one or two.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            lowest, size = _smallest_curvature(self.loss)
            known = np.isfinite(lowest)
            return float(np.mean(lowest[known] >= -_ROUNDING * size[known])) if known.any() else float("nan")

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        if self.directions == 2:
            return plots.loss_contours(self, ax=ax, **keywords)
        return plots.loss_curves({"loss": self}, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        places = np.meshgrid(*[self.alphas] * self.directions, indexing="ij")
        columns = {name: place.ravel() for name, place in zip(("alpha", "beta"), places, strict=False)}
        columns["loss"] = self.loss.ravel()
        return columns if self.error is None else columns | {"error": self.error.ravel()}

    def _table(self) -> str:
        """Every point of a line; on a plane the points at about each distance from the centre, to the nearest step."""
        if self.directions == 1:
            columns = {name: [number(value) for value in column] for name, column in self._columns().items()}
            return text_table(list(columns), list(columns.values()))
        rings = np.rint(self.distances / self._step).astype(int)
        groups = [self.loss[rings == ring] for ring in range(len(self.alphas) // 2 + 1)]
        rows = [[quantile(group, q) for q in (0, 0.5, 1)] for group in groups]
        columns_of_rings = [[number(float(value)) for value in column] for column in zip(*rows, strict=True)]
        distances = [number(ring * self._step) for ring in range(len(rows))]
        return text_table(("distance", "lowest", "median", "highest"), (distances, *columns_of_rings))

    @property
    def _step(self) -> float:
        return float(self.alphas[1] - self.alphas[0])

    def __repr__(self) -> str:
        known = {key: self.provenance[key] for key in ("samples", "mode", "loss", "seed") if key in self.provenance}
        setting = f" ({', '.join(f'{key} {value}' for key, value in known.items())})" if known else ""
        points = " × ".join([str(len(self.alphas))] * self.directions)
        title = f"LossSlice: {count(self.directions, 'direction')}, {points} points within ±{number(self.alphas[-1])}"
        reach = self.reach()
        rises = "nowhere" if np.isinf(reach) else f"first at distance {number(reach)}"
        lines = [
            f"loss at the centre {number(self.loss[self.centre])}; 1 above that {rises} (grid step "
            f"{number(self._step)})",
            f"lowest loss {number(_lowest(self.loss))}; curves upward at {self.convexity:.0%} of the inner points",
        ]
        if self.error is not None:
            lines.append(f"error at the centre {self.error[self.centre]:.1%}")
        if self.lost:
            lines.append(f"not finite at {count(self.lost, 'point')} of {self.loss.size}")
        return "\n".join([title + setting, self._table(), *lines])


def _lowest(loss: np.ndarray) -> float:
    finite = loss[np.isfinite(loss)]
    return float(finite.min()) if len(finite) else float("nan")


def _smallest_curvature(loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each inner point the smallest second difference over all directions, and the largest |loss| that went in."""
    if loss.ndim == 1:
        low, middle, high = loss[:-2], loss[1:-1], loss[2:]
        return low - 2 * middle + high, np.maximum(np.abs(low), np.maximum(np.abs(middle), np.abs(high)))
    inner = loss[1:-1, 1:-1]
    along = loss[:-2, 1:-1] - 2 * inner + loss[2:, 1:-1]
    across = loss[1:-1, :-2] - 2 * inner + loss[1:-1, 2:]
    mixed = (loss[2:, 2:] - loss[2:, :-2] - loss[:-2, 2:] + loss[:-2, :-2]) / 4
    smallest = (along + across) / 2 - np.hypot((along - across) / 2, mixed)
    windows = np.lib.stride_tricks.sliding_window_view(np.abs(loss), (3, 3))
    return smallest, windows.max(axis=(2, 3))
