"""What a measurement is taken on: a copy of the model, one batch, its target and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.data import gaussian, shape_for
from gradflow.measure.tracing import unwrap
from gradflow.models.twins import duplicate
from gradflow.seeding import derived_seed, seeded

Loss = Callable[[Any, Tensor], Tensor]
Data = Tensor | tuple[Tensor, Tensor] | None
"""``(x, y)``, or ``x`` alone, or None for a Gaussian batch that fits the model."""

_BATCH, _TARGET = 1, 2
"""Streams of random numbers beside that of the weights, which has the seed itself."""


class Task:
    """One batch, its target and the loss, the same for every model of a measurement.

    Without a target it is N(0, 1) of the first output's shape. The default loss is cross-entropy for integer and mean
    squared error for real targets, both batch means. Raises TypeError for a loss that is no function.
    """

    def __init__(self, first: nn.Module, data: Data, *, loss: Loss | None, batch: int, seed: int) -> None:
        if loss is not None and not callable(loss):
            raise TypeError(
                "loss must be a function of (output, y) such as torch.nn.functional.mse_loss, or None for the usual "
                f"one; got {loss!r}"
            )
        self.seed = seed
        found = given(data)
        self._is_given = found is not None
        x, y = found or (gaussian(shape_for(first), batch=batch, seed=derived_seed(seed, _BATCH)), None)
        self.x: Tensor = x
        self.y: Tensor | None = y
        self._loss = loss

    def input_for(self, network: nn.Module) -> Tensor:
        """A copy of the batch on the model's device and, if real, in its dtype."""
        x = self.x.detach().clone()  # a model may start with an in-place layer
        parameter = next((parameter for parameter in network.parameters() if parameter.is_floating_point()), None)
        if parameter is None:
            return x
        return x.to(parameter.device, parameter.dtype if x.is_floating_point() else x.dtype)

    def loss(self, output: Any) -> Tensor:
        """The loss of a model's output. Raises TypeError for an output that needs the user's own loss or target."""
        if self._loss is None and not isinstance(output, Tensor):
            raise TypeError(f"the model returns a {type(output).__name__}, so pass loss=function(output, y)")
        if self.y is None:
            if not isinstance(output, Tensor):
                raise TypeError(f"the model returns a {type(output).__name__}, so pass data=(x, y)")
            self.y = gaussian(tuple(output.shape[1:]), batch=len(output), seed=derived_seed(self.seed, _TARGET))
        y = self.y.detach()
        y = y.clone() if y.is_inference() else y
        y = y.to(output.device) if isinstance(output, Tensor) else y
        if self._loss is not None:
            found = self._loss(output, y)
            if not isinstance(found, Tensor) or found.numel() != 1:
                got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
                raise TypeError(f"loss must return one number, a tensor with a single element; got {got}")
            return found
        if not y.is_floating_point():
            return F.cross_entropy(output, y.long())
        if y.shape != output.shape:  # broadcasting would compare every sample with every other
            raise ValueError(
                f"a real y needs the shape of the model's output, {tuple(output.shape)}; got {tuple(y.shape)}: reshape "
                "it, or pass loss=function(output, y)"
            )
        return F.mse_loss(output, y.to(output.dtype))

    def facts(self) -> dict[str, Any]:
        """What the provenance says of the batch."""
        return {"batch": len(self.x), "data": "given" if self._is_given else "Gaussian"}

    def loss_facts(self) -> dict[str, Any]:
        """What the provenance says of the loss."""
        if self._loss is not None:
            name = getattr(self._loss, "__name__", type(self._loss).__name__)
            return {"loss": name, "reduction": str(getattr(self._loss, "reduction", "not known"))}
        real = self.y is not None and self.y.is_floating_point()
        return {"loss": "mean squared error" if real else "cross-entropy", "reduction": "mean"}


def given(data: Any) -> tuple[Tensor, Tensor | None] | None:
    """The user's (x, y), with y None if there is only x; None if there is no data at all.

    Raises TypeError for what is neither, ValueError for an empty batch or for x and y of different lengths.
    """
    if data is None:
        return None
    is_pair = isinstance(data, tuple | list) and len(data) == 2
    x, y = (data, None) if isinstance(data, Tensor) else data if is_pair else (None, None)
    if not isinstance(x, Tensor) or not (y is None or isinstance(y, Tensor)):
        hint = "; take its .train or .test" if hasattr(data, "train") else ""
        got = f"a pair of {' and '.join(type(part).__name__ for part in data)}" if is_pair else type(data).__name__
        raise TypeError(f"data must be a tensor x, a pair (x, y) of tensors, or None; got {got}{hint}")
    if x.dim() and not len(x):
        raise ValueError(f"data must hold at least one sample; got x of shape {tuple(x.shape)}")
    if y is not None and (not x.dim() or not y.dim() or len(x) != len(y)):
        raise ValueError(f"x and y must have as many samples; got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    return x, y


def copy_of(model: nn.Module, mode: str, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy of a model in the wanted mode ("train" or "eval") and dtype (None: as it is)."""
    with torch.inference_mode(False):
        network = duplicate(model).train(mode == "train")
        return network if dtype is None else network.to(dtype)


Model = nn.Module | Callable[[], nn.Module]
"""A model, or a function without arguments that builds one."""


def copies(
    model: Model, repeats: int, seed: int, mode: str, dtype: torch.dtype | None, name: str = "model"
) -> Iterator[nn.Module]:
    """The networks to measure: a copy of the model, or one built for each repeat with seed, seed + 1, …"""
    for repeat in range(repeats):
        network = model if isinstance(model, nn.Module) else built(name, model, seed + repeat)
        yield copy_of(unwrap(network), mode, dtype)


def built(name: str, build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What a builder gives under a seed. Raises TypeError if it is no module."""
    with seeded(seed), torch.inference_mode(False):
        network = build()
    if not isinstance(network, nn.Module):
        raise TypeError(f"the function for {name} must return a torch.nn.Module; it returned {type(network).__name__}")
    return network


def check_models(models: Mapping[str, Model], repeats: int) -> None:
    """Raise TypeError for what is neither a model nor a builder, ValueError for repeats that need builders."""
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1:
        raise ValueError(f"repeats must be a whole number of at least 1; got repeats={repeats!r}")
    for name, model in models.items():
        if isinstance(model, nn.Module):
            unwrap(model)
            if repeats != 1:
                raise ValueError(
                    f"repeats={repeats!r} draws fresh weights each time, so it needs functions that build a model; "
                    f"{name} is a {type(model).__name__}: pass e.g. lambda: fc_stack(50, 64)"
                )
        elif not callable(model):
            raise TypeError(f"{name} must be a torch.nn.Module or a function that builds one; got {model!r}")


@contextmanager
def measuring(seed: int) -> Iterator[None]:
    """Seeded, and with gradients even where the caller has switched them off."""
    with torch.inference_mode(False), torch.enable_grad(), seeded(seed):
        yield


@contextmanager
def naming(network: nn.Module, task: Task) -> Iterator[None]:
    """Say of what fails inside a model which model it was, and on what batch."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        raise RuntimeError(
            f"{type(network).__name__} failed on a batch of shape {tuple(task.x.shape)} ({task.x.dtype}): {error}"
        ) from error


def check_task(mode: str, dtype: torch.dtype | None, seed: int) -> None:
    """Raise ValueError or TypeError for a mode, dtype or seed that cannot be used."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0; got seed={seed!r}")
    if mode not in ("train", "eval"):
        raise ValueError(f'mode must be "train" or "eval"; got {mode!r}')
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype must be a floating-point torch dtype such as torch.float64; got {dtype!r}")
