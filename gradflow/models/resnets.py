"""Every residual network of the literature here, from one description: stages of equal units behind a stem."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from gradflow.models.deepening import zero_init as zero_branches
from gradflow.models.initialisation import check_init, initialise
from gradflow.models.shortcuts import Size, check_finite
from gradflow.models.units import PLACEMENTS, Network, Unit, check_choice, check_count, make_unit, parts_of
from gradflow.models.variants import OPTIONS, ShortcutChoice, fitted, for_units

T = TypeVar("T")
IMAGENET = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
"""Block and units per stage by depth (He15 Table 1)."""
LAYERS = {"basic": 2, "bottleneck": 3}
"""Weight layers in the branch of a unit, by block (He15 Fig. 5)."""
EXPANSION = {"basic": 1, "bottleneck": 4}
"""A unit's output channels over the ``width`` of its stage, by block."""
STEMS = ("3x3", "imagenet")
STRIDES = ("1x1", "3x3")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What tells one residual network from another; the arguments are those of :func:`resnet`."""

    counts: tuple[int, ...]
    """Units in each stage."""
    block: str
    width: int
    stem_width: int
    inner_width: int
    groups: int
    stem: str
    stride_at: str
    option: str
    projection_norm: bool
    placement: str
    dropout: float

    def __post_init__(self) -> None:
        for name in ("width", "stem_width", "inner_width", "groups"):
            check_count(name, getattr(self, name))
        choices = {"stem": STEMS, "stride_at": STRIDES, "option": OPTIONS, "placement": tuple(PLACEMENTS)}
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        check_finite(dropout=self.dropout)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability of at least 0 and below 1; got dropout={self.dropout!r}")
        if self.block == "basic" and (self.groups, self.inner_width) != (1, self.width):
            raise ValueError(
                "groups and inner_width are for the 3×3 convolution of block='bottleneck' (Xie et al. 2017, §3.3); got "
                f"groups={self.groups}, inner_width={self.inner_width} with block='basic' of width={self.width}"
            )
        if self.inner_width % self.groups:
            raise ValueError(
                f"groups must divide inner_width (by default the width); got groups={self.groups}, "
                f"inner_width={self.inner_width}"
            )
        if self.option == "A" and self.stem_width > self.out_width(0):
            raise ValueError(
                f"option='A' pads channels with zeros and cannot remove any; got stem_width={self.stem_width} and "
                f"{self.out_width(0)} channels behind the first unit: take option='B' or 'C', or a smaller stem_width"
            )

    def out_width(self, stage: int) -> int:
        """Channels behind each unit of a stage."""
        return self.width * 2**stage * EXPANSION[self.block]

    @property
    def sizes(self) -> Iterator[tuple[int, Size]]:
        """Channels of the 3×3 convolutions inside a unit, and what its shortcut has to fit, unit by unit."""
        channels = self.stem_width
        for stage, count in enumerate(self.counts):
            out = self.out_width(stage)
            for place in range(count):
                stride = 2 if stage and not place else 1
                yield self.inner_width * 2**stage, Size(channels, out, stride, projection_norm=self.projection_norm)
                channels = out

    def weights(self, inner: int, size: Size) -> list[tuple[str, nn.Linear | nn.Conv2d]]:
        """The convolutions of a unit's branch, by name."""
        if self.block == "basic":
            return [
                ("conv1", _conv(size.in_width, inner, 3, size.stride)),
                ("conv2", _conv(inner, size.out_width, 3)),
            ]
        early, late = (size.stride, 1) if self.stride_at == "1x1" else (1, size.stride)
        return [
            ("conv1", _conv(size.in_width, inner, 1, early)),
            ("conv2", _conv(inner, inner, 3, late, self.groups)),
            ("conv3", _conv(inner, size.out_width, 1)),
        ]


def resnet(
    depth: int,
    *,
    data: str = "cifar",
    version: int = 1,
    shortcut: ShortcutChoice = 1.0,
    option: str | None = None,
    placement: str | None = None,
    residual: bool = True,
    block: str | None = None,
    width: int | None = None,
    stem_width: int | None = None,
    inner_width: int | None = None,
    groups: int = 1,
    dropout: float = 0.0,
    stem: str | None = None,
    stride_at: str = "1x1",
    projection_norm: bool = True,
    in_channels: int = 3,
    num_classes: int | None = None,
    size: int | None = None,
    init: str = "he_fan_out",
    zero_init: bool = False,
) -> Network:
    """A residual network with ``depth`` weighted layers: (B, in_channels, H, W) → (B, num_classes).

    A stem, stages of equal units, each with twice the channels and half the resolution of the one before, global
    average pooling and a Linear layer. Layers inside shortcuts do not count (He15 Table 1).

    data: "cifar" is He15 §4.2: stem "3x3", three stages from ``width`` 16, option "A", 10 classes; depth 6n+2 with
    ``block`` "basic" (the default), 9n+2 with "bottleneck". "imagenet" is He15 Table 1: stem "imagenet", four stages
    from ``width`` 64, option "B", 1,000 classes; depth 18 and 34 are basic, 50, 101 and 152 bottleneck.
    block: "basic" is 3×3, 3×3; "bottleneck" 1×1, 3×3, 1×1 with four times the ``width`` of its stage behind it. The
    3×3 has ``inner_width`` channels (by default ``width``; both double from stage to stage) in ``groups`` (Xie et al.
    2017). stride_at: which layer of a bottleneck halves the resolution, the first "1x1" (He15) or the "3x3" (Xie et
    al. 2017, torchvision).
    stem: "3x3" keeps the resolution, "imagenet" is 7×7 with stride 2 and a 3×3 max-pool with stride 2; ``stem_width``
    channels, by default ``width``. A pre-activation of the first unit stands behind the pool.
    version: 1 is He15 (placement "original"), 2 He16 ("preactivation"); ``placement`` may be any of ``PLACEMENTS``.
    With a pre-activation the first unit and those that change size share it with their shortcut (He16 §4).
    shortcut: Identity(), a number λ or Scaled(λ), any name or function of :mod:`gradflow.models.variants`, or one per
    unit. option: how a shortcut changes size: "A" zero padding, "B" 1×1 projection, "C" projections in every unit
    (He15 Table 3); ``projection_norm=False`` leaves out their BatchNorm, as the code published with He16 does.
    residual: False gives the plain network. dropout: probability, in front of every convolution of a branch but the
    first. init: see :func:`initialise`; ``zero_init`` starts with every branch at zero (see
    :func:`gradflow.models.zero_init`). size: H = W of the batch that :func:`gradflow.compare` makes up, by default 224
    with the stem "imagenet", else 32.

    Raises ValueError for a depth that there is not and for other bad choices.
    """
    check_choice("data", data, ("cifar", "imagenet"))
    check_choice("version", version, (1, 2))
    is_cifar = data == "cifar"
    width = _or(width, 16 if is_cifar else 64)
    stem = _or(stem, "3x3" if is_cifar else "imagenet")
    block, counts = (_cifar_stages if is_cifar else _imagenet_stages)(depth, block)
    plan = Plan(
        counts=counts,
        block=block,
        width=width,
        stem_width=_or(stem_width, width),
        inner_width=_or(inner_width, width),
        groups=groups,
        stem=stem,
        stride_at=stride_at,
        option=_or(option, "A" if is_cifar else "B"),
        projection_norm=projection_norm,
        placement=_or(placement, ("original", "preactivation")[version - 1]),
        dropout=dropout,
    )
    num_classes = _or(num_classes, 10 if is_cifar else 1000)
    size = _or(size, 224 if stem == "imagenet" else 32)
    for name, count in (("in_channels", in_channels), ("num_classes", num_classes), ("size", size)):
        check_count(name, count)
    check_init(init)
    network = _assembled(plan, shortcut if residual else None, (in_channels, size, size), num_classes)
    network.built_from = {
        "kind": "resnet",
        "depth": depth,
        **vars(plan),
        "activation": "relu",
        "norm": True,
        "init": init,
    }
    initialise(network, init)
    return zero_branches(network) if zero_init else network


def _assembled(plan: Plan, shortcut: ShortcutChoice, input_shape: tuple[int, int, int], num_classes: int) -> Network:
    """Stem, units and head of a plan, with weights as PyTorch draws them."""
    order, kernel = PLACEMENTS[plan.placement], 3 if plan.stem == "3x3" else 7
    choices = for_units(shortcut, sum(plan.counts))
    first = _conv(input_shape[0], plan.stem_width, kernel, 1 if plan.stem == "3x3" else 2)
    stem = OrderedDict([("conv", first), *parts_of(order.stem, "relu", plan.stem_width, like=first, norm=True).items()])
    if plan.stem == "imagenet":
        stem["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    last = plan.out_width(len(plan.counts) - 1)
    head = parts_of(order.head, "relu", last, like=first, norm=True)
    head.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(last, num_classes))
    units: list[Unit] = [
        make_unit(
            plan.weights(inner, size),
            fitted(choice, size, plan.option),
            placement=plan.placement,
            activation="relu",
            norm=True,
            dropout=plan.dropout,
            share_pre=order.is_preactivation and (not place or size.changes),
        )
        for place, (choice, (inner, size)) in enumerate(zip(choices, plan.sizes, strict=True))
    ]
    return Network(nn.Sequential(stem), units, nn.Sequential(head), input_shape=input_shape)


def _cifar_stages(depth: int, block: str | None) -> tuple[str, tuple[int, ...]]:
    """Three stages of n units each, for a depth of 6n+2 or 9n+2 (He15 §4.2, He16 §5)."""
    block = _or(block, "basic")
    check_choice("block", block, tuple(LAYERS))
    step = 3 * LAYERS[block]
    check_depth(depth, step, 2, f" with block={block!r}")
    return block, ((depth - 2) // step,) * 3


def _imagenet_stages(depth: int, block: str | None) -> tuple[str, tuple[int, ...]]:
    """Four stages as in He15 Table 1."""
    check_count("depth", depth)
    if depth not in IMAGENET:
        raise ValueError(f"depth must be one of {', '.join(map(str, IMAGENET))} with data='imagenet'; got {depth=}")
    known, counts = IMAGENET[depth]
    if block not in (None, known):
        raise ValueError(f"depth {depth} of data='imagenet' has block={known!r} (He15 Table 1); got {block=}")
    return known, counts


def check_depth(depth: int, step: int, rest: int, where: str = "") -> None:
    """Raise ValueError that names the nearest two unless ``depth`` is ``step``·n + ``rest`` for an n of at least 1."""
    least = step + rest
    check_count("depth", depth, least=least)
    below = depth - (depth - rest) % step
    if below == depth:
        return
    hint = "; with block='bottleneck' it is possible" if step == 6 and rest == 2 and (depth - 2) % 9 == 0 else ""
    raise ValueError(
        f"depth must be {step}n+{rest}{where} ({least}, {least + step}, {least + 2 * step}, …); got {depth=}; nearest "
        f"are {below} and {below + step}{hint}"
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
