"""How alike gradients at different inputs are: what the measurements of :mod:`gradflow.measure.shattering` give.

Letters: N inputs, S seeds, K lags, B samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from gradflow.quantiles import quantile
from gradflow.results.base import Result, count, number, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROUNDINGS = 64
"""Values that differ by no more roundings than this are constant: what is left of them is arithmetic, not a signal."""
_SHOWN = (1, 4, 16, 64)
"""The lags of the text tables."""


def autocorrelation(values: ArrayLike, lags: Sequence[int] | np.ndarray) -> np.ndarray:
    """Autocorrelation at K lags along the last axis: r_k = Σ_i (v_i − v̄)(v_{i+k} − v̄) / Σ_i (v_i − v̄)², r_0 = 1.

    values: (…, N), at evenly spaced inputs; lags: whole numbers from 0 to N − 1; returns (…, K). Both sums go over all
    terms there are, N − k above and N below, so far lags lean toward zero; white noise has −(N − k)/(N(N − 1)) on
    average, as taking out the mean couples the values. NaN where there is nothing to correlate: values that are not
    finite, or constant up to the rounding of their dtype. Raises ValueError for a lag out of range and for no values.
    Source: Balduzzi17 (1702.08591), §1, Fig. 2.
    """
    rows, wanted = np.asarray(values), _checked_lags(values, lags)
    eps = np.finfo(rows.dtype if rows.dtype.kind == "f" else float).eps
    rows = rows.astype(float)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size = np.abs(rows).max(axis=-1, keepdims=True)
        scaled = rows / size  # or the squares of vanishing gradients would be zero
        centred = scaled - scaled.mean(axis=-1, keepdims=True)
        centred = np.where(np.ptp(scaled, axis=-1, keepdims=True) > _ROUNDINGS * eps, centred, np.nan)
        products = [np.sum(centred[..., : rows.shape[-1] - lag] * centred[..., lag:], axis=-1) for lag in wanted]
        return np.stack(products, axis=-1) / np.sum(centred**2, axis=-1, keepdims=True)


def _checked_lags(values: ArrayLike, lags: Sequence[int] | np.ndarray) -> list[int]:
    shape, wanted = np.shape(values), list(lags)
    if not shape or not shape[-1]:
        raise ValueError(f"values must have at least one number along the last axis; got shape {shape}")
    for lag in wanted:
        if not isinstance(lag, int | np.integer) or isinstance(lag, bool) or not 0 <= lag < shape[-1]:
            raise ValueError(f"lags must be whole numbers from 0 to {shape[-1] - 1}; got lag={lag!r}")
    if not wanted:
        raise ValueError("lags must hold at least one lag, e.g. range(17); got none")
    return [int(lag) for lag in wanted]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class InputGradients(Result):
    """dy/dx at every input of a one-dimensional grid, by model: ``gradients[model]`` (S, N) at ``x`` (N,)."""

    x: np.ndarray
    gradients: Mapping[str, np.ndarray]

    def __getitem__(self, model: str) -> np.ndarray:
        return self.gradients[model]

    def autocorrelation(self, lags: Sequence[int] | np.ndarray = range(33)) -> Autocorrelation:
        """Autocorrelation of dy/dx at some lags, in steps of the grid, by model and seed; see
        :func:`autocorrelation`."""
        values = {model: autocorrelation(rows, lags) for model, rows in self.gradients.items()}
        step = float(self.x[-1] - self.x[0]) / (len(self.x) - 1)
        return Autocorrelation(lags=np.array(list(lags)), values=values, step=step, provenance=self.provenance)

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.input_gradients(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        parts = {model: np.indices(rows.shape) for model, rows in self.gradients.items()}
        return {
            "model": np.repeat(list(parts), [part[0].size for part in parts.values()]),
            "seed": np.concatenate([part[0].ravel() for part in parts.values()]),
            "x": np.concatenate([self.x[part[1].ravel()] for part in parts.values()]),
            "gradient": np.concatenate([rows.ravel() for rows in self.gradients.values()]),
        }

    def __repr__(self) -> str:
        lags = [lag for lag in _SHOWN if lag < len(self.x)]
        correlated = self.autocorrelation(lags)
        seeds = len(next(iter(self.gradients.values())))
        rows: dict[str, list[str]] = {"model": list(self.gradients)}
        rows["RMS of dy/dx"] = [number(float(np.sqrt(np.mean(g.astype(float) ** 2)))) for g in self.gradients.values()]
        for place, lag in enumerate(lags):
            rows[f"lag {lag}"] = [f"{correlated.mean(model)[place]:.2f}" for model in self.gradients]
        title = f"InputGradients: dy/dx at {len(self.x)} inputs from {self.x[0]:g} to {self.x[-1]:g}"
        setting = f"autocorrelation by lag (mean of {count(seeds, 'seed')}{_setting(self.provenance)})"
        return f"{title}, {setting}\n{text_table(list(rows), list(rows.values()))}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Autocorrelation(Result):
    """Autocorrelation of dy/dx by lag: ``values[model]`` (S, K) at ``lags`` (K,), one lag being ``step`` in x.

    A seed has NaN where its gradient is constant.
    """

    lags: np.ndarray
    values: Mapping[str, np.ndarray]
    step: float

    def __getitem__(self, model: str) -> np.ndarray:
        return self.values[model]

    def mean(self, model: str) -> np.ndarray:
        """Mean over the seeds that have one, (K,)."""
        kept = self._kept(model)
        return kept.mean(axis=0) if len(kept) else np.full(len(self.lags), np.nan)

    def error(self, model: str) -> np.ndarray:
        """Standard error of the mean over seeds, (K,); NaN for fewer than two."""
        kept = self._kept(model)
        if len(kept) < 2:
            return np.full(len(self.lags), np.nan)
        return np.asarray(kept.std(axis=0, ddof=1) / np.sqrt(len(kept)))

    def at(self, model: str, lag: int) -> float:
        """The mean at one lag. Raises ValueError for a lag that was not measured."""
        found = np.flatnonzero(self.lags == lag)
        if not len(found):
            raise ValueError(f"lag must be one of {', '.join(map(str, self.lags))}; got lag={lag!r}")
        return float(self.mean(model)[found[0]])

    def _kept(self, model: str) -> np.ndarray:
        return self.values[model][~np.isnan(self.values[model]).any(axis=1)]

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.autocorrelation(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        rows = [
            (model, seed, int(lag), value)
            for model, values in self.values.items()
            for seed, row in enumerate(values)
            for lag, value in zip(self.lags, row, strict=True)
        ]
        return dict(zip(("model", "seed", "lag", "autocorrelation"), zip(*rows, strict=True), strict=True))

    def __repr__(self) -> str:
        columns = [[f"{value:.2f}" for value in self.mean(model)] for model in self.values]
        seeds = max(len(values) for values in self.values.values())
        title = f"Autocorrelation of dy/dx by lag of {self.step:.3g} in x (mean of {count(seeds, 'seed')}"
        lags = [str(lag) for lag in self.lags]
        return f"{title}{_setting(self.provenance)})\n{text_table(['lag', *self.values], [lags, *columns])}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GradientCorrelation(Result):
    """Cosines between the gradients of every two samples of a batch at one layer: ``cosines`` (S, B, B).

    ``start`` says of what the gradients are: "readout", the same random mixture of the outputs for each sample, or
    "loss". ``labels`` (S, B) are the classes, if known. A sample without gradient has NaN.
    """

    has_picture = False

    layer: str
    start: str
    cosines: np.ndarray
    labels: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean over all pairs of different samples, (S,)."""
        return self._over(np.ones_like(self.cosines, dtype=bool))

    @property
    def same(self) -> np.ndarray:
        """Mean over pairs of different samples of one class, (S,); NaN without classes."""
        return self._over(self._alike())

    @property
    def different(self) -> np.ndarray:
        """Mean over pairs of samples of different classes, (S,); NaN without classes."""
        return self._over(~self._alike() if self.labels is not None else self._alike())

    def _alike(self) -> np.ndarray:
        if self.labels is None:
            return np.zeros_like(self.cosines, dtype=bool)
        return np.asarray(self.labels[:, :, None] == self.labels[:, None, :])

    def _over(self, pairs: np.ndarray) -> np.ndarray:
        counted = pairs & ~np.eye(self.cosines.shape[-1], dtype=bool) & ~np.isnan(self.cosines)
        many = counted.sum(axis=(1, 2))
        total = np.where(counted, self.cosines, 0.0).sum(axis=(1, 2))
        return np.where(many > 0, total / np.maximum(many, 1), np.nan)

    def _columns(self) -> dict[str, Any]:
        return {
            "seed": np.arange(len(self.cosines)),
            "mean": self.mean,
            "same_class": self.same,
            "other_class": self.different,
        }

    def __repr__(self) -> str:
        draws, batch, _ = self.cosines.shape
        lost = int(np.isnan(np.diagonal(self.cosines, axis1=1, axis2=2)).sum())
        rows = {"all": self.mean, "of one class": self.same, "of two classes": self.different}
        known = {name: quantile(value, 0.5) for name, value in rows.items() if not np.isnan(value).all()}
        table = text_table(("pairs", "mean cosine"), (list(known), [f"{float(value):.3f}" for value in known.values()]))
        of = "the loss" if self.start == "loss" else "one random readout"
        over = f", median of {draws}" if draws > 1 else ""
        silent = f"\nno gradient at {count(lost, 'sample')}" if lost else ""
        return (
            f"GradientCorrelation: gradients of {of} at the output of {self.layer}, between {batch} samples"
            f"{_setting(self.provenance)}{over}\n{table}{silent}"
        )


def _setting(provenance: Mapping[str, Any]) -> str:
    return f", {provenance['mode']} mode" if "mode" in provenance else ""
