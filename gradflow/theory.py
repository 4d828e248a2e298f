"""What mean field theory says of signals and gradients at initialisation, in closed form.

Every number is a second moment, averaged over the weights a wide net could have drawn: independent, of zero mean. A
pre-activation is then Gaussian with variance q. Forward, a layer maps q to n_in·Var(w)·E[φ(√q z)²] + Var(b); backward,
it multiplies the gradient's second moment by n_out·Var(w)·E[φ'(√q z)²], z ~ N(0, 1) (Schoenholz et al., 1611.01232).
In a conv net positions near the border hear fewer taps, so a moment is a map (n, n) over positions, not a number. All
are natural logarithms: a thousand layers leave float64's range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
INITS = ("default", "he", "xavier", "orthogonal", "normal(SIGMA)")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "linear")
_NUMBER = re.compile(r"normal\(((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\)", re.ASCII)
# Growth of E[φ²] as q → 0 and as q → ∞, and of E[φ'²] as q → ∞, as powers of q.
_POWERS = {"relu": (1, 1, 0), "tanh": (1, 0, -0.5), "sigmoid": (0, 0, -0.5), "gelu": (1, 1, 0), "linear": (1, 1, 0)}


def parse_init(text: str) -> tuple[str, float | None]:
    """Split an init into its kind and, for "normal(0.05)" and the like, its standard deviation, or ValueError."""
    if text in INITS[:-1]:
        return text, None
    match = _NUMBER.fullmatch(str(text))
    if match and 1e-150 <= float(match[1]) <= 1e150:
        return "normal", float(match[1])
    raise ValueError(f"init must be one of {', '.join(INITS)}, with SIGMA a positive number; got init={text!r}")


def weight_variance(init: str, fan_in: int, fan_out: int) -> tuple[float, float]:
    """Variance of one weight and of one bias under an init: (Var(w), Var(b)).

    Args: init, see INITS; fan_in and fan_out, connections per unit (for a conv channels × kernel²; "orthogonal" sees
    a conv as a matrix of c_out rows, so give it fan_out = c_out). Raises: ValueError for another init or a fan under 1.
    Source: "default" PyTorch's Linear and Conv2d (kaiming_uniform, a = √5); "he" He et al. 2015 (1502.01852), eq. 10;
    "xavier" Glorot & Bengio 2010, eq. 16; "orthogonal" Saxe et al. 2014 (1312.6120).
    """
    kind, sigma = parse_init(init)
    _at_least(1, fan_in=fan_in, fan_out=fan_out)
    variances = {"default": 1 / (3 * fan_in), "he": 2 / fan_in, "xavier": 2 / (fan_in + fan_out)}
    variances |= {"orthogonal": 1 / max(fan_in, fan_out), "normal": (sigma or 0.0) ** 2}
    return variances[kind], variances[kind] if kind == "default" else 0.0


def activation_moments(activation: str, q: float) -> tuple[float, float]:
    """Second moments of an activation and of its slope for Gaussian input: (E[φ(√q z)²], E[φ'(√q z)²]), z ~ N(0, 1).

    Args: activation, one of ACTIVATIONS; q, the input's second moment. Raises: ValueError for others, q not in 0…1e300.
    Source: relu He et al. 2015 (1502.01852), §2.2; gelu (the exact one) by Stein's lemma, E[φ²] as in Tsuchida et al.
    2021 (2002.08517); tanh and sigmoid by quadrature, relative error under 1e-10.
    """
    _check_activation(activation)
    if not 0 <= q <= 1e300:
        raise ValueError(f"q must lie between 0 and 1e300, got {q=}")
    _, square, slope = _moments(activation, np.array(float(q)))
    return float(square), float(slope)


@dataclass(frozen=True, eq=False)
class Profile:
    """Second moments along a stack of L weighted layers, first = nearest the input, as natural logarithms, shape (L,).

    `log_forward` is of each layer's output, `log_backward` of ∂loss/∂output of each layer over the last layer's.
    """

    log_forward: Array
    log_backward: Array

    @property
    def forward(self) -> Array:
        """Second moment of each layer's output, shape (L,); 0 or inf where float64 ends."""
        return self._exp(self.log_forward)

    @property
    def backward(self) -> Array:
        """Second moment of ∂loss/∂output of each layer over the last one's, shape (L,); 0 or inf where float64 ends."""
        return self._exp(self.log_backward)

    @property
    def rms(self) -> Array:
        """RMS of ∂loss/∂output of each layer over the last one's, shape (L,); 0 or inf where float64 ends."""
        return self._exp(self.log_backward / 2)

    @property
    def log10_rms(self) -> Array:
        """Decimal logarithm of `rms`, shape (L,); finite at any depth."""
        return self.log_backward / math.log(100)

    @staticmethod
    def _exp(logs: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(logs))


def stack_profile(
    *,
    depth: int,
    width: int,
    in_features: int | None = None,
    out_features: int | None = None,
    activation: str = "relu",
    init: str = "default",
    lam: float | Sequence[float] | None = None,
    span: int = 2,
    input_moment: float = 1.0,
    kernel: int = 1,
    size: int | None = None,
    norm: bool = False,
    head: bool = True,
) -> Profile:
    """Signal and gradient along a stem, units x → λx + W φ(… W φ(x)) and a head W φ(x), at init and infinite width.

    With `norm` a BatchNorm over an infinite batch (ε = 0, γ = 1, β = 0) stands before every φ. It divides by the batch
    variance, which lacks the mean that φ gives every sample: plain ReLU gradients grow by π/(π − 1) a layer, less where
    the mean stays, near the border of a conv. The gradients at the last layer are taken to be equal at every position.

    Args: depth, weighted layers with stem and head; width, features or channels; in_features and out_features, those
    of the stem's input and the head's output (None: width); lam, None for no shortcut, one λ or one per unit; span,
    weighted layers per unit (the last unit takes what is left); input_moment, second moment of the input, whose mean
    is zero; kernel, odd, and size, side of the square map, for convs with stride 1 and zero padding; head, False for
    a stack that ends with its units, as every conv stack here does (pooling and the Linear behind it are left out).
    Raises: ValueError for arguments out of range or not fit for each other. Source: He et al. 2015 (1502.01852), §2.2;
    shortcuts Yang & Schoenholz 2017 (1712.08969); norm Yang et al. 2019 (1902.08129).
    """
    side = 1 if size is None else size
    n_in, n_out = (width if n is None else n for n in (in_features, out_features))
    _at_least(1, width=width, in_features=n_in, out_features=n_out, span=span, kernel=kernel, size=side)
    _at_least(1 + head, depth=depth)
    _check_activation(activation)
    if kernel % 2 == 0 or (size is None and kernel > 1) or (size is not None and head):
        raise ValueError(f"a conv stack takes an odd kernel, a size and head=False; got {kernel=}, {size=}, {head=}")
    if norm and kernel > 1 and activation == "sigmoid":  # the mean left near the border takes over
        raise ValueError(f"no closed form for sigmoid behind the norm of a conv stack; got {activation=}, {norm=}")
    if out_features is not None and not head:
        raise ValueError(f"out_features needs a head, got {out_features=}, {head=}")
    if not 0 < input_moment < math.inf:
        raise ValueError(f"input_moment must be finite and positive, got {input_moment=}")
    log_in, log_out, log_bias = _log_gains(init, [n_in, *[width] * (depth - 1), n_out], kernel)
    blocks = _blocks(depth, span, lam, head)

    signal = np.full((2, side, side), math.log(input_moment))
    slopes, outputs, gradients = [], [], []
    for members, log_shortcut in blocks:
        branch = signal
        for index in members:
            branch, slope = _forward(branch, activation if index else "linear", kernel, norm and index > 0)
            branch += log_in[index]
            branch[0] = np.logaddexp(branch[0], log_bias[index])
            slopes.append(slope)
            outputs.append(_log_mean(branch[0]))
        signal = np.logaddexp(log_shortcut + signal, branch)

    gradient = np.zeros_like(signal[0])
    for members, log_shortcut in reversed(blocks):
        branch = gradient
        for index in reversed(members):
            gradients.append(_log_mean(branch))
            heard = np.logaddexp.reduce(_windows(branch, kernel, -math.inf), axis=(2, 3))
            branch = log_out[index] + slopes[index] + heard
        gradient = np.logaddexp(log_shortcut + gradient, branch)
    return Profile(np.array(outputs), np.array(gradients[::-1]))


def gradient_factor(activation: str, init: str, width: int, *, depth: int = 40, q0: float = 1.0) -> float:
    """RMS factor of ∂loss/∂output per layer toward the input, geometric mean over a plain stack of Linear layers.

    Args: activation and init, see ACTIVATIONS and INITS; width, features of every layer; depth, weighted layers, 2 or
    more; q0, the input's second moment. Raises and source: see `stack_profile`. Relu: √(width·Var(w)/2), default: .408.
    """
    _at_least(2, depth=depth)
    profile = stack_profile(depth=depth, width=width, activation=activation, init=init, input_moment=q0)
    return math.exp(profile.log_backward[0] / (2 * (depth - 1)))


def log10_shortcut_product(lam: float | Sequence[float], units: int) -> Array:
    """Decimal logarithm of |∏_{i=l}^{U−1} λ_i| for l = 0 … U, shape (U + 1,): what shortcuts alone pass back to x_l.

    Args: lam, one λ or one per unit; units, U. A λ of 0 gives −inf. Raises: ValueError for a λ that is not finite, or
    for another number of them than units. Source: He16 (1603.05027), eq. 5–8.
    """
    _at_least(0, units=units)
    log_products = np.cumsum(_log_lambdas(lam, units)[::-1])[::-1]
    return np.append(log_products / math.log(10), 0.0)


def _log_gains(init: str, features: Sequence[int], kernel: int) -> Array:
    """ln of n_in·Var(w), n_out·Var(w) and Var(b) of each layer, shape (3, L)."""
    rows = []
    for n_in, n_out in pairwise(features):
        fan_out = n_out if init == "orthogonal" else n_out * kernel**2
        weight, bias = weight_variance(init, n_in * kernel**2, fan_out)
        rows.append((math.log(n_in * weight), math.log(n_out * weight), math.log(bias) if bias else -math.inf))
    return np.array(rows).T


def _forward(signal: Array, activation: str, kernel: int, norm: bool) -> tuple[Array, Array]:
    """ln of the moments at a layer's output where n_in·Var(w) = 1 and no bias, (2, n, n), and of E[φ'²] at its input.

    A signal's two maps: its second moment, and that about each channel's mean over batch and positions (for BatchNorm).
    """
    scale = _log_mean(signal[1]) if norm else 0.0
    mean, square, slope = _log_moments(activation, signal[int(norm)] - scale)
    total = centred = np.logaddexp.reduce(_windows(square, kernel, -math.inf), axis=(2, 3))
    if norm:
        means = _windows(mean, kernel)
        channel = means.mean(axis=(0, 1))
        kept = _windows(np.exp(square), kernel) - 2 * means * channel + channel**2
        centred = np.log(kept.sum(axis=(2, 3)))
    return np.stack([total, centred]), slope - scale


def _blocks(depth: int, span: int, lam: float | Sequence[float] | None, head: bool) -> list[tuple[range, float]]:
    """Weighted layers of the stem, of each unit and of the head, each with ln λ² of the shortcut around it."""
    end = depth - head
    units = [range(i, min(i + span, end)) for i in range(1, end, span)]
    logs = 2 * _log_lambdas(lam, len(units))
    rows = [(range(1), -math.inf), *zip(units, logs.tolist(), strict=True), (range(end, depth), -math.inf)]
    return rows if head else rows[:-1]


def _moments(activation: str, q: Array) -> tuple[Array, Array, Array]:
    """E[φ], E[φ²] and E[φ'²], elementwise in q."""
    if activation == "linear":
        return 0 * q, q, np.ones_like(q)
    if activation == "relu":
        return np.sqrt(q / (2 * math.pi)), q / 2, np.full_like(q, 0.5)
    if activation == "gelu":
        angle = 0.25 + np.arcsin(q / (1 + q)) / (2 * math.pi)
        bump = q / (1 + q) / np.sqrt(1 + 2 * q) / math.pi
        slope = angle + bump + q / (1 + 2 * q) / np.sqrt(1 + 2 * q) / (2 * math.pi)
        return q / np.sqrt(2 * math.pi * (1 + q)), q * (angle + bump), slope
    if activation == "tanh":
        return 0 * q, *_tanh_moments(q)
    square, slope = _tanh_moments(q / 4)  # sigmoid(x) = ½ + ½ tanh(x/2), and the odd part has no mean
    return np.full_like(q, 0.5), (1 + square) / 4, slope / 16


def _tanh_moments(q: Array) -> tuple[Array, Array]:
    """E[tanh²] and E[(1 − tanh²)²] by the trapezoidal rule, exponentially accurate (Trefethen & Weideman 2014).

    z = sinh(t)/√(1+q) puts points both where the Gaussian lives (z near 1) and where tanh bends (z near 1/√q).
    """
    step = 0.1
    narrow = np.sqrt(1 + q)[..., None]
    t = np.arange(0, np.arcsinh(10 * narrow.max()) + step, step)
    z = np.sinh(t) / narrow
    weight = np.exp(-(np.minimum(z, 38.0) ** 2) / 2) * np.cosh(t) / narrow * (step * math.sqrt(2 / math.pi))
    weight[..., 0] /= 2
    square = np.tanh(np.sqrt(q)[..., None] * z) ** 2
    return (weight * square).sum(-1), (weight * (1 - square) ** 2).sum(-1)


def _log_moments(activation: str, log_q: Array) -> tuple[Array, Array, Array]:
    """E[φ] (for ln q within ±60), ln E[φ²] and ln E[φ'²] (for any ln q), elementwise."""
    inside = np.clip(log_q, -60, 60)  # beyond e^±60 the moments are powers of q, to float64's precision
    mean, square, slope = _moments(activation, np.exp(inside))
    low, high, slope_high = _POWERS[activation]
    outside = log_q - inside
    log_square = np.log(square) + np.where(outside < 0, low, high) * outside
    return mean, log_square, np.log(slope) + slope_high * np.maximum(outside, 0)


def _windows(field: Array, kernel: int, fill: float = 0.0) -> Array:
    """What the taps at each position of a map (n, n) see: shape (n, n, kernel, kernel), `fill` beyond the border."""
    if kernel == 1:
        return field[:, :, None, None]
    field = np.pad(field, kernel // 2, constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(field, (kernel, kernel))


def _log_mean(logs: Array) -> float:
    return float(np.logaddexp.reduce(logs, axis=None)) - math.log(logs.size)


def _log_lambdas(lam: float | Sequence[float] | None, units: int) -> Array:
    """ln |λ| of each unit's shortcut, −inf where there is none."""
    values = np.asarray(0.0 if lam is None else lam, dtype=np.float64)
    if values.shape not in ((), (units,)) or not np.isfinite(values).all():
        raise ValueError(f"lam must be one finite number or one per unit ({units}), got {values.size}: lam={lam!r}")
    with np.errstate(divide="ignore"):
        return np.broadcast_to(np.log(np.abs(values)), (units,))


def _check_activation(activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation=}")


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {name}={value!r}")
