"""Weights that others trained, under the names of torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gradflow.models.resnets import IMAGENET
from gradflow.models.shortcuts import Identity, Projection
from gradflow.models.units import Network, Unit

_COUNTER = "num_batches_tracked"
"""Old state dicts lack these; they mean nothing but with a BatchNorm of ``momentum=None``."""

_THEIRS = {
    "stem.conv": "conv1",
    "stem.norm": "bn1",
    "branch.conv": "conv",
    "branch.norm": "bn",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
    "head.fc": "fc",
}
"""Torchvision's names by ours; behind "branch.conv" and "branch.norm" stands a number."""

_TELLING = ("conv1.weight", "layer1.0.conv2.weight", "fc.weight")
"""What tells widths, groups and classes apart."""


def load_torchvision(model: Network, state_dict: Mapping[str, Tensor]) -> Network:
    """Give a network the weights and statistics of a torchvision ResNet, ResNeXt or wide ResNet, in place.

    The two then compute the same. Torchvision's nets have projections where the size changes (option "B") and halve the
    resolution in the 3×3 convolution: ``resnet50(stride_at="3x3")``, ``resnext50_32x4d()``, ``resnet18()``.

    model: a network of :func:`resnet` or its named relatives with data="imagenet". state_dict: what
    ``torchvision.models.resnet50(…).state_dict()`` gives. Returns the model.

    Raises TypeError for what is neither; ValueError, before anything is changed, for a network that computes something
    else whatever its weights, and for names or shapes that do not fit, with what to build instead.
    """
    if not isinstance(model, Network):
        raise TypeError(f"model must be a network built by gradflow.models; got {type(model).__name__}")
    if not isinstance(state_dict, Mapping) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise TypeError("state_dict must map names to tensors, as torchvision.models.resnet50(…).state_dict() does")
    problems = _other_function(model) or _misfits(model, state_dict)
    if problems:
        instead = _builder_for(state_dict)
        advice = f"build {instead}" if instead else "no network of resnet(…) has these names and shapes"
        raise ValueError(f"the state dict does not fit the model: {'; '.join(problems)}; {advice}")
    names = _their_names(model)
    own = model.state_dict()
    model.load_state_dict({name: state_dict.get(theirs, own[name]) for name, theirs in names.items()})
    return model


def _other_function(model: Network) -> list[str]:
    """What makes a network another function than torchvision's, whatever its weights."""
    built = model.built_from
    if built.get("kind") != "resnet":
        return [f"it is no network of resnet(…), but {built.get('kind', 'one made by hand')}"]
    wanted = {"stem": "imagenet", "placement": "original"}
    if built["block"] == "bottleneck":
        wanted["stride_at"] = "3x3"
    found = [f"it has {name}={built[name]!r}, not {value!r}" for name, value in wanted.items() if built[name] != value]
    if built["dropout"]:
        found.append("it has dropout in its branches")
    joints = {(type(unit.shortcut), type(unit.scale)) for unit in model.units if isinstance(unit, Unit)}
    others = joints - {(Identity, type(None)), (Projection, type(None))}
    return found + sorted(f"it has units with {shortcut.__name__}" for shortcut, _ in others)


def _misfits(model: Network, state: Mapping[str, Tensor]) -> list[str]:
    """Which names are missing or left over, and which shapes differ."""
    own = model.state_dict()
    wanted = {theirs: tuple(own[name].shape) for name, theirs in _their_names(model).items()}
    missing = [name for name in wanted if name not in state and not name.endswith(_COUNTER)]
    left_over = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    kinds = {"missing": missing, "not in the model": left_over, "of another shape": shapes}
    return [f"{kind}: {_some(names)}" for kind, names in kinds.items() if names]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _their_names(model: Network) -> dict[str, str]:
    """Torchvision's name for every parameter and buffer of the model, by its own."""
    counts: Any = model.built_from["counts"]
    places = [f"layer{stage}.{place}" for stage, count in enumerate(counts, 1) for place in range(count)]
    names = {}
    for name in model.state_dict():
        module, _, tensor = name.rpartition(".")
        found = re.fullmatch(r"units\.(\d+)\.(\D+)(\d?)", module)
        if found:
            theirs = f"{places[int(found[1])]}.{_THEIRS.get(found[2], found[2])}{found[3]}"
        else:
            theirs = _THEIRS.get(module, module)
        names[name] = f"{theirs}.{tensor}"
    return names


def _builder_for(state: Mapping[str, Tensor]) -> str | None:
    """The call that builds the network of a torchvision state dict, None if there is none."""
    units = {found.groups() for name in state if (found := re.match(r"layer(\d+)\.(\d+)\.", name))}
    stages = [stage for stage, _ in units]
    counts = tuple(stages.count(stage) for stage in sorted(set(stages)))
    block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    depth = next((depth for depth, known in IMAGENET.items() if known == (block, counts)), None)
    sizes = [tuple(state[name].shape) for name in _TELLING if name in state]
    if depth is None or [len(size) for size in sizes] != [4, 4, 2]:
        return None
    (width, in_channels, *_), (inner, per_group, *_), (classes, _) = sizes
    options = {
        'data="imagenet"': True,
        f"{width=}": width != 64,
        f"inner_width={inner}": inner != width,
        f"groups={inner // per_group}": inner != per_group,
        'stride_at="3x3"': block == "bottleneck",
        f"{in_channels=}": in_channels != 3,
        f"num_classes={classes}": classes != 1000,
    }
    told = ", ".join(text for text, needed in options.items() if needed)
    return f"resnet({depth}, {told})"
