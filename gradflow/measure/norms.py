"""Size-normalised norms that are right over the whole range of a dtype.

A float32 gradient of 1e-25 squares to zero, and a float32 sum over millions of elements loses digits. Here squares are
added over short rows in float32 and over the rows in float64; where that leaves the safe range, the tensor is first
multiplied by a power of two. So is float64 input, whose own denormals and giants survive as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

Norm = Literal["rms", "l2", "mean_abs", "max"]
NORMS: tuple[str, ...] = get_args(Norm)

ROW = 512
"""Elements whose squares are added in float32: few enough that even equal ones lose less than 1e-7."""
SMALL = 4096
"""Up to this size one float64 reduction for many tensors costs less than many short ones."""
CHUNK = 1 << 22
"""Elements converted to another dtype at a time, so that a tensor of 10⁸ elements needs no second copy."""
PIECE = 1 << 14
"""Elements lifted at a time: 64 KiB, which stay in the cache."""
LEAST, MOST = 1e-30, 1e36
"""A sum of n squares is safe between LEAST·n and MOST: none overflows, and those under 1e-38 are too small to
matter."""
LIFT = 2.0**90
"""Multiplied by this, which is exact, every float32 whose square was too small has a safe square; divided, too
large."""
EXPONENTS = (-1021, 1023)
"""Powers of two by which float64 divides exactly; 2^-1074 itself has no inverse."""

_ORDER: dict[str, float] = {"rms": 2, "l2": 2, "mean_abs": 1, "max": math.inf}


class Reading(NamedTuple):
    """The norm of a tensor, its number of elements, and how many of them are NaN or infinite.

    ``value`` and ``nonfinite`` are Python numbers for a CPU tensor and scalars still on the device for a CUDA tensor,
    so that reading does not wait for the device.
    """

    value: float | Tensor
    size: int
    nonfinite: int | Tensor


def rms(x: Tensor) -> float:
    """Root mean square ‖x‖₂/√n of a tensor with n elements, comparable between tensors of different size."""
    return float(measure(x, "rms").value)


def l2(x: Tensor) -> float:
    """Euclidean norm ‖x‖₂ of a tensor of any shape; grows as √n with the number of elements."""
    return float(measure(x, "l2").value)


def mean_abs(x: Tensor) -> float:
    """Mean absolute value Σ|x|/n of a tensor with n elements."""
    return float(measure(x, "mean_abs").value)


def max_abs(x: Tensor) -> float:
    """Largest absolute value of a tensor of any shape."""
    return float(measure(x, "max").value)


def measure(x: Tensor, norm: str = "rms") -> Reading:
    """Measure a tensor of any shape, layout and dtype without changing it.

    Relative error below 1e-6 of the stored values for magnitudes 1e-45 … 1e38 in float32 and bfloat16, everywhere in
    float16 and float64. An empty tensor has norm NaN. A NaN or infinity makes the norm NaN or infinite and is counted.
    Raises ValueError for a norm that is not one of rms, l2, mean_abs, max.
    """
    size = x.numel()
    if x.requires_grad:
        x = x.detach()
    if norm == "rms" and x.dtype is torch.float32 and x.is_cpu and size and x.layout is torch.strided:
        # The usual case by the shortest way: this runs amid somebody's backward pass.
        number = _length(_in_memory_order(x).numpy()) / math.sqrt(size)
        return Reading(number, size, 0 if number < math.inf else _count_nonfinite(x))
    check_norm(norm)
    if size == 0:
        return Reading(math.nan, 0, 0)
    values, order, divisor = _plain(x), _ORDER[norm], _divisor(norm, size)
    if not values.numel():
        return Reading(0.0, size, 0)  # a sparse tensor without entries
    if not values.is_cpu:
        value = _on_device(values, order, divisor)
        return Reading(value, size, torch.isfinite(values).logical_not().sum())
    number = _on_cpu(values, order, divisor)
    return Reading(number, size, 0 if math.isfinite(number) else _count_nonfinite(values))


def is_small(x: Tensor) -> bool:
    """Whether :func:`measure_small` takes the tensor: dense float32 on the CPU with 1 … ``SMALL`` elements."""
    return x.dtype is torch.float32 and 0 < x.numel() <= SMALL and x.is_cpu and x.layout is torch.strided


def measure_small(tensors: list[Tensor], norm: str = "rms") -> list[Reading]:
    """Measure many small tensors (see :func:`is_small`) with one call, as exactly as :func:`measure` does one."""
    tiny = norm == "rms" and max(x.numel() for x in tensors) <= ROW
    with torch.no_grad():
        totals = torch._foreach_norm(tensors, _ORDER[norm], dtype=None if tiny else torch.float64)
    readings = []
    # Squares are safe in float64 whatever the number, in float32 only between these.
    low, high = (math.sqrt(LEAST * ROW), math.sqrt(MOST)) if tiny else (-1.0, math.inf)
    for x, total in zip(tensors, torch.stack(totals).tolist(), strict=True):
        size = x.numel()
        safe = low < total < high
        readings.append(Reading(total / _divisor(norm, size), size, 0) if safe else measure(x, norm))
    return readings


def combine(readings: Iterable[tuple[float, int]], norm: str = "rms") -> float:
    """Norm of several tensors taken as one, from the (norm, number of elements) of each.

    Raises ValueError for a norm that is not one of rms, l2, mean_abs, max.
    """
    check_norm(norm)
    parts = [(value, size) for value, size in readings if size]
    if len(parts) == 1:
        return parts[0][0]
    if not parts or any(math.isnan(value) for value, _ in parts):
        return math.nan
    if norm == "max":
        return max(value for value, _ in parts)
    total = sum(size for _, size in parts)
    if norm == "l2":
        return math.hypot(*(value for value, _ in parts))
    if norm == "rms":
        return math.hypot(*(value * math.sqrt(size / total) for value, size in parts))
    return math.fsum(value * (size / total) for value, size in parts)


def joined_l2(tensors: list[Tensor]) -> float | Tensor:
    """‖·‖₂ of several tensors taken as one vector: a number on the CPU, a scalar still on the device elsewhere."""
    lengths = [measure(tensor, "l2").value for tensor in tensors]
    if len(lengths) == 1:
        return lengths[0]
    numbers = [length for length in lengths if isinstance(length, float)]
    if len(numbers) == len(lengths):
        return math.hypot(*numbers)
    return vector_norm(torch.stack([torch.as_tensor(length, device=tensors[0].device) for length in lengths]))


def check_norm(norm: str) -> None:
    """Raise ValueError unless ``norm`` is one of rms, l2, mean_abs, max."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")


def _divisor(norm: str, size: int) -> float:
    return math.sqrt(size) if norm == "rms" else size if norm == "mean_abs" else 1


def _plain(x: Tensor) -> Tensor:
    """The elements that can differ from zero, real, dense and on a device that has float64."""
    if x.layout is not torch.strided:
        x = x.coalesce().values() if x.layout is torch.sparse_coo else x.values()
    if not x.is_floating_point():
        x = x.abs() if x.is_complex() else x.double()
    return x if x.is_cpu or x.is_cuda else x.cpu()


def _on_device(x: Tensor, order: float, divisor: float) -> Tensor:
    """‖x‖/divisor as a float64 scalar on the device, where adding in float64 goes at the speed of memory."""
    if x.dtype != torch.float64:
        return vector_norm(x, ord=order, dtype=torch.float64) / divisor
    largest = vector_norm(x, ord=math.inf)
    exponent = torch.where(torch.isfinite(largest), torch.frexp(largest).exponent, 0)
    scale = torch.ldexp(torch.ones_like(largest), exponent.clamp(*EXPONENTS))
    value = vector_norm(x / scale, ord=order) / divisor * scale
    return value if divisor == 1 else torch.minimum(value, largest)  # a mean is no larger, whatever rounding says


def _on_cpu(x: Tensor, order: float, divisor: float) -> float:
    """‖x‖/divisor in float64."""
    if x.dtype == torch.float64 or order == math.inf:
        largest = float(vector_norm(x, ord=math.inf))
        if order == math.inf or largest == 0 or not math.isfinite(largest):
            return largest
        low, high = EXPONENTS
        scale = math.ldexp(1.0, min(max(math.frexp(largest)[1], low), high))
        total = _join((float(vector_norm(part / scale, ord=order)) for part in _chunks(x)), order)
        return total * scale if divisor == 1 else min(total / divisor * scale, largest)
    if x.dtype == torch.float32 and order == 2:
        return _length(_in_memory_order(x).numpy()) / divisor
    return _join((float(vector_norm(part, ord=order, dtype=torch.float64)) for part in _chunks(x)), order) / divisor


def _length(flat: np.ndarray) -> float:
    """‖flat‖₂ of a contiguous float32 vector.

    NumPy's dot product beats a torch reduction here: it starts no threads amid the backward pass.
    """
    with np.errstate(all="ignore"):
        squares = _squares(flat)
        if LEAST * flat.size < squares < MOST:
            return math.sqrt(squares)
        lift = np.float32(1 / LIFT if squares >= MOST else LIFT)
        parts = (flat[start : start + PIECE] * lift for start in range(0, flat.size, PIECE))
        return math.sqrt(sum(_squares(part) for part in parts)) / float(lift)


def _squares(flat: np.ndarray) -> float:
    """Σx², added in float32 along rows and in float64 over them."""
    rest = flat.size % ROW
    if not rest:
        rows = flat.reshape(-1, ROW)
        return float(np.vecdot(rows, rows).sum(dtype=np.float64))
    short = float(np.dot(flat[-rest:], flat[-rest:]))
    return short + _squares(flat[:-rest]) if flat.size > ROW else short


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    return _in_memory_order(x).split(CHUNK)


def _join(parts: Iterable[float], order: float) -> float:
    return math.fsum(parts) if order == 1 else math.hypot(*parts)


def _in_memory_order(x: Tensor) -> Tensor:
    """The elements as a contiguous vector, in the order they lie in memory where that saves a copy."""
    if x.is_neg():
        x = x.resolve_neg()
    if x.is_contiguous():
        return x.view(-1)
    by_stride = sorted(range(x.dim()), key=x.stride, reverse=True)
    return x.permute(by_stride).reshape(-1).contiguous()


def _count_nonfinite(x: Tensor) -> int:
    return sum(int(torch.isfinite(part).logical_not_().sum()) for part in _chunks(x))
