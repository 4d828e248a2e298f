"""The same network without its shortcuts, and the same weights in two networks."""

from __future__ import annotations

import copy

import torch
from torch import nn

from gradflow.models.shortcuts import NoShortcut
from gradflow.models.units import Unit


def plain_twin(model: nn.Module) -> nn.Module:
    """A copy of a model of :class:`Unit` s, weights included, in which no unit has a shortcut.

    Strides and widths stay in the branch. Raises TypeError if the model has no Unit.
    """
    twin = copy.deepcopy(model)
    units = [module for module in twin.modules() if isinstance(module, Unit)]
    if not units:
        raise TypeError(f"plain_twin needs a model made of gradflow.models.Unit; {type(model).__name__} has none")
    for unit in units:
        unit.shortcut = NoShortcut()
        # The pre-activation was shared with the shortcut only; the branch's part of it stays.
        unit.share_pre = False
    return twin


def share_weights(source: nn.Module, target: nn.Module) -> tuple[str, ...]:
    """Copy parameters and buffers into ``target`` wherever names and shapes agree, and return those names."""
    theirs = dict(source.named_parameters()) | dict(source.named_buffers())
    matched = []
    with torch.no_grad():
        for owned in (target.named_parameters(), target.named_buffers()):
            for name, tensor in owned:
                if name in theirs and theirs[name].shape == tensor.shape:
                    tensor.copy_(theirs[name])
                    matched.append(name)
    return tuple(matched)
