"""Units, shortcuts, stacks, ResNets and twins against forward passes written out by hand and published counts."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.models import (
    Identity,
    Network,
    NoShortcut,
    Projection,
    Scaled,
    Unit,
    ZeroPad,
    conv_stack,
    fc_stack,
    initialise,
    plain_twin,
    resnet,
    share_weights,
    textbook_fc,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "linear": lambda x: x,
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in model.state_dict(keep_vars=True).items()}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def weighted(model: nn.Module) -> list[str]:
    """Linear and convolution layers outside shortcuts, which He15 does not count."""
    kinds = (nn.Linear, nn.Conv2d)
    return [name for name, m in model.named_modules() if isinstance(m, kinds) and "shortcut" not in name.split(".")]


def shake_norms(model: nn.Module) -> nn.Module:
    """Give BatchNorms scales, shifts and statistics that a forgotten norm would show."""
    for seed, module in enumerate(model.modules()):
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            n = module.num_features
            module.weight.data = 1 + 0.3 * draw(n, seed=seed).to(module.weight.dtype)
            module.bias.data = 0.3 * draw(n, seed=seed + 1000).to(module.weight.dtype)
            module.running_mean = 0.3 * draw(n, seed=seed + 2000).to(module.weight.dtype)
            module.running_var = 1 + draw(n, seed=seed + 3000).to(module.weight.dtype).abs()
    return model


# ── units and shortcuts ──


class Times(nn.Module):
    def __init__(self, factor: float, shift: float = 0.0) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x + self.shift


@pytest.mark.parametrize("share_pre", [False, True])
def test_unit_is_post_of_shortcut_plus_branch_of_pre(share_pre: bool) -> None:
    x = draw(3, 5)
    unit = Unit(Times(3, 1), shortcut=Scaled(0.5), pre=Times(7, 2), post=Times(11, -4), share_pre=share_pre)
    pre = 7 * x + 2
    through = pre if share_pre else x
    torch.testing.assert_close(unit(x), 11 * (0.5 * through + (3 * pre + 1)) - 4, rtol=1e-14, atol=0)
    assert not unit.is_plain


@pytest.mark.parametrize("share_pre", [False, True])
def test_plain_unit_is_post_of_branch_of_pre(share_pre: bool) -> None:
    x = draw(3, 5)
    unit = Unit(Times(3, 1), pre=Times(7, 2), post=Times(11, -4), share_pre=share_pre)
    assert unit.is_plain
    torch.testing.assert_close(unit(x), 11 * (3 * (7 * x + 2) + 1) - 4, rtol=1e-14, atol=0)


def test_unit_without_pre_and_post_is_shortcut_plus_branch() -> None:
    x = draw(2, 3)
    assert torch.equal(Unit(Times(3), shortcut=Identity())(x), x + 3 * x)


def test_simple_shortcuts() -> None:
    x = draw(2, 3, 4, 4)
    assert torch.equal(Identity()(x), x)
    assert torch.equal(Scaled(-1.5)(x), -1.5 * x)
    assert torch.equal(x + NoShortcut()(x), x), "no shortcut adds nothing, in any shape and dtype"
    assert torch.equal(Scaled(2.0, ZeroPad(3, 5, 2))(x), 2 * ZeroPad(3, 5, 2)(x))


@pytest.mark.parametrize(
    ("channels", "out", "stride", "side"), [(4, 8, 2, 6), (3, 8, 2, 7), (2, 5, 1, 4), (3, 3, 1, 4), (4, 4, 3, 8)]
)
def test_zero_pad_against_padding_by_hand(channels: int, out: int, stride: int, side: int) -> None:
    x = draw(2, channels, side, side)
    smaller = math.ceil(side / stride)
    expected = torch.zeros(2, out, smaller, smaller, dtype=x.dtype)
    before = (out - channels) // 2
    for channel in range(channels):
        for row in range(smaller):
            for column in range(smaller):
                expected[:, before + channel, row, column] = x[:, channel, row * stride, column * stride]
    shortcut = ZeroPad(channels, out, stride)
    assert torch.equal(shortcut(x), expected)
    assert parameters(shortcut) == 0


def test_zero_pad_cannot_remove_channels() -> None:
    with pytest.raises(ValueError, match="8 in, 4 out"):
        ZeroPad(8, 4)


@pytest.mark.parametrize("norm", [False, True])
def test_projection_is_a_strided_matrix_over_channels(norm: bool) -> None:
    x = draw(2, 4, 6, 6)
    shortcut = shake_norms(Projection(4, 8, 2, norm=norm).double()).eval()
    matrix = shortcut.conv.weight[:, :, 0, 0]
    expected = torch.einsum("oi,bihw->bohw", matrix, x[:, :, ::2, ::2])
    if norm:
        n = shortcut.norm
        scale = n.weight / torch.sqrt(n.running_var + n.eps)
        expected = expected * scale[:, None, None] + (n.bias - n.running_mean * scale)[:, None, None]
        assert shortcut.conv.bias is None
    else:
        expected = expected + shortcut.conv.bias[:, None, None]
    torch.testing.assert_close(shortcut(x), expected)


@pytest.mark.parametrize(
    ("norm", "bias", "names"),
    [
        (True, None, ["conv.weight", "norm.weight", "norm.bias"]),
        (False, None, ["conv.weight", "conv.bias"]),
        (False, False, ["conv.weight"]),
    ],
)
def test_projections_with_norm_with_bias_and_bare(norm: bool, bias: bool | None, names: list[str]) -> None:
    shortcut = Projection(4, 8, 2, norm=norm, bias=bias)
    assert [name for name, _ in shortcut.named_parameters()] == names
    model = resnet(8, width=4, option="B", projection_norm=norm)
    assert [name for name, _ in model.units[1].shortcut.named_parameters()] == (names if norm else ["conv.weight"])


# ── stacks ──


def run_stack(
    model: Network, x: Tensor, *, activation: str, placement: str, span: int, depth: int, lam: list[float | None]
) -> Tensor:
    """The forward pass of a stack without norms from its weights alone, in the order they were made."""
    act = ACTIVATIONS[activation]
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == depth
    first, *middle, last = linears
    x = x @ first.weight.T + first.bias
    if placement == "original":
        x = act(x)
    for number, factor in enumerate(lam):
        layers = middle[number * span : (number + 1) * span]
        shortcut = 0.0 if factor is None else factor * x
        branch = x
        for place, layer in enumerate(layers):
            branch = act(branch) if placement == "preactivation" or place else branch
            branch = branch @ layer.weight.T + layer.bias
        x = shortcut + branch
        if placement == "original":
            x = act(x)
    if placement == "preactivation":
        x = act(x)
    return x @ last.weight.T + last.bias


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("placement", ["preactivation", "original"])
@pytest.mark.parametrize(
    ("depth", "span", "lam"),
    [(8, 2, [None] * 3), (8, 2, [1.0] * 3), (9, 3, [0.5, 1.0, None]), (5, 1, [1.0, -2.0, 0.0]), (2, 2, [])],
)
def test_fc_stack_against_an_explicit_loop(activation: str, placement: str, depth: int, span: int, lam: list) -> None:
    model = fc_stack(
        depth, 6, shortcut=lam, span=span, activation=activation, placement=placement, in_features=5, out_features=3
    ).double()
    x = draw(4, 5)
    expected = run_stack(model, x, activation=activation, placement=placement, span=span, depth=depth, lam=lam)
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


def test_the_last_unit_takes_the_rest() -> None:
    model = fc_stack(10, 4, span=3, shortcut=1.0)
    assert [len([m for m in unit.branch if isinstance(m, nn.Linear)]) for unit in model.units] == [3, 3, 2]
    assert all(isinstance(unit.shortcut, Identity) for unit in model.units)


def test_per_unit_lambda() -> None:
    model = fc_stack(10, 4, shortcut=(0.5, None, 1, Scaled(2.0)))
    kinds = [type(unit.shortcut) for unit in model.units]
    assert kinds == [Scaled, NoShortcut, Identity, Scaled]
    assert [unit.shortcut.lam for unit in model.units if isinstance(unit.shortcut, Scaled)] == [0.5, 2.0]


def test_one_shortcut_module_is_not_shared_between_units() -> None:
    model = fc_stack(8, 4, shortcut=Scaled(0.5))
    assert len({id(unit.shortcut) for unit in model.units}) == 3


@pytest.mark.parametrize("depth", [2, 3, 4, 7, 10, 50])
@pytest.mark.parametrize("span", [1, 2, 3])
def test_depth_counts_weighted_layers(depth: int, span: int) -> None:
    for shortcut in (None, 1.0):
        assert len(weighted(fc_stack(depth, 4, span=span, shortcut=shortcut))) == depth
        assert len(weighted(conv_stack(depth, 4, span=span, shortcut=shortcut))) == depth


def test_fc_stack_with_batch_norm() -> None:
    model = shake_norms(fc_stack(4, 6, shortcut=1.0, norm=True).double()).eval()
    w, x = weights_of(model), draw(5, 6)

    def norm(name: str, value: Tensor) -> Tensor:
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return (value - mean) / torch.sqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x1 = linear("stem.fc", x)
    branch = linear("units.0.branch.fc1", torch.relu(norm("units.0.pre.norm", x1)))
    branch = linear("units.0.branch.fc2", torch.relu(norm("units.0.branch.norm2", branch)))
    expected = linear("head.fc", torch.relu(norm("head.norm", x1 + branch)))
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("placement", ["preactivation", "original"])
@pytest.mark.parametrize("lam", [None, 1.0, 0.5])
def test_conv_stack_against_functional_calls(norm: bool, placement: str, lam: float | None) -> None:
    model = shake_norms(conv_stack(4, 5, shortcut=lam, norm=norm, placement=placement, size=6).double()).eval()
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = iter([module for module in model.modules() if isinstance(module, nn.BatchNorm2d)])

    def conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
        assert (layer.bias is None) == norm
        return F.conv2d(x, layer.weight, layer.bias, padding=1)

    def act(x: Tensor) -> Tensor:
        if norm:
            n = next(norms)
            x = F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)
        return torch.relu(x)

    def bare_norm(x: Tensor) -> Tensor:
        return F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias) if norm and (n := next(norms)) else x

    x = draw(2, 3, 6, 6)
    shortcut = 0.0 if lam is None else lam
    if placement == "preactivation":
        h = conv(convs[0], x)
        h = shortcut * h + conv(convs[2], act(conv(convs[1], act(h))))
        h = act(h)
    else:
        h = act(conv(convs[0], x))
        h = torch.relu(shortcut * h + bare_norm(conv(convs[2], act(conv(convs[1], h)))))
    expected = h.mean((2, 3)) @ model.head.fc.weight.T + model.head.fc.bias
    torch.testing.assert_close(model(x), expected)
    assert next(norms, None) is None


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_textbook_network_against_its_drawing(skip: bool, activation: str) -> None:
    model = textbook_fc(skip=skip, activation=activation).double()
    act, x = ACTIVATIONS[activation], draw(7, 8)
    fc = {name.split(".")[-1]: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert list(fc) == ["fc1", "fc2", "fc3", "fc4", "fc5"]
    assert all(layer.weight.shape == (8, 8) for layer in fc.values())
    h1 = act(fc["fc1"](x))
    h3 = act(fc["fc3"](act(fc["fc2"](h1))))
    h4 = act(fc["fc4"](h3 + h1 if skip else h3))
    torch.testing.assert_close(model(x), fc["fc5"](h4), rtol=1e-13, atol=1e-13)


# ── ResNets ──


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (56, 853_018), (110, 1_727_962)])
def test_parameter_counts_of_he15(depth: int, count: int, residual: bool) -> None:
    model = resnet(depth, residual=residual)
    assert parameters(model) == count
    assert len(weighted(model)) == depth


def test_option_b_adds_two_projections_with_norms() -> None:
    model = resnet(20, option="B")
    assert parameters(model) == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert len(weighted(model)) == 20, "projections do not count as depth"


def resnet_by_hand(model: Network, x: Tensor, *, version: int, option: str, residual: bool, lam: float = 1.0) -> Tensor:
    """He15 §4.2 and He16 Fig. 4e in eval mode, three stages of two units, from the parts of each unit in order."""

    def norm(n: nn.Module, value: Tensor) -> Tensor:
        return F.batch_norm(value, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)

    def bigger(unit: Unit, value: Tensor, out: int) -> Tensor:
        if option == "B":
            inner = unit.shortcut.inner if lam != 1 else unit.shortcut
            return norm(inner.norm, F.conv2d(value, inner.conv.weight, stride=2))
        small = value[:, :, ::2, ::2]
        zeros = torch.zeros(len(small), (out - small.shape[1]) // 2, *small.shape[2:], dtype=small.dtype)
        return torch.cat([zeros, small, zeros], 1)

    x = F.conv2d(x, model.stem.conv.weight, padding=1)
    if version == 1:
        x = torch.relu(norm(model.stem.norm, x))
    for place, unit in enumerate(model.units):
        resized = place in (2, 4)
        stride, convs = 2 if resized else 1, [m for m in unit.branch.modules() if isinstance(m, nn.Conv2d)]
        norms = [m for m in unit.branch.modules() if isinstance(m, nn.BatchNorm2d)]
        through = x
        if version == 1:
            h = torch.relu(norm(norms[0], F.conv2d(x, convs[0].weight, stride=stride, padding=1)))
            h = norm(norms[1], F.conv2d(h, convs[1].weight, padding=1))
        else:
            activated = torch.relu(norm(unit.pre.norm, x))
            through = activated if place in (0, 2, 4) else x
            h = F.conv2d(activated, convs[0].weight, stride=stride, padding=1)
            h = F.conv2d(torch.relu(norm(norms[0], h)), convs[1].weight, padding=1)
        if residual:
            h = h + lam * (bigger(unit, through, h.shape[1]) if resized else through)
        x = torch.relu(h) if version == 1 else h
    if version == 2:
        x = torch.relu(norm(model.head.norm, x))
    return x.mean((2, 3)) @ model.head.fc.weight.T + model.head.fc.bias


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("option", ["A", "B"])
@pytest.mark.parametrize(("residual", "lam"), [(True, 1.0), (True, 0.5), (False, 1.0)])
def test_resnet_against_functional_calls(version: int, option: str, residual: bool, lam: float) -> None:
    model = resnet(14, version=version, option=option, residual=residual, width=4, shortcut=lam)
    model = shake_norms(model.double()).eval()
    x = draw(2, 3, 9, 9)
    expected = resnet_by_hand(model, x, version=version, option=option, residual=residual, lam=lam)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def test_version_2_ends_with_norm_and_activation_and_shares_pre_where_he16_does() -> None:
    model = resnet(20, version=2)
    assert [unit.share_pre for unit in model.units] == [True, False, False] * 3
    assert not any(resnet(20).units[i].share_pre for i in range(9))
    # Norms before instead of behind the convolutions: 16 + 96 + 192 + … channels either way.
    assert parameters(model) == 269_722
    assert [type(part).__name__ for part in model.head][:2] == ["BatchNorm2d", "ReLU"]
    assert [type(part).__name__ for part in model.stem] == ["Conv2d"]


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 1, 13, 13)])
def test_resnet_takes_any_image_size(shape: tuple[int, ...]) -> None:
    model = resnet(8, in_channels=1, num_classes=7, width=4, size=8)
    assert model(draw(*shape).float()).shape == (shape[0], 7)
    assert model.input_shape == (1, 8, 8)


# ── initial weights ──

VARIANCES = {
    "default": lambda fan_in, fan_out: 1 / (3 * fan_in),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "he_fan_out": lambda fan_in, fan_out: 2 / fan_out,
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "normal(0.05)": lambda fan_in, fan_out: 0.0025,
    "normal(1e-3)": lambda fan_in, fan_out: 1e-6,
}


@pytest.mark.parametrize("init", list(VARIANCES))
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_init_has_the_variance_of_its_closed_form(init: str, kind: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 120) if kind == "linear" else nn.Conv2d(40, 80, 3)
    fans = (300, 120) if kind == "linear" else (360, 720)
    fresh = layer.weight.detach().clone()
    initialise(nn.Sequential(layer), init)
    weight = layer.weight.detach().double()
    # The variance of n weights is known to about √(2/n) ≈ 1 %.
    assert float(weight.var()) == pytest.approx(VARIANCES[init](*fans), rel=0.04)
    assert abs(float(weight.mean())) < 5 * math.sqrt(VARIANCES[init](*fans) / weight.numel())
    assert (init == "default") == torch.equal(fresh, layer.weight)
    if init == "default":
        assert layer.bias.any()
        assert float(layer.bias.detach().abs().max()) <= 1 / math.sqrt(fans[0]) * (1 + 1e-6)
    else:
        assert not layer.bias.any()


def test_orthogonal_rows_or_columns_have_length_one() -> None:
    wide, tall = nn.Linear(30, 20), nn.Linear(20, 30)
    initialise(nn.Sequential(wide, tall), "orthogonal")
    torch.testing.assert_close(wide.weight @ wide.weight.T, torch.eye(20), atol=1e-5, rtol=0)
    torch.testing.assert_close(tall.weight.T @ tall.weight, torch.eye(20), atol=1e-5, rtol=0)


def test_builders_pass_their_init_on() -> None:
    torch.manual_seed(0)
    init = "normal(0.05)"
    for model in (fc_stack(4, 100, init=init), conv_stack(4, 30, init=init), resnet(8, init=init)):
        flat = torch.cat([p.detach().flatten() for p in model.parameters() if p.dim() > 1])
        assert float(flat.std()) == pytest.approx(0.05, rel=0.03)
    # He15 trains with He et al.'s fan-out variant, the default here.
    assert float(resnet(8).units[2].branch.conv2.weight.detach().std()) == pytest.approx(
        math.sqrt(2 / (9 * 64)), rel=0.03
    )


@pytest.mark.parametrize(
    "init",
    ["he2", "", "HE", "normal", "normal()", "normal(-1)", "normal(nan)", "normal(1e999)", "normal(1.2.3)", None, 3],
)
def test_bad_inits_are_refused_with_the_choices(init: str) -> None:
    builders = (
        lambda: fc_stack(4, 8, init=init),
        lambda: resnet(8, init=init),
        lambda: initialise(nn.Linear(2, 2), init),
    )
    for build in builders:
        with pytest.raises(ValueError, match=r"default, he, he_fan_out, xavier, orthogonal, normal\(SIGMA\)") as caught:
            build()
        assert repr(init) in str(caught.value)


# ── twins ──


@pytest.mark.parametrize(
    "model",
    [
        lambda: fc_stack(8, 6, shortcut=0.5),
        lambda: conv_stack(6, 4, shortcut=1.0, norm=True),
        lambda: textbook_fc(skip=True),
        lambda: resnet(14, width=4, option="B"),
        lambda: resnet(14, width=4, version=2),
    ],
    ids=["fc", "conv", "textbook", "option-b", "version-2"],
)
def test_plain_twin_keeps_the_branch_and_nothing_of_the_shortcut(model: Callable[[], Network]) -> None:
    original = shake_norms(model())
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    twin = plain_twin(original)
    units = [module for module in twin.modules() if isinstance(module, Unit)]
    assert units
    assert all(unit.is_plain for unit in units)
    kept = {name: tensor for name, tensor in before.items() if ".shortcut." not in name}
    assert list(twin.state_dict()) == list(kept)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in twin.state_dict().items())
    assert not {p.data_ptr() for p in twin.parameters()} & {p.data_ptr() for p in original.parameters()}
    strides = [module.stride for module in twin.modules() if isinstance(module, nn.Conv2d)]
    convs = [(name, module) for name, module in original.named_modules() if isinstance(module, nn.Conv2d)]
    assert strides == [module.stride for name, module in convs if "shortcut" not in name]
    assert all(torch.equal(tensor, before[name]) for name, tensor in original.state_dict().items())
    assert any(not unit.is_plain for unit in original.units), "the original keeps its shortcuts"


@pytest.mark.parametrize("version", [1, 2])
def test_plain_twin_computes_what_the_plain_net_computes(version: int) -> None:
    model = resnet(14, width=4, version=version)
    plain = resnet(14, width=4, version=version, residual=False)
    plain.load_state_dict(model.state_dict())
    x = draw(2, 3, 8, 8).float()
    assert torch.equal(plain_twin(model)(x), plain(x))


def test_plain_twin_of_a_foreign_model() -> None:
    with pytest.raises(TypeError, match="Sequential"):
        plain_twin(nn.Sequential(nn.Linear(3, 3)))


def test_share_weights_where_names_and_shapes_agree() -> None:
    source, target = fc_stack(6, 5, norm=True, out_features=3), fc_stack(8, 5, norm=True, shortcut=1.0, out_features=4)
    shake_norms(source)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    theirs = source.state_dict()
    names = share_weights(source, target)
    for name, tensor in target.state_dict().items():
        matches = name in theirs and theirs[name].shape == tensor.shape
        assert (name in names) == matches
        assert torch.equal(tensor, theirs[name] if matches else before[name]), name
    assert "head.fc.weight" not in names
    assert "units.2.branch.fc1.weight" not in names
    assert "stem.fc.weight" in names
    assert "head.norm.running_var" in names
    assert all(parameter.requires_grad and parameter.grad is None for parameter in target.parameters())


# ── mistakes ──


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: fc_stack(1, 8), ["depth=1", "2"]),
        (lambda: fc_stack(2.0, 8), ["depth=2.0"]),
        (lambda: fc_stack(True, 8), ["depth=True"]),
        (lambda: fc_stack(4, 0), ["width=0"]),
        (lambda: fc_stack(4, -3), ["width=-3"]),
        (lambda: fc_stack(4, 8, span=0), ["span=0"]),
        (lambda: fc_stack(4, 8, activation="swish"), ["swish", "relu, tanh, sigmoid, gelu, linear"]),
        (lambda: fc_stack(4, 8, placement="post"), ["post", "original, norm-after-addition", "preactivation"]),
        (lambda: fc_stack(8, 8, shortcut=[1.0, 0.5]), ["3", "2"]),
        (lambda: fc_stack(4, 8, in_features=0), ["in_features=0"]),
        (lambda: fc_stack(4, 8, out_features=-1), ["out_features=-1"]),
        (lambda: conv_stack(1, 8), ["depth=1"]),
        (lambda: conv_stack(4, -2), ["channels=-2"]),
        (lambda: conv_stack(4, 8, num_classes=0), ["num_classes=0"]),
        (lambda: conv_stack(4, 8, in_channels=0), ["in_channels=0"]),
        (lambda: conv_stack(4, 8, size=0), ["size=0"]),
        (lambda: textbook_fc(activation="swish"), ["swish", "relu, tanh"]),
        (lambda: textbook_fc(width=0), ["width=0"]),
        (lambda: resnet(7), ["depth=7", "8"]),
        (lambda: resnet(21), ["depth=21", "20", "26"]),
        (lambda: resnet("20"), ["depth='20'"]),
        (lambda: resnet(20, option="D"), ["'D'", "A, B"]),
        (lambda: resnet(20, version=3), ["3", "1, 2"]),
        (lambda: resnet(20, width=0), ["width=0"]),
        (lambda: resnet(20, in_channels=0), ["in_channels=0"]),
        (lambda: resnet(20, num_classes=0), ["num_classes=0"]),
        (lambda: resnet(20, size=0), ["size=0"]),
        (lambda: resnet(20, shortcut=[1.0]), ["9", "1"]),
        (lambda: resnet(20, shortcut="identity"), ["'identity'", "original, scaled-0"]),
        (lambda: fc_stack(6, 8, shortcut=float("nan")), ["lam=nan", "finite"]),
        (lambda: resnet(20, placement="post"), ["'post'", "norm-after-addition"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value.__code__.co_names[0],
)
def test_bad_arguments_say_what_came_and_what_is_possible(build: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
        build()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("shortcut", [True, nn.Linear(8, 8), Identity])
def test_what_is_no_shortcut_is_a_type_error(shortcut: object) -> None:
    with pytest.raises(TypeError, match="shortcut must be"):
        fc_stack(4, 8, shortcut=shortcut)


# ── copies ──


@pytest.mark.parametrize(
    "build",
    [
        lambda: fc_stack(6, 5, shortcut=[0.5, None]),
        lambda: conv_stack(4, 4, norm=True, shortcut=1.0),
        lambda: textbook_fc(skip=True),
        lambda: resnet(8, width=4, option="B", version=2),
    ],
)
def test_copies_compute_the_same(build: Callable[[], Network], tmp_path: object) -> None:
    model = build().eval()
    x = draw(3, *model.input_shape).float()
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))
    other = build().eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), model(x))


@pytest.mark.parametrize("shortcut", [0.9, "original", True])
def test_a_unit_takes_only_modules_as_shortcuts(shortcut: object) -> None:
    with pytest.raises(TypeError, match=r"shortcut must be a module such as gradflow\.models\.Scaled\(0\.9\)"):
        Unit(nn.Linear(2, 2), shortcut=shortcut)
