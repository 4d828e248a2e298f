"""The same network without its shortcuts, and the same weights in two networks."""

from __future__ import annotations

import copy
from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType

import torch
from torch import nn

from gradflow.models.shortcuts import NoShortcut
from gradflow.models.units import Unit


def plain_twin(model: nn.Module) -> nn.Module:
    """A copy of a model of :class:`Unit` s, weights included, in which no unit has a shortcut.

    What multiplied a branch (a constant or a gate) goes with the shortcut; strides and widths stay. Raises
    TypeError if the model has no Unit.
    """
    twin = duplicate(model)
    units = [module for module in twin.modules() if isinstance(module, Unit)]
    if not units:
        raise TypeError(f"plain_twin needs a model made of gradflow.models.Unit; {type(model).__name__} has none")
    for unit in units:
        unit.shortcut, unit.scale = NoShortcut(), None
        # The pre-activation was shared with the shortcut only; the branch's part of it stays.
        unit.share_pre = False
    return twin


def duplicate(model: nn.Module) -> nn.Module:
    """A copy of a model that shares no tensor and no state with it: what ``copy.deepcopy`` gives, several times faster.

    Modules that hold nothing but numbers, text, parameters, buffers and modules are copied by hand, others by deepcopy.
    """
    return _duplicate(model, {})


_TENSORS_AND_CHILDREN = {"_parameters", "_buffers", "_modules"}
_ATOMS = {int, float, bool, str, type(None), torch.dtype, torch.device, FunctionType, BuiltinFunctionType}


def _duplicate(module: nn.Module, memo: dict[int, object]) -> nn.Module:
    if id(module) in memo:
        return memo[id(module)]  # type: ignore[return-value]
    state = _copied_state(module)
    if state is None or hasattr(type(module), "__deepcopy__"):
        return copy.deepcopy(module, memo)
    twin = type(module).__new__(type(module))
    memo[id(module)] = twin
    twin.__dict__.update(state)
    twin.__dict__["_parameters"] = {name: _duplicate_tensor(one, memo) for name, one in module._parameters.items()}
    twin.__dict__["_buffers"] = {name: _duplicate_tensor(one, memo) for name, one in module._buffers.items()}
    twin.__dict__["_modules"] = {
        name: None if one is None else _duplicate(one, memo) for name, one in module._modules.items()
    }
    return twin


def _copied_state(module: nn.Module) -> dict[str, object] | None:
    """What a module holds beside tensors and children, copied; None if that takes more than copying simple values."""
    state: dict[str, object] = {}
    for name, value in module.__dict__.items():
        if name in _TENSORS_AND_CHILDREN or type(value) in _ATOMS:
            state[name] = value
        elif type(value) in (dict, OrderedDict, set) and not value:
            state[name] = type(value)()
        elif type(value) in (dict, OrderedDict, tuple) and _is_simple(value):
            state[name] = copy.copy(value)
        else:
            return None
    return state


def _is_simple(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_simple, value.values()))
    return type(value) in _ATOMS or (type(value) is tuple and all(map(_is_simple, value)))


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
