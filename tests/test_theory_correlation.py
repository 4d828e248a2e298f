"""theory/correlation.py against closed forms, Monte Carlo and wide nets measured here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from closeness import approx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradflow import theory

# ── independent gates ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_theorems_of_balduzzi() -> None:
    depth = np.arange(101)
    assert theory.balduzzi_correlation(100) == approx(0.5**depth)
    assert theory.balduzzi_correlation(100, norm=True) == approx(0.5**depth)
    assert theory.balduzzi_correlation(100, residual=True) == approx(0.75**depth)
    assert theory.balduzzi_correlation(100, residual=True, beta=0.1) == approx((1.005 / 1.01) ** depth)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0, 3.0])
def test_with_norm_a_residual_net_shatters_as_a_power(beta: float) -> None:
    got = theory.balduzzi_correlation(1000, residual=True, norm=True, beta=beta)
    a = beta**-2
    expected = [
        math.exp(math.lgamma(L + a + 0.5) - math.lgamma(L + a + 1) + math.lgamma(a + 1) - math.lgamma(a + 0.5))
        for L in range(1001)
    ]
    assert got == approx(np.array(expected), rel=1e-9)
    if beta <= 1:
        assert got[-1] == approx(1 / math.sqrt(1 + beta**2 * 1000), rel=0.15)  # the paper's 1/(β√L)


def test_gates_of_orthogonal_inputs_are_independent_behind_batchnorm_only() -> None:
    for depth in (1, 7):
        exact = theory.gradient_correlation(units=depth, norm=True)
        assert exact.backward[0] == approx(0.5**depth)
    bare = theory.gradient_correlation(units=50)
    assert bare.backward[0] > 1e11 * theory.balduzzi_correlation(50)[50]
    unit = theory.gradient_correlation(units=1, lam=1.0)
    assert unit.backward[0] == approx(0.75)
    # Theorem 3 divides by E[x²], BatchNorm by the variance: with Var = 1 + l(1 − 1/π) it is below.
    exact = theory.gradient_correlation(units=20, lam=1.0, norm=True)
    variance = 1 + np.arange(20) * (1 - 1 / math.pi)
    assert exact.backward[0] == approx(np.prod((variance + 0.5) / (variance + 1)))


# ── exact recursion ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.5, 0.99])
def test_one_layer_against_monte_carlo(rho: float) -> None:
    first, other = np.random.default_rng(0).standard_normal((2, 2_000_000))
    second = rho * first + math.sqrt(1 - rho**2) * other
    signal = np.mean(np.maximum(first, 0) * np.maximum(second, 0)) / 0.5
    gates = np.mean((first > 0) & (second > 0)) / 0.5
    layer = theory.gradient_correlation(units=1, rho=rho)
    assert layer.forward[1] == approx(signal, abs=0.003)
    assert layer.backward[0] == approx(gates, abs=0.003)
    assert (layer.forward[0], layer.backward[1]) == approx((rho, 1))


@pytest.mark.parametrize(
    "extra", [{}, {"lam": 1.0}, {"lam": 0.5, "beta": 2.0, "span": 3}, {"bias_variance": 1.0}], ids=str
)
def test_equal_and_opposite_inputs(extra: dict[str, Any]) -> None:
    alike = theory.gradient_correlation(units=1000, rho=1.0, **extra)
    assert alike.forward == approx(np.ones(1001), rel=1e-12)
    assert alike.backward == approx(np.ones(1001), rel=1e-9)
    opposite = theory.gradient_correlation(units=3, rho=-1.0, **extra)
    assert opposite.forward[0] == -1
    if "lam" not in extra:
        assert opposite.backward[0] == approx(0.0, abs=1e-12)


def test_plain_gradients_decorrelate_as_a_power_of_depth() -> None:
    # Near ρ = 1 the angle falls as 3π/l, so gates disagree by 3/l and gradients fall as l⁻³.
    layers = theory.gradient_correlation(units=4000, rho=0.3)
    assert np.arccos(layers.forward[4000]) * 4000 == approx(3 * math.pi, rel=0.02)
    power = math.log(layers.backward[1000] / layers.backward[3000]) / math.log(1000 / 3000)
    assert power == approx(3, rel=0.02)


def test_smaller_branches_keep_gradients_alike() -> None:
    ends = [theory.gradient_correlation(units=50, lam=1.0, beta=b).backward[0] for b in (1e-3, 0.1, 0.3, 1.0)]
    assert ends == sorted(ends, reverse=True)
    assert ends[0] == approx(1 - 50 * 1e-6 / 2, rel=1e-6)  # gates of orthogonal inputs, 50 times
    shut = theory.gradient_correlation(units=5, rho=0.2, lam=2.0, beta=0.0)
    assert (shut.forward, shut.backward) == (approx(np.full(6, 0.2)), approx(np.ones(6)))


def test_signals_of_unequal_size() -> None:
    # Linear in size without biases; with them the joint moment is √(q q')κ₁ + Var(b) by hand.
    assert theory.gradient_correlation(units=9, rho=0.4, moments=(1.0, 1e200)).backward == approx(
        theory.gradient_correlation(units=9, rho=0.4).backward
    )
    got = theory.gradient_correlation(units=1, rho=0.0, moments=(4.0, 9.0), bias_variance=0.5).forward[1]
    assert got == approx((6 / math.pi + 0.5) / math.sqrt(4.5 * 9.5))


@settings(max_examples=20, deadline=None)
@given(st.floats(-1, 1), st.floats(1e-3, 1e3), st.integers(1, 4), st.booleans())
def test_pairs_at_once_are_pairs_one_by_one(rho: float, lam: float, span: int, norm: bool) -> None:
    common: dict[str, Any] = {"units": 30, "lam": lam, "span": span, "norm": norm}
    grid = theory.gradient_correlation(rho=[[0.0, rho], [1.0, rho]], **common)
    one = theory.gradient_correlation(rho=rho, **common)
    assert grid.backward.shape == grid.forward.shape == (31, 2, 2)
    assert grid.backward[:, 1, 1] == approx(one.backward)
    assert grid.forward[:, 0, 1] == approx(one.forward)
    assert ((one.backward >= 0) & (one.backward <= 1)).all()


# ── wide nets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def normalised(x: Tensor) -> Tensor:
    return (x - x.detach().mean(0)) / x.detach().std(0, correction=0)


def measure_once(
    *,
    units: int,
    rho: float,
    width: int,
    moments: tuple[float, float] = (1.0, 1.0),
    span: int = 1,
    bias_variance: float = 0.0,
    lam: float | None = None,
    beta: float = 1.0,
    norm: bool = False,
    pairs: int,
    seed: int,
) -> np.ndarray:
    """Cosines of signals and of gradients at x_0 … x_U of many pairs of inputs, as two rows."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    first, other = normal(2, pairs, width)
    second = rho * first + math.sqrt(1 - rho**2) * other
    x = torch.cat([math.sqrt(q) * signal for q, signal in zip(moments, (first, second), strict=True)]).requires_grad_()
    stream = [x]
    for _ in range(units):
        branch = x
        for _ in range(span):
            inner = normalised(branch) if norm else branch
            branch = torch.relu(inner) @ normal(width, width) * math.sqrt(2 / width)
            branch = branch + math.sqrt(bias_variance) * normal(width)
        x = beta * branch + (0 if lam is None else lam * x)
        stream.append(x)
    gradients = torch.autograd.grad(x, stream, normal(pairs, width).repeat(2, 1))

    def cosine(both: Tensor) -> float:
        a, b = both.detach().chunk(2)
        return ((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt()).item()

    return np.array([[cosine(both) for both in place] for place in (stream, gradients)])


@pytest.mark.parametrize("rho", [0.0, 0.9])
@pytest.mark.parametrize(
    "stack",
    [
        {},
        {"bias_variance": 1.0},
        {"lam": 1.0},
        {"lam": 1.0, "beta": 0.3, "span": 2},
        {"lam": 0.7, "bias_variance": 0.5, "moments": (1.0, 9.0)},
        {"norm": True},
        {"norm": True, "lam": 1.0},
        {"norm": True, "lam": 1.0, "beta": 0.3, "span": 2, "bias_variance": 0.5},
    ],
    ids=str,
)
def test_cosines_against_a_wide_net(stack: dict[str, Any], rho: float) -> None:
    net: dict[str, Any] = {"units": 8, "rho": rho, **stack}
    pairs = 256 if "norm" in stack else 64  # in a small batch a pair is part of what BatchNorm takes away
    measured = np.mean([measure_once(width=512, pairs=pairs, seed=seed, **net) for seed in range(3)], axis=0)
    exact = theory.gradient_correlation(**net)
    assert measured[0] == approx(exact.forward, abs=0.03)
    assert measured[1] == approx(exact.backward, abs=0.03)


# ── user errors ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": 0}, "units must be a whole number of at least 1, got units=0"),
        ({"span": 0}, "span must be .* got span=0"),
        ({"rho": 1.1}, "rho must lie between -1 and 1, got rho=1.1"),
        ({"rho": [0.0, math.nan]}, "rho must lie between -1 and 1"),
        ({"moments": (0.0, 1.0)}, r"moments must be finite and positive, got moments=\(0.0, 1.0\)"),
        ({"moments": (1.0, math.inf)}, "moments must be finite and positive"),
        ({"moments": (1.0,)}, r"moments must be those of two inputs, got moments=\(1.0,\)"),
        ({"moments": (1.0, 2.0), "norm": True}, "with norm all inputs have the same second moment"),
        ({"weight_gain": 0.0}, "weight_gain must be finite and positive, got weight_gain=0.0"),
        ({"bias_variance": -1.0}, "bias_variance must be finite and not negative, got bias_variance=-1.0"),
        ({"lam": [1.0]}, r"lam must be one finite number or one per unit \(4\), got 1"),
        ({"beta": 0.0}, "a unit needs a shortcut or a branch"),
    ],
    ids=str,
)
def test_bad_pairs_are_refused_at_the_door(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        theory.gradient_correlation(**{"units": 4} | change)


def test_bad_theorems_are_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match=r"depth must be .* got depth=-1"):
        theory.balduzzi_correlation(-1)
    for beta in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="beta must be finite and positive"):
            theory.balduzzi_correlation(3, beta=beta)
