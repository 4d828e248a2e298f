"""theory/products.py against counting every path, SciPy's binomial and the slots of a wide net measured here."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from closeness import approx
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradflow import theory

# ── shortcuts alone ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.floats(0.1, 10) | st.floats(-10, -0.1), max_size=20))
def test_shortcut_product_is_the_product(lam: list[float]) -> None:
    logs = theory.log10_shortcut_product(lam, len(lam))
    expected = [abs(math.prod(lam[i:])) for i in range(len(lam) + 1)]
    assert 10**logs == pytest.approx(np.array(expected), rel=1e-10)


def test_shortcut_product_of_one_number() -> None:
    assert theory.log10_shortcut_product(0.5, 50)[0] == pytest.approx(math.log10(8.9e-16), abs=0.01)
    assert theory.log10_shortcut_product(1.1, 50)[0] == pytest.approx(math.log10(117), abs=0.01)
    assert theory.log10_shortcut_product(0.1, 10_000)[0] == pytest.approx(-10_000)
    assert theory.log10_shortcut_product([1, 0, 10], 3).tolist() == [-math.inf, -math.inf, 1, 0]
    assert theory.log10_shortcut_product(0.9, 0).tolist() == [0]


# ── how many paths ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("units", "plain"), [(0, 0), (1, 0), (1, 1), (6, 0), (6, 2), (6, 6)])
def test_path_counts_by_walking_every_path(units: int, plain: int) -> None:
    choices = [(1,)] * plain + [(0, 1)] * (units - plain)
    walked = Counter(sum(path) for path in itertools.product(*choices))
    counts = theory.log10_path_counts(units, plain)
    assert counts.shape == (units + 1,)
    assert 10**counts == approx(np.array([walked[k] for k in range(units + 1)]))


def test_a_thousand_units_have_more_paths_than_float64_has_numbers() -> None:
    counts = theory.log10_path_counts(1200)
    assert counts[600] == approx(math.log10(math.comb(1200, 600)))
    assert counts[[0, -1]] == approx(np.zeros(2), abs=1e-9)
    assert theory.log10_path_counts(1200, plain=200)[199:202].tolist() == approx([-math.inf, 0, 3], abs=1e-9)


@given(st.integers(0, 1500), st.data())
def test_path_share_is_the_binomial(units: int, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, units))
    high = data.draw(st.integers(low, units))
    expected = stats.binom.cdf(high, units, 0.5) - stats.binom.cdf(low - 1, units, 0.5)
    assert theory.path_share(units, low, high) == approx(expected, rel=1e-6, abs=1e-12)


def test_the_numbers_of_veit() -> None:
    assert theory.path_share(54, 5, 17) == approx(0.0045, rel=0.02)
    # "More than 95 % … 19 to 35" holds, but 20 to 34 does as well.
    assert theory.path_share(54, 19, 35) > theory.path_share(54, 20, 34) > 0.95 > theory.path_share(54, 21, 33)
    assert theory.path_length_interval(54) == (20, 34)


@given(st.integers(0, 1200), st.floats(0.001, 1))
def test_the_interval_is_the_narrowest(units: int, share: float) -> None:
    low, high = theory.path_length_interval(units, share)
    assert low + high == units
    assert theory.path_share(units, low, high) >= share - 1e-12
    if high - low > 1:
        assert theory.path_share(units, low + 1, high - 1) < share + 1e-12


def test_the_widest_interval() -> None:
    assert theory.path_length_interval(1000, 1) == (0, 1000)
    assert theory.path_length_interval(0) == (0, 0)
    assert theory.path_length_interval(1) == (0, 1)


# ── how much gradient they carry ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("lam", "gain"), [(1.0, 1.0), (0.5, 2.0), (-1e-3, 1e3), (1e3, 1e-6)])
def test_equal_units_carry_binomial_moments(lam: float, gain: float) -> None:
    moments = theory.log10_path_moments(1000, lam=lam, gain=gain)
    k = np.arange(1001)
    expected = theory.log10_path_counts(1000) + 2 * (1000 - k) * math.log10(abs(lam)) + k * math.log10(gain)
    assert moments == approx(expected, abs=1e-9)


def test_unequal_units_by_walking_every_path() -> None:
    lam, gain = [1.0, -0.5, 0.0, 2.0, 0.9], [0.3, 1.0, 2.0, 0.0, 0.7]
    expected = np.zeros(6)
    for path in itertools.product((False, True), repeat=5):
        expected[sum(path)] += math.prod(g if b else s**2 for b, s, g in zip(path, lam, gain, strict=True))
    assert 10 ** theory.log10_path_moments(5, lam=lam, gain=gain) == approx(expected)


def test_all_lengths_together_carry_the_whole_gradient() -> None:
    growth = theory.residual_growth(units=300, width=32, lam=0.9, activation="tanh", bias_variance=0.1, norm=True)
    slots = theory.log10_path_moments(300, lam=0.9, gain=np.exp(growth.log_gain).tolist())
    assert np.logaddexp.reduce(slots * math.log(10)) == approx(growth.log_backward[0])
    assert slots[0] == approx(growth.log_shortcut[0] / math.log(10))


def test_plain_units_have_one_path() -> None:
    assert theory.log10_path_moments(3, lam=None, gain=10.0).tolist() == [-math.inf] * 3 + [approx(3.0)]
    assert theory.log10_path_moments(0).tolist() == [0]


@pytest.mark.parametrize(
    "stack",
    [
        {"lam": 1.0, "beta": 1.0},
        {"lam": 0.7, "beta": 0.5, "span": 2},
        {"lam": 1.0, "beta": 0.5, "activation": "tanh", "bias_variance": 0.5},
        {"lam": 1.0, "beta": 1.0, "norm": True},
    ],
    ids=str,
)
def test_path_moments_against_the_slots_of_wide_nets(stack: dict[str, Any]) -> None:
    units = 6
    growth = theory.residual_growth(units=units, width=384, **stack)
    expected = 10 ** theory.log10_path_moments(units, lam=stack["lam"], gain=np.exp(growth.log_gain).tolist())
    nets = [slots_once(units=units, width=384, seed=seed, **stack) for seed in range(6)]
    assert np.mean(nets, axis=0) == approx(expected, rel=0.12)


def slots_once(
    *,
    units: int,
    width: int,
    lam: float,
    beta: float,
    span: int = 1,
    activation: str = "relu",
    bias_variance: float = 0.0,
    norm: bool = False,
    batch: int = 128,
    seed: int,
) -> np.ndarray:
    """Second moment of the gradient by path length at x_0 over x_U's, with one slot per number of branches passed."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    x = normal(batch, width)
    ends = []
    for _ in range(units):
        branch = x = x.detach().requires_grad_()
        for _ in range(span):
            inner = (branch - branch.mean(0)) / branch.std(0, correction=0) if norm else branch
            branch = getattr(torch, activation)(inner) @ normal(width, width) * math.sqrt(2 / width)
            branch = branch + math.sqrt(bias_variance) * normal(width)
        ends.append((x, beta * branch))
        x = lam * x + beta * branch
    slots = [normal(batch, width)]
    last = slots[0].square().mean()
    for start, branch in reversed(ends):
        through = [torch.autograd.grad(branch, start, slot, retain_graph=True)[0] for slot in slots]
        kept = [lam * slot for slot in slots]
        slots = [kept[0], *(a + b for a, b in zip(kept[1:], through, strict=False)), through[-1]]
    return np.array([(slot.square().mean() / last).item() for slot in slots])


# ── user errors ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bad_paths_are_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match=r"one per unit \(3\), got 2"):
        theory.log10_shortcut_product([1.0, 1.0], 3)
    with pytest.raises(ValueError, match=r"units must be .* got units=-1"):
        theory.log10_shortcut_product(1.0, -1)
    with pytest.raises(ValueError, match=r"plain must be .* at least 0, got plain=-1"):
        theory.log10_path_counts(3, plain=-1)
    with pytest.raises(ValueError, match=r"units must be .* at least 4, got units=3"):
        theory.log10_path_counts(3, plain=4)
    with pytest.raises(ValueError, match=r"high must be .* at least 5, got high=4"):
        theory.path_share(9, 5, 4)
    with pytest.raises(ValueError, match=r"units must be .* at least 4, got units=3"):
        theory.path_share(3, 1, 4)
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"share must lie above 0 and at most at 1, got share={share}"):
            theory.path_length_interval(5, share)
    with pytest.raises(ValueError, match=r"gain must not be negative, got gain=-1"):
        theory.log10_path_moments(3, gain=-1)
    with pytest.raises(ValueError, match=r"gain must be one finite number or one per unit \(3\), got 2"):
        theory.log10_path_moments(3, gain=[1.0, 2.0])
