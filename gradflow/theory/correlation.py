"""How alike the gradients at two inputs are: shattering, as Balduzzi et al. 2017 model it and as wide ReLU nets do it.

`balduzzi_correlation` answers: how alike would gradients be if at every layer the gates of two inputs were open
independently, each half of the time? `gradient_correlation` answers: how alike are they in a wide net at init, given
the angle between the two inputs? They agree for orthogonal inputs of a plain net with BatchNorm and differ much without
it: a ReLU layer turns any two inputs toward each other, so that ever more gates agree, and the gradients of a plain net
decorrelate as l⁻³, not as 2^−l (orthogonal inputs, 50 layers: 9e-4, not 9e-16).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gradflow.theory.checks import Array, at_least, finite_positive, log_bias, log_scales


def balduzzi_correlation(depth: int, *, residual: bool = False, norm: bool = False, beta: float = 1.0) -> Array:
    """Correlation between the input gradients at two inputs, for nets of L = 0 … depth layers, shape (depth + 1,).

    Plain: 2^−L. Residual, x → x + βW relu(x): ((1 + β²/2)/(1 + β²))^L, for β = 1 (3/4)^L. Residual with BatchNorm
    before the relu, where E[x²] = 1 + β²l: the product of (1 + β²l + β²/2)/(1 + β²l + β²), about 1/(β√L) for small β
    and many layers. Assumes He init, wide layers, and gates independent between the two inputs at every layer; and that
    BatchNorm divides by E[x²], though the variance, 1 + β²l(1 − 1/π), is what it does divide by.

    Args: depth, layers of the deepest net; residual; norm, BatchNorm, which changes nothing in a plain net here; beta,
    factor of the branches. Raises: ValueError for a negative depth, or a beta that is not finite and positive.
    Source: Balduzzi17 (1702.08591), Theorems 1–3, β in the second as in the third.
    """
    at_least(0, depth=depth)
    finite_positive(beta=beta)
    stream = 1 + beta**2 * np.arange(depth) if norm else np.ones(depth)
    share = beta**2 / (stream + beta**2) if residual else np.ones(depth)
    return np.cumprod(np.append(1.0, 1 - share / 2))


@dataclass(frozen=True, eq=False)
class Correlation:
    """Cosines between two inputs at x_0 … x_U: `forward` of their signals, `backward` of their gradients ∂loss/∂x_l.

    Shape (U + 1,), or (U + 1, …) for several pairs of inputs at once. The gradients at x_U are taken to be equal, as
    those of one linear readout are.
    """

    forward: Array
    backward: Array


def gradient_correlation(
    *,
    units: int,
    rho: ArrayLike = 0.0,
    moments: tuple[ArrayLike, ArrayLike] = (1.0, 1.0),
    span: int = 1,
    weight_gain: float = 2.0,
    bias_variance: float = 0.0,
    lam: float | Sequence[float] | None = None,
    beta: float | Sequence[float] = 1.0,
    norm: bool = False,
) -> Correlation:
    """Exact cosines between signals and between gradients of two inputs in a wide ReLU net at init.

    U units x → λx + βW relu(… W relu(x)); plain, x → W relu(x), without λ. Each relu takes the cosine of two signals to
    κ₁ = (√(1 − ρ²) + ρ(π − arccos ρ))/π, equal biases raise it, and a gate is open for both with the chance κ₀/2,
    κ₀ = 1 − arccos(ρ)/π. With `norm` the cosines are taken behind BatchNorm over a large batch of which any two inputs
    but these are orthogonal, and its statistics are constants for the gradient, as in Balduzzi17.

    Args: units, U; rho, cosine of the two x_0, any shape; moments, second moments of both, broadcast with rho; span,
    weighted layers per unit; weight_gain, fan_in·Var(w), 2 for He; bias_variance; lam (None: no shortcut) and
    beta, one number or one per unit. Raises: ValueError for arguments out of range, and for unequal moments with norm.
    Source: κ₀, κ₁ Cho & Saul 2009 (NIPS 22), eq. 6; recursion Daniely et al. 2016 (1602.05897); for two inputs of
    plain nets Schoenholz et al. 2017 (1611.01232).
    """
    at_least(1, units=units, span=span)
    log_lam, log_beta = log_scales(units, lam=lam, beta=beta)
    cosine, *sizes = _checked_pairs(rho, moments, norm=norm)
    finite_positive(weight_gain=weight_gain)
    bias = log_bias(bias_variance)
    # Last stands a typical pair of the batch, which tells what BatchNorm takes away.
    stream = _Pairs(np.log([np.append(size, size.flat[0]) for size in sizes]), np.append(1 - cosine, 1.0))
    cosines, kept = [1 - stream.gap], []
    for shortcut, factor in zip(log_lam, log_beta, strict=True):
        branch, log_gain, agree = stream, np.asarray(factor), np.ones_like(stream.gap)
        for _ in range(span):
            branch, log_slope, gates = branch.through_layer(math.log(weight_gain), bias, norm)
            log_gain, agree = log_gain + log_slope, agree * gates
        stream = stream.scaled(shortcut) + branch.scaled(factor)
        share = np.exp(-np.logaddexp(0.0, shortcut - log_gain))  # of the gradient, what the branch gives
        cosines.append(1 - stream.gap)
        kept.append(1 - share * (1 - agree))
    gradients = np.cumprod([np.ones_like(stream.gap), *kept[::-1]], axis=0)[::-1]
    forward, backward = (np.array(c)[:, :-1].reshape(units + 1, *cosine.shape) for c in (cosines, gradients))
    return Correlation(forward, backward)


@dataclass(frozen=True)
class _Pairs:
    """P pairs of signals: ln of both second moments, shape (2, P), and 1 − cosine of the two, shape (P,).

    The cosine itself would round where a thousand layers leave two signals nearly, or exactly, alike.
    """

    logs: Array
    gap: Array

    def scaled(self, log_square: float) -> _Pairs:
        return _Pairs(self.logs + log_square, self.gap)

    def __add__(self, other: _Pairs) -> _Pairs:
        """The sums of independent signals, whose second and joint moments add."""
        logs = np.logaddexp(self.logs, other.logs)
        gap = np.zeros_like(self.gap)
        for pair in (self, other):
            first, second = np.exp((pair.logs - logs) / 2)  # RMS over that of the sum
            gap += first * second * pair.gap + (first - second) ** 2 / 2
        return _Pairs(logs, gap)

    def through_layer(self, log_weight: float, log_bias: float, norm: bool) -> tuple[_Pairs, Array, Array]:
        """W relu(x) + b, by how much ln of the gradient's second moment grows, and how far gates agree: κ₀."""
        log_slope = np.asarray(log_weight - math.log(2))
        logs, gap = self.logs, self.gap
        if norm:  # what the whole batch has in common is taken away; the last pair is a typical one
            log_variance = self.logs + np.log(gap[-1])
            log_slope = log_slope - log_variance[0]
            logs, gap = np.zeros_like(logs), gap / gap[-1]
        gap = np.minimum(gap, 2)  # a last digit more has no angle
        angle = 2 * np.arcsin(np.sqrt(gap / 2))
        joint = gap - (np.sin(angle) - angle * (1 - gap)) / math.pi  # 1 − κ₁
        signal = _Pairs(logs + log_weight - math.log(2), joint)
        bias = _Pairs(np.full_like(logs, log_bias), np.zeros_like(gap))
        return signal + bias, log_slope, 1 - angle / math.pi


def _checked_pairs(rho: ArrayLike, moments: tuple[ArrayLike, ArrayLike], *, norm: bool) -> list[Array]:
    """Cosine and both second moments of each pair, of one shape."""
    if len(moments) != 2:
        raise ValueError(f"moments must be those of two inputs, got {moments=}")
    pairs = np.broadcast_arrays(*(np.asarray(values, dtype=np.float64) for values in (rho, *moments)))
    if not (np.abs(pairs[0]) <= 1).all():
        raise ValueError(f"rho must lie between -1 and 1, got {rho=}")
    if not ((np.array(pairs[1:]) > 0) & np.isfinite(pairs[1:])).all():
        raise ValueError(f"moments must be finite and positive, got {moments=}")
    if norm and np.ptp(pairs[1:]) > 0:
        raise ValueError(f"with norm all inputs have the same second moment, got {moments=}")
    return list(pairs)
