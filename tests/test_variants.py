"""The shortcuts of He16 Table 1 and options A, B, C of He15 Table 3, against forward passes written out by hand."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradflow
from gradflow.models import (
    VARIANTS,
    Dropped,
    Gate,
    Gated,
    Identity,
    Network,
    NoShortcut,
    Projection,
    Scaled,
    Unit,
    ZeroPad,
    conv1x1,
    conv_stack,
    dropout,
    duplicate,
    exclusive_gate,
    fc_stack,
    plain_twin,
    resnet,
    scaled,
    share_weights,
    shortcut_only_gate,
)
from gradflow.models.shortcuts import Joint
from gradflow.seeding import seeded

NAMES = list(VARIANTS)
BUILDERS: dict[str, Callable[..., Network]] = {
    "fc": partial(fc_stack, 6, 5),
    "fc-norm": partial(fc_stack, 6, 5, norm=True, placement="original"),
    "conv": partial(conv_stack, 6, 4, size=6),
    "conv-norm": partial(conv_stack, 6, 4, size=6, norm=True),
    "v1": partial(resnet, 14, width=4, size=8),
    "v2": partial(resnet, 14, width=4, size=8, version=2),
    "v2-C": partial(resnet, 14, width=4, size=8, version=2, option="C"),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(model: nn.Module) -> nn.Module:
    """All parameters and statistics moved off their starts, so that no part is accidentally neutral."""
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter += 0.1 * draw(*parameter.shape, seed=seed).to(parameter.dtype)
        for seed, (name, buffer) in enumerate(model.named_buffers()):
            if "running" in name:
                buffer += 0.2 * draw(*buffer.shape, seed=seed).abs().to(buffer.dtype)
    return model


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# ── the forward pass by hand ──


def norm_by_hand(norm: nn.Module, x: Tensor) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        mean, variance = x.mean(axes), x.var(axes, unbiased=False)
    x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return x * norm.weight.view(shape) + norm.bias.view(shape)


def mix_channels(layer: nn.Linear | nn.Conv2d, x: Tensor, stride: int) -> Tensor:
    """A 1×1 convolution or a Linear layer as a matrix product over channels."""
    if x.dim() == 2:
        mixed = torch.einsum("oi,bi->bo", layer.weight, x)
    else:
        mixed = torch.einsum("oi,bihw->bohw", layer.weight[:, :, 0, 0], x[:, :, ::stride, ::stride])
    return mixed if layer.bias is None else mixed + layer.bias.view([1, -1] + [1] * (x.dim() - 2))


def projection_by_hand(shortcut: Projection, x: Tensor, stride: int) -> Tensor:
    return norm_by_hand(shortcut.norm, mix_channels(shortcut.conv, x, stride))


def resize_by_hand(shortcut: nn.Module, x: Tensor, width: int, stride: int, option: str) -> Tensor:
    if option == "C" or (option == "B" and width != x.shape[1]):
        return projection_by_hand(shortcut, x, stride)
    if width == x.shape[1]:
        return x
    missing = torch.zeros(len(x), (width - x.shape[1]) // 2, *x[0, 0, ::stride, ::stride].shape, dtype=x.dtype)
    return torch.cat([missing, x[:, :, ::stride, ::stride], missing], 1)


def sum_by_hand(kind: str | None, unit: Unit, x: Tensor, branch: Tensor, option: str) -> Tensor:
    """He16 Table 1: what a unit adds up."""
    width, stride = branch.shape[1], 1 if branch.dim() == 2 else -(-x.shape[-1] // branch.shape[-1])
    if kind is None:
        return branch
    if kind == "conv1x1":
        return projection_by_hand(unit.shortcut, x, stride) + branch
    inner = unit.shortcut if kind == "original" else unit.shortcut.inner
    same = resize_by_hand(inner, x, width, stride, option)
    if kind == "dropout":
        return F.dropout(same.contiguous(), 0.5, unit.training) + branch  # masks are drawn in memory order
    if "gate" in kind:
        gate = unit.shortcut.gate
        z = mix_channels(gate.conv, x, stride) + gate.bias
        g = 1 / (1 + torch.exp(-z))
        return (1 - g) * same + (g * branch if kind == "exclusive-gate" else branch)
    weights = {"original": (1, 1), "scaled-0": (0, 1), "scaled-0.5": (0.5, 1), "scaled-0.5-0.5": (0.5, 0.5)}
    lam, beta = weights[kind]
    return lam * same + beta * branch


def by_hand(model: Network, x: Tensor, kinds: Sequence[str | None], option: str = "A") -> Tensor:
    """A stack or ResNet of two-layer units, placed as He15 or, where there is a pre-activation, as He16."""
    pre = model.built_from["placement"] == "preactivation"
    is_resnet = model.built_from["kind"] == "resnet"

    def layer(module: nn.Module, value: Tensor) -> Tensor:
        if isinstance(module, nn.Linear):
            return value @ module.weight.T + module.bias
        return F.conv2d(value, module.weight, module.bias, stride=module.stride, padding=1)

    def norm(parent: nn.Module, name: str, value: Tensor) -> Tensor:
        return norm_by_hand(getattr(parent, name, nn.Identity()), value)

    x = layer(model.stem[0], x)
    if not pre:
        x = torch.relu(norm(model.stem, "norm", x))
    for place, (unit, kind) in enumerate(zip(model.units, kinds, strict=True)):
        one, two = (m for m in unit.branch if isinstance(m, nn.Linear | nn.Conv2d))
        source = x
        if pre:
            activated = torch.relu(norm(unit.pre, "norm", x))
            resizes = one.weight.shape[0] != one.weight.shape[1]
            source = activated if is_resnet and (place == 0 or resizes) else x
            branch = layer(two, torch.relu(norm(unit.branch, "norm2", layer(one, activated))))
            x = sum_by_hand(kind, unit, source, branch, option)
        else:
            branch = torch.relu(norm(unit.branch, "norm1", layer(one, x)))
            branch = norm(unit.branch, "norm2", layer(two, branch))
            x = torch.relu(sum_by_hand(kind, unit, source, branch, option))
    if pre:
        x = torch.relu(norm(model.head, "norm", x))
    x = x.mean((2, 3)) if x.dim() == 4 else x
    return x @ model.head.fc.weight.T + model.head.fc.bias


def assert_is_by_hand(model: Network, kinds: Sequence[str | None], option: str = "A") -> None:
    model = shaken(model.double())
    x = draw(4, *model.input_shape, seed=5)
    for training in (True, False):
        model.train(training)
        with seeded(3):
            expected = by_hand(model, x, kinds, option)
        with seeded(3):
            found = model(x)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("builder", ["fc", "fc-norm", "conv", "conv-norm"])
def test_stacks_by_hand(builder: str, kind: str) -> None:
    assert_is_by_hand(BUILDERS[builder](shortcut=kind), [kind] * 2)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("option", ["A", "B", "C"])
@pytest.mark.parametrize("version", [1, 2])
def test_resnets_by_hand(version: int, option: str, kind: str) -> None:
    model = resnet(14, width=4, size=9, version=version, option=option, shortcut=kind)
    assert_is_by_hand(model, [kind] * 6, option)


@pytest.mark.parametrize("version", [1, 2])
def test_a_net_of_many_kinds_by_hand(version: int) -> None:
    given = [exclusive_gate(1.0), 0.5, conv1x1(), None, "dropout", Identity()]
    kinds = ["exclusive-gate", "scaled-0.5", "conv1x1", None, "dropout", "original"]
    model = resnet(14, width=4, size=8, version=version, shortcut=given)
    assert_is_by_hand(model, kinds)
    assert (model.units[0].shortcut.gate.bias - 1).abs().max() < 1, "shaken by 0.1, not −6"


# ── what a kind may be written as ──

SAME: list[tuple[Any, Any]] = [
    ("original", Identity()),
    ("original", 1),
    ("original", 1.0),
    (None, NoShortcut()),
    ("scaled-0.5", 0.5),
    ("scaled-0.5", np.float64(0.5)),
    ("scaled-0.5", Scaled(0.5)),
    ("scaled-0.5", scaled(0.5)),
    ("scaled-0", 0),
    ("scaled-0.5-0.5", scaled(0.5, branch=0.5)),
    ("exclusive-gate", exclusive_gate()),
    ("exclusive-gate", exclusive_gate(-6)),
    ("shortcut-only-gate", shortcut_only_gate(bias=-6.0)),
    ("shortcut-only-gate-0", shortcut_only_gate(0)),
    ("conv1x1", conv1x1()),
    ("dropout", dropout(0.5)),
    ("dropout", partial(lambda p, size, inner: Joint(Dropped(p, inner)), 0.5)),
]


@pytest.mark.parametrize(
    ("name", "other"),
    SAME,
    ids=lambda value: repr(value) if isinstance(value, str | float | int) else type(value).__name__,
)
@pytest.mark.parametrize("builder", ["fc", "v2"])
def test_names_numbers_functions_and_instances_mean_the_same(builder: str, name: object, other: object) -> None:
    models = []
    for choice in (name, other, [other] * len(BUILDERS[builder]().units)):
        torch.manual_seed(1)
        models.append(BUILDERS[builder](shortcut=choice))
    x = torch.randn(4, *models[0].input_shape)
    states, outputs = [], []
    for model in models:
        with seeded(0):
            outputs.append(model(x))
        states.append(model.state_dict())
    assert all(torch.equal(outputs[0], output) for output in outputs[1:])
    assert all(list(states[0]) == list(state) for state in states[1:])


def test_random_lambdas_one_per_unit() -> None:
    lams = np.random.default_rng(0).uniform(0.5, 1.5, 24).tolist()
    model = fc_stack(50, 4, shortcut=lams)
    assert [unit.shortcut.lam for unit in model.units] == lams


def test_a_kind_of_ones_own_is_fitted_to_each_unit() -> None:
    seen = []

    def noted(size: Any, inner: nn.Module) -> Joint:
        seen.append((size.in_width, size.out_width, size.stride, size.image, size.norm, type(inner)))
        return Joint(Scaled(2.0, inner))

    resnet(8, width=4, shortcut=noted)
    assert seen == [(4, 4, 1, True, True, Identity), (4, 8, 2, True, True, ZeroPad), (8, 16, 2, True, True, ZeroPad)]
    seen.clear()
    fc_stack(4, 7, shortcut=noted)
    assert seen == [(7, 7, 1, False, False, Identity)]


def test_instances_keep_their_kind_where_the_size_changes() -> None:
    model = resnet(8, width=4, shortcut=Dropped(0.3), option="B")
    assert [unit.shortcut.dropout.p for unit in model.units] == [0.3] * 3
    assert isinstance(model.units[1].shortcut.inner, Projection)


# ── parameters ──


@pytest.mark.parametrize(
    ("depth", "choice", "count"),
    [
        # Nine units: 3·16² + 16·32 + 2·32² + 32·64 + 2·64² = 13,568 weights, 336 channels.
        (20, {"shortcut": "scaled-0.5-0.5"}, 269_722),
        (20, {"shortcut": "dropout"}, 269_722),
        (20, {"shortcut": "exclusive-gate"}, 269_722 + 13_568 + 336),
        (20, {"shortcut": "shortcut-only-gate"}, 269_722 + 13_568 + 336),
        (20, {"shortcut": "conv1x1"}, 269_722 + 13_568 + 2 * 336),
        (20, {"option": "C"}, 269_722 + 13_568 + 2 * 336),
        (20, {"option": "B"}, 269_722 + 16 * 32 + 32 * 64 + 2 * 96),
        # 54 units: 18·16² + 16·32 + 17·32² + 32·64 + 17·64² = 94,208 weights, 2,016 channels.
        (110, {"shortcut": "exclusive-gate"}, 1_727_962 + 94_208 + 2_016),
        (110, {"option": "C"}, 1_727_962 + 94_208 + 2 * 2_016),
    ],
)
def test_parameter_counts(depth: int, choice: dict[str, Any], count: int) -> None:
    for version in (1, 2):
        assert parameters(resnet(depth, version=version, **choice)) == count


@pytest.mark.parametrize("builder", list(BUILDERS))
@pytest.mark.parametrize("init", ["default", "he", "normal(0.5)", "orthogonal"])
def test_a_gates_bias_survives_initialisation_and_its_weights_do_not(builder: str, init: str) -> None:
    for bias, kind in ((-6.0, "exclusive-gate"), (0.0, "shortcut-only-gate-0"), (-2.5, exclusive_gate(-2.5))):
        for unit in BUILDERS[builder](shortcut=kind, init=init).units:
            gate = unit.shortcut.gate
            assert torch.equal(gate.bias, torch.full_like(gate.bias, bias))
            assert gate.bias.numel() == gate.conv.weight.shape[0]
            assert gate.conv.weight.std() > 0
            assert gate.conv.bias is None


def test_the_exclusive_gate_is_one_module_that_learns_from_both_places() -> None:
    unit = fc_stack(4, 5, shortcut=exclusive_gate(0.5)).double().units[0]
    gate = unit.shortcut.gate
    assert unit.scale is gate
    assert sum(parameter is gate.bias for parameter in unit.parameters()) == 1
    x, cotangent = draw(3, 5), draw(3, 5, seed=1)
    unit(x).backward(cotangent)
    branch = unit.branch(unit.pre(x)).detach()
    g = gate(x).detach()
    through_both = cotangent * (branch - x) * g * (1 - g)
    torch.testing.assert_close(gate.bias.grad, through_both.sum(0))
    torch.testing.assert_close(gate.conv.weight.grad, through_both.T @ x)


def test_a_shortcut_only_gate_leaves_the_branch_alone() -> None:
    unit = fc_stack(4, 5, shortcut="shortcut-only-gate-0").units[0]
    assert unit.scale is None
    torch.testing.assert_close(Gated(Gate(5, 5, bias=50.0, image=False))(torch.ones(2, 5)), torch.zeros(2, 5))


# ── dropout and learned λ ──


@pytest.mark.parametrize("p", [0.5, 0.2, 0.0])
def test_dropout_on_the_shortcut_only_in_training(p: float) -> None:
    unit = fc_stack(4, 400, shortcut=dropout(p)).units[0]
    x = torch.rand(50, 400) + 1
    shortcut, branch = unit.terms(x)
    kept = shortcut != 0
    # 20,000 draws: the fraction kept is known to 0.0035.
    assert float(kept.double().mean()) == pytest.approx(1 - p, abs=0.02)
    torch.testing.assert_close(shortcut[kept], x[kept] / (1 - p))
    torch.testing.assert_close(branch, unit.branch(unit.pre(x)))
    unit.eval()
    assert torch.equal(unit.terms(x)[0], x)


@pytest.mark.parametrize("builder", ["fc", "conv-norm", "v2"])
def test_a_learned_lambda_is_one_parameter_per_unit_that_trains(builder: str) -> None:
    model = BUILDERS[builder](shortcut=Scaled(0.5, learned=True)).double()
    factors = {name: p for name, p in model.named_parameters() if name.endswith("shortcut.factor")}
    assert len(factors) == len({id(p) for p in factors.values()}) == len(model.units)
    assert parameters(model) == parameters(BUILDERS[builder](shortcut=0.5)) + len(model.units)
    assert all(unit.shortcut.lam == 0.5 for unit in model.units)
    x = draw(4, *model.input_shape)
    model(x).square().sum().backward()
    eps = 1e-6
    for factor in factors.values():
        with torch.no_grad():
            factor += eps
            up = model(x).square().sum()
            factor -= 2 * eps
            down = model(x).square().sum()
            factor += eps
        assert float(factor.grad) == pytest.approx(float(up - down) / (2 * eps), rel=1e-4, abs=1e-7)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert all(unit.shortcut.lam == float(unit.shortcut.factor.detach()) != 0.5 for unit in model.units)
    assert "lam=" in repr(model)


def test_reading_a_learned_lambda_warns_of_nothing() -> None:
    shortcut = Scaled(0.5, learned=True)
    torch.set_warn_always(True)  # else torch says it once per process
    try:
        assert shortcut.lam == 0.5
        assert "lam=0.5" in repr(shortcut)
    finally:
        torch.set_warn_always(False)


def test_a_learned_lambda_in_a_sequence_is_each_units_own() -> None:
    one = Scaled(0.5, learned=True)
    model = resnet(8, width=4, shortcut=[one, one, Scaled(0.5)])
    assert [unit.shortcut.learned for unit in model.units] == [True, True, False]
    assert len({id(one.factor), *(id(unit.shortcut.factor) for unit in model.units)}) == 4


# ── twins and copies ──


def run(model: nn.Module, x: Tensor, seed: int = 3) -> Tensor:
    with seeded(seed):
        return model(x)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_plain_twin_is_the_net_built_plain(builder: str, kind: str) -> None:
    build = BUILDERS[builder]
    model = shaken(build(shortcut=kind))
    before = copy.deepcopy(model.state_dict())
    twin = plain_twin(model)
    plain = build(residual=False) if builder.startswith("v") else build(shortcut=None)
    assert [(name, p.shape) for name, p in twin.named_parameters()] == [
        (name, p.shape) for name, p in plain.named_parameters()
    ]
    plain.load_state_dict({name: before[name] for name in plain.state_dict()})
    x = torch.randn(4, *model.input_shape)
    for training in (True, False):
        assert torch.equal(twin.train(training)(x), plain.train(training)(x))
    assert all(unit.scale is None and unit.is_plain and not unit.share_pre for unit in twin.units)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_copies_of_every_kind_compute_the_same_and_are_their_own(builder: str, kind: str) -> None:
    model = shaken(BUILDERS[builder](shortcut=kind))
    x = torch.randn(4, *model.input_shape)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = BUILDERS[builder](shortcut=kind)
    loaded.load_state_dict(model.state_dict())
    shared = BUILDERS[builder](shortcut=kind)
    names = share_weights(model, shared)
    assert len(names) == len(set(names)) == sum(1 for _ in model.parameters()) + sum(1 for _ in model.buffers())
    twins = [
        duplicate(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(file, weights_only=False),
        loaded,
        shared,
    ]
    before = copy.deepcopy(model.state_dict())
    expected = run(copy.deepcopy(model), x)
    for twin in twins:
        found = run(twin, x)
        assert torch.equal(found, expected)
        found.square().sum().backward()
        torch.optim.SGD(twin.parameters(), lr=0.5).step()
        assert parameters(twin) == parameters(model)
        assert all((unit.scale is None) or isinstance(unit.scale, nn.Module) for unit in twin.units)
        if kind == "exclusive-gate":
            assert all(unit.scale is unit.shortcut.gate for unit in twin.units)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def _note(outputs: dict[str, Tensor], part: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
    outputs[part] = output


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("builder", ["fc", "conv-norm", "v1", "v2"])
def test_compare_against_autograd(builder: str, kind: str) -> None:
    model = shaken(BUILDERS[builder](shortcut=kind)).double()
    before = copy.deepcopy(model.state_dict())
    x, y = draw(4, *model.input_shape), torch.tensor([0, 1, 2, 3])
    found = gradflow.compare(plain_twin(model), model, (x, y), seed=7)
    for name, network in (("plain", plain_twin(model)), ("residual", copy.deepcopy(model))):
        trace = found.traces[name]
        outputs: dict[str, Tensor] = {}
        # A Linear or convolution of stem, branches and head, as He15 counts depth.
        for part, layer in network.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and "shortcut" not in part and "scale" not in part:
                layer.register_forward_hook(partial(_note, outputs, part))
        loss = F.cross_entropy(run(network, x, seed=7), y)
        gradients = torch.autograd.grad(loss, list(outputs.values()))
        expected = [float(gradient.square().mean().sqrt()) for gradient in gradients]
        assert list(trace.layers) == list(outputs)
        assert trace.values[0, :, 0] == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


# ── mistakes ──


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        ("orignal", ValueError, ["'orignal'", "original", "dropout"]),
        (["original", "orignal"], ValueError, ["'orignal'"]),
        (["original"], ValueError, ["expected 2", "got 1"]),
        ([], ValueError, ["expected 2", "got 0"]),
        (float("inf"), ValueError, ["lam=inf"]),
        ([1.0, float("nan")], ValueError, ["lam=nan"]),
        (True, TypeError, ["shortcut must be", "True"]),
        ([1.0, {}], TypeError, ["shortcut must be"]),
        (1j, TypeError, ["shortcut must be", "1j"]),
        (nn.ReLU(), TypeError, ["shortcut must be", "ReLU"]),
        (Scaled, TypeError, ["shortcut must be", "Scaled"]),
        # One argument short: scaled for scaled(0.5).
        (scaled, TypeError, ["shortcut", "scaled"]),
        (conv1x1, TypeError, ["shortcut", "conv1x1"]),
        (exclusive_gate, TypeError, ["shortcut", "exclusive_gate"]),
        (lambda size, inner: inner, TypeError, ["shortcut", "Joint"]),
    ],
    ids=lambda value: getattr(value, "__name__", None) or repr(value)[:30],
)
@pytest.mark.parametrize("build", [partial(fc_stack, 6, 5), partial(conv_stack, 6, 4)], ids=["fc", "conv"])
def test_what_is_no_shortcut(build: Callable[..., Network], choice: object, error: type, words: list[str]) -> None:
    with pytest.raises(error) as caught:
        build(shortcut=choice)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: scaled(float("nan")), ["lam=nan"]),
        (lambda: scaled(0.5, branch=float("nan")), ["branch", "nan"]),
        (lambda: exclusive_gate(float("nan")), ["bias", "nan"]),
        (lambda: shortcut_only_gate(float("inf")), ["bias", "inf"]),
        (lambda: dropout(1.5), ["1.5", "between 0 and 1"]),
    ],
)
def test_numbers_of_a_kind_are_looked_at_before_any_work(make: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
        fc_stack(6, 5, shortcut=make())
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("lam", ["0.5", None])
def test_lambda_must_be_a_number(lam: object) -> None:
    with pytest.raises(TypeError, match="lam"):
        Scaled(lam)
