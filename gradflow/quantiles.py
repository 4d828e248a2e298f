"""Medians and quartiles that survive what gradients do."""

from __future__ import annotations

import numpy as np


def quantile(values: np.ndarray, q: float) -> np.ndarray:
    """Quantile over the first axis of (S, …) without NaN, infinities kept; NaN where nothing is left."""
    ordered = np.sort(np.asarray(values, dtype=float), axis=0)
    present = np.sum(~np.isnan(ordered), axis=0)
    if not len(ordered):
        return np.full(ordered.shape[1:], np.nan)
    place = q * np.maximum(present - 1, 0)
    below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
    low, high = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (below, above))
    with np.errstate(invalid="ignore", over="ignore"):
        between = low + (high - low) * (place - below)
    kept = np.where(np.isinf(high), high, np.where(np.isinf(low), low, between))
    return np.where(low == high, low, kept)
