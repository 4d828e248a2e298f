"""How much signal and gradient grow from unit to unit of a residual net."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradflow.theory.checks import Array, at_least
from gradflow.theory.meanfield import Growth, stack_profile


def residual_growth(
    *,
    units: int,
    width: int,
    span: int = 1,
    activation: str = "relu",
    init: str = "he",
    bias_variance: float | None = None,
    lam: float | Sequence[float] | None = 1.0,
    beta: float | Sequence[float] = 1.0,
    norm: bool = False,
    q0: float = 1.0,
) -> Growth:
    """Signal and gradient at the ends of U pre-activation units x → λx + βW φ(… W φ(x)), fully connected and wide.

    A branch that multiplies second moments by g (relu: (width·Var(w)/2)^span) makes both grow by λ² + β²g a unit:
    exponentially. With `norm`, a BatchNorm before every φ, a branch adds the same c however large the stream is:
    q → λ²q + β²c forward, a factor of λ² + β²c'/q backward. So with λ = 1 the signal grows linearly and the gradient as
    a power of depth.

    Args: units, U; width, features; span, weighted layers per unit; activation, init and bias_variance as in
    `stack_profile`; lam and beta, one number or one per unit; q0, second moment of x_0, whose mean is zero. Raises:
    ValueError for arguments out of range. Source: He16 (1603.05027), eq. 5–8; Yang & Schoenholz 2017 (1712.08969);
    with norm De & Smith 2020 (2002.10444), §2.
    """
    at_least(1, units=units, span=span)
    return stack_profile(
        depth=units * span,
        width=width,
        span=span,
        activation=activation,
        init=init,
        bias_variance=bias_variance,
        lam=lam,
        beta=beta,
        norm=norm,
        input_moment=q0,
        stem=False,
        head=False,
    ).units


def original_growth(units: int, *, span: int = 2) -> Growth:
    """Signal and gradient at the ends of U units of He15, x → relu(x + BN(W relu(… BN(Wx)))), whatever the init.

    Behind a stem relu(BN(·)) each feature walks as x → max(0, x + z) with z ~ N(0, 1): a random walk held at zero. So
    x_l is distributed as the largest of 0, S_1, …, S_{l+1}, sums of normal steps; a shortcut is open until the walk's
    next zero, and the chance of that is the arcsine law's. First W and BatchNorm of a branch multiply the gradient's
    second moment by 1/Var(x_l), each further relu, W and BatchNorm by ½ / (½ − 1/(2π)) = π/(π − 1).

    Args: units, U; span, weighted layers per unit. Assumes wide layers, a large batch of independent samples and a
    gradient at x_U independent of the weights. `log_shortcut` is that of open shortcuts, as each ends in a relu;
    `log_gain` is from behind that relu.
    Raises: ValueError for numbers under 1. Source: units He15 (1512.03385), §3.2; walk Spitzer 1956 (Trans. AMS 82,
    323) and Sparre Andersen 1954 (Math. Scand. 2, 195); put together here, and measured in the tests.
    """
    at_least(1, units=units, span=span)
    mean, square = _walk_moments(units + 1)
    log_gain = (span - 1) * math.log(math.pi / (math.pi - 1)) - np.log(square - mean**2)[:-1]
    log_open = np.log(_open_shortcuts(units + 1)[1:, 1:])  # [l, j]: all shortcuts from x_l to x_j are open
    # What x_j gets by its branch comes through open shortcuts to x_l; past the relu of unit l, its branch shares in it.
    entering, log_residual = np.zeros(units + 1), np.full(units + 1, -math.inf)
    for unit in reversed(range(units)):
        later = slice(unit + 1, units)
        through = np.logaddexp.reduce(log_open[unit, later] + log_gain[later] + entering[later], initial=-math.inf)
        entering[unit] = np.logaddexp(through, log_open[unit, units])
        log_residual[unit] = np.logaddexp(through, log_gain[unit] + entering[unit])
    log_shortcut = log_open[:, units]
    return Growth(np.log(square), np.logaddexp(log_shortcut, log_residual), log_shortcut, log_residual, log_gain)


def _walk_moments(steps: int) -> tuple[Array, Array]:
    """E[M] and E[M²] of M_n = max(0, S_1, …, S_n) for n = 1 … steps, S a walk of N(0, 1) steps (Spitzer's identity)."""
    n = np.arange(1, steps + 1)
    falling = 1 / np.sqrt(2 * math.pi * n)  # E[max(0, S_n)]/n
    pairs = np.insert(np.convolve(falling, falling)[: steps - 1], 0, 0.0)
    return np.cumsum(falling), n / 2 + np.cumsum(pairs)


def _open_shortcuts(steps: int) -> Array:
    """P(a walk from zero, held at zero, is above it at l + 1 … j) for 0 ≤ l ≤ j ≤ steps, as a matrix [l, j]."""
    k = np.arange(1, steps + 1)
    above = np.cumprod(np.append(1.0, (2 * k - 1) / (2 * k)))  # P(S_1, …, S_k > 0) = C(2k, k)/4^k
    since = np.arange(steps + 1) - np.arange(steps + 1)[:, None]
    last_zero = above[:, None] * np.where(since >= 0, above[np.abs(since)], 0.0)  # [τ, j]: the last zero up to j is τ
    return np.cumsum(last_zero, axis=0)
