"""Deep stacks of equal layers, plain or with shortcuts: the laboratory animals of this library."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from gradflow.models.initialisation import check_init, initialise
from gradflow.models.shortcuts import Identity, NoShortcut, Size
from gradflow.models.units import (
    ACTIVATIONS,
    PLACEMENTS,
    Network,
    Unit,
    check_choice,
    check_count,
    make_unit,
    parts_of,
)
from gradflow.models.variants import ShortcutChoice, fitted, for_units


def fc_stack(
    depth: int,
    width: int,
    *,
    shortcut: ShortcutChoice = None,
    span: int = 2,
    activation: str = "relu",
    init: str = "default",
    norm: bool = False,
    placement: str = "preactivation",
    in_features: int | None = None,
    out_features: int | None = None,
) -> Network:
    """A fully connected network of ``depth`` Linear layers: (B, in_features) → (B, out_features), both ``width`` by
    default.

    The first layer is the stem, the last the head; between them ``span`` layers make a unit (the last unit takes the
    rest). ``shortcut``: None (plain), Identity(), a number λ or Scaled(λ), any name or function of
    :mod:`gradflow.models.variants`, or one of these per unit. ``placement``: see ``PLACEMENTS``; ``norm`` adds its
    BatchNorms. "preactivation" (He16 Fig. 4e) has the closed forms of :mod:`gradflow.theory`. Raises ValueError for
    arguments that do not fit.
    """
    n_in = width if in_features is None else in_features
    n_out = width if out_features is None else out_features
    return _stack(
        "fc",
        nn.Linear,
        lambda: OrderedDict(fc=nn.Linear(width, n_out)),
        (n_in,),
        shortcut,
        depth=depth,
        width=width,
        span=span,
        activation=activation,
        init=init,
        norm=norm,
        placement=placement,
        in_features=n_in,
        out_features=n_out,
    )


def conv_stack(
    depth: int,
    channels: int,
    *,
    shortcut: ShortcutChoice = None,
    span: int = 2,
    activation: str = "relu",
    init: str = "default",
    norm: bool = False,
    placement: str = "preactivation",
    in_channels: int = 3,
    num_classes: int = 10,
    size: int = 16,
) -> Network:
    """A network of ``depth`` − 1 convolutions 3×3 and a Linear head: (B, in_channels, H, W) → (B, num_classes).

    Zero padding keeps H × W; the head averages over it. ``size`` is the H = W of the batch that
    :func:`gradflow.compare` makes up. Other arguments as in :func:`fc_stack`. Raises ValueError for arguments that do
    not fit.
    """
    for name, count in (("channels", channels), ("in_channels", in_channels), ("num_classes", num_classes)):
        check_count(name, count)
    return _stack(
        "conv",
        partial(nn.Conv2d, kernel_size=3, padding=1, bias=not norm),
        lambda: OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes)),
        (in_channels, size, size),
        shortcut,
        depth=depth,
        width=channels,
        span=span,
        activation=activation,
        init=init,
        norm=norm,
        placement=placement,
        in_features=in_channels,
        out_features=num_classes,
        size=size,
    )


def textbook_fc(*, skip: bool = False, width: int = 8, activation: str = "relu") -> Network:
    """The five-layer network of the source chapter's figure 15.6.1: FC1 … FC5, (B, width) → (B, width), ReLU between.

    With ``skip`` the output of FC1/ReLU1 is added to the input of FC4. Initialised as PyTorch does.
    """
    check_choice("activation", activation, tuple(ACTIVATIONS))
    check_count("width", width)

    def layers(*numbers: int) -> nn.Sequential:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for number in numbers:
            parts[f"fc{number}"] = nn.Linear(width, width)
            parts[f"{activation}{number}"] = ACTIVATIONS[activation]()
        return nn.Sequential(parts)

    stem, middle, fourth = layers(1), layers(2, 3), layers(4)
    units = [Unit(middle, shortcut=Identity() if skip else NoShortcut()), Unit(fourth)]
    # Without the skip it is the plain stack of depth 5, whose closed form holds.
    twin = {} if skip else fc_stack(5, width, activation=activation).built_from
    head = nn.Sequential(OrderedDict(fc5=nn.Linear(width, width)))
    return Network(stem, units, head, input_shape=(width,), built_from=twin)


def _stack(
    kind: str,
    layer: Callable[[int, int], Any],
    make_end: Callable[[], OrderedDict[str, nn.Module]],
    input_shape: tuple[int, ...],
    shortcut: ShortcutChoice,
    **arguments: Any,
) -> Network:
    """Stem, units and head of one kind of layer; ``make_end`` gives what the head does behind its activation."""
    depth, width, span = (arguments[name] for name in ("depth", "width", "span"))
    activation, norm, placement = (arguments[name] for name in ("activation", "norm", "placement"))
    check_count("depth", depth, least=2)
    for name in ("width", "span", "in_features", "out_features", "size"):
        check_count(name, arguments.get(name, 1))
    check_choice("activation", activation, tuple(ACTIVATIONS))
    check_choice("placement", placement, tuple(PLACEMENTS))
    check_init(arguments["init"])

    order = PLACEMENTS[placement]
    first = layer(input_shape[0], width)
    ends = {"activation": activation, "width": width, "like": first, "norm": norm}
    stem = OrderedDict([(kind, first), *parts_of(order.stem, **ends).items()])
    head = OrderedDict([*parts_of(order.head, **ends).items(), *make_end().items()])
    lengths = [span] * ((depth - 2) // span) + [(depth - 2) % span] * bool((depth - 2) % span)
    size = Size(width, width, image=kind == "conv", norm=norm)
    units = [
        make_unit(
            [(f"{kind}{number}", layer(width, width)) for number in range(1, length + 1)],
            fitted(choice, size),
            placement=placement,
            activation=activation,
            norm=norm,
        )
        for length, choice in zip(lengths, for_units(shortcut, len(lengths)), strict=True)
    ]
    network = Network(
        nn.Sequential(stem), units, nn.Sequential(head), input_shape=input_shape, built_from={"kind": kind, **arguments}
    )
    initialise(network, arguments["init"])
    return network
