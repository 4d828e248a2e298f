"""Residual networks of He15 and He16 for small images, and their plain counterparts."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from gradflow.models.deepening import zero_init as zero_branches
from gradflow.models.initialisation import check_init, initialise
from gradflow.models.shortcuts import Size
from gradflow.models.units import PLACEMENTS, Network, Unit, check_choice, check_count, make_unit, parts_of
from gradflow.models.variants import OPTIONS, ShortcutChoice, fitted, for_units


def resnet(
    depth: int,
    *,
    version: int = 1,
    shortcut: ShortcutChoice = 1.0,
    option: str = "A",
    placement: str | None = None,
    residual: bool = True,
    width: int = 16,
    in_channels: int = 3,
    num_classes: int = 10,
    size: int = 32,
    init: str = "he_fan_out",
    zero_init: bool = False,
) -> Network:
    """The CIFAR network of He15 §4.2 with 6n+2 weighted layers: (B, in_channels, H, W) → (B, num_classes).

    A 3×3 convolution, three stages of n two-layer units with ``width``, 2·``width``, 4·``width`` channels at full,
    half and quarter resolution, global average pooling and a Linear layer. ``version`` 1 is He15 (placement
    "original"), 2 is He16 ("preactivation"); ``placement`` may be any of ``PLACEMENTS``. With a pre-activation the
    first unit and those that change size share it with their shortcut (He16 §4). ``shortcut``: Identity(), a number λ
    or Scaled(λ), any name or function of :mod:`gradflow.models.variants`, or one per unit. ``option`` says how a
    shortcut changes size: "A" zero padding, "B" 1×1 projection, "C" projections in every unit (He15 Table 3).
    ``residual=False`` gives the plain network; ``zero_init`` starts with every branch at zero (see
    :func:`gradflow.models.zero_init`). ``size`` is the H = W of the batch that :func:`gradflow.compare` makes up.
    Raises ValueError for a depth that is not 6n+2 and for other bad choices.
    """
    check_count("depth", depth, least=8)
    if (depth - 2) % 6:
        near = [6 * n + 2 for n in ((depth - 2) // 6, (depth - 2) // 6 + 1)]
        raise ValueError(
            f"depth must be 6n+2 (8, 14, 20, …, 110); got depth={depth}; nearest are {near[0]} and {near[1]}"
        )
    check_choice("version", version, (1, 2))
    check_choice("option", option, OPTIONS)
    placement = ("original", "preactivation")[version - 1] if placement is None else placement
    check_choice("placement", placement, tuple(PLACEMENTS))
    for name, count in (("width", width), ("in_channels", in_channels), ("num_classes", num_classes), ("size", size)):
        check_count(name, count)
    check_init(init)

    order, per_stage = PLACEMENTS[placement], (depth - 2) // 6
    choices = for_units(shortcut if residual else None, 3 * per_stage)
    first = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    stem = OrderedDict([("conv", first), *parts_of(order.stem, "relu", width, like=first, norm=True).items()])
    head = parts_of(order.head, "relu", 4 * width, like=first, norm=True)
    head.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(4 * width, num_classes))

    units: list[Unit] = []
    channels = width
    for place, choice in enumerate(choices):
        out = width * 2 ** (place // per_stage)
        unit_size = Size(channels, out, stride=2 if out != channels else 1)
        units.append(
            make_unit(
                [
                    ("conv1", nn.Conv2d(channels, out, 3, unit_size.stride, padding=1, bias=False)),
                    ("conv2", nn.Conv2d(out, out, 3, padding=1, bias=False)),
                ],
                fitted(choice, unit_size, option),
                placement=placement,
                activation="relu",
                norm=True,
                share_pre=order.is_preactivation and (place == 0 or unit_size.changes),
            )
        )
        channels = out
    network = Network(
        nn.Sequential(stem),
        units,
        nn.Sequential(head),
        input_shape=(in_channels, size, size),
        built_from={
            "kind": "resnet",
            "depth": depth,
            "placement": placement,
            "activation": "relu",
            "norm": True,
            "option": option,
            "width": width,
            "init": init,
        },
    )
    initialise(network, init)
    return zero_branches(network) if zero_init else network
