"""Deeper networks that start as shallower ones: identity units, and branches that start at zero."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

from gradflow.models.shortcuts import Identity, Joint, NoShortcut
from gradflow.models.twins import duplicate
from gradflow.models.units import PLACEMENTS, Network, Placement, Unit, check_count, make_unit, width_out

Model = TypeVar("Model", bound=nn.Module)
_AFFINE = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
_IDENTITY_WHERE_POSITIVE = ("relu", "linear")


def deepen(model: Network, extra: int) -> Network:
    """A deeper copy of a network that computes the same function: ``extra`` identity units behind each stage.

    A stage is a row of units with equal width. Behind residual units the new ones have an identity shortcut and a
    branch that starts at zero; behind plain units they are layers with identity weights, which ReLU passes on because
    what it gives is never negative. These have no BatchNorm: in train mode it would normalise, and not be an identity.
    In placement "activation-before-addition" the new branches never learn (see :func:`zero_init`).
    The construction in the argument of He15 §1 that a deeper net should be no worse than its shallower part.

    Raises TypeError for a model that is no Network; ValueError for one that does not say how its units are made, and
    where no such unit is the identity: plain ones with a pre-activation or a bottleneck, and any where what stands
    behind the branch or the addition changes the signal.
    """
    if not isinstance(model, Network):
        raise TypeError(f"deepen needs a network built by gradflow.models; got {type(model).__name__}")
    if "placement" not in model.built_from:
        raise ValueError(
            "deepen needs a network of fc_stack, conv_stack or the ResNets, which say how their units are made"
        )
    check_count("extra", extra)
    deeper = duplicate(model)
    assert isinstance(deeper, Network)
    units: list[Unit] = []
    rows: list[Unit] = list(deeper.units)  # type: ignore[arg-type]
    for unit, following in pairwise([*rows, None]):
        assert unit is not None
        units.append(unit)
        if following is None or width_out(_last_weight(following)) != width_out(_last_weight(unit)):
            units += [_identity_unit(unit, model.built_from).train(unit.training) for _ in range(extra)]
    deeper.units = nn.Sequential(*units)
    deeper.units.training = model.units.training
    # No closed form knows these units.
    deeper.built_from = {**model.built_from, "kind": "deepened"}
    return deeper


def zero_init(model: Model) -> Model:
    """Set the last affine layer of every residual branch to zero, in place, so that each unit starts as its shortcut.

    With BatchNorm at the end of the branch that is its γ and β (Goyal et al. 2017, 1706.02677, §5.1), else the last
    weight and bias. A unit with an identity shortcut then gives post(x): x itself, or, behind a ReLU, x where x ≥ 0. A
    ReLU at the end of the branch (placement "activation-before-addition") passes no gradient at zero, so that such a
    branch never learns; a sigmoid there gives ½, not zero. Plain units are left alone. Returns the model.

    Raises TypeError if no unit has a shortcut, or a branch no weights that could be zero.
    """
    units = [unit for unit in model.modules() if isinstance(unit, Unit) and not unit.is_plain]
    if not units:
        raise TypeError(f"zero_init needs a model with residual units; {type(model).__name__} has none")
    for unit in units:
        affine = [
            module for module in unit.branch.modules() if isinstance(module, _AFFINE) and module.weight is not None
        ]
        if not affine:
            raise TypeError(f"zero_init needs branches with a Linear, Conv2d or BatchNorm layer; got {unit.branch}")
        for parameter in affine[-1].parameters():
            nn.init.zeros_(parameter)
    return model


def _identity_unit(unit: Unit, built: dict[str, object]) -> Unit:
    """A unit of the same kind, for what ``unit`` gives, that starts as the identity."""
    placement, activation = str(built["placement"]), str(built["activation"])
    norm = bool(built["norm"]) and not unit.is_plain
    if not _can_be_identity(PLACEMENTS[placement], activation, norm=norm, plain=unit.is_plain):
        raise ValueError(
            f"no {'plain' if unit.is_plain else 'residual'} unit with {activation} in placement {placement!r} is the "
            "identity: what stands before the weights, behind the branch or behind the addition changes the signal; "
            "placement 'original' with relu has one"
        )
    weights = [(name, part) for name, part in unit.branch.named_children() if isinstance(part, nn.Linear | nn.Conv2d)]
    widths = [width_out(part) for _, part in weights]
    if unit.is_plain and min(widths) < widths[-1]:
        raise ValueError(
            f"no plain bottleneck is the identity: it has layers of {min(widths)} channels between {widths[-1]}"
        )
    incoming = [widths[-1], *widths[:-1]]
    same_size = [(name, _layer_like(part, n_in)) for (name, part), n_in in zip(weights, incoming, strict=True)]
    made = make_unit(
        same_size,
        Joint(NoShortcut() if unit.is_plain else Identity()),
        placement=placement,
        activation=activation,
        norm=norm,
        # Behind plain layers it would change the signal, as BatchNorm does.
        dropout=0.0 if unit.is_plain else float(built.get("dropout", 0.0)),  # type: ignore[arg-type]
    )
    made = made.to(weights[-1][1].weight)
    if not unit.is_plain:
        zero_init(made)
        return made
    for _, layer in same_size:
        if isinstance(layer, nn.Linear):
            nn.init.eye_(layer.weight)
        else:
            nn.init.dirac_(layer.weight, layer.groups)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return made


def _can_be_identity(order: Placement, activation: str, *, norm: bool, plain: bool) -> bool:
    """Whether a unit can hand on what a unit of its kind gives, unchanged."""
    keeps = activation in _IDENTITY_WHERE_POSITIVE
    if plain:
        return activation == "linear" or (keeps and not order.is_preactivation)
    zero_stays = activation != "sigmoid" or "activation" not in order.last
    return zero_stays and not (norm and "norm" in order.post) and (keeps or "activation" not in order.post)


def _layer_like(layer: nn.Linear | nn.Conv2d, n_in: int) -> nn.Linear | nn.Conv2d:
    """A layer of the same width and kernel for ``n_in`` features or channels, which keeps the resolution; initial
    weights He's."""
    n_out, bias = width_out(layer), layer.bias is not None
    made: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Conv2d):
        kernel: tuple[int, int] = layer.kernel_size  # type: ignore[assignment]
        made = nn.Conv2d(n_in, n_out, kernel, padding="same", groups=layer.groups, bias=bias)
    else:
        made = nn.Linear(n_in, n_out, bias=bias)
    with torch.no_grad():
        nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
        if made.bias is not None:
            nn.init.zeros_(made.bias)
    return made


def _last_weight(unit: Unit) -> nn.Linear | nn.Conv2d:
    return [module for module in unit.branch.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
