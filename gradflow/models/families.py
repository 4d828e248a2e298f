"""The networks of the papers as functions, each a call of resnet()."""

from __future__ import annotations

from typing import Any

from gradflow.models.resnets import check_depth, resnet
from gradflow.models.units import Network, check_count


def resnet18(**options: Any) -> Network:
    """ResNet-18 for ImageNet (He15 Table 1); ``options`` as of :func:`resnet`."""
    return resnet(18, data="imagenet", **options)


def resnet34(**options: Any) -> Network:
    """ResNet-34 for ImageNet (He15 Table 1); ``options`` as of :func:`resnet`."""
    return resnet(34, data="imagenet", **options)


def resnet50(**options: Any) -> Network:
    """ResNet-50 for ImageNet (He15 Table 1); torchvision's has ``stride_at="3x3"``; ``options`` of :func:`resnet`."""
    return resnet(50, data="imagenet", **options)


def resnet101(**options: Any) -> Network:
    """ResNet-101 for ImageNet (He15 Table 1); torchvision's has ``stride_at="3x3"``; ``options`` of :func:`resnet`."""
    return resnet(101, data="imagenet", **options)


def resnet152(**options: Any) -> Network:
    """ResNet-152 for ImageNet (He15 Table 1); torchvision's has ``stride_at="3x3"``; ``options`` of :func:`resnet`."""
    return resnet(152, data="imagenet", **options)


def resnet20(**options: Any) -> Network:
    """ResNet-20 for CIFAR (He15 §4.2); ``options`` as of :func:`resnet`."""
    return resnet(20, **options)


def resnet32(**options: Any) -> Network:
    """ResNet-32 for CIFAR (He15 §4.2); ``options`` as of :func:`resnet`."""
    return resnet(32, **options)


def resnet44(**options: Any) -> Network:
    """ResNet-44 for CIFAR (He15 §4.2); ``options`` as of :func:`resnet`."""
    return resnet(44, **options)


def resnet56(**options: Any) -> Network:
    """ResNet-56 for CIFAR (He15 §4.2); ``options`` as of :func:`resnet`."""
    return resnet(56, **options)


def resnet110(**options: Any) -> Network:
    """ResNet-110 for CIFAR (He15 §4.2); ``options`` as of :func:`resnet`."""
    return resnet(110, **options)


def resnet1202(**options: Any) -> Network:
    """ResNet-1202 for CIFAR (He15 §4.2); ``options`` as of :func:`resnet`."""
    return resnet(1202, **options)


def resnet164(**options: Any) -> Network:
    """ResNet-164 for CIFAR with full pre-activation, version 2: 54 bottleneck units (He16 §5 and Table 4).

    Projections are bare 1×1 convolutions, as in the code published with the paper. The original unit of its Table 2 is
    ``resnet164(version=1)``. ``options`` as of :func:`resnet`.
    """
    return preactivated(164, **options)


def resnet1001(**options: Any) -> Network:
    """ResNet-1001 for CIFAR with full pre-activation, version 2: 333 bottleneck units, else as :func:`resnet164` (He16
    §5 and Table 4)."""
    return preactivated(1001, **options)


def wide_resnet(depth: int, k: int, *, dropout: float = 0.0, **options: Any) -> Network:
    """WRN-``depth``-``k`` for CIFAR, ``k`` times as wide as a ResNet, of 6n+4 convolutions, those of three projections
    included.

    Units are B(3,3) with pre-activation, ``dropout`` between their two convolutions, and bare 1×1 projections where
    the size changes. As everywhere here, the first unit shares its pre-activation with its shortcut; in the published
    code it does so for k > 1 only, where it changes size. Other ``options`` as of :func:`resnet`, in whose way of
    counting the depth is two less. Raises ValueError for a depth that is not 6n+4. Zagoruyko & Komodakis 2016, arXiv
    1605.07146, Table 1 and §2.4.
    """
    check_depth(depth, 6, 4)
    check_count("k", k)
    given = {"version": 2, "option": "B", "projection_norm": False, "width": 16 * k, "stem_width": 16, **options}
    return resnet(depth - 2, dropout=dropout, **given)


def resnext29(cardinality: int = 16, base_width: int = 64, **options: Any) -> Network:
    """ResNeXt-29, ``cardinality`` × ``base_width``d, for CIFAR: 3×3 convolutions in ``cardinality`` groups of
    ``base_width`` channels (in the first stage); other ``options`` as of :func:`resnet`.

    Xie et al. 2017, arXiv 1611.05431, §5.3, with the stride on the 3×3 convolution.
    """
    return resnext_cifar(29, cardinality, base_width, **options)


def resnext50_32x4d(**options: Any) -> Network:
    """ResNeXt-50, 32×4d, for ImageNet (Xie et al. 2017 Table 1); ``options`` as of :func:`resnet`."""
    return grouped(50, 32, 4, **options)


def resnext101_32x8d(**options: Any) -> Network:
    """ResNeXt-101, 32×8d, for ImageNet, as in torchvision; ``options`` as of :func:`resnet`."""
    return grouped(101, 32, 8, **options)


def wide_resnet50_2(**options: Any) -> Network:
    """WRN-50-2 for ImageNet: ResNet-50 with twice the channels in every 3×3 (Zagoruyko & Komodakis 2016, §3.5), stride
    there, too, as in torchvision; ``options`` as of :func:`resnet`."""
    return grouped(50, 1, 128, **options)


def preactivated(depth: int, **options: Any) -> Network:
    """Bottleneck units with full pre-activation for CIFAR, as in the code published with He16."""
    given = {"version": 2, "block": "bottleneck", "option": "B", "projection_norm": False, **options}
    return resnet(depth, **given)


def resnext_cifar(depth: int, cardinality: int, base_width: int, **options: Any) -> Network:
    """ResNeXt of any depth 9n+2 for CIFAR (Xie et al. 2017, §5.3)."""
    check_count("cardinality", cardinality)
    check_count("base_width", base_width)
    inner = cardinality * base_width
    given = {"block": "bottleneck", "option": "B", "stride_at": "3x3", "width": 64, "inner_width": inner, **options}
    return resnet(depth, groups=cardinality, **given)


def grouped(depth: int, groups: int, base_width: int, **options: Any) -> Network:
    """A bottleneck net for ImageNet whose 3×3 convolutions have ``groups`` of ``base_width`` channels, as torchvision
    builds them."""
    given = {"stride_at": "3x3", "groups": groups, "inner_width": groups * base_width, **options}
    return resnet(depth, data="imagenet", **given)
