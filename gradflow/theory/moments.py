"""Second moments of what layers are made of: weights and biases by init, activations of a Gaussian input."""

from __future__ import annotations

import math
import re

import numpy as np

from gradflow.theory.checks import Array, at_least

INITS = ("default", "he", "he_fan_out", "xavier", "orthogonal", "normal(SIGMA)")
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
    "he_fan_out" eq. 14, which keeps the gradient's size where "he" keeps the signal's; "xavier" Glorot & Bengio 2010,
    eq. 12; "orthogonal" Saxe et al. 2014 (1312.6120).
    """
    kind, sigma = parse_init(init)
    at_least(1, fan_in=fan_in, fan_out=fan_out)
    variances = {"default": 1 / (3 * fan_in), "he": 2 / fan_in, "he_fan_out": 2 / fan_out}
    variances |= {"xavier": 2 / (fan_in + fan_out), "orthogonal": 1 / max(fan_in, fan_out)}
    variances["normal"] = (sigma or 0.0) ** 2
    return variances[kind], variances[kind] if kind == "default" else 0.0


def activation_moments(activation: str, q: float) -> tuple[float, float]:
    """Second moments of an activation and of its slope for Gaussian input: (E[φ(√q z)²], E[φ'(√q z)²]), z ~ N(0, 1).

    Args: activation, one of ACTIVATIONS; q, the input's second moment. Raises: ValueError for others, q not in 0…1e300.
    Source: relu He et al. 2015 (1502.01852), §2.2; gelu (the exact one) by Stein's lemma, E[φ²] as in Tsuchida et al.
    2021 (2002.08517); tanh and sigmoid by quadrature, relative error under 1e-10.
    """
    check_activation(activation)
    if not 0 <= q <= 1e300:
        raise ValueError(f"q must lie between 0 and 1e300, got {q=}")
    _, square, slope = _moments(activation, np.array(float(q)))
    return float(square), float(slope)


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


def log_moments(activation: str, log_q: Array) -> tuple[Array, Array, Array]:
    """E[φ] (for ln q within ±60), ln E[φ²] and ln E[φ'²] (for any ln q), elementwise."""
    inside = np.clip(log_q, -60, 60)  # beyond e^±60 the moments are powers of q, to float64's precision
    mean, square, slope = _moments(activation, np.exp(inside))
    low, high, slope_high = _POWERS[activation]
    outside = log_q - inside
    log_square = np.log(square) + np.where(outside < 0, low, high) * outside
    return mean, log_square, np.log(slope) + slope_high * np.maximum(outside, 0)


def check_activation(activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation=}")
