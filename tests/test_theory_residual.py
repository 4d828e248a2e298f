"""theory/residual.py against closed forms, simulated walks and wide nets measured here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from closeness import approx
from torch import Tensor

from gradflow import theory

Measured = dict[str, np.ndarray]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}


def normalised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0, correction=0)


def measure_once(
    *,
    units: int,
    width: int,
    span: int = 1,
    activation: str = "relu",
    gain: float = 2.0,
    bias_variance: float = 0.0,
    lam: float | list[float] = 1.0,
    beta: float | list[float] = 1.0,
    norm: bool = False,
    original: bool = False,
    q0: float = 1.0,
    batch: int = 64,
    seed: int = 0,
) -> Measured:
    """Second moments of x_l, of ∂loss/∂x_l (over x_U's) and of its shortcut part and the rest, each (U + 1,)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    lams, betas = (value if isinstance(value, list) else [value] * units for value in (lam, beta))
    x = math.sqrt(q0) * normal(batch, width)
    x = (torch.relu(normalised(x)) if original else x).requires_grad_()
    stream = [x]
    for shortcut, factor in zip(lams, betas, strict=True):
        branch = x
        for layer in range(span):
            if not original and norm:
                branch = normalised(branch)
            if not original or layer:
                branch = ACTIVATIONS[activation](branch)
            branch = branch @ normal(width, width) * math.sqrt(gain / width) + math.sqrt(bias_variance) * normal(width)
            branch = normalised(branch) if original else branch
        x = shortcut * x + factor * branch
        x = torch.relu(x) if original else x
        stream.append(x)
    last = normal(batch, width)
    gradients = torch.autograd.grad(x, stream, last)
    alone = [math.prod(lams[unit:]) * last for unit in range(units + 1)]
    parts = {
        "forward": stream,
        "backward": gradients,
        "shortcut": alone,
        "residual": [whole - part for whole, part in zip(gradients, alone, strict=True)],
    }
    moments = {name: np.array([t.detach().square().mean().item() for t in part]) for name, part in parts.items()}
    last_moment = moments["backward"][-1]
    return {name: values if name == "forward" else values / last_moment for name, values in moments.items()}


def measure(seeds: int = 3, **stack: Any) -> Measured:
    """Mean over nets: the theory is of expectations."""
    runs = [measure_once(seed=seed, **stack) for seed in range(seeds)]
    return {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}


# ── pre-activation units ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lam", [1e-3, 0.5, 1.0, 1.1, 1e3])
@pytest.mark.parametrize(("span", "beta"), [(1, 1.0), (2, 0.3), (3, 1e-3), (1, 0.0)])
def test_relu_units_grow_by_one_factor(lam: float, span: int, beta: float) -> None:
    growth = theory.residual_growth(units=1000, width=64, lam=lam, beta=beta, span=span, init="normal(0.125)", q0=7.0)
    gain = beta**2 * 0.5**span
    steps = np.arange(1001) * math.log(lam**2 + gain)
    assert growth.log_forward == approx(math.log(7) + steps, abs=1e-9)
    assert growth.log_backward == approx(steps[::-1], abs=1e-9)
    assert growth.log_shortcut == approx(2 * math.log(lam) * np.arange(1000, -1, -1), abs=1e-9)
    assert growth.log_gain == approx(np.full(1000, math.log(gain) if gain else -math.inf))
    parts = np.logaddexp(growth.log_shortcut, growth.log_residual)
    assert parts == approx(growth.log_backward, abs=1e-9)
    assert growth.log_residual[-1] == -math.inf


@pytest.mark.parametrize(("lam", "ratio"), [(0.5, 7.5e-4), (0.9, 8.5e2), (1.0, 2.5e4), (1.1, 6.7e5)])
def test_the_table_of_the_reference(lam: float, ratio: float) -> None:
    growth = theory.residual_growth(units=50, width=64, lam=lam, init="normal(0.125)")
    assert growth.rms[0] == approx(ratio, rel=0.02)
    assert growth.rms == approx((lam**2 + 0.5) ** (np.arange(50, -1, -1) / 2))
    assert growth.log_shortcut / math.log(100) == approx(theory.log10_shortcut_product(lam, 50), abs=1e-12)


def test_a_small_residual_part_keeps_its_digits() -> None:
    growth = theory.residual_growth(units=3, width=64, beta=1e-12)
    assert np.exp(growth.log_residual[:3]) == approx(np.array([3e-24, 2e-24, 1e-24]))


@pytest.mark.parametrize("span", [1, 2])
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_with_norm_the_signal_grows_linearly_and_the_gradient_as_a_power(span: int, beta: float) -> None:
    growth = theory.residual_growth(units=1000, width=64, span=span, beta=beta, norm=True)
    steps = np.arange(1001)
    assert growth.forward == approx(1 + beta**2 * steps, rel=1e-9)  # He: a branch gives 2 · ½
    variance = 1 + beta**2 * steps * (1 - 1 / math.pi)  # without the mean that relu leaves
    gain = beta**2 * (math.pi / (math.pi - 1)) ** (span - 1) / variance[:-1]
    assert np.exp(growth.log_gain) == approx(gain, rel=1e-9)
    assert growth.log_backward[:-1] == approx(np.cumsum(np.log1p(gain)[::-1])[::-1], rel=1e-9)
    if beta == 1:  # gains of (π/(π − 1))^span / l add up to a power of l
        power = (growth.log_backward[500] - growth.log_backward[250]) / math.log(0.5)
        assert power == approx((math.pi / (math.pi - 1)) ** span, rel=0.02)


@pytest.mark.parametrize(
    "stack",
    [
        {"lam": 1.0},
        {"lam": 0.5, "span": 2, "beta": 0.7},
        {"lam": [1.0, -0.5, 0.0, 2.0, 0.9], "beta": [0.1, 1.0, 0.5, 0.0, -2.0], "units": 5},
        {"lam": 1.0, "bias_variance": 1.0, "beta": 0.5},
        {"lam": 0.9, "activation": "tanh", "bias_variance": 0.3, "q0": 4.0},
        {"lam": 1.0, "activation": "gelu", "beta": 0.3, "span": 2},
        {"norm": True},
        {"norm": True, "lam": 0.8, "beta": 0.5, "span": 2},
        {"norm": True, "activation": "tanh", "lam": 1.1, "q0": 9.0},
        {"norm": True, "bias_variance": 1.0},
    ],
    ids=str,
)
def test_units_against_a_wide_net(stack: dict[str, Any]) -> None:
    stack = {"units": 6, "width": 384} | stack
    norm = stack.get("norm", False)
    measured = measure(seeds=3 if norm else 8, batch=256 if norm else 32, **stack)
    growth = theory.residual_growth(**stack)
    tolerance = 0.06 if norm else 0.2  # under 1 % and 3 % a unit; wider nets come closer
    assert measured["forward"] == approx(growth.forward, rel=tolerance)
    assert measured["backward"] == approx(growth.backward, rel=tolerance)
    assert measured["shortcut"] == approx(np.exp(growth.log_shortcut), rel=1e-9)
    assert measured["residual"] == approx(np.exp(growth.log_residual), rel=tolerance)


def test_units_of_a_whole_stack_are_the_same() -> None:
    common: dict[str, Any] = {"width": 32, "init": "xavier", "activation": "tanh", "lam": 0.9, "beta": 0.5, "span": 2}
    stack = theory.stack_profile(depth=12, bias_variance=0.2, **common)
    assert stack.units.log_forward.shape == (6,)
    q0 = stack.units.forward[0]
    assert q0 == approx(stack.forward[0])
    growth = theory.residual_growth(units=5, bias_variance=0.2, q0=q0, **common)
    for name in ("log_forward", "log_backward", "log_shortcut", "log_residual", "log_gain"):
        assert getattr(growth, name) == approx(getattr(stack.units, name), abs=1e-12)
    # The last unit's last layer sees β times what its end does.
    bare = theory.stack_profile(depth=11, head=False, **common)
    assert bare.log_backward[0] - bare.log_backward[-1] == approx(bare.units.log_backward[0] - 2 * math.log(0.5))


def test_units_of_conv_stacks_split_into_shortcut_and_residual_part() -> None:
    for norm in (False, True):
        stack = theory.stack_profile(depth=9, width=16, kernel=3, size=5, head=False, lam=0.7, init="he", norm=norm)
        units = stack.units
        assert np.logaddexp(units.log_shortcut, units.log_residual) == approx(units.log_backward, abs=1e-12)
        assert units.log_shortcut == approx(2 * np.arange(4, -1, -1) * math.log(0.7), abs=1e-12)


# ── He15's units ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_walk_held_at_zero_against_a_simulation() -> None:
    rng = np.random.default_rng(0)
    units, walkers = 12, 400_000
    x = np.maximum(rng.standard_normal(walkers), 0)
    square, variance, opened = [np.mean(x**2)], [np.var(x)], np.ones((units + 1, walkers), dtype=bool)
    for unit in range(units):
        x = np.maximum(x + rng.standard_normal(walkers), 0)
        opened[: unit + 1] &= x > 0
        square.append(np.mean(x**2))
        variance.append(np.var(x))
    growth = theory.original_growth(units, span=1)
    assert growth.forward == approx(np.array(square), rel=0.01)
    assert np.exp(-growth.log_gain) == approx(np.array(variance[:-1]), rel=0.01)
    assert np.exp(growth.log_shortcut) == approx(opened.mean(axis=1), rel=0.01)


def test_one_unit_of_he15_by_hand() -> None:
    # x_0 = relu(z): E = 1/√(2π), E² = ½; y = x_0 + z' > 0 unless both steps and their sum miss: 1 − 3/8.
    growth = theory.original_growth(1, span=2)
    assert growth.forward[0] == approx(0.5)
    assert growth.backward[1] == approx(1.0)
    gain = math.pi / (math.pi - 1) / (0.5 - 1 / (2 * math.pi))
    assert np.exp(growth.log_gain) == approx(np.array([gain]))
    assert np.exp(growth.log_shortcut[0]) == approx(5 / 8)
    assert growth.backward[0] == approx(5 / 8 * (1 + gain))


@pytest.mark.parametrize("span", [1, 2, 3])
def test_he15_units_against_a_wide_net(span: int) -> None:
    measured = measure(seeds=2, units=12, width=320, span=span, original=True, batch=320)
    growth = theory.original_growth(12, span=span)
    assert measured["forward"] == approx(growth.forward, rel=0.02)
    assert measured["backward"] == approx(growth.backward, rel=0.08)  # under 1 % a unit


def test_a_thousand_he15_units() -> None:
    growth = theory.original_growth(1000)
    assert growth.forward[-1] == approx(1000, rel=0.05)  # E[max²] → n
    halfway = np.exp(growth.log_shortcut[500])
    assert halfway == approx(0.5, rel=0.01)  # the arcsine law at half time
    assert np.logaddexp(growth.log_shortcut, growth.log_residual) == approx(growth.log_backward, abs=1e-9)
    assert np.isfinite(theory.original_growth(20, span=2000).log_backward).all()


# ── user errors ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": 0}, "units must be a whole number of at least 1, got units=0"),
        ({"units": 2.5}, "got units=2.5"),
        ({"span": 0}, "span must be .* got span=0"),
        ({"width": -1}, "width must be .* got width=-1"),
        ({"lam": [1.0]}, r"lam must be one finite number or one per unit \(4\), got 1"),
        ({"beta": [1.0] * 5}, r"beta must be one finite number or one per unit \(4\), got 5"),
        ({"beta": math.nan}, "beta must be one finite number .*beta=nan"),
        ({"beta": 0.0, "lam": None}, "a unit needs a shortcut or a branch, got lam=None, beta=0.0"),
        ({"beta": [1, 0, 1, 1], "lam": [1, 0, 1, 1]}, "a unit needs a shortcut or a branch"),
        ({"bias_variance": -0.1}, "bias_variance must be finite and not negative, got bias_variance=-0.1"),
        ({"bias_variance": math.inf}, "got bias_variance=inf"),
        ({"q0": 0.0}, "input_moment must be finite and positive"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"init": "kaiming"}, "init must be one of"),
    ],
    ids=str,
)
def test_bad_units_are_refused_at_the_door(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        theory.residual_growth(**{"units": 4, "width": 8} | change)


def test_bad_he15_units_are_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match=r"units must be .* got units=0"):
        theory.original_growth(0)
    with pytest.raises(ValueError, match=r"span must be .* got span=0"):
        theory.original_growth(3, span=0)
