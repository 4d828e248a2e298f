"""The same network without its shortcuts, and the same weights in two networks."""

from __future__ import annotations

import copy
from types import BuiltinFunctionType, FunctionType

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


def duplicate(model: nn.Module) -> nn.Module:
    """A copy of a model that shares no tensor and no state with it: what ``copy.deepcopy`` gives, several times faster.

    Modules that hold nothing but numbers, text, parameters, buffers and modules are copied by hand, others by deepcopy.
    """
    return _duplicate(model, {})


_CONTAINERS = {"_parameters", "_buffers", "_modules"}
_SIMPLE = (int, float, bool, str, type(None), torch.dtype, torch.device, FunctionType, BuiltinFunctionType)


def _duplicate(module: nn.Module, memo: dict[int, object]) -> nn.Module:
    if id(module) in memo:
        return memo[id(module)]  # type: ignore[return-value]
    state = {name: value for name, value in module.__dict__.items() if name not in _CONTAINERS}
    if hasattr(module, "__deepcopy__") or not all(map(_is_simple, state.values())):
        return copy.deepcopy(module, memo)
    twin = type(module).__new__(type(module))
    memo[id(module)] = twin
    # What passed is immutable, or a dict or set of such (hooks, for example), which the twin needs of its own.
    for name, value in state.items():
        twin.__dict__[name] = value.copy() if isinstance(value, (dict, set)) else value
    twin.__dict__["_parameters"] = {name: _duplicate_tensor(one, memo) for name, one in module._parameters.items()}
    twin.__dict__["_buffers"] = {name: _duplicate_tensor(one, memo) for name, one in module._buffers.items()}
    twin.__dict__["_modules"] = {
        name: None if one is None else _duplicate(one, memo) for name, one in module._modules.items()
    }
    return twin


def _is_simple(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_simple, value))
    if isinstance(value, dict):
        return all(map(_is_simple, value.values()))
    return isinstance(value, _SIMPLE) or value == set()


def _duplicate_tensor(tensor: torch.Tensor | None, memo: dict[int, object]) -> object:
    if tensor is not None and type(tensor) is nn.Parameter and not tensor.__dict__ and id(tensor) not in memo:
        memo[id(tensor)] = nn.Parameter(tensor.detach().clone(), tensor.requires_grad)
        return memo[id(tensor)]
    return copy.deepcopy(tensor, memo)


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
