"""Residual networks of He15 and He16 for small images, and their plain counterparts."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from gradflow.models.initialisation import check_init, initialise
from gradflow.models.shortcuts import NoShortcut, Projection, Scaled, Shortcut, ShortcutChoice, ZeroPad, for_units
from gradflow.models.units import Network, Unit, activate, check_choice, check_count, make_unit

OPTIONS = ("A", "B")


def resnet(
    depth: int,
    *,
    version: int = 1,
    shortcut: ShortcutChoice = 1.0,
    option: str = "A",
    residual: bool = True,
    width: int = 16,
    in_channels: int = 3,
    num_classes: int = 10,
    size: int = 32,
    init: str = "he_fan_out",
) -> Network:
    """The CIFAR network of He15 §4.2 with 6n+2 weighted layers: (B, in_channels, H, W) → (B, num_classes).

    A 3×3 convolution, three stages of n two-layer units with ``width``, 2·``width``, 4·``width`` channels at full,
    half and quarter resolution, global average pooling and a Linear layer. ``version`` 1 is He15 (original placement),
    2 is He16 (full pre-activation, shared with the shortcut in the first and in size-changing units). ``shortcut``:
    Identity(), a number λ or Scaled(λ), or one per unit. ``option`` says how a shortcut changes size: "A" zero
    padding, "B" 1×1 projection (He15 Table 3). ``residual=False`` gives the plain network. ``size`` is the H = W of
    the batch that :func:`gradflow.compare` makes up. Raises ValueError for a depth that is not 6n+2 and for other bad
    choices.
    """
    check_count("depth", depth, least=8)
    if (depth - 2) % 6:
        near = [6 * n + 2 for n in ((depth - 2) // 6, (depth - 2) // 6 + 1)]
        raise ValueError(
            f"depth must be 6n+2 (8, 14, 20, …, 110); got depth={depth}; nearest are {near[0]} and {near[1]}"
        )
    check_choice("version", version, (1, 2))
    check_choice("option", option, OPTIONS)
    for name, count in (("width", width), ("in_channels", in_channels), ("num_classes", num_classes), ("size", size)):
        check_count(name, count)
    check_init(init)

    per_stage = (depth - 2) // 6
    shortcuts = for_units(shortcut if residual else None, 3 * per_stage)
    stem_conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
    stem, head = OrderedDict[str, nn.Module](conv=stem_conv), OrderedDict[str, nn.Module]()
    last = activate("relu", 4 * width, like=stem_conv, norm=True)
    (head if version == 2 else stem).update(
        last if version == 2 else activate("relu", width, like=stem_conv, norm=True)
    )
    head.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(4 * width, num_classes))

    units: list[Unit] = []
    channels = width
    for place, chosen in enumerate(shortcuts):
        out = width * 2 ** (place // per_stage)
        stride = 2 if out != channels else 1
        first = place == 0 or out != channels
        units.append(
            make_unit(
                [
                    ("conv1", nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)),
                    ("conv2", nn.Conv2d(out, out, 3, padding=1, bias=False)),
                ],
                chosen if out == channels else _resized(chosen, channels, out, stride, option),
                placement="original" if version == 1 else "preactivation",
                activation="relu",
                norm=True,
                share_pre=version == 2 and first,
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
            "version": version,
            "option": option,
            "width": width,
            "init": init,
        },
    )
    initialise(network, init)
    return network


def _resized(chosen: Shortcut, channels: int, out: int, stride: int, option: str) -> Shortcut:
    """The shortcut for a unit that changes size, scaled like the others if they are."""
    if isinstance(chosen, NoShortcut):
        return chosen
    change: Shortcut = ZeroPad(channels, out, stride) if option == "A" else Projection(channels, out, stride)
    return Scaled(chosen.lam, change) if isinstance(chosen, Scaled) else change
