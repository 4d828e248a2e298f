"""What shortcuts alone pass back, and how many paths of each length the rest of the gradient is spread over."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradflow.theory.checks import Array, at_least, log_per_unit


def log10_shortcut_product(lam: float | Sequence[float], units: int) -> Array:
    """Decimal logarithm of |∏_{i=l}^{U−1} λ_i| for l = 0 … U, shape (U + 1,): what shortcuts alone pass back to x_l.

    Args: lam, one λ or one per unit; units, U. A λ of 0 gives −inf. Raises: ValueError for a λ that is not finite, or
    for another number of them than units. Source: He16 (1603.05027), eq. 5–8.
    """
    at_least(0, units=units)
    log_products = np.cumsum(log_per_unit(units, lam=lam)[::-1])[::-1]
    return np.append(log_products / math.log(10), 0.0)


def log10_path_counts(units: int, plain: int = 0) -> Array:
    """Decimal logarithm of the number of paths that pass k = 0 … U branches, C(U − plain, k − plain), shape (U + 1,).

    Args: units, U; plain, how many of them have no shortcut, so that every path passes their branches: −inf for fewer.
    Raises: ValueError for numbers that are negative, or more plain units than units. Source: Veit16 (1605.06431), §5.
    """
    at_least(0, units=units, plain=plain)
    at_least(plain, units=units)
    factorials = np.cumsum(np.log10(np.arange(1, units - plain + 1)))
    factorials = np.insert(factorials, 0, 0.0)
    return np.append(np.full(plain, -math.inf), factorials[-1] - factorials - factorials[::-1])


def path_share(units: int, low: int, high: int) -> float:
    """Share of the 2^U paths that pass low … high branches (both included), exact to float64's last digit.

    Args: units, U; low and high, path lengths. Raises: ValueError unless 0 ≤ low ≤ high ≤ U.
    Source: Veit16 (1605.06431), §5: lengths 5 … 17 are 0.45 % of the paths through 54 units.
    """
    at_least(0, low=low)
    at_least(low, high=high)
    at_least(high, units=units)
    return sum(math.comb(units, k) for k in range(low, high + 1)) / 2**units


def path_length_interval(units: int, share: float = 0.95) -> tuple[int, int]:
    """The narrowest central path lengths (low, high), with low + high = U, that hold at least a share of the 2^U paths.

    Args: units, U; share, between 0 and 1. Raises: ValueError for numbers out of range. Source: Veit16 (1605.06431),
    §4: "more than 95 % of paths go through 19 to 35 modules" of 54. That is true but not tight: 20 … 34 hold 96.0 %
    already, 19 … 35 hold 98.0 %.
    """
    at_least(0, units=units)
    if not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and at most at 1, got {share=}")
    low, shorter = 0, 1  # how many paths are no longer than low
    while low < units // 2 and 2 * shorter / 2**units <= 1 - share:
        low += 1
        shorter += math.comb(units, low)
    return low, units - low


def log10_path_moments(
    units: int, *, lam: float | Sequence[float] | None = 1.0, gain: float | Sequence[float] = 1.0
) -> Array:
    """Decimal logarithm of the gradient's second moment carried by all paths of k = 0 … U branches, shape (U + 1,).

    It is the second moment of the sum over those paths of ∂loss/∂x_0, over that of ∂loss/∂x_U. In a wide net different
    paths meet different weights and are uncorrelated, so squares add: with equal units C(U, k) λ^(2(U−k)) gain^k.

    Args: units, U; lam, one λ or one per unit (None: no shortcut); gain, by how much a branch multiplies the second
    moment of a gradient, β² included: one number or one per unit, as in exp of `Growth.log_gain`. Raises: ValueError
    for numbers that are not finite or gains that are negative. Source: Veit16 (1605.06431), §5.
    """
    at_least(0, units=units)
    log_lam, log_gain = 2 * log_per_unit(units, lam=lam), log_per_unit(units, gain=gain)
    if np.min(gain, initial=0.0) < 0:
        raise ValueError(f"gain must not be negative, got {gain=}")
    slots = np.full(units + 1, -math.inf)
    slots[0] = 0.0
    for shortcut, branch in zip(log_lam[::-1], log_gain[::-1], strict=True):
        slots[1:] = np.logaddexp(shortcut + slots[1:], branch + slots[:-1])
        slots[0] += shortcut
    return slots / math.log(10)
