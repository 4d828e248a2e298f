"""Ratios of times taken in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable


def ratios(measure: dict[str, Callable[[], float]], base: Callable[[], float], rounds: int) -> dict[str, float]:
    """Median over rounds of each time over the base time of the same round."""
    found: dict[str, list[float]] = {name: [] for name in measure}
    base()
    for _ in range(rounds):
        reference = base()
        for name, timed in measure.items():
            found[name].append(timed() / reference)
    return {name: statistics.median(values) for name, values in found.items()}
