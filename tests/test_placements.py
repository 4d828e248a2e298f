"""The five orders of activation and BatchNorm of He16 Fig. 4 against units written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.models import PLACEMENTS, Identity, Network, Unit, ZeroPad, conv_stack, fc_stack, plain_twin, resnet

NAMES = ("original", "norm-after-addition", "activation-before-addition", "activation-only-preactivation")
NAMES = (*NAMES, "preactivation")
PRE = NAMES[3:]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(model: nn.Module) -> nn.Module:
    """Norms and biases moved off their starts, in float64: a part that is missing or misplaced then shows."""
    model.double()
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter += 0.2 * draw(*parameter.shape, seed=seed)
        for seed, (name, buffer) in enumerate(model.named_buffers()):
            if "running" in name:
                buffer += 0.3 * draw(*buffer.shape, seed=seed).abs()
    return model


def parts(module: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, kinds)]


def weights_of(module: nn.Module) -> list[nn.Module]:
    return parts(module, nn.Linear, nn.Conv2d)


def norms_of(module: nn.Module) -> Iterator[nn.Module]:
    return iter(parts(module, nn.BatchNorm1d, nn.BatchNorm2d))


def weigh(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(x, layer.weight, layer.bias)
    return F.conv2d(x, layer.weight, layer.bias, stride=layer.stride, padding=1)


def normalise(norms: Iterator[nn.Module], x: Tensor, *, norm: bool) -> Tensor:
    """The next BatchNorm in the order in which the signal meets them; nothing in a net without."""
    if not norm:
        return x
    layer = next(norms)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    mean, variance = layer.running_mean, layer.running_var
    if layer.training:
        mean, variance = x.mean(axes), x.var(axes, unbiased=False)
    x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return x * layer.weight.view(shape) + layer.bias.view(shape)


def unit_by_hand(
    unit: Unit, placement: str, x: Tensor, act: Callable[[Tensor], Tensor], *, norm: bool, shared: bool = False
) -> Tensor:
    """He16 Fig. 4a … 4e for any number of weight layers; ``shared``: the first activation stands before the fork."""
    layers, bn = weights_of(unit.branch), partial(normalise, norms_of(unit), norm=norm)
    if placement in PRE:
        first = act(bn(x)) if placement == "preactivation" else act(x)
        source = first if shared else x
        h = weigh(layers[0], first)
        for layer in layers[1:]:
            h = weigh(layer, act(bn(h)))
        if placement == "activation-only-preactivation":
            h = bn(h)
    else:
        source, h = x, x
        for layer in layers[:-1]:
            h = act(bn(weigh(layer, h)))
        h = weigh(layers[-1], h)
        if placement == "original":
            h = bn(h)
        if placement == "activation-before-addition":
            h = act(bn(h))
    if not unit.is_plain:
        if h.shape != source.shape:
            source = source[:, :, ::2, ::2]
            zeros = torch.zeros_like(source)[:, : source.shape[1] // 2]
            source = torch.cat([zeros, source, zeros], 1)
        h = source + h
    if placement == "original":
        h = act(h)
    if placement == "norm-after-addition":
        h = act(bn(h))
    assert not norm or not list(bn.args[0]), "every norm of the unit is used once"
    return h


def net_by_hand(
    model: Network, placement: str, x: Tensor, act: Callable[[Tensor], Tensor], *, norm: bool, shares: bool
) -> Tensor:
    """``shares``: a resnet, whose first and size-changing units share their activation (He16, appendix)."""
    bn = partial(normalise, norms_of(model.stem), norm=norm)
    x = weigh(weights_of(model.stem)[0], x)
    if placement == "activation-only-preactivation":
        x = bn(x)  # the activation behind it is the first unit's
    elif placement != "preactivation":
        x = act(bn(x))
    for place, unit in enumerate(model.units):
        first = weights_of(unit.branch)[0]
        shared = shares and placement in PRE and (place == 0 or first.weight.shape[0] != first.weight.shape[1])
        x = unit_by_hand(unit, placement, x, act, norm=norm, shared=shared)
    bn = partial(normalise, norms_of(model.head), norm=norm)
    if placement == "preactivation":
        x = act(bn(x))
    elif placement == "activation-only-preactivation":
        x = act(x)
    x = x.mean((2, 3)) if x.dim() == 4 else x
    return x @ model.head.fc.weight.T + model.head.fc.bias


def assert_is_by_hand(model: Network, placement: str, act: str = "relu", *, norm: bool, shares: bool = False) -> None:
    shaken(model)
    x = draw(5, *model.input_shape, seed=9)
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            expected = net_by_hand(model, placement, x, ACTIVATIONS[act], norm=norm, shares=shares)
            torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)


def test_the_five_of_the_paper_in_its_order() -> None:
    assert tuple(PLACEMENTS) == NAMES
    assert [name for name, placement in PLACEMENTS.items() if placement.is_preactivation] == list(PRE)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("span", [1, 2, 3])
@pytest.mark.parametrize("placement", NAMES)
@pytest.mark.parametrize("shortcut", [None, 1.0])
def test_fc_stacks_by_hand(placement: str, span: int, norm: bool, shortcut: float | None) -> None:
    # Depth 9 also leaves a shorter last unit for spans 2 and 3.
    for act in ACTIVATIONS:
        model = fc_stack(9, 5, span=span, norm=norm, placement=placement, shortcut=shortcut, activation=act)
        assert_is_by_hand(model, placement, act, norm=norm)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("span", [1, 2, 3])
@pytest.mark.parametrize("placement", NAMES)
def test_conv_stacks_by_hand(placement: str, span: int, norm: bool) -> None:
    model = conv_stack(6, 4, span=span, norm=norm, placement=placement, shortcut=1.0, size=5)
    assert_is_by_hand(model, placement, norm=norm)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("placement", NAMES)
def test_resnets_by_hand(placement: str, residual: bool) -> None:
    model = resnet(14, width=4, size=9, placement=placement, residual=residual)
    assert_is_by_hand(model, placement, norm=True, shares=True)
    assert_is_by_hand(plain_twin(model), placement, norm=True, shares=True)


@pytest.mark.parametrize(("version", "placement"), [(1, "original"), (2, "preactivation")])
def test_versions_are_placements(version: int, placement: str) -> None:
    torch.manual_seed(1)
    one = resnet(14, width=4, version=version)
    torch.manual_seed(1)
    other = resnet(14, width=4, placement=placement, version=3 - version)
    x = torch.randn(4, 3, 8, 8)
    assert repr(one) == repr(other), "placement goes before version"
    assert one.built_from == other.built_from
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("builder", [partial(fc_stack, 8, 4), partial(conv_stack, 8, 4)], ids=["fc", "conv"])
def test_stacks_are_full_preactivation_and_share_nothing(builder: Callable[..., Network]) -> None:
    assert repr(builder(shortcut=1.0)) == repr(builder(shortcut=1.0, placement="preactivation"))
    for placement in NAMES:
        assert not any(unit.share_pre for unit in builder(shortcut=1.0, placement=placement).units)


@pytest.mark.parametrize("placement", NAMES)
@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (56, 853_018), (110, 1_727_962)])
def test_every_placement_has_as_many_parameters(depth: int, count: int, placement: str) -> None:
    """Each convolution has one norm of its output's channels, or, before it, of its input's.

    Of n units a stage, 2·(16 + 32 + 64)·n channels and the stem's 16. With full pre-activation the first norm of a
    unit has the channels that come in: 16 fewer where 16 become 32, 32 fewer where 32 become 64; no stem norm; and
    the head's 64: 64 = 16 + 16 + 32 again.
    """
    for residual in (True, False):
        model = resnet(depth, placement=placement, residual=residual)
        assert sum(parameter.numel() for parameter in model.parameters()) == count
        assert sum(n.num_features for n in norms_of(model)) == 16 + 2 * 112 * (depth - 2) // 6
        assert len(parts(model, nn.Conv2d)) == len(list(norms_of(model))) == len(parts(model, nn.ReLU)) == depth - 1


# ── what a signal meets on its way ──


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class CentreTap(nn.Module):
    """What a convolution does to size and channels, and nothing else; or, to break the path, zeros."""

    def __init__(self, conv: nn.Conv2d, factor: float) -> None:
        super().__init__()
        self.resize = ZeroPad(conv.in_channels, conv.out_channels, conv.stride[0])
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.resize(x)


def doublings(model: Network, counted: type[nn.Module], *, branches: bool) -> int:
    """How many modules of a kind lie on the path through all branches, or through all shortcuts.

    Each doubles the signal, all others leave it; convolutions in branches pass it on or break the path.
    """
    for name, module in list(model.named_modules()):
        owner, _, last = name.rpartition(".")
        new: nn.Module | None = None
        if isinstance(module, nn.Conv2d):
            new = CentreTap(module, float(branches or name.startswith("stem")))
        elif isinstance(module, nn.BatchNorm2d | nn.ReLU):
            new = Times(2.0 if isinstance(module, counted) else 1.0)
        elif isinstance(module, nn.AdaptiveAvgPool2d | nn.Linear):
            new = nn.Identity()
        if new is not None:
            setattr(model.get_submodule(owner), last, new)
    loudest = float(model.double()(torch.ones(1, 3, 8, 8, dtype=torch.float64)).max())
    count = int(torch.tensor(loudest).log2())
    assert loudest == 2.0**count
    return count


@pytest.mark.parametrize("counted", [nn.BatchNorm2d, nn.ReLU])
@pytest.mark.parametrize("placement", NAMES)
def test_through_the_branches_there_is_one_norm_and_one_activation_per_convolution(
    placement: str, counted: type[nn.Module]
) -> None:
    assert doublings(resnet(20, placement=placement, residual=False), counted, branches=True) == 19


@pytest.mark.parametrize(
    ("placement", "norms", "activations"),
    [
        # Nine units. Stem, and behind each addition the activation, or both.
        ("original", 1, 1 + 9),
        ("norm-after-addition", 1 + 9, 1 + 9),
        ("activation-before-addition", 1, 1),
        # Shared by the first unit and the two that change size; and the extra activation before the head.
        ("activation-only-preactivation", 1, 3 + 1),
        ("preactivation", 3 + 1, 3 + 1),
    ],
)
def test_what_lies_on_the_shortcuts(placement: str, norms: int, activations: int) -> None:
    model = resnet(20, placement=placement)
    assert all(isinstance(unit.shortcut, Identity | ZeroPad) for unit in model.units)
    assert doublings(resnet(20, placement=placement), nn.BatchNorm2d, branches=False) == norms
    assert doublings(model, nn.ReLU, branches=False) == activations


@pytest.mark.parametrize("placement", ["", "post", None, 4])
def test_unknown_placements_list_the_choices(placement: object) -> None:
    builders: list[Callable[..., Network]] = [partial(fc_stack, 6, 4), partial(conv_stack, 6, 4)]
    builders += [partial(resnet, 8)] * (placement is not None)  # None: as the version says
    for build in builders:
        with pytest.raises(ValueError, match=r"placement must be one of original, .*, preactivation") as caught:
            build(placement=placement)
        assert repr(placement) in str(caught.value)
