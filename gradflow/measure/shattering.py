"""Whether gradients at different inputs have anything to do with each other: Balduzzi et al. 2017, measured.

`input_gradients` walks along a line of scalar inputs and takes dy/dx at each; the autocorrelation tells whether that
looks like brown or like white noise. `gradient_correlation` takes any network and any batch and compares the gradients
of the samples pair by pair.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.data import gaussian
from gradflow.measure.provenance import describe
from gradflow.measure.task import Data, Loss, Model, Task, check_models, check_task, copies, measuring
from gradflow.results import GradientCorrelation, InputGradients
from gradflow.seeding import derived_seed

STARTS = ("readout", "loss")
_READOUT = 5
"""Stream of random numbers for the mixture of outputs, beside those of batch and target."""
_UNEVEN = 1e-3
"""By how much of a step the inputs may miss an even grid: lags mean nothing on another, float32 rounds by less."""


def input_gradients(
    models: Mapping[str, Model] | Model,
    x: Tensor | None = None,
    *,
    repeats: int = 1,
    mode: str = "train",
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> InputGradients:
    """dy/dx at each of N scalar inputs, for nets by name, e.g. ``{"plain": build, "residual": build_other}``.

    y is the sum of a sample's outputs. What is taken is ∂(Σ_j y_j)/∂x_i over all samples j. Where samples do not meet,
    that is dy_i/dx_i. With BatchNorm in train mode they do, through the batch statistics: then it is the effect of x_i
    on all outputs together, and the grid is the batch.

    models: one model, or models and functions that build one by name; they are copied, never changed. x: (N, 1),
    evenly spaced; by default 256 from −2 to 2. repeats: so many fresh builds, with seed, seed + 1, …, the same for all
    models. mode, dtype, seed: as in :func:`gradflow.compare`.

    Raises TypeError or ValueError for arguments that cannot be used, and for a model that does not take (N, 1) to
    (N, …). Source: Balduzzi17 (1702.08591), §1, Fig. 1 and 2.
    """
    named: dict[str, Model] = dict(models) if isinstance(models, Mapping) else {"model": models}
    if not named:
        raise ValueError('models must hold at least one model, e.g. {"plain": build}; got none')
    check_task(mode, dtype, seed)
    check_models(named, repeats)
    grid = _checked_grid(x)
    started = time.perf_counter()
    found: dict[str, np.ndarray] = {}
    for name, model in named.items():
        rows = []
        for repeat, network in enumerate(copies(model, repeats, seed, mode, dtype, name)):
            with measuring(seed + repeat):
                rows.append(_along(network, grid, name))
        found[name] = np.stack(rows)
    facts = {"seed": seed, "repeats": repeats, "batch": len(grid)}
    return InputGradients(
        x=grid.double().cpu().flatten().numpy(),
        gradients=found,
        provenance=describe(network, seconds=time.perf_counter() - started, **facts),
    )


def _checked_grid(x: Tensor | None) -> Tensor:
    if x is None:
        return torch.linspace(-2, 2, 256, dtype=torch.float64)[:, None]
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(
            f"x must be a tensor of real numbers, shape (N, 1); got {getattr(x, 'dtype', type(x).__name__)}"
        )
    if x.dim() != 2 or x.shape[1] != 1 or len(x) < 2:
        raise ValueError(f"x must have shape (N, 1) with N of at least 2; got {tuple(x.shape)}")
    steps = x.detach().double().flatten().diff()
    even = (steps - steps.mean()).abs() < _UNEVEN * steps.mean()
    if not bool(even.all()):  # also where the grid falls, stands still or holds NaN
        raise ValueError("x must rise in even steps, e.g. torch.linspace(-2, 2, 256)[:, None]")
    return x.detach()


def _along(network: nn.Module, grid: Tensor, name: str) -> np.ndarray:
    """∂(Σ_j y_j)/∂x_i of a copy, shape (N,), in its own dtype."""
    parameter = next((one for one in network.parameters() if one.is_floating_point()), grid)
    network.requires_grad_(False)  # half of the backward pass
    with torch.enable_grad():
        x = grid.to(parameter.device, parameter.dtype, copy=True).requires_grad_()
        try:
            output = network(x.clone())
        except RuntimeError as error:
            raise ValueError(f"{name} fails on inputs of shape {tuple(x.shape)}: {error}") from error
        if not isinstance(output, Tensor) or not output.dim() or len(output) != len(grid):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"{name} must give one row for each of the {len(grid)} inputs; got {got}")
        gradient = torch.autograd.grad(output.sum(), x)[0] if output.requires_grad else torch.zeros_like(x)
    flat = gradient.flatten().cpu()
    return np.asarray((flat if flat.dtype in (torch.float32, torch.float64) else flat.float()).numpy())


def gradient_correlation(
    model: Model,
    data: Data = None,
    *,
    layer: str = "stem",
    start: str = "readout",
    loss: Loss | None = None,
    repeats: int = 1,
    mode: str = "train",
    dtype: torch.dtype | None = None,
    seed: int = 0,
    batch: int = 32,
) -> GradientCorrelation:
    """Cosine between the gradients of every two samples of a batch at the output of a layer, over its elements.

    Balduzzi17 correlates a unit's gradients at two inputs over random weights, where their mean is zero; over the many
    units of a layer the cosine estimates the same. start "readout" (the default): of r·y_i, with one random direction r
    in the space of outputs for all samples, so that what differs is the network's doing; this is what
    :func:`gradflow.theory.gradient_correlation` predicts. start "loss": of the loss. Then labels count too: at
    initialisation cross-entropy pushes samples of one class alike and those of others apart, and over all pairs of
    balanced classes this cancels to about zero in any net; look at ``same`` instead of ``mean``.

    Per-sample gradients are the rows of one gradient of the batch mean; where samples do not meet, they are the
    sample's own, divided by B. With BatchNorm in train mode they do meet: a row is the effect of that sample on the
    whole batch, and BatchNorm takes out what all samples share. Cosines have noise of about 1/√(elements of a sample).

    model, data, loss, repeats, mode, dtype, seed, batch: as in :func:`gradflow.compare`. layer: name of a module that
    runs once, such as "stem".

    Raises TypeError or ValueError for arguments that cannot be used, for a layer that runs not at all or more than
    once, and for one that gives anything else than a tensor (B, …) of real numbers.
    """
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}; got start={start!r}")
    check_task(mode, dtype, seed)
    check_models({"model": model}, repeats)
    started = time.perf_counter()
    cosines, labels = [], []
    for repeat, network in enumerate(copies(model, repeats, seed, mode, dtype)):
        with measuring(seed + repeat):
            task = Task(network, data, loss=loss, batch=batch, seed=seed + repeat)
            if len(task.x) < 2:
                raise ValueError(f"two samples are needed for a pair; got a batch of {len(task.x)}")
            signal, output = _cut_behind(network, layer, task.input_for(network))
            value = task.loss(output) if start == "loss" else _readout(output, derived_seed(seed + repeat, _READOUT))
            cosines.append(_cosines(_rows(value, signal, layer)))
        labels.append(_classes(task.y))
    return GradientCorrelation(
        layer=layer,
        start=start,
        cosines=np.stack(cosines),
        labels=None if any(one is None for one in labels) else np.stack([one for one in labels if one is not None]),
        provenance=describe(
            network,
            seconds=time.perf_counter() - started,
            seed=seed,
            repeats=repeats,
            **task.facts(),
            **(task.loss_facts() if start == "loss" else {}),
        ),
    )


def _cut_behind(network: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Any]:
    """What a layer of a copy gives, as a leaf, and what the network makes of it."""
    modules = dict(network.named_modules())
    if layer not in modules or not layer:
        shown = ", ".join(name for name in list(modules)[1:9])
        raise ValueError(f"layer must name a module of {type(network).__name__}: {shown}, …; got layer={layer!r}")
    leaves: list[Tensor] = []
    whole = modules[layer].forward

    def cut(*inputs: Any, **keywords: Any) -> Tensor:
        output = whole(*inputs, **keywords)
        if (
            not isinstance(output, Tensor)
            or not output.is_floating_point()
            or output.dim() < 2
            or len(output) != len(x)
        ):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"{layer} must give a real tensor with a row for each of {len(x)} samples; got {got}")
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # a copy, so that the next layer may work in place

    network.requires_grad_(False)
    modules[layer].forward = cut
    output = network(x)
    if len(leaves) != 1:
        raise ValueError(f"{layer} must run once in a forward pass; it ran {len(leaves)} times")
    return leaves[0], output


def _readout(output: Any, seed: int) -> Tensor:
    """The batch mean of r·y, r ~ N(0, 1) of the shape of one sample's output."""
    if not isinstance(output, Tensor) or not output.dim():
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(f'start="readout" needs a model that returns a tensor (B, …); it returns {got}')
    return (output * gaussian(tuple(output.shape[1:]), batch=1, seed=seed).to(output)).flatten(1).sum(1).mean()


def _rows(value: Tensor, signal: Tensor, layer: str) -> Tensor:
    """∂value/∂signal, a row for each sample."""
    found = torch.autograd.grad(value, signal, allow_unused=True)[0] if value.requires_grad else None
    if found is None:
        raise ValueError(f"nothing of what {layer} gives reaches the output, so it has no gradient")
    return found.flatten(1)


def _cosines(rows: Tensor) -> np.ndarray:
    """Cosine between every two rows, float64; NaN with a row that is zero or not finite."""
    rows = rows.double()
    unit = rows / rows.abs().amax(1, keepdim=True)  # or the squares of vanishing gradients would be zero
    unit = F.normalize(torch.where(unit.isfinite().all(1, keepdim=True), unit, torch.nan), dim=1)
    return np.asarray((unit @ unit.T).clamp(-1, 1).cpu().numpy())


def _classes(y: Tensor | None) -> np.ndarray | None:
    return None if y is None or y.is_floating_point() or y.dim() != 1 else np.asarray(y.cpu().numpy())
