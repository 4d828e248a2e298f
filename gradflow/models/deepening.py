"""Deeper networks that start as shallower ones: identity units, and branches that start at zero."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

from gradflow.models.shortcuts import Identity, Joint, NoShortcut
from gradflow.models.twins import duplicate
from gradflow.models.units import PLACEMENTS, Network, Unit, check_count, make_unit, width_out

Model = TypeVar("Model", bound=nn.Module)
_AFFINE = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
_IDENTITY_WHERE_POSITIVE = ("relu", "linear")


def deepen(model: Network, extra: int) -> Network:
    """A deeper copy of a network that computes the same function: ``extra`` identity units behind each stage.

    A stage is a row of units with equal width. Behind residual units the new ones have an identity shortcut and a
    branch that starts at zero; behind plain units they are layers with identity weights, which ReLU passes on because
    what it gives is never negative. These have no BatchNorm: in train mode it would normalise, and not be an identity.
    The construction in the argument of He15 §1 that a deeper net should be no worse than its shallower part.

    Raises TypeError for a model that gradflow did not build; ValueError where identity weights are no identity: plain
    units with a pre-activation, or with an activation other than ReLU.
    """
    if not isinstance(model, Network) or not model.built_from:
        raise TypeError(f"deepen needs a network built by gradflow.models; got {type(model).__name__}")
    check_count("extra", extra)
    deeper = duplicate(model)
    assert isinstance(deeper, Network)
    units: list[Unit] = []
    rows: list[Unit] = list(deeper.units)  # type: ignore[arg-type]
    for unit, following in pairwise([*rows, None]):
        assert unit is not None
        units.append(unit)
        if following is None or width_out(_last_weight(following)) != width_out(_last_weight(unit)):
            units += [_identity_unit(unit, model.built_from) for _ in range(extra)]
    deeper.units = nn.Sequential(*units)
    deeper.built_from = {**model.built_from, "deepened": extra, "depth": None}
    return deeper.train(model.training)


def zero_init(model: Model) -> Model:
    """Set the last affine layer of every residual branch to zero, in place, so that each unit starts as its shortcut.

    With BatchNorm at the end of the branch that is its γ and β (Goyal et al. 2017, 1706.02677, §5.1), else the last
    weight and bias. A unit with an identity shortcut then is the identity: exactly, or, behind a ReLU, where x ≥ 0. A
    ReLU at the end of the branch (placement "activation-before-addition") passes no gradient at zero: such a branch
    never learns. Plain units are left alone. Raises TypeError if no unit has a shortcut; returns the model.
    """
    branches = [unit.branch for unit in model.modules() if isinstance(unit, Unit) and not unit.is_plain]
    if not branches:
        raise TypeError(f"zero_init needs a model with residual units; {type(model).__name__} has none")
    for branch in branches:
        last = [module for module in branch.modules() if isinstance(module, _AFFINE)][-1]
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return model


def _identity_unit(unit: Unit, built: dict[str, object]) -> Unit:
    """A unit of the same kind, for what ``unit`` gives, that starts as the identity."""
    placement, activation = str(built["placement"]), str(built.get("activation", "relu"))
    if unit.is_plain:
        can_pass = activation == "linear" or not PLACEMENTS[placement].is_preactivation
        if activation not in _IDENTITY_WHERE_POSITIVE or not can_pass:
            raise ValueError(
                "plain layers with identity weights are the identity only behind a ReLU and before one, so not with "
                f"{activation} in placement {placement!r}; use a residual net, or placement 'original' with relu"
            )
    weights = [(name, part) for name, part in unit.branch.named_children() if isinstance(part, nn.Linear | nn.Conv2d)]
    same_size = [(name, _square_like(part)) for name, part in weights]
    made = make_unit(
        same_size,
        Joint(NoShortcut() if unit.is_plain else Identity()),
        placement=placement,
        activation=activation,
        norm=bool(built.get("norm", True)) and not unit.is_plain,
    )
    made = made.to(weights[-1][1].weight)
    if not unit.is_plain:
        zero_init(made)
        return made
    for _, layer in same_size:
        (nn.init.eye_ if isinstance(layer, nn.Linear) else nn.init.dirac_)(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return made


def _square_like(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """A layer that keeps the width and size of what the given one puts out; initial weights He's."""
    width, bias = width_out(layer), layer.bias is not None
    square: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Conv2d):
        square = nn.Conv2d(width, width, layer.kernel_size, padding="same", bias=bias)  # type: ignore[arg-type]
    else:
        square = nn.Linear(width, width, bias=bias)
    with torch.no_grad():
        nn.init.kaiming_normal_(square.weight, nonlinearity="relu")
        if square.bias is not None:
            nn.init.zeros_(square.bias)
    return square


def _last_weight(unit: Unit) -> nn.Linear | nn.Conv2d:
    return [module for module in unit.branch.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
