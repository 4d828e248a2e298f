"""What is read from one tensor or one layer's output at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gradflow.measure import norms
from gradflow.results import HISTOGRAM_EDGES

SATURATED = 0.97
"""A tanh unit counts as saturated beyond this absolute value, others at the same part of their range."""

BOUNDED: dict[type[nn.Module], tuple[float, float]] = {
    nn.Tanh: (-1, 1),
    nn.Hardtanh: (-1, 1),
    nn.Softsign: (-1, 1),
    nn.Sigmoid: (0, 1),
    nn.Hardsigmoid: (0, 1),
}
_CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a trace records, as its arguments say."""

    quantities: tuple[str, ...]
    norm: str = "rms"
    histograms: bool = False
    scaler: Any = None
    every: int = 1


class Sample(NamedTuple):
    """One reading of one quantity, the dtype it was computed in, and counts of log10|element| if asked for."""

    quantity: str
    reading: norms.Reading
    dtype: torch.dtype
    counts: Tensor | None = None


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors inside what a module takes or returns: tuples, dicts and dataclasses are opened."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item in dataclasses.fields(value):
            yield from tensors_in(getattr(value, item.name))


def sample(quantity: str, tensor: Tensor, options: Options, scale: float = 1.0) -> Sample:
    """Measure a tensor that is ``scale`` times too large; count its log10|element| if the options say so."""
    reading = scaled(norms.measure(tensor, options.norm), scale)
    counted = options.histograms and quantity != "weight"
    return Sample(quantity, reading, tensor.dtype, _histogram(tensor.detach(), scale) if counted else None)


def scaled(reading: norms.Reading, scale: float) -> norms.Reading:
    """The reading of a tensor that was ``scale`` times too large."""
    return reading if scale == 1 else reading._replace(value=reading.value / scale)


def change(quantity: str, now: list[Tensor], then: list[Tensor]) -> Sample:
    """‖now − then‖₂/‖then‖₂ over all weights of a layer; infinite if only ``then`` is zero, NaN if both are."""
    moved = norms.joined_l2([new - old for new, old in zip(now, then, strict=True)])
    length = norms.joined_l2(then)
    if isinstance(moved, float) and isinstance(length, float):
        ratio: float | Tensor = moved / length if length else (math.inf if moved else math.nan)
    else:
        ratio = moved / length
    return Sample(quantity, norms.Reading(ratio, sum(map(Tensor.numel, then)), 0), then[0].dtype)


def read_output(
    module: nn.Module, outputs: Iterable[Tensor], quantities: tuple[str, ...], options: Options
) -> list[Sample]:
    """The forward quantities of a layer's output."""
    found = []
    for tensor in map(Tensor.detach, outputs):
        for quantity in quantities:
            if quantity == "activation":
                found.append(sample(quantity, tensor, options))
                continue
            reading = OF_OUTPUT[quantity].read(module, tensor)
            if reading is not None:
                found.append(Sample(quantity, reading, tensor.dtype))
    return found


def _standard_deviation(module: nn.Module, output: Tensor) -> norms.Reading:
    values = output.to(torch.complex128 if output.is_complex() else torch.float64)
    # Centred first, then measured safely: the variance of 1e-25 would underflow.
    return norms.measure(values - values.mean(), "rms")


def _dead(module: nn.Module, output: Tensor) -> norms.Reading | None:
    if output.dim() < 2 or output.is_complex():
        return None
    units = 1 if output.dim() >= 4 or isinstance(module, _CHANNELS_FIRST) else output.dim() - 1
    silent = (output <= 0).movedim(units, 0).flatten(1).all(1)
    return _fraction(silent)


def _saturated(module: nn.Module, output: Tensor) -> norms.Reading | None:
    if type(module) not in BOUNDED:
        return None
    low, high = BOUNDED[type(module)]
    return _fraction((2 * (output - low) / (high - low) - 1).abs() > SATURATED)


def _fraction(true: Tensor) -> norms.Reading:
    part = true.double().mean()
    return norms.Reading(float(part) if part.device.type == "cpu" else part, true.numel(), 0)


class OutputQuantity(NamedTuple):
    """A quantity of a layer's output that is no norm of it.

    ``read(module, output)`` gives one number for one tensor, or None where the quantity has no meaning; ``norm`` says
    how the numbers of a layer with several outputs become one.
    """

    read: Callable[[nn.Module, Tensor], norms.Reading | None]
    norm: str


OF_OUTPUT = {
    "activation_std": OutputQuantity(_standard_deviation, norm="rms"),
    "dead": OutputQuantity(_dead, norm="mean_abs"),
    "saturation": OutputQuantity(_saturated, norm="mean_abs"),
}
FORWARD = ("activation", *OF_OUTPUT)
"""Every quantity of the forward pass."""


def _histogram(tensor: Tensor, scale: float) -> Tensor:
    """Counts of log10|element| in the bins of ``HISTOGRAM_EDGES``, zeros in the first, NaN left out."""
    low, bins = float(HISTOGRAM_EDGES[0]), len(HISTOGRAM_EDGES) - 1
    width = float(HISTOGRAM_EDGES[1]) - low
    size = tensor.abs().double().flatten() / scale
    size = size[~size.isnan()]
    place = ((size.log10() - low) / width).clamp(0, bins - 1).long()
    return torch.bincount(place, minlength=bins)
