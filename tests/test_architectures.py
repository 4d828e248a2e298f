"""The networks of the papers: counts as published, forward passes by hand, and every analysis on every kind of unit."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from closeness import approx
from torch import Tensor, nn

import gradflow
from gradflow import models
from gradflow.models import (
    ARCHITECTURES,
    PLACEMENTS,
    VARIANTS,
    Identity,
    Network,
    Projection,
    Unit,
    ZeroPad,
    build,
    deepen,
    plain_twin,
    resnet,
    zero_init,
)
from gradflow.prediction import profile_of

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def on_meta(make: Callable[..., Network], *args: Any, **options: Any) -> Network:
    with torch.device("meta"):
        return make(*args, **options)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def depth_of(model: nn.Module) -> int:
    """Linear and convolution layers outside shortcuts, which He15 does not count."""
    kinds = (nn.Linear, nn.Conv2d)
    return sum(isinstance(m, kinds) and "shortcut" not in name.split(".") for name, m in model.named_modules())


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(model: Network) -> Network:
    """In float64, with norms that a forgotten or misplaced one would show."""
    model.double()
    for seed, module in enumerate(model.modules()):
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.weight.data = 1 + 0.3 * draw(n, seed=seed)
            module.bias.data = 0.3 * draw(n, seed=seed + 1000)
            module.running_mean = 0.3 * draw(n, seed=seed + 2000)
            module.running_var = 1 + draw(n, seed=seed + 3000).abs()
    return model


# ── published counts ──

PUBLISHED = {
    # He15, ImageNet, in torchvision's documentation to the last digit.
    "resnet18": (18, 11_689_512, IMAGENET, 1000),
    "resnet34": (34, 21_797_672, IMAGENET, 1000),
    "resnet50": (50, 25_557_032, IMAGENET, 1000),
    "resnet101": (101, 44_549_160, IMAGENET, 1000),
    "resnet152": (152, 60_192_808, IMAGENET, 1000),
    # Without projections 64·128 + 128·256 + 256·512 weights and 2·(128 + 256 + 512) of their norms fewer.
    "plain18": (18, 11_689_512 - 172_032 - 1_792, IMAGENET, 1000),
    "plain34": (34, 21_797_672 - 172_032 - 1_792, IMAGENET, 1000),
    # 900 classes fewer, and 3×3 instead of 7×7.
    "resnet18-3x3": (18, 11_227_812 - 64 * 3 * (49 - 9), CIFAR, 100),
    "resnet34-3x3": (34, 21_797_672 - 900 * 513 - 64 * 3 * (49 - 9), CIFAR, 100),
    "resnet20": (20, 269_722, CIFAR, 10),
    "resnet56": (56, 853_018, CIFAR, 10),
    "resnet110": (110, 1_727_962, CIFAR, 10),
    "plain20": (20, 269_722, CIFAR, 10),
    "plain56": (56, 853_018, CIFAR, 10),
    "plain110": (110, 1_727_962, CIFAR, 10),
    "preresnet110": (110, 1_727_962, CIFAR, 10),
    "resnext50-32x4d": (50, 25_028_904, IMAGENET, 1000),
    "resnext101-32x8d": (101, 88_791_336, IMAGENET, 1000),
    "wrn-50-2": (50, 68_883_240, IMAGENET, 1000),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_parameters_depth_and_shapes_as_published(name: str) -> None:
    depth, count, shape, classes = PUBLISHED[name]
    model = on_meta(build, name)
    assert parameters(model) == count
    assert depth_of(model) == depth == model.built_from["depth"]
    assert model.input_shape == shape == ARCHITECTURES[name].input_shape
    assert model(torch.empty(2, *shape, device="meta")).shape == (2, classes)
    assert ARCHITECTURES[name].num_classes == classes


def test_the_chapters_count_is_resnet18_with_100_classes() -> None:
    assert parameters(on_meta(models.resnet18, num_classes=100)) == 11_227_812


def wide_count(depth: int, k: int) -> int:
    """WRN: two 3×3 a unit, norms of what comes in, bare 1×1 where channels change, and one norm before the head."""
    stages, n, total, channels = (16 * k, 32 * k, 64 * k), (depth - 4) // 6, 3 * 16 * 9, 16
    for width in stages:
        for _ in range(n):
            total += 9 * channels * width + 9 * width**2 + 2 * channels + 2 * width
            total += channels * width if channels != width else 0
            channels = width
    return total + 2 * channels + 10 * channels + 10


def preactivated_count(depth: int) -> int:
    """He16's published code: stages of 64, 128 and 256 channels with a quarter of these inside."""
    total, channels = 3 * 16 * 9, 16
    for width in (64, 128, 256):
        inner = width // 4
        for _ in range((depth - 2) // 9):
            total += channels * inner + 9 * inner**2 + inner * width + 2 * channels + 4 * inner
            total += channels * width if channels != width else 0
            channels = width
    return total + 2 * channels + 10 * channels + 10


def grouped_count(cardinality: int, base_width: int, depth: int = 29) -> int:
    """ResNeXt's published code, form C: D·C channels inside, a projection with norm where channels change."""
    total, channels = 3 * 64 * 9 + 2 * 64, 64
    for planes in (64, 128, 256):
        inner, width = cardinality * (planes * base_width // 64), 4 * planes
        for _ in range((depth - 2) // 9):
            total += channels * inner + 9 * inner * (inner // cardinality) + inner * width + 4 * inner + 2 * width
            total += channels * width + 2 * width if channels != width else 0
            channels = width
    return total + 10 * channels + 10


@pytest.mark.parametrize(
    ("name", "count", "millions"),
    [
        ("wrn-16-8", wide_count(16, 8), 11.0),
        ("wrn-28-10", wide_count(28, 10), 36.5),
        ("wrn-40-4", wide_count(40, 4), 8.9),
        ("wrn-22-8", wide_count(22, 8), 17.2),
        ("wrn-40-1", wide_count(40, 1), 0.6),
        ("resnet164", preactivated_count(164), 1.7),
        ("resnext29-8x64d", grouped_count(8, 64), 34.4),
        ("resnext29-16x64d", grouped_count(16, 64), 68.1),
    ],
)
def test_parameters_against_a_sum_over_the_published_code(name: str, count: int, millions: float) -> None:
    model = on_meta(build, name)
    assert parameters(model) == count
    assert count / 1e6 == pytest.approx(millions, abs=0.06), "as printed in the paper"
    assert depth_of(model) == model.built_from["depth"]


def test_the_thousand_layers() -> None:
    deep = on_meta(build, "resnet1001")
    assert parameters(deep) == preactivated_count(1001)
    assert parameters(deep) / 1e6 == pytest.approx(10.2, rel=0.02), "He16 §5"
    assert depth_of(deep) == 1001
    deeper = on_meta(models.resnet1202)
    assert parameters(deeper) / 1e6 == pytest.approx(19.4, abs=0.05), "He15 Table 6"
    assert depth_of(deeper) == 1202


@pytest.mark.parametrize(
    ("depth", "count"),
    [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)],
)
def test_named_cifar_nets_have_the_millions_of_he15_table_6(depth: int, count: float) -> None:
    for make in (getattr(models, f"resnet{depth}"), partial(build, f"plain{depth}")):
        assert parameters(on_meta(make)) / 1e6 == pytest.approx(count, abs=0.03)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (models.resnet34, "resnet34"),
        (models.resnet101, "resnet101"),
        (models.resnet152, "resnet152"),
        (models.resnet164, "preresnet164"),
        (partial(models.wide_resnet, 16, 2), "wrn-16-2"),
        (models.resnext29, "resnext29-16x64d"),
        (partial(models.resnext29, 2, 8), "resnext29-2x8d"),
        (models.resnext50_32x4d, "resnext50-32x4d"),
        (models.resnext101_32x8d, "resnext101-32x8d"),
        (models.wide_resnet50_2, "wrn-50-2"),
    ],
)
def test_functions_and_names_mean_the_same(make: Callable[..., Network], name: str) -> None:
    one, other = on_meta(make), on_meta(build, name)
    assert repr(one) == repr(other)
    assert one.built_from == other.built_from


# ── the assembly ──


def strides(model: Network) -> list[tuple[int, ...]]:
    """Of each unit that halves the resolution, the strides of its convolutions."""
    rows = [tuple(m.stride[0] for m in unit.branch if isinstance(m, nn.Conv2d)) for unit in model.units]
    return [row for row in rows if set(row) != {1}]


def test_the_stride_stands_where_it_is_told_to() -> None:
    assert strides(on_meta(models.resnet50)) == [(2, 1, 1)] * 3, "He15"
    assert strides(on_meta(models.resnet50, stride_at="3x3")) == [(1, 2, 1)] * 3
    assert strides(on_meta(models.resnext50_32x4d)) == strides(on_meta(models.wide_resnet50_2)) == [(1, 2, 1)] * 3
    assert strides(on_meta(models.resnet164)) == [(2, 1, 1)] * 2
    assert strides(on_meta(models.resnext29, 2, 4)) == [(1, 2, 1)] * 2
    assert strides(on_meta(models.resnet34)) == [(2, 1)] * 3


def test_stages_widths_and_shortcuts_of_resnet50() -> None:
    model = on_meta(models.resnet50)
    outs = [unit.branch.conv3.out_channels for unit in model.units]
    assert outs == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert [unit.branch.conv2.in_channels * 4 for unit in model.units] == outs
    kinds = [type(unit.shortcut) for unit in model.units]
    assert [place for place, kind in enumerate(kinds) if kind is Projection] == [0, 3, 7, 13]
    assert kinds.count(Identity) == 12
    assert {type(unit.shortcut) for unit in on_meta(models.resnet34, option="A").units} == {Identity, ZeroPad}
    assert {type(unit.shortcut) for unit in on_meta(models.resnet18, option="C").units} == {Projection}


def test_stems() -> None:
    sizes = {
        "resnet18": (64, 56, 56),
        "resnet18-3x3": (64, 32, 32),
        "resnet56": (16, 32, 32),
        "resnet164": (16, 32, 32),
        "wrn-28-10": (16, 32, 32),
        "resnext29-8x64d": (64, 32, 32),
    }
    for name, size in sizes.items():
        model = on_meta(build, name)
        assert model.stem(torch.empty(1, *model.input_shape, device="meta")).shape[1:] == size, name
    assert [type(part).__name__ for part in on_meta(models.resnet18).stem] == [
        *("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d")
    ]
    assert [type(part).__name__ for part in on_meta(models.resnet18, version=2).stem] == ["Conv2d", "MaxPool2d"]
    with_pool = resnet(8, stem="imagenet", width=4)
    assert with_pool.input_shape == IMAGENET, "made for large images"
    assert with_pool(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_wide_nets_drop_out_between_their_convolutions_only() -> None:
    model = on_meta(models.wide_resnet, 16, 2, dropout=0.3)
    for unit in model.units:
        assert list(dict(unit.branch.named_children())) == ["conv1", "norm2", "activation2", "dropout2", "conv2"]
    dropouts = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.3] * 6
    assert not [m for m in on_meta(models.wide_resnet, 16, 2).modules() if isinstance(m, nn.Dropout)]
    bottleneck = resnet(11, block="bottleneck", width=4, dropout=0.5)
    names = list(dict(bottleneck.units[0].branch.named_children()))
    assert [name for name in names if name.startswith(("conv", "dropout"))] == [
        *("conv1", "dropout2", "conv2", "dropout3", "conv3")
    ]


def test_initial_weights_are_drawn_in_the_order_they_always_were() -> None:
    """Recorded figures depend on it: stem, head, then unit by unit; then all anew, with the head at the end."""
    sizes = [(4, 4), (4, 8), (8, 16)]
    torch.manual_seed(3)
    made = resnet(8, width=4, option="B", init="default")
    after = torch.get_rng_state()
    torch.manual_seed(3)
    expected = [nn.Conv2d(3, 4, 3, bias=False), nn.Linear(16, 10)]
    for n_in, n_out in sizes:
        expected += [nn.Conv2d(n_in, n_out, 3, bias=False), nn.Conv2d(n_out, n_out, 3, bias=False)]
        if n_in != n_out:
            expected.append(nn.Conv2d(n_in, n_out, 1, bias=False))
    units = [
        [unit.branch.conv1, unit.branch.conv2, *([unit.shortcut.conv] if n_in != n_out else [])]
        for unit, (n_in, n_out) in zip(made.units, sizes, strict=True)
    ]
    found = [made.stem.conv, made.head.fc, *chain(*units)]
    assert all(torch.equal(one.weight, other.weight) for one, other in zip(found, expected, strict=True))
    torch.manual_seed(3)
    drawn = dict(resnet(8, width=4, option="B").named_parameters())
    torch.set_rng_state(after)
    for layer in [made.stem.conv, *chain(*units), made.head.fc]:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    anew = {name: weight for name, weight in made.named_parameters() if weight.dim() > 1}
    assert len(anew) == 10
    assert all(torch.equal(drawn[name], weight) for name, weight in anew.items())


# ── forward passes by hand ──


class Pass:
    """A forward pass from the weights alone: takes the norms of a unit in the order in which they come."""

    def __init__(self, unit: nn.Module) -> None:
        self.norms = iter([module for module in unit.modules() if isinstance(module, nn.BatchNorm2d)])

    def norm(self, x: Tensor) -> Tensor:
        n = next(self.norms)
        mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0))
        mean, var = (mean, var) if n.training else (n.running_mean, n.running_var)
        scale = n.weight / torch.sqrt(var + n.eps)
        return (x - mean[:, None, None]) * scale[:, None, None] + n.bias[:, None, None]

    def both(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(x))


def shortcut_by_hand(unit: Unit, x: Tensor, kind: str, *, stride: int) -> tuple[Tensor, Tensor | float]:
    """h(x) and what multiplies the branch, for the shortcuts of He16 Table 1 in eval mode, with option "B"."""

    def resize(shortcut: nn.Module) -> Tensor:
        if isinstance(shortcut, Identity):
            return x
        return Pass(shortcut).norm(F.conv2d(x, shortcut.conv.weight, stride=stride))

    shortcut = unit.shortcut
    if "gate" in kind:
        gate = torch.sigmoid(F.conv2d(x, shortcut.gate.conv.weight, stride=stride) + shortcut.gate.bias)
        return (1 - gate) * resize(shortcut.inner), gate if kind == "exclusive-gate" else 1.0
    factor = {"scaled-0": 0.0, "scaled-0.5": 0.5, "scaled-0.5-0.5": 0.5}.get(kind, 1.0)
    inner = shortcut if kind in ("original", "conv1x1") else shortcut.inner
    return factor * resize(inner), 0.5 if kind == "scaled-0.5-0.5" else 1.0


def bottleneck_by_hand(
    unit: Unit, x: Tensor, kind: str, placement: str, *, stride: int, at: str, groups: int, shared: bool
) -> Tensor:
    """He15 Fig. 5 and He16 Fig. 4, the three convolutions one after the other."""
    bn = Pass(nn.ModuleList([unit.pre, unit.branch, unit.post]))
    weights = [unit.branch.get_submodule(f"conv{number}").weight for number in (1, 2, 3)]
    source, h = x, x
    for place, weight in enumerate(weights):
        if placement == "preactivation":
            h = bn.both(h)
        elif placement == "activation-only-preactivation":
            h = torch.relu(h)
        if place == 0 and shared:
            source = h
        here = stride if (place == 0) == (at == "1x1") and place < 2 else 1
        h = F.conv2d(h, weight, stride=here, padding=place % 2, groups=groups if place == 1 else 1)
        if placement == "activation-only-preactivation" or (placement == "original" and place == 2):
            h = bn.norm(h)
        elif placement != "preactivation" and not (placement == "norm-after-addition" and place == 2):
            h = bn.both(h)
    through, scale = shortcut_by_hand(unit, source, kind, stride=stride)
    h = through + scale * h
    return torch.relu(h) if placement == "original" else bn.both(h) if placement == "norm-after-addition" else h


@pytest.mark.parametrize("placement", list(PLACEMENTS))
@pytest.mark.parametrize("kind", list(VARIANTS))
def test_every_shortcut_in_every_placement_of_bottlenecks_by_hand(kind: str, placement: str) -> None:
    at, groups = ("1x1", 1) if len(kind) % 2 else ("3x3", 2)
    options: dict[str, Any] = {"shortcut": kind, "placement": placement, "stride_at": at, "groups": groups}
    model = resnet(20, block="bottleneck", option="B", width=2, inner_width=4, **options)
    shaken(model).eval()
    x = model.stem(draw(2, 3, 6, 6))
    with torch.no_grad():
        for place, unit in enumerate(model.units):
            given = x
            x = unit(given)
            shared = placement in ("preactivation", "activation-only-preactivation") and place in (0, 2, 4)
            stride = 2 if place in (2, 4) else 1
            expected = bottleneck_by_hand(
                unit, given, kind, placement, stride=stride, at=at, groups=groups, shared=shared
            )
            torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("placement", list(PLACEMENTS))
@pytest.mark.parametrize("residual", [True, False])
def test_plain_bottlenecks_are_their_branches(residual: bool, placement: str) -> None:
    plain = shaken(resnet(11, block="bottleneck", residual=False, width=2, placement=placement)).eval()
    if residual:
        plain = plain_twin(shaken(resnet(11, block="bottleneck", width=2, placement=placement)).eval())
    x = plain.stem(draw(2, 3, 6, 6))
    for unit in plain.units:
        assert unit.is_plain
        assert torch.equal(unit(x), unit.post(unit.branch(unit.pre(x))))
        x = unit(x)


@pytest.mark.parametrize("make", [models.resnet164, partial(build, "resnet164"), partial(models.wide_resnet, 28, 2)])
def test_preactivated_nets_are_version_2_with_bare_projections(make: Callable[..., Network]) -> None:
    model = on_meta(make)
    assert model.built_from["placement"] == "preactivation"
    assert [type(part).__name__ for part in model.head][:2] == ["BatchNorm2d", "ReLU"]
    per_stage = len(model.units) // 3
    changing = [unit for place, unit in enumerate(model.units) if place % per_stage == 0]
    assert all(unit.share_pre == (unit in changing) for unit in model.units)
    for unit in changing:
        assert [name for name, _ in unit.shortcut.named_parameters()] == ["conv.weight"]
    assert on_meta(models.resnet164, version=1).built_from["placement"] == "original"


@pytest.mark.parametrize("training", [True, False])
def test_a_wide_net_against_the_published_code(training: bool) -> None:
    """As Zagoruyko and Komodakis wrote it for PyTorch: the projection takes the activated input, and has no norm."""
    model = shaken(models.wide_resnet(16, 2)).train(training)
    x = draw(3, 3, 8, 8)
    with torch.no_grad():
        out = F.conv2d(x, model.stem.conv.weight, padding=1)
        for place, unit in enumerate(model.units):
            stride = 2 if place in (2, 4) else 1
            bn = Pass(nn.ModuleList([unit.pre, unit.branch]))
            o1 = bn.both(out)
            z = F.conv2d(o1, unit.branch.conv1.weight, stride=stride, padding=1)
            z = F.conv2d(bn.both(z), unit.branch.conv2.weight, padding=1)
            if place in (0, 2, 4):
                assert len(list(unit.shortcut.parameters())) == 1
                out = z + F.conv2d(o1, unit.shortcut.conv.weight, stride=stride)
            else:
                out = z + out
        out = Pass(model.head).both(out)
        expected = out.mean((2, 3)) @ model.head.fc.weight.T + model.head.fc.bias
        torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def test_the_stem_for_large_images_by_hand() -> None:
    model = shaken(models.resnet18(width=4, num_classes=5)).eval()
    x = draw(2, 3, 37, 37)
    expected = F.conv2d(x, model.stem.conv.weight, stride=2, padding=3)
    expected = F.max_pool2d(Pass(model.stem).both(expected), 3, 2, 1)
    torch.testing.assert_close(model.stem(x), expected)
    assert expected.shape == (2, 4, 10, 10)


# ── every analysis on every kind of unit ──

SMALL: dict[str, Callable[..., Network]] = {
    "bottleneck": partial(resnet, 11, block="bottleneck", width=2, size=8),
    "preactivated": partial(
        resnet, 11, block="bottleneck", version=2, option="B", projection_norm=False, width=2, size=8
    ),
    "wide": partial(models.wide_resnet, 16, 1, dropout=0.3, width=4, stem_width=2, size=8),
    "resnext": partial(models.resnext29, 2, 8, width=4, inner_width=8, size=8),
    "imagenet": partial(models.resnet18, width=2, stem="3x3", num_classes=10, size=8),
}


def batch(seed: int = 0, samples: int = 6) -> tuple[Tensor, Tensor]:
    return draw(samples, 3, 8, 8, seed=seed), torch.arange(samples) % 10


@pytest.fixture(params=list(SMALL))
def small(request: pytest.FixtureRequest) -> Network:
    return SMALL[request.param]().double()


def gradients_at(model: Network, data: tuple[Tensor, Tensor], seed: int) -> list[float]:
    """RMS of ∂loss/∂x_l for l = 0 … U by autograd, with the random numbers of a measurement."""
    model = copy.deepcopy(model).train()
    found: list[float] = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        output.register_hook(lambda gradient: found.append(float(gradient.square().mean().sqrt())))

    for module in (model.stem, *model.units):
        module.register_forward_hook(keep)
    with gradflow.seeding.seeded(seed):
        F.cross_entropy(model(data[0]), data[1]).backward()
    return found[::-1]


def test_split_and_path_spectrum_add_up_to_autograd(small: Network) -> None:
    data = batch()
    expected = gradients_at(small, data, seed=0)
    split = gradflow.split(small, data)
    assert (10 ** split.log10_whole[0]).tolist() == approx(expected, rel=1e-9)
    paths = gradflow.path_spectrum(small, data)
    assert float(paths.whole[0]) == approx(expected[0], rel=1e-9)
    assert paths.values.shape == (1, len(small.units) + 1)
    assert (paths.values[0] > 0).all()


def test_no_closed_form_is_claimed(small: Network) -> None:
    data = batch()
    assert profile_of(small, data[0]) is None
    assert gradflow.split(small, data).theory == {}
    assert gradflow.path_spectrum(small, data).theory is None
    assert gradflow.compare(plain_twin(small), small, data).theory == {}


def test_lesion(small: Network) -> None:
    found = gradflow.lesion(small, batch(samples=20), draws=2)
    assert len(found.without_one) == len(small.units)
    without = copy.deepcopy(small).eval()
    x, y = batch(samples=20)
    unit = without.units[1]
    if not found.changes_size[1]:
        without.units[1] = nn.Identity()
    else:
        unit.branch = nn.Sequential(nn.Flatten(), nn.Identity())
        unit.terms = lambda x: (unit.shortcut(unit.pre(x) if unit.share_pre else x), torch.zeros(()).double())
    with torch.no_grad():
        assert found.without_one[1] == pytest.approx(float((without(x).argmax(1) != y).double().mean()))


def test_compare_with_the_plain_twin(small: Network) -> None:
    comparison = gradflow.compare(plain_twin(small), small, batch())
    assert comparison.traces["plain"].layers == comparison.traces["residual"].layers
    assert len(comparison.traces["plain"].layers) == depth_of(small)
    assert small.units[0].shortcut is not None
    assert not any(unit.is_plain for unit in small.units)


def trained(model: Network) -> Network:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for seed in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(batch(seed)[0]), batch(seed)[1]).backward()
        optimizer.step()
    return model


def test_a_deeper_residual_net_is_the_same_function(small: Network) -> None:
    model = trained(small)
    deeper = deepen(model, 2)
    fresh = len(deeper.units) - len(model.units)
    assert fresh == 2 * (4 if len(model.built_from["counts"]) == 4 else 3)
    x = draw(5, 3, 8, 8, seed=9)
    drops = [module for module in deeper.modules() if isinstance(module, nn.Dropout)]
    per_unit = len([m for m in model.units[0].modules() if isinstance(m, nn.Dropout)])
    assert len(drops) == per_unit * len(deeper.units), "new units are of the same kind"
    for training in (False, True):
        model.train(training)
        deeper.train(training)
        for module in [*model.modules(), *deeper.modules()]:
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # the two would draw different masks
        with torch.no_grad():
            assert torch.equal(copy.deepcopy(model)(x), copy.deepcopy(deeper)(x))
    F.cross_entropy(deeper(x), torch.arange(5)).backward()
    assert all(parameter.grad is not None for parameter in deeper.parameters())
    assert deeper.built_from["kind"] == "deepened"


def test_a_plain_bottleneck_cannot_be_the_identity_unless_it_is_wide_inside() -> None:
    with pytest.raises(ValueError, match="no plain bottleneck is the identity: it has layers of 2 channels between 8"):
        deepen(resnet(11, block="bottleneck", width=2, residual=False), 1)
    wide = trained(models.resnext29(4, 4, width=4, inner_width=16, residual=False).double())
    deeper = deepen(wide, 1)
    assert len(deeper.units) == len(wide.units) + 3
    x = draw(4, 3, 8, 8)
    for training in (False, True):
        with torch.no_grad():
            assert torch.equal(copy.deepcopy(wide).train(training)(x), copy.deepcopy(deeper).train(training)(x))


def test_zero_init_makes_every_unit_its_shortcut(small: Network) -> None:
    model = zero_init(small.eval())
    x = model.stem(draw(2, 3, 8, 8))
    for unit in model.units:
        source = unit.pre(x) if unit.share_pre else x
        torch.testing.assert_close(unit(x), unit.post(unit.shortcut(source)), rtol=0, atol=0)
        x = unit(x)


# ── names ──


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("ResNet-56", "resnet56"),
        (" resnet 56 ", "resnet56"),
        ("ResNet_18", "resnet18"),
        ("Plain-20", "plain20"),
        ("Pre-ResNet-110", "preresnet110"),
        ("preresnet164", "resnet164"),
        ("WRN-28-10", "wrn-28-10"),
        ("WRN28-10", "wrn-28-10"),
        ("WideResNet-28-10", "wrn-28-10"),
        ("wide_resnet50_2", "wrn-50-2"),
        ("ResNeXt-29, 8×64d", "resnext29-8x64d"),
        ("resnext50_32x4d", "resnext50-32x4d"),
        ("ResNet-18-3x3", "resnet18-3x3"),
    ],
)
def test_names_as_people_write_them(name: str, same: str) -> None:
    one, other = on_meta(build, name), on_meta(build, same)
    assert one.built_from == other.built_from
    assert repr(one) == repr(other)


def test_names_of_the_same_pattern() -> None:
    assert depth_of(on_meta(build, "resnet14")) == 14
    assert all(unit.is_plain for unit in on_meta(build, "plain8").units)
    assert on_meta(build, "wrn-10-3").units[0].branch.conv1.out_channels == 48
    assert on_meta(build, "resnext38-4x8d").units[0].branch.conv2.groups == 4
    assert on_meta(build, "resnet50-3x3").built_from["stem"] == "3x3"
    second = on_meta(build, "preresnet50")
    assert (second.built_from["placement"], second.input_shape) == ("preactivation", IMAGENET)
    assert on_meta(build, "preresnet29").built_from["block"] == "bottleneck"
    assert on_meta(build, "preresnet20").built_from["block"] == "basic"
    assert on_meta(build, "resnet56", num_classes=100, width=4, version=2).head.fc.weight.shape == (100, 16)


def test_every_entry_says_what_it_is() -> None:
    for name, entry in ARCHITECTURES.items():
        assert entry.name == name
        assert entry.source
        assert entry.input_shape in (CIFAR, IMAGENET)
        if not entry.listed_only and "1001" not in name and "1202" not in name:
            model = on_meta(entry.build)
            assert (model.input_shape, model.head.fc.out_features) == (entry.input_shape, entry.num_classes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ARCHITECTURES["resnet18"].name = "x"


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "VGG-16"])
def test_vgg_is_listed_for_reference(name: str) -> None:
    with pytest.raises(ValueError, match=r"listed for reference.*not trained here: ARCHITECTURES\['vgg1[69]'\]\.cost"):
        build(name)


# ── mistakes ──


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: build("resnet57"), ["depth=57", "56 and 62"]),
        (lambda: build("plain35"), ["depth=35", "32 and 38"]),
        (lambda: build("resnet1000"), ["998 and 1004"]),
        (lambda: build("wrn-29-10"), ["6n+4", "depth=29", "28 and 34"]),
        (lambda: build("wrn-28-0"), ["k=0"]),
        (lambda: build("resnext30-2x4d"), ["9n+2", "29 and 38"]),
        (lambda: build("resnext29-0x4d"), ["cardinality=0"]),
        (lambda: build("resnext34-2x4d"), ["block='basic'", "groups=2"]),
        (lambda: build("resnet56-3x3"), ["18, 34, 50, 101, 152", "depth=56"]),
        (lambda: build("resnet5O"), ["resnet5O", "did you mean", "resnet50"]),
        (lambda: build("rexnet56"), ["did you mean resnet56"]),
        (lambda: build("wrn-28"), ["did you mean wrn-28-10"]),
        (lambda: build("googlenet"), ["'googlenet'", "known are resnet18, "]),
        (lambda: build("vgg11"), ["16, 19", "depth=11"]),
        (lambda: build("resnet56", num_classes=0), ["num_classes=0"]),
        (lambda: resnet(29), ["depth=29", "26 and 32", "with block='bottleneck' it is possible"]),
        (lambda: resnet(165, block="bottleneck"), ["9n+2", "164 and 173"]),
        (lambda: resnet(10, block="bottleneck"), ["at least 11", "depth=10"]),
        (lambda: resnet(20, block="wide"), ["block='wide'", "basic, bottleneck"]),
        (lambda: resnet(20, data="mnist"), ["data='mnist'", "cifar, imagenet"]),
        (lambda: resnet(20, data="imagenet"), ["depth=20", "18, 34, 50, 101, 152", "data='imagenet'"]),
        (lambda: resnet(18.0, data="imagenet"), ["depth=18.0"]),
        (lambda: models.resnet18(block="bottleneck"), ["depth 18", "block='basic'", "block='bottleneck'"]),
        (lambda: models.resnet50(block="basic"), ["depth 50", "block='bottleneck'", "block='basic'"]),
        (lambda: models.resnet50(stride_at="7x7"), ["stride_at='7x7'", "1x1, 3x3"]),
        (lambda: models.resnet50(stem="cifar"), ["stem='cifar'", "3x3, imagenet"]),
        (lambda: models.resnet50(groups=3), ["groups=3", "inner_width=64", "divide"]),
        (lambda: models.resnet50(groups=0), ["groups=0"]),
        (lambda: models.resnet50(inner_width=-1), ["inner_width=-1"]),
        (lambda: models.resnet18(groups=2), ["groups=2", "block='basic'", "bottleneck"]),
        (lambda: models.resnet18(inner_width=32), ["inner_width=32", "block='basic'"]),
        (lambda: resnet(20, stem_width=32), ["option='A'", "stem_width=32", "16 channels", "'B' or 'C'"]),
        (lambda: resnet(20, stem_width=0), ["stem_width=0"]),
        (lambda: resnet(20, dropout=1.0), ["dropout=1.0", "below 1"]),
        (lambda: resnet(20, dropout=-0.1), ["dropout=-0.1"]),
        (lambda: resnet(20, dropout=float("nan")), ["dropout=nan"]),
        (lambda: resnet(20, option="D"), ["option='D'", "A, B, C"]),
        (lambda: models.wide_resnet(28, 1.5), ["k=1.5"]),
        (lambda: models.wide_resnet(4, 2), ["depth=4", "at least 10"]),
        (lambda: models.resnext29(8, 0), ["base_width=0"]),
        (lambda: models.resnet164(shortcut=[1.0]), ["54", "1"]),
    ],
)
def test_mistakes_are_found_at_the_door(make: Callable[[], object], words: list[str]) -> None:
    with torch.device("meta"), pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("name", [56, None, b"resnet56"])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(TypeError, match="'resnet56'; got"):
        build(name)


def test_dropout_is_a_number() -> None:
    with pytest.raises(TypeError, match="dropout='half'"):
        resnet(20, dropout="half")
