"""Signal and gradient along stacks of Linear or conv layers, plain or with shortcuts, with or without BatchNorm.

In a conv net positions near the border hear fewer taps, so a moment is a map (n, n) over positions, not a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gradflow.theory.checks import Array, at_least, finite_positive, log_bias, log_scales
from gradflow.theory.moments import check_activation, log_moments, weight_variance


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments at N places along a net, first = nearest the input, as natural logarithms, shape (N,).

    `log_forward` is of the signal, `log_backward` of ∂loss/∂signal over that at the last place.
    """

    log_forward: Array
    log_backward: Array

    @property
    def forward(self) -> Array:
        """Second moment of the signal at each place, shape (N,); 0 or inf where float64 ends."""
        return self._exp(self.log_forward)

    @property
    def backward(self) -> Array:
        """Second moment of ∂loss/∂signal over that at the last place, shape (N,); 0 or inf where float64 ends."""
        return self._exp(self.log_backward)

    @property
    def rms(self) -> Array:
        """RMS of ∂loss/∂signal over that at the last place, shape (N,); 0 or inf where float64 ends."""
        return self._exp(self.log_backward / 2)

    @property
    def log10_rms(self) -> Array:
        """Decimal logarithm of `rms`, shape (N,); finite at any depth."""
        return self.log_backward / math.log(100)

    @staticmethod
    def _exp(logs: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(logs))


@dataclass(frozen=True, eq=False)
class Growth(Moments):
    """Moments at x_0 … x_U, the inputs of U units and the output of the last, and what the gradient is made of.

    `log_backward`, of ∂loss/∂x_l over ∂loss/∂x_U, is the sum of `log_shortcut`, what came through shortcuts alone, and
    `log_residual`, all the rest, each of shape (U + 1,); they add as second moments, for they are uncorrelated.
    `log_gain` is by how much each unit's branch alone multiplies the gradient's second moment, shape (U,).
    """

    log_shortcut: Array
    log_residual: Array
    log_gain: Array


@dataclass(frozen=True, eq=False)
class Profile(Moments):
    """Moments at the outputs of the L weighted layers of a stack, and in `units` those at its U units' inputs."""

    units: Growth


def stack_profile(
    *,
    depth: int,
    width: int,
    in_features: int | None = None,
    out_features: int | None = None,
    activation: str = "relu",
    init: str = "default",
    bias_variance: float | None = None,
    lam: float | Sequence[float] | None = None,
    beta: float | Sequence[float] = 1.0,
    span: int = 2,
    input_moment: float = 1.0,
    kernel: int = 1,
    size: int | None = None,
    norm: bool = False,
    stem: bool = True,
    head: bool = True,
) -> Profile:
    """Signal and gradient along a stem, units x → λx + βW φ(… W φ(x)) and a head W φ(x), at init and infinite width.

    With `norm` a BatchNorm over an infinite batch (ε = 0, γ = 1, β = 0) stands before every φ. It divides by the batch
    variance, which lacks the mean that φ gives every sample: plain ReLU gradients grow by π/(π − 1) a layer, less where
    the mean stays, near the border of a conv. The gradients at the last layer are taken to be equal at every position.

    Args: depth, weighted layers with stem and head; width, features or channels; in_features and out_features, those
    of the stem's input and the head's output (None: width); bias_variance, of every layer (None: the init's own); lam,
    None for no shortcut, one λ or one per unit; beta, one factor of the branches or one per unit; span, weighted layers
    per unit (the last unit takes what is left); input_moment, second moment of the input, whose mean is zero; kernel,
    odd, and size, side of the square map, for convs with stride 1 and zero padding; stem and head, False for a stack
    that starts or ends with its units, as every conv stack here does (pooling and the Linear behind it are left out).
    Raises: ValueError for arguments out of range or not fit for each other. Source: He et al. 2015 (1502.01852), §2.2;
    shortcuts Yang & Schoenholz 2017 (1712.08969); norm Yang et al. 2019 (1902.08129).
    """
    side = 1 if size is None else size
    n_in, n_out = (width if n is None else n for n in (in_features, out_features))
    at_least(1, width=width, in_features=n_in, out_features=n_out, span=span, kernel=kernel, size=side)
    at_least(max(1, stem + head), depth=depth)
    check_activation(activation)
    finite_positive(input_moment=input_moment)
    if kernel % 2 == 0 or (size is None and kernel > 1) or (size is not None and head):
        raise ValueError(f"a conv stack takes an odd kernel, a size and head=False; got {kernel=}, {size=}, {head=}")
    if norm and kernel > 1 and activation == "sigmoid":  # the mean left near the border takes over
        raise ValueError(f"no closed form for sigmoid behind the norm of a conv stack; got {activation=}, {norm=}")
    if out_features is not None and not head:
        raise ValueError(f"out_features needs a head, got {out_features=}, {head=}")
    if in_features is not None and not stem:
        raise ValueError(f"in_features needs a stem, got {in_features=}, {stem=}")
    features = [n_in, *[width] * (depth - 1), n_out]
    stack = _Stack(
        blocks=(blocks := _blocks(range(stem, depth - head), depth=depth, span=span, lam=lam, beta=beta)),
        log_gains=_log_gains(features, init=init, bias_variance=bias_variance, kernel=kernel),
        activation=activation,
        kernel=kernel,
        norm=norm,
        stem=stem,
    )
    return stack.profile(np.full((2, side, side), math.log(input_moment)), units=slice(stem, len(blocks) - head))


def gradient_factor(
    activation: str, init: str, width: int, *, depth: int = 40, q0: float = 1.0, bias_variance: float | None = None
) -> float:
    """RMS factor of ∂loss/∂output per layer toward the input, geometric mean over a plain stack of Linear layers.

    Args: activation and init, see ACTIVATIONS and INITS; width, features of every layer; depth, weighted layers, 2 or
    more; q0, the input's second moment; bias_variance, of every layer (None: the init's own). Raises and source: see
    `stack_profile`. Relu: √(width·Var(w)/2), default: .408.
    """
    at_least(2, depth=depth)
    profile = stack_profile(
        depth=depth, width=width, activation=activation, init=init, input_moment=q0, bias_variance=bias_variance
    )
    return math.exp(profile.log_backward[0] / (2 * (depth - 1)))


class _Block(NamedTuple):
    """Weighted layers of the stem, a unit or the head, with ln λ² of the shortcut around them and ln β²."""

    members: range
    log_shortcut: float = -math.inf
    log_branch: float = 0.0


@dataclass(frozen=True)
class _Stack:
    """Blocks of layers, with ln of n_in·Var(w), n_out·Var(w) and Var(b) of each layer, shape (3, L)."""

    blocks: list[_Block]
    log_gains: Array
    activation: str
    kernel: int
    norm: bool
    stem: bool

    def profile(self, signal: Array, units: slice) -> Profile:
        """The moments of every layer, given ln of those of the input, and at the ends of the blocks that are units."""
        outputs, slopes, stream = self._forward(signal)
        gradients, whole, branches = self._backward(slopes, np.zeros_like(signal[0]))
        start, stop, _ = units.indices(len(self.blocks))
        ends = slice(start, stop + 1)
        growth = growth_of(
            stream[ends],
            whole[ends],
            log_lam=np.array([block.log_shortcut for block in self.blocks[units]]),
            log_gain=branches[units] - whole[start + 1 : stop + 1],
        )
        return Profile(outputs, gradients, growth)

    def _forward(self, signal: Array) -> tuple[Array, list[Array], Array]:
        """ln E[output²] of each layer (L,), the map ln E[φ'²] at its input, ln E[x²] before and after each block."""
        log_in, _, log_biases = self.log_gains
        slopes, outputs, stream = [], [], [_log_mean(signal[0])]
        for members, log_shortcut, log_branch in self.blocks:
            branch = signal
            for index in members:
                inner = index > 0 or not self.stem  # a stem has no activation before it
                branch, slope = _layer(branch, self.activation if inner else "linear", self.kernel, self.norm and inner)
                branch += log_in[index]
                branch[0] = np.logaddexp(branch[0], log_biases[index])
                slopes.append(slope)
                outputs.append(_log_mean(branch[0]))
            signal = np.logaddexp(log_shortcut + signal, log_branch + branch)
            stream.append(_log_mean(signal[0]))
        return np.array(outputs), slopes, np.array(stream)

    def _backward(self, slopes: list[Array], gradient: Array) -> tuple[Array, Array, Array]:
        """ln E[gradient²] at each layer's output (L,), before and after each block, and what each branch gave of it."""
        gradients, whole, branches = [], [_log_mean(gradient)], []
        for members, log_shortcut, log_branch in reversed(self.blocks):
            branch = log_branch + gradient
            for index in reversed(members):
                gradients.append(_log_mean(branch))
                heard = np.logaddexp.reduce(_windows(branch, self.kernel, -math.inf), axis=(2, 3))
                branch = self.log_gains[1, index] + slopes[index] + heard
            gradient = np.logaddexp(log_shortcut + gradient, branch)
            whole.append(_log_mean(gradient))
            branches.append(_log_mean(branch))
        return np.array(gradients[::-1]), np.array(whole[::-1]), np.array(branches[::-1])


def growth_of(log_forward: Array, log_backward: Array, *, log_lam: Array, log_gain: Array) -> Growth:
    """Split the gradient at x_0 … x_U, shape (U + 1,), into shortcut and residual part, by ln λ² and ln gain, (U,)."""
    whole = log_backward - log_backward[-1]
    shortcut = np.append(np.cumsum(log_lam[::-1])[::-1], 0.0)
    residual = np.full_like(whole, -math.inf)
    for unit in reversed(range(len(log_gain))):  # not whole − shortcut, which loses the digits of a small residual
        residual[unit] = np.logaddexp(log_lam[unit] + residual[unit + 1], log_gain[unit] + whole[unit + 1])
    return Growth(log_forward, whole, shortcut, residual, log_gain)


def _log_gains(features: Sequence[int], *, init: str, bias_variance: float | None, kernel: int) -> Array:
    """ln of n_in·Var(w), n_out·Var(w) and Var(b) of each layer, shape (3, L)."""
    rows = []
    for n_in, n_out in pairwise(features):
        fan_out = n_out if init == "orthogonal" else n_out * kernel**2
        weight, bias = weight_variance(init, n_in * kernel**2, fan_out)
        log_b = log_bias(bias if bias_variance is None else bias_variance)
        rows.append((math.log(n_in * weight), math.log(n_out * weight), log_b))
    return np.array(rows).T


def _layer(signal: Array, activation: str, kernel: int, norm: bool) -> tuple[Array, Array]:
    """ln of the moments at a layer's output where n_in·Var(w) = 1 and no bias, (2, n, n), and of E[φ'²] at its input.

    A signal's two maps: its second moment, and that about each channel's mean over batch and positions (for BatchNorm).
    """
    scale = _log_mean(signal[1]) if norm else 0.0
    mean, square, slope = log_moments(activation, signal[int(norm)] - scale)
    total = centred = np.logaddexp.reduce(_windows(square, kernel, -math.inf), axis=(2, 3))
    if norm:
        means = _windows(mean, kernel)
        channel = means.mean(axis=(0, 1))
        kept = _windows(np.exp(square), kernel) - 2 * means * channel + channel**2
        centred = np.log(kept.sum(axis=(2, 3)))
    return np.stack([total, centred]), slope - scale


def _blocks(
    inner: range, *, depth: int, span: int, lam: float | Sequence[float] | None, beta: float | Sequence[float]
) -> list[_Block]:
    """The stem, if `inner` leaves a first layer out, the units that `inner` fills, and the head, if a last one."""
    starts = inner[::span]
    log_lam, log_beta = log_scales(len(starts), lam=lam, beta=beta)
    members = (range(i, min(i + span, inner.stop)) for i in starts)
    units = [_Block(*row) for row in zip(members, log_lam.tolist(), log_beta.tolist(), strict=True)]
    ends = [_Block(range(inner.start))], [_Block(range(inner.stop, depth))]
    return ends[0] * (inner.start > 0) + units + ends[1] * (inner.stop < depth)


def _windows(field: Array, kernel: int, fill: float = 0.0) -> Array:
    """What the taps at each position of a map (n, n) see: shape (n, n, kernel, kernel), `fill` beyond the border."""
    if kernel == 1:
        return field[:, :, None, None]
    field = np.pad(field, kernel // 2, constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(field, (kernel, kernel))


def _log_mean(logs: Array) -> float:
    return float(np.logaddexp.reduce(logs, axis=None)) - math.log(logs.size)
