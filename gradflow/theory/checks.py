"""What the other rooms refuse at the door."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def at_least(least: int, **values: int) -> None:
    """Raise ValueError unless every value is a whole number of at least `least`."""
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {name}={value!r}")


def finite_positive(**values: float) -> None:
    """Raise ValueError unless every value is finite and positive."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and positive, got {name}={value!r}")


def log_per_unit(units: int, **value: float | Sequence[float] | None) -> Array:
    """ln |value| of each unit, shape (U,), from one number or one per unit; None counts as 0, whose logarithm is −inf.

    Raises: ValueError for numbers that are not finite, or for another number of them than units.
    """
    ((name, given),) = value.items()
    values = np.asarray(0.0 if given is None else given, dtype=np.float64)
    if values.shape not in ((), (units,)) or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be one finite number or one per unit ({units}), got {values.size}: {name}={given!r}"
        )
    with np.errstate(divide="ignore"):
        return np.broadcast_to(np.log(np.abs(values)), (units,))


def log_scales(
    units: int, *, lam: float | Sequence[float] | None, beta: float | Sequence[float]
) -> tuple[Array, Array]:
    """ln λ² and ln β² of each unit, shape (U,). Raises: ValueError, also for a unit that lets nothing through."""
    log_lam, log_beta = 2 * log_per_unit(units, lam=lam), 2 * log_per_unit(units, beta=beta)
    if np.isneginf(np.maximum(log_lam, log_beta)).any():
        raise ValueError(f"a unit needs a shortcut or a branch, got {lam=}, {beta=}")
    return log_lam, log_beta


def log_bias(bias_variance: float) -> float:
    """ln of a variance that may be 0. Raises: ValueError for one that is negative or not finite."""
    if not 0 <= bias_variance < math.inf:
        raise ValueError(f"bias_variance must be finite and not negative, got {bias_variance=}")
    return math.log(bias_variance) if bias_variance else -math.inf
