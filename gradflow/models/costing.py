"""What a network costs, layer by layer: cost()."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gradflow.data import shape_for
from gradflow.models.units import check_count
from gradflow.results import Cost
from gradflow.seeding import seeded


def cost(model: nn.Module, input_size: int | Sequence[int] | None = None) -> Cost:
    """Parameters, multiply-adds and FLOPs of every layer of a model for one sample, and in all.

    Counted are convolutions (source chapter 15.6: 2·C_in·K²·H·W·C_out FLOPs, C_in that of one group) and matrix
    products, also those outside Linear layers; He15 Table 1 gives multiply-adds, half as many. Nothing is computed: a
    copy without values ("meta" tensors) and without the user's hooks is sent through in eval mode.

    model: any module; it is left alone, and may itself be on the meta device. input_size: the shape of one sample,
    (C, H, W) for images, or their H = W alone; by default the model's ``input_shape``, or what its first layer takes.

    Raises TypeError for what is no module, ValueError for a size that cannot be; RuntimeError, naming the layer, where
    the model fails on such a sample or looks at values.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {model!r}")
    shape = _sample_shape(model, input_size)
    empty = _without_values(model).eval()
    run = _Run(empty)
    x = torch.empty(2, *shape, device="meta", dtype=_dtype_of(model))
    with torch.no_grad(), seeded(0):
        run.send(x)
    rows = [name for name in run.modules if run.parameters[name] or run.flops[name]]
    return Cost(
        layers=tuple(name or type(model).__name__ for name in rows),
        types=tuple(type(run.modules[name]).__name__ for name in rows),
        shapes=tuple(run.shapes.get(name, ()) for name in rows),
        parameters=np.array([run.parameters[name] for name in rows], dtype=np.int64),
        flops=np.array([run.flops[name] // len(x) for name in rows], dtype=np.int64),
        input_shape=shape,
        provenance={"model": type(model).__name__, "versions": {"torch": str(torch.__version__)}},
    )


class _Run:
    """One pass through a copy of a model, which notes what each module puts out and how much it multiplies itself."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.flops = dict.fromkeys(self.modules, 0)
        self.parameters = _own_parameters(self.modules)
        self._counter = FlopCounterMode(display=False)
        self._inside: list[str] = []
        self._charged = 0
        names = {module: name for name, module in self.modules.items()}

        def enter(module: nn.Module, args: Any) -> None:
            self._charge()
            self._inside.append(names[module])

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self._charge()
            self._inside.pop()
            first = output[0] if isinstance(output, tuple | list) and output else output
            if isinstance(first, Tensor):
                self.shapes[names[module]] = tuple(first.shape[1:])

        for module in self.modules.values():
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)

    def send(self, x: Tensor) -> None:
        """Send a batch through. Raises RuntimeError that names the layer that failed."""
        try:
            with self._counter:
                self.modules[""](x)
        except Exception as error:
            kind, where = type(self.modules[""]).__name__, self._inside[-1] if self._inside else ""
            raise RuntimeError(
                f"{kind} failed in {where or 'its own forward'} on a sample of shape {tuple(x.shape[1:])} without "
                f"values: {error}"
            ) from error

    def _charge(self) -> None:
        """What was multiplied since the last change belongs to the innermost module that is at work."""
        total = self._counter.get_total_flops()
        if self._inside:
            self.flops[self._inside[-1]] += total - self._charged
        self._charged = total


def _own_parameters(modules: dict[str, nn.Module]) -> dict[str, int]:
    """How many numbers each module owns itself; a shared parameter is the first one's."""
    seen: set[nn.Parameter] = set()
    counts = {}
    for name, module in modules.items():
        fresh = set(module.parameters(recurse=False)) - seen
        counts[name] = sum(parameter.numel() for parameter in fresh)
        seen |= fresh
    return counts


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _without_values(model: nn.Module) -> nn.Module:
    """A copy of a model on the meta device, which costs no memory, without hooks."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(getattr(module, name)): OrderedDict() for name in _HOOKS}
        for held in (module._parameters, module._buffers, module.__dict__):
            memo |= {id(value): _empty(value) for value in held.values() if isinstance(value, Tensor)}
    return copy.deepcopy(model, memo)


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor.detach(), device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _sample_shape(model: nn.Module, input_size: Any) -> tuple[int, ...]:
    if isinstance(input_size, Sequence) and not isinstance(input_size, str):
        shape = tuple(input_size)
    else:
        shape = shape_for(model)
        if input_size is not None:
            if len(shape) != 3:
                raise ValueError(f"this model takes no images: give input_size as a shape; got {input_size=}")
            shape = (shape[0], input_size, input_size)
    for size in shape:
        check_count("input_size", size)
    return shape


def _dtype_of(model: nn.Module) -> torch.dtype:
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
