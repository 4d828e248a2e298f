"""Tensors beyond the range of their dtype: a tensor times a power of two, which is exact."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gradflow.measure import norms

FAR = {torch.float64: 300, torch.float32: 40, torch.bfloat16: 40, torch.float16: 6}
"""Tensors whose largest element is beyond 2^±FAR are divided by a power of two: squares stay within range."""
_LOG10_2 = math.log10(2)


class Lifted(NamedTuple):
    """``tensor`` · 2^``exponent``."""

    tensor: Tensor
    exponent: int = 0

    def settled(self) -> Lifted:
        """The same value with the tensor brought back to the middle of its dtype's range, if it is far out."""
        shift = excess(self.tensor)
        return Lifted(times_power(self.tensor, -shift), self.exponent + shift) if shift else self

    def at(self, exponent: int) -> Tensor:
        """The tensor of the same value at another exponent; what is too small there becomes zero."""
        return times_power(self.tensor, self.exponent - exponent)

    def plus(self, other: Lifted) -> Lifted:
        """The sum, at the larger exponent of two that are not zero."""
        if not other.tensor.any():
            return self
        if not self.tensor.any():
            return other
        exponent = max(self.exponent, other.exponent)
        return Lifted(self.at(exponent) + other.at(exponent), exponent).settled()

    def log10_rms(self) -> float:
        """log10 of the root mean square; −inf for zero, NaN or inf for what is not finite."""
        value = norms.rms(self.tensor)
        return (math.log10(value) if 0 < value < math.inf else -math.inf if value == 0 else value) + (
            self.exponent * _LOG10_2
        )


def excess(tensor: Tensor) -> int:
    """The power of two by which the largest element is too large or (negative) too small to be squared safely; or 0."""
    exponent = largest_exponent(tensor)
    return exponent if exponent is not None and abs(exponent) > FAR[tensor.dtype] else 0


def largest_exponent(tensor: Tensor) -> int | None:
    """The power of two just above the largest element; None if there is none, or zero, or nothing finite."""
    largest = float(tensor.detach().abs().amax()) if tensor.numel() else 0.0
    return math.frexp(largest)[1] if largest and math.isfinite(largest) else None


def times_power(tensor: Tensor, exponent: int) -> Tensor:
    """``tensor`` · 2^``exponent``, in steps whose own power does not overflow."""
    most = 1000 if tensor.dtype is torch.float64 else 100
    while exponent:
        step = max(-most, min(most, exponent))
        tensor, exponent = tensor * 2.0**step, exponent - step
        if not tensor.any():
            break
    return tensor
