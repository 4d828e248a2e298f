"""loss_slice(): the loss around a model, along random directions scaled filter by filter (Li et al. 2018)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

from gradflow.measure.provenance import describe
from gradflow.measure.task import Loss, Task, check_task, copy_of, given
from gradflow.measure.tracing import unwrap
from gradflow.results import LossSlice
from gradflow.seeding import derived_seed, seeded

_DIRECTION = 3
"""Stream of random numbers of the first direction; the second has the next one."""
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def loss_slice(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    radius: float = 1.0,
    steps: int = 21,
    directions: int = 1,
    loss: Loss | None = None,
    mode: str = "eval",
    batch: int = 512,
    seed: int = 0,
) -> LossSlice:
    """Mean loss and error over the data at θ + a·d₁ (+ b·d₂), on a regular grid around the model's weights θ.

    Each direction is Gaussian, and each of its filters is then scaled to the norm of the model's filter: a row of a
    Linear weight, what makes one output channel of a convolution. So a = 1 moves every filter by its own length, and
    nets that differ only in the scale of filters in front of BatchNorm are moved alike. Biases, and the parameters of
    BatchNorm and other norms, stay (Li et al. 2018, arXiv 1712.09913, §4). Frozen weights are moved as well.

    data: (x, y) of N samples, x (N, …); sent through in parts of ``batch``, each counted by its size.
    radius: largest |a| and |b|. steps: points along a direction, odd, so that the middle one is the model itself.
    loss: takes (output, y), a mean over samples; by default cross-entropy for integer y, mean squared error for real y.
    mode: "eval" as in the paper's code: BatchNorm keeps the running statistics of the centre. In "train" it takes those
    of each part of the data at each point, which is what to use before training, when running statistics say nothing.
    seed: of the directions, and of the dropout masks, the same at each point.
    The model is not changed. Raises TypeError or ValueError before any work for arguments that cannot be used.
    """
    started = time.perf_counter()
    parts = _checked(model, data, radius, steps, directions, loss, mode, batch, seed)
    network = copy_of(unwrap(model), mode)
    moved = _moved_weights(network, [derived_seed(seed, _DIRECTION + place) for place in range(directions)])
    half = steps // 2
    # Not linspace, whose middle may miss 0 by a rounding.
    alphas = radius * np.arange(-half, half + 1) / half
    found = np.empty((steps,) * directions + (2,))
    with torch.no_grad(), seeded(seed):
        for place in np.ndindex(*found.shape[:-1]):
            _move(moved, [float(alphas[at]) for at in place])
            torch.manual_seed(seed)
            found[place] = _mean_loss_and_error(network, parts)
    sizes = [weight.home.numel() for weight in moved]
    return LossSlice(
        alphas=alphas,
        loss=found[..., 0],
        error=None if np.isnan(found[..., 1]).all() else found[..., 1],
        provenance=describe(
            network,
            seconds=time.perf_counter() - started,
            seed=seed,
            **parts[0].loss_facts(),
            batch=batch,
            samples=sum(len(part.x) for part in parts),
            normalisation="filter",
            moved=sum(sizes),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
        ),
    )


class _Weight(NamedTuple):
    """A parameter of the copy, where it was, and its part of each direction."""

    parameter: nn.Parameter
    home: Tensor
    directions: list[Tensor]


def filter_normalised(direction: Tensor, weight: Tensor, module: nn.Module) -> Tensor:
    """A direction whose every filter has the norm of the weight's filter (Li et al. 2018, §4); zero where that is zero.

    direction, weight: the same shape, ``module``'s, (filters, …); in a transposed convolution
    (in_channels, filters/groups, …).
    """
    if isinstance(module, _ConvTransposeNd):
        # One output channel reads all input channels of its group.
        grouped = (module.groups, -1)
        return _scaled(direction.unflatten(0, grouped), weight.unflatten(0, grouped), keep=(0, 2)).flatten(0, 1)
    return _scaled(direction, weight, keep=(0,))


def _scaled(direction: Tensor, weight: Tensor, keep: tuple[int, ...]) -> Tensor:
    dims = [dim for dim in range(weight.dim()) if dim not in keep]
    wanted, got = (torch.linalg.vector_norm(one.double(), dim=dims, keepdim=True) for one in (weight, direction))
    return torch.where(got > 0, direction * (wanted / got), 0.0).to(weight.dtype)


def _moved_weights(network: nn.Module, seeds: list[int]) -> list[_Weight]:
    """Every weight of two or more dimensions that is neither a bias nor of a norm, with its directions."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    moved = []
    for module, parameter in _weights(network):
        home = parameter.detach().clone()
        # Drawn in float64 on the CPU, so that the direction is the same on every device and in every dtype.
        drawn = (torch.randn(home.shape, generator=generator, dtype=torch.float64) for generator in generators)
        moved.append(_Weight(parameter, home, [filter_normalised(one.to(home.device), home, module) for one in drawn]))
    if not any(direction.any() for weight in moved for direction in weight.directions):
        what = "zeros as weights only" if moved else "no weights"
        raise ValueError(
            f"model must have weights to move (of Linear, convolution, embedding layers, …); {type(network).__name__} "
            f"has {what}"
        )
    return moved


def _weights(network: nn.Module) -> Iterator[tuple[nn.Module, nn.Parameter]]:
    seen: set[int] = set()
    for module in network.modules():
        if isinstance(module, _NORMS):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() >= 2 and "bias" not in name and id(parameter) not in seen:
                seen.add(id(parameter))
                yield module, parameter


def _move(moved: list[_Weight], place: list[float]) -> None:
    for weight in moved:
        weight.parameter.copy_(weight.home)
        for multiple, direction in zip(place, weight.directions, strict=True):
            if multiple:
                weight.parameter.add_(direction, alpha=multiple)


def _mean_loss_and_error(network: nn.Module, parts: list[Task]) -> tuple[float, float]:
    """Means over all samples; the error is NaN unless each output is a row of scores for an integer y."""
    losses, wrong, samples = 0.0, 0.0, 0
    for part in parts:
        output = network(part.input_for(network))
        losses += float(part.loss(output)) * len(part.x)
        wrong += _share_wrong(output, part.y) * len(part.x)
        samples += len(part.x)
    return losses / samples, wrong / samples


def _share_wrong(output: Any, y: Tensor | None) -> float:
    if not isinstance(output, Tensor) or y is None or y.is_floating_point() or output.dim() != y.dim() + 1:
        return math.nan
    # The largest of scores that are not numbers means nothing, so it counts as wrong.
    right = (output.argmax(1) == y.to(output.device)) & ~output.isnan().any(1)
    return 1 - float(right.double().mean())


def _checked(
    model: nn.Module,
    data: Any,
    radius: float,
    steps: int,
    directions: int,
    loss: Loss | None,
    mode: str,
    batch: int,
    seed: int,
) -> list[Task]:
    """The data in parts, or an error that says what is wrong with an argument."""
    check_task(mode, None, seed)
    unwrap(model)
    if not isinstance(radius, int | float) or isinstance(radius, bool) or not 0 < radius < math.inf:
        raise ValueError(f"radius must be a finite number above 0; got radius={radius!r}")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 3 or steps % 2 == 0:
        raise ValueError(f"steps must be an odd number of at least 3, so that the centre is one; got steps={steps!r}")
    if isinstance(directions, bool) or directions not in (1, 2):
        raise ValueError(f"directions must be 1 or 2; got directions={directions!r}")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise ValueError(f"batch must be a whole number of at least 1; got batch={batch!r}")
    x, y = given(data) or (None, None)
    if x is None or y is None:
        raise TypeError("data must be a pair (x, y) of tensors: a loss needs a target; got no y")
    pieces = zip(x.split(batch), y.split(batch), strict=True)
    return [Task(model, piece, loss=loss, batch=1, seed=seed) for piece in pieces]
