"""Networks by the names people give them: a table, and build()."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from gradflow.models.costing import cost
from gradflow.models.families import grouped, preactivated, resnext_cifar, wide_resnet
from gradflow.models.resnets import IMAGENET, resnet
from gradflow.models.units import Network, check_choice
from gradflow.results import Cost


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named network: how to make it, the shape of one sample, how many classes it has, and where it comes from.

    One that is ``listed_only`` cannot be built, only looked at and counted.
    """

    name: str
    make: Callable[..., nn.Module]
    input_shape: tuple[int, int, int]
    num_classes: int
    source: str
    listed_only: bool = False

    def build(self, **options: Any) -> Network:
        """The network with fresh weights; ``options`` as of :func:`resnet`. Raises ValueError if it is only listed."""
        if self.listed_only:
            raise ValueError(
                f"{self.name} is listed for reference, to compare its cost with a ResNet's, and not trained here: "
                f"ARCHITECTURES[{self.name!r}].cost() counts its layers"
            )
        network = self.make(**{"num_classes": self.num_classes, **options})
        assert isinstance(network, Network)
        return network

    def cost(self) -> Cost:
        """What one sample costs, layer by layer (see :func:`gradflow.models.cost`); takes no memory for weights."""
        with torch.device("meta"):
            return cost(self.make(num_classes=self.num_classes), self.input_shape)


def build(name: str, *, num_classes: int | None = None, **options: Any) -> Network:
    """A network by name: any of ``ARCHITECTURES``, and any other depth or width that its family has.

    name: "resnetN" and "plainN", ImageNet's for N = 18, 34, 50, 101, 152, else CIFAR's, N = 6n+2; "resnetN-3x3",
    ImageNet's with the source chapter's stem for CIFAR-100; "preresnetN", the same depths with pre-activation, besides
    164 and N = 9n+2 with bottlenecks, which "resnet164" and "resnet1001" mean, too; "wrn-D-K" with D = 6n+4, or 50,
    101, 152 for ImageNet; "resnextN-CxWd" with N = 9n+2, or ImageNet's 50, 101, 152. Capitals and the hyphen before a
    number do not matter. num_classes: by default those of the data set the name stands for. Other ``options`` as of
    :func:`resnet`.

    Raises ValueError for a name or depth that there is not, with those nearest.
    """
    chosen = {} if num_classes is None else {"num_classes": num_classes}
    return architecture(name).build(**chosen, **options)


def architecture(name: str) -> Architecture:
    """The entry of ``ARCHITECTURES`` for a name, or one like it for a name of the same pattern (see :func:`build`).

    Raises TypeError for what is no text, ValueError for a name that fits no pattern.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a text such as 'resnet56'; got {name!r}")
    plain = _normal(name)
    for pattern, family in _FAMILIES.items():
        found = re.fullmatch(pattern, plain)
        if found:
            return family(plain, *(int(part) if part.isdecimal() else part for part in found.groups()))
    close = difflib.get_close_matches(plain, ARCHITECTURES, n=3)
    meant = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(ARCHITECTURES)}"
    raise ValueError(f"there is no architecture called {name!r}; {meant}")


def _normal(name: str) -> str:
    """A name as the table has it: "WRN 28-10" is wrn-28-10, "ResNeXt-29, 16×64d" resnext29-16x64d."""
    text = re.sub(r"[\s,_-]+", "-", name.strip().lower().replace("×", "x"))
    text = re.sub(r"^pre-", "pre", re.sub(r"^wide-?resnet", "wrn", text))
    return re.sub(r"^wrn-?", "wrn-", re.sub(r"^(\D+)-(?=\d)", r"\1", text))


_CIFAR, _IMAGENET = (3, 32, 32), (3, 224, 224)


def _cifar(name: str, make: Callable[..., nn.Module], source: str) -> Architecture:
    return Architecture(name=name, make=make, input_shape=_CIFAR, num_classes=10, source=source)


def _imagenet(name: str, make: Callable[..., nn.Module], source: str, *, listed_only: bool = False) -> Architecture:
    return Architecture(
        name=name, make=make, input_shape=_IMAGENET, num_classes=1000, source=source, listed_only=listed_only
    )


def _he15(name: str, kind: str, depth: int) -> Architecture:
    residual = kind == "resnet"
    if depth in IMAGENET:
        return _imagenet(name, partial(resnet, depth, data="imagenet", residual=residual), "He15 Table 1")
    if residual and depth in (164, 1001):
        return _he16(name, depth)
    return _cifar(name, partial(resnet, depth, residual=residual), "He15 §4.2")


def _chapter(name: str, kind: str, depth: int) -> Architecture:
    make = partial(resnet, depth, data="imagenet", stem="3x3", residual=kind == "resnet")
    return Architecture(
        name=name, make=make, input_shape=_CIFAR, num_classes=100, source="source chapter 15.6, for CIFAR-100"
    )


def _he16(name: str, depth: int) -> Architecture:
    if depth in IMAGENET:
        make = partial(resnet, depth, data="imagenet", version=2, projection_norm=False)
        return _imagenet(name, make, "He16 Table 5")
    has_bottlenecks = depth == 164 or ((depth - 2) % 6 and not (depth - 2) % 9)
    family = preactivated if has_bottlenecks else partial(resnet, version=2)
    return _cifar(name, partial(family, depth), "He16 Table 2 and 4")


def _wrn(name: str, depth: int, k: int) -> Architecture:
    source = "Zagoruyko & Komodakis 2016"
    if IMAGENET.get(depth, ("basic",))[0] == "bottleneck":
        return _imagenet(name, partial(grouped, depth, 1, 64 * k), f"{source}, §3.5")
    return _cifar(name, partial(wide_resnet, depth, k), f"{source}, Table 1")


def _xie17(name: str, depth: int, cardinality: int, base_width: int) -> Architecture:
    source = "Xie et al. 2017"
    if depth in IMAGENET:
        return _imagenet(name, partial(grouped, depth, cardinality, base_width), f"{source}, Table 1")
    return _cifar(name, partial(resnext_cifar, depth, cardinality, base_width), f"{source}, §5.3")


def _vgg(name: str, depth: int) -> Architecture:
    check_choice("depth", depth, tuple(_VGG))
    source = "Simonyan & Zisserman 2015, arXiv 1409.1556, Table 1"
    return _imagenet(name, partial(_vgg_layers, depth), source, listed_only=True)


_VGG = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""3×3 convolutions before each halving of the resolution."""


def _vgg_layers(depth: int, num_classes: int) -> nn.Module:
    """The layers of VGG, configurations D and E, for images of 224×224."""
    layers: list[nn.Module] = []
    channels = 3
    for stage, count in enumerate(_VGG[depth]):
        for _ in range(count):
            out = min(64 * 2**stage, 512)
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
            channels = out
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for n_in, n_out in pairwise((channels * 7 * 7, 4096, 4096, num_classes)):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


_FAMILIES: dict[str, Callable[..., Architecture]] = {
    r"(resnet|plain)(\d+)": _he15,
    r"(resnet|plain)(\d+)-3x3": _chapter,
    r"preresnet(\d+)": _he16,
    r"wrn-(\d+)-(\d+)": _wrn,
    r"resnext(\d+)-(\d+)x(\d+)d": _xie17,
    r"vgg(\d+)": _vgg,
}
"""What a name's pattern stands for; each function takes the name and what the pattern's groups hold."""

_NAMES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34"),
    *("resnet18-3x3", "resnet34-3x3"),
    *("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"),
    *("plain20", "plain32", "plain44", "plain56", "plain110"),
    *("preresnet110", "resnet164", "resnet1001"),
    *("wrn-16-8", "wrn-28-10", "wrn-40-4", "wrn-50-2"),
    *("resnext29-8x64d", "resnext29-16x64d", "resnext50-32x4d", "resnext101-32x8d"),
    *("vgg16", "vgg19"),
)

ARCHITECTURES = {name: architecture(name) for name in _NAMES}
"""Networks of the literature by name; :func:`build` knows more of each family."""
