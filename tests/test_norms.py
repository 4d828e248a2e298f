"""norms.py against exact sums of exact squares, over the whole range of every dtype."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import closeness
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradflow.measure import norms
from gradflow.measure.norms import NORMS, ROW, SMALL, Reading, combine, is_small, joined_l2, measure, measure_small

TOLERANCE = 1e-6
approx = partial(closeness.approx, rel=TOLERANCE)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
TINY = [1e-45, 1e-42, 1e-38, 1e-30, 1e-25, 3e-22, 3e-21, 1e-19, 1e-15, 1e-8]
MAGNITUDES = [*TINY, 1.0, 1e8, 1e15, 1e17, 1e19, 1e25, 1e37, 1e38]
SIZES = [1, 2, ROW - 1, ROW, ROW + 1, 3 * ROW, 3 * ROW + 7, norms.PIECE - 1, norms.PIECE + 1]


def exact(x: Tensor, norm: str) -> float:
    """The norm by `math.fsum` over float64, after scaling by a power of two, which loses nothing that counts."""
    plain = x.detach().to(torch.complex128 if x.is_complex() else torch.float64).resolve_conj().resolve_neg()
    values = np.abs(plain.numpy()).ravel()
    largest = float(values.max())
    exponent = math.frexp(largest)[1]
    unit = np.ldexp(values, -exponent)
    total = math.fsum(unit.tolist()) if norm == "mean_abs" else math.fsum((unit * unit).tolist())
    size = values.size
    scaled = {
        "rms": lambda: math.sqrt(total / size),
        "l2": lambda: math.sqrt(total),
        "mean_abs": lambda: total / size,
        "max": lambda: float(unit.max()),
    }[norm]()
    try:
        return math.ldexp(scaled, exponent)
    except OverflowError:
        return math.inf


def assert_exact(x: Tensor, norm: str, tolerance: float = TOLERANCE) -> None:
    reading = measure(x, norm)
    assert reading.size == x.numel()
    assert reading.nonfinite == 0
    truth = exact(x, norm)
    # Half the smallest float64 is what any answer in float64 may be off.
    assert float(reading.value) == approx(truth, rel=tolerance, abs=5e-324), (norm, truth)


# ── the whole range ──


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_float32_is_exact_at_every_magnitude(norm: str, magnitude: float) -> None:
    for size in (1, 5, ROW + 3, 5000):
        spread = torch.rand(size, dtype=torch.float64) * 2 * magnitude + magnitude
        assert_exact(spread.clamp(max=3.4e38).float(), norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1.1e-23, 3.3e19, 1e-45])
@pytest.mark.parametrize("size", [*SIZES, 300_001])
def test_constant_tensors_are_exact(norm: str, value: float, size: int) -> None:
    assert_exact(torch.full((size,), value), norm)


def test_two_million_equal_elements_keep_their_digits() -> None:
    assert_exact(torch.full((2_000_003,), 0.1), "rms", 2e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_float16_and_bfloat16_are_exact(norm: str) -> None:
    for magnitude in (6e-8, 1e-5, 1.0, 300.0, 2e4):
        assert_exact((torch.rand(3000) * magnitude + magnitude).half(), norm)
        assert_exact(torch.full((70_001,), magnitude).half(), norm)
    for magnitude in (1e-40, 1e-30, 1e-20, 1.0, 1e20, 1e38):
        assert_exact((torch.rand(3000, dtype=torch.float64) * magnitude + magnitude).bfloat16(), norm)
        assert_exact(torch.full((70_001,), magnitude).bfloat16(), norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("magnitude", [5e-324, 5e-320, 1e-308, 1e-200, 1e-154, 1.0, 1e154, 1e300, 8e307])
def test_float64_is_exact_at_every_magnitude(norm: str, magnitude: float) -> None:
    for size in (1, 700, 5000):
        x = torch.rand(size, dtype=torch.float64) * magnitude + magnitude
        if exact(x, norm) < math.inf:
            assert_exact(x, norm, 1e-12)


def test_float64_rms_is_finite_where_l2_overflows() -> None:
    x = torch.full((1000,), 1.7e308, dtype=torch.float64)
    assert measure(x, "rms").value == approx(1.7e308, rel=1e-12)
    assert measure(x, "mean_abs").value == approx(1.7e308, rel=1e-12)
    assert measure(x, "max").value == 1.7e308
    overflown = measure(x, "l2")
    assert overflown.value == math.inf
    assert overflown.nonfinite == 0


def test_float64_below_the_normal_numbers() -> None:
    x = torch.full((777,), 5e-324, dtype=torch.float64)
    assert [measure(x, norm).value for norm in ("rms", "mean_abs", "max")] == [5e-324] * 3
    assert measure(x, "l2").value == approx(math.sqrt(777) * 5e-324, rel=0.03)


@settings(max_examples=60, deadline=None)
@given(
    exponents=st.lists(st.one_of(st.floats(-45, 38), st.just(-math.inf)), min_size=1, max_size=8),
    width=st.integers(1, 3 * ROW),
    norm=st.sampled_from(NORMS),
    seed=st.integers(0, 2**16),
)
def test_rows_of_very_different_size(exponents: list[float], width: int, norm: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = np.array([10.0**exponent for exponent in exponents])[:, None] * draw.uniform(0.3, 1, (len(exponents), width))
    x = torch.from_numpy((rows * draw.choice([-1, 1], rows.shape)).astype(np.float32))
    assert_exact(x, norm)
    assert_exact(x.T, norm)


@settings(max_examples=40, deadline=None)
@example([sys.float_info.max] * 3)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@pytest.mark.parametrize("norm", NORMS)
def test_any_float64_vector(norm: str, values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    truth = exact(x, norm)
    # Of denormals the last bit is all there is.
    assert measure(x, norm).value == approx(truth, rel=1e-12, abs=1e-323)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("large", "small"), [(1e-12, 1e-30), (1e10, 1e-20), (1e30, 1e-30), (3e38, 1e-45)])
def test_one_large_element_among_many_small(norm: str, large: float, small: float) -> None:
    for size in (ROW, 20_001):
        x = torch.full((size,), small)
        x[size // 3] = large
        assert_exact(x, norm)


# ── sizes, layouts and other dtypes ──


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("magnitude", [1e-30, 1.0, 1e30])
def test_sizes_around_the_rows(norm: str, size: int, magnitude: float) -> None:
    assert_exact(torch.randn(size) * magnitude, norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.int64])
def test_empty_and_zero_tensors(norm: str, dtype: torch.dtype) -> None:
    nothing = measure(torch.empty(3, 0, dtype=dtype), norm)
    assert math.isnan(nothing.value)
    assert (nothing.size, nothing.nonfinite) == (0, 0)
    assert measure(torch.zeros(ROW + 1, dtype=dtype), norm) == Reading(0.0, ROW + 1, 0)
    assert measure(torch.tensor(3, dtype=dtype), norm) == Reading(approx(3.0, rel=TOLERANCE), 1, 0)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.transpose(1, 2),
    "permuted": lambda x: x.permute(3, 0, 2, 1),
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "strided": lambda x: x[:, ::2, 1::3],
    "backwards": lambda x: x.flip(1),
    "expanded": lambda x: x[:1, :, :, :1].expand(4, -1, -1, 7),
    "expanded scalar": lambda x: x[0, 0, 0, 0].expand(1000),
    "window": lambda x: x.unfold(2, 4, 1),
    "negated view": lambda x: torch.complex(x, x).conj().imag,
    "parameter": torch.nn.Parameter,
    "broadcast column": lambda x: x[0, 0, :, :1].expand(-1, 50),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("view", VIEWS)
def test_every_memory_layout(norm: str, dtype: torch.dtype, view: str) -> None:
    for magnitude in (1e-30, 1.0):
        assert_exact(VIEWS[view](torch.randn(4, 6, 8, 10, dtype=dtype) * magnitude), norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1.1e-23, 3.3e19])
def test_constants_that_lie_apart_in_memory(norm: str, value: float) -> None:
    constant = torch.full((60_000,), value)
    first, square = constant[:1], constant.view(300, 200)
    for view in (constant[::2], first.expand(60_000), first.expand(100, 600), square[::2].T, square[:, ::2]):
        assert_exact(view, norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers_by_their_modulus(norm: str, dtype: torch.dtype) -> None:
    for magnitude in (1e-30, 1.0, 1e30):
        assert_exact(torch.randn(37, 41, dtype=dtype) * magnitude, norm)
    assert_exact(torch.randn(37, 41, dtype=dtype).conj(), norm)


@pytest.mark.parametrize("norm", NORMS)
def test_integers_and_booleans(norm: str) -> None:
    assert_exact(torch.randint(-(2**40), 2**40, (100, 7)), norm)
    assert_exact(torch.randint(0, 255, (999,), dtype=torch.uint8), norm)
    assert_exact(torch.rand(999) > 0.3, norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_tensors_count_their_zeros(norm: str, dtype: torch.dtype) -> None:
    places = torch.tensor([[0, 3, 3, 9], [1, 2, 2, 0]])
    entries = torch.tensor([1.0, 2.0, -0.5, 4.0], dtype=dtype)
    sparse = torch.sparse_coo_tensor(places, entries, (10, 4), check_invariants=True)
    reading, truth = measure(sparse, norm), exact(sparse.to_dense(), norm)
    assert (reading.size, reading.nonfinite) == (40, 0)
    assert reading.value == approx(truth, rel=TOLERANCE)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sparse_tensor_without_entries_is_zero(norm: str, dtype: torch.dtype) -> None:
    nowhere, nothing = torch.empty(2, 0, dtype=torch.long), torch.empty(0, dtype=dtype)
    empty = torch.sparse_coo_tensor(nowhere, nothing, (10, 4), check_invariants=True)
    assert measure(empty, norm) == Reading(0.0, 40, 0)


# ── what is not finite, and what is not to be touched ──


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [7, ROW + 5])
def test_nan_and_infinity_are_counted(norm: str, dtype: torch.dtype, size: int) -> None:
    with_nan = torch.ones(size, dtype=dtype)
    with_nan[2], with_nan[4] = math.nan, -math.inf
    reading = measure(with_nan, norm)
    assert not math.isfinite(reading.value)
    assert reading.nonfinite == 2
    with_nan[4] = 1
    reading = measure(with_nan, norm)
    assert math.isnan(reading.value)
    assert reading.nonfinite == 1
    with_nan[2] = math.inf
    assert measure(with_nan, norm) == Reading(math.inf, size, 1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tensor_is_untouched(norm: str, dtype: torch.dtype) -> None:
    x = (torch.randn(600, dtype=dtype) * 1e-25).requires_grad_()
    before, version = x.detach().clone(), x._version
    measure(x, norm)
    measure(x * 2, norm)
    assert torch.equal(x.detach(), before)
    assert x._version == version
    assert x.requires_grad
    assert x.grad is None


@pytest.mark.parametrize("norm", NORMS)
def test_inference_tensors(norm: str) -> None:
    with torch.inference_mode():
        x = torch.randn(600)
        value = measure(x, norm).value
    assert value == approx(exact(x.clone(), norm), rel=TOLERANCE)


def test_the_four_short_names() -> None:
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert (norms.rms(x), norms.l2(x), norms.mean_abs(x), norms.max_abs(x)) == (2.5, 5.0, 1.75, 4.0)


def test_an_unknown_norm_is_refused_with_the_choices() -> None:
    def refused() -> AbstractContextManager[object]:
        return pytest.raises(ValueError, match=r"rms, l2, mean_abs, max; got 'l1'")

    for x in (torch.ones(3), torch.ones(0), torch.ones(3).double()):
        with refused():
            measure(x, "l1")
    with refused():
        combine([(1.0, 2)], "l1")
    with refused():
        norms.check_norm("l1")


# ── many tensors ──


def small_tensors() -> list[Tensor]:
    draws = [torch.randn(size) * magnitude for size in (1, 8, 100, ROW) for magnitude in (*MAGNITUDES[:-2], 1e36)]
    constants = [torch.full((ROW,), value) for value in (0.1, 1 / 3, 1e-16, 1e-45)]
    odd = [torch.zeros(9), torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.inf, 2.0])]
    return [*draws, *constants, *odd, torch.randn(20, 6)[:, ::2].T]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("largest", [ROW, SMALL])
def test_measure_small_gives_the_readings_of_measure(norm: str, largest: int) -> None:
    tensors = [*small_tensors(), torch.full((largest,), 0.1), torch.randn(largest) * 1e-30]
    assert all(map(is_small, tensors))
    together = measure_small(tensors, norm)
    for x, reading in zip(tensors, together, strict=True):
        alone = measure(x, norm)
        assert (reading.size, reading.nonfinite) == (alone.size, alone.nonfinite)
        assert reading.value == approx(alone.value, rel=TOLERANCE)
        if alone.nonfinite == 0:
            assert reading.value == approx(exact(x, norm), rel=TOLERANCE)


def test_is_small() -> None:
    others = [torch.ones(size) for size in (0, SMALL + 1)]
    others += [torch.ones(3).double(), torch.ones(3).half(), torch.ones(3).to_sparse()]
    assert not any(map(is_small, others))
    assert is_small(torch.ones(SMALL))


def test_measure_small_takes_tensors_that_require_grad() -> None:
    x = torch.randn(5, requires_grad=True)
    assert measure_small([x, x * 1e-30])[0].value == approx(exact(x, "rms"), rel=TOLERANCE)
    assert x.grad is None


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.tuples(st.integers(0, 700), st.floats(-44, 37)), min_size=1, max_size=6),
    norm=st.sampled_from(NORMS),
)
def test_combine_measures_the_concatenation(parts: list[tuple[int, float]], norm: str) -> None:
    draw = torch.Generator().manual_seed(len(parts))
    tensors = [(torch.rand(size, generator=draw, dtype=torch.float64) + 0.1) * 10.0**power for size, power in parts]
    tensors = [tensor.float() for tensor in tensors]
    readings = [measure(tensor, norm) for tensor in tensors]
    found = combine([(reading.value, reading.size) for reading in readings], norm)
    joined = torch.cat(tensors)
    if joined.numel() == 0:
        assert math.isnan(found)
    else:
        assert found == approx(exact(joined, norm), rel=TOLERANCE)


def test_combine_with_nan_infinity_and_giants() -> None:
    for norm in NORMS:
        assert math.isnan(combine([(1.0, 3), (math.nan, 2)], norm))
        assert combine([(1.0, 3), (math.inf, 2)], norm) == math.inf
        assert combine([(2.0, 3), (math.nan, 0)], norm) == 2.0
        assert math.isnan(combine([], norm))
    assert combine([(1.7e308, 3), (1.7e308, 5)], "rms") == approx(1.7e308)
    assert combine([(5e-324, 3), (5e-324, 5)], "max") == 5e-324


@pytest.mark.parametrize("magnitude", [1e-40, 1.0, 1e35])
def test_joined_l2(magnitude: float) -> None:
    tensors = [torch.randn(3, 4) * magnitude, torch.randn(1000).double() * magnitude, torch.zeros(2)]
    whole = torch.cat([tensor.double().flatten() for tensor in tensors])
    assert joined_l2(tensors) == approx(exact(whole, "l2"), rel=TOLERANCE)
    assert joined_l2(tensors[:1]) == approx(exact(tensors[0], "l2"), rel=TOLERANCE)


# ── giants ──

HUNDRED_MILLION = """
    import math, resource, torch
    from gradflow.measure.norms import measure
    torch.set_num_threads(1)
    size = 10**8
    measure(torch.ones(10**7), "mean_abs")
    for value, norms in ((0.1, ("rms", "l2", "mean_abs", "max")), (1e-25, ("rms",))):
        x = torch.full((size,), value).view(10**4, -1)
        exact = float(x[0, 0].double())
        for layout in (x, x.T):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for norm in norms:
                truth = exact * math.sqrt(size) if norm == "l2" else exact
                found = measure(layout, norm)
                assert abs(found.value / truth - 1) < 1e-6, (value, norm, found.value / truth - 1)
                assert found.size == size and found.nonfinite == 0
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 100_000, f"{grown} KiB for {value}"
        del x, layout
"""


@pytest.mark.slow
def test_a_hundred_million_elements_without_a_second_copy() -> None:
    command = [sys.executable, "-c", textwrap.dedent(HUNDRED_MILLION)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_one_small_element_among_a_quarter_of_a_billion_zeros() -> None:
    """The mean square is tiny, the element's own square, once lifted, is not."""
    x = torch.zeros(250_000_000)
    x[12345] = 1.57e-11
    assert measure(x, "rms").value == approx(float(x[12345]) / math.sqrt(x.numel()), rel=TOLERANCE)
