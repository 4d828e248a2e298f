"""Tensors times a power of two, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from closeness import approx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradflow.measure.lifted import FAR, Lifted, excess, times_power

DTYPES = list(FAR)
values = st.lists(st.floats(min_value=-1e300, max_value=1e300, allow_subnormal=True), min_size=1, max_size=4)
exponents = st.integers(-3000, 3000)


def double(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def exact(lifted: Lifted) -> list[Fraction]:
    return [Fraction(value) * Fraction(2) ** lifted.exponent for value in lifted.tensor.tolist()]


def nearest(value: Fraction) -> float:
    """The float64 next to an exact number; infinite beyond the range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


@given(values, exponents)
@settings(deadline=None)
def test_a_power_of_two_changes_no_digit(numbers: list[float], exponent: int) -> None:
    found = times_power(double(*numbers), exponent).tolist()
    true = [nearest(Fraction(number) * Fraction(2) ** exponent) for number in numbers]
    assert found == true


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("exponent", [-9, 0, 9])
def test_a_power_of_two_keeps_the_dtype(dtype: torch.dtype, exponent: int) -> None:
    found = times_power(torch.tensor([0.75, -1.0, 0.0], dtype=dtype), exponent)
    assert found.dtype == dtype
    assert found.tolist() == [0.75 * 2.0**exponent, -(2.0**exponent), 0.0]


@given(values, exponents)
@settings(deadline=None)
def test_settling_keeps_the_value_and_makes_squaring_safe(numbers: list[float], exponent: int) -> None:
    largest = max(map(abs, numbers))
    assume(all(number == 0 or abs(number) > 1e-200 * largest for number in numbers))  # else some are rounded away
    start = Lifted(double(*numbers), exponent)
    settled = start.settled()
    assert exact(settled) == exact(start)
    assert (
        largest == 0 or 2.0 ** -FAR[torch.float64] / 2 <= float(settled.tensor.abs().max()) <= 2.0 ** FAR[torch.float64]
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_only_what_is_far_out_is_moved(dtype: torch.dtype) -> None:
    near = FAR[dtype]
    for power in (-near + 1, 0, near - 1):
        assert excess(torch.tensor([2.0**power, 0.0], dtype=dtype)) == 0
    if dtype is torch.float16:
        near = 10
    for power in (-near - 5, near + 5):
        tensor = torch.tensor([-(2.0**power), 0.0], dtype=dtype)
        assert excess(tensor) == power + 1  # frexp's mantissa lies in [½, 1)
        assert Lifted(tensor).settled().tensor.tolist() == [-0.5, 0.0]


def test_nothing_is_moved_where_there_is_nothing_to_measure() -> None:
    for tensor in (double(), double(0, 0), double(math.inf, 1), double(math.nan, 1e300)):
        assert excess(tensor) == 0
        assert Lifted(tensor, 5).settled().exponent == 5


def test_the_smallest_denormal_settles() -> None:
    settled = Lifted(double(5e-324)).settled()
    assert settled.tensor.tolist() == [0.5]
    assert settled.exponent == -1073


@given(values, values, exponents, exponents)
@settings(deadline=None)
def test_a_sum_is_exact_to_rounding(a: list[float], b: list[float], at: int, other: int) -> None:
    size = min(len(a), len(b))
    first, second = Lifted(double(*a[:size]), at), Lifted(double(*b[:size]), other)
    found = exact(first.settled().plus(second.settled()))
    true = [one + two for one, two in zip(exact(first), exact(second), strict=True)]
    largest = max(abs(value) for value in (*exact(first), *exact(second)))
    assert all(abs(one - two) <= largest * Fraction(2) ** -51 for one, two in zip(found, true, strict=True))


def test_a_sum_with_nothing_is_the_same() -> None:
    one, nothing = Lifted(double(1, 2), 7), Lifted(double(0, 0), 4000)
    assert one.plus(nothing) is one
    assert nothing.plus(one) is one


@given(values, exponents)
@settings(deadline=None)
def test_log10_of_the_rms_beyond_every_float(numbers: list[float], exponent: int) -> None:
    squares = sum(value**2 for value in exact(Lifted(double(*numbers), exponent))) / len(numbers)
    found = Lifted(double(*numbers), exponent).log10_rms()
    if not squares:
        assert found == -math.inf
        return
    true = (math.log10(squares.numerator) - math.log10(squares.denominator)) / 2
    assert found == approx(true, rel=1e-12, abs=1e-10)


def test_log10_of_what_is_not_finite() -> None:
    assert Lifted(double(math.inf, 1), -5000).log10_rms() == math.inf
    assert math.isnan(Lifted(double(math.nan, 1), -5000).log10_rms())


def test_at_another_exponent_what_is_too_small_becomes_zero() -> None:
    lifted = Lifted(double(3.0, 2.0**-60), 10)
    assert lifted.at(10) is lifted.tensor
    assert lifted.at(8).tolist() == [12.0, 2.0**-58]
    assert lifted.at(1075).tolist() == [3 * 2.0**-1065, 0.0]
    assert lifted.at(5000).tolist() == [0.0, 0.0]
