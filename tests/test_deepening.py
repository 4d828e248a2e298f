"""Deeper nets that start as shallower ones, and branches that start at zero: exactly, or not at all."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import gradflow
from gradflow.models import (
    ACTIVATIONS,
    PLACEMENTS,
    VARIANTS,
    Identity,
    Network,
    Scaled,
    Unit,
    conv_stack,
    deepen,
    fc_stack,
    plain_twin,
    resnet,
    textbook_fc,
    zero_init,
)

PRE = ("activation-only-preactivation", "preactivation")
BUILDERS: dict[str, Callable[..., Network]] = {
    "fc": partial(fc_stack, 7, 6, in_features=4, out_features=3),
    "fc-norm": partial(fc_stack, 6, 6, norm=True),
    "conv": partial(conv_stack, 6, 4, size=6),
    "conv-norm": partial(conv_stack, 5, 4, size=6, span=1, norm=True),
    "resnet": partial(resnet, 14, width=4, size=8),
}


def built(builder: str, residual: bool, **choices: object) -> Network:
    build = BUILDERS[builder]
    return (
        build(residual=residual, **choices)
        if builder == "resnet"
        else build(shortcut=float(residual) or None, **choices)
    )


def trained(model: Network, steps: int = 3) -> Network:
    """After some steps neither weights nor statistics are fresh."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        x = torch.randn(8, *model.input_shape)
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
    return model


def outputs_of(model: Network, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [copy.deepcopy(model).train(training)(x) for training in (True, False)]


def assert_same_function(shallow: Network, deeper: Network) -> None:
    for batch in (2, 32):
        x = torch.randn(batch, *shallow.input_shape)
        for one, other in zip(outputs_of(shallow, x), outputs_of(deeper, x), strict=True):
            assert torch.equal(one, other)
            assert one.std() > 0


def new_units(shallow: Network, deeper: Network) -> list[Unit]:
    """Units of the deeper net that hold none of the shallow one's weights."""
    old = [{name: p.clone() for name, p in unit.named_parameters()} for unit in shallow.units]
    fresh = []
    for unit in deeper.units:
        theirs = dict(unit.named_parameters())
        if old and all(name in theirs and torch.equal(p, theirs[name]) for name, p in old[0].items()):
            old.pop(0)
        else:
            fresh.append(unit)
    assert not old, "every unit of the shallow net is there, in its order, with its weights"
    return fresh


# ── deepen ──


@pytest.mark.parametrize("extra", [1, 3])
@pytest.mark.parametrize("placement", list(PLACEMENTS))
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_the_deeper_net_is_exactly_the_same_function(builder: str, residual: bool, placement: str, extra: int) -> None:
    normed = "norm" in builder or builder == "resnet"
    model = trained(built(builder, residual, placement=placement))
    if (not residual and placement in PRE) or (residual and normed and placement == "norm-after-addition"):
        # Behind a ReLU only can identity weights pass all there is; a norm behind the addition changes it.
        with pytest.raises(ValueError, match=placement):
            deepen(model, extra)
        return
    deeper = deepen(model, extra)
    assert_same_function(model, deeper)
    stages = 3 if builder == "resnet" else 1
    fresh = new_units(model, deeper)
    assert len(fresh) == extra * stages
    assert all(unit.is_plain is not residual for unit in fresh)
    assert len(deeper.units) == len(model.units) + extra * stages


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("placement", list(PLACEMENTS))
@pytest.mark.parametrize("shortcut", [None, 1.0])
def test_exactly_the_same_function_or_an_error(shortcut: float | None, placement: str, norm: bool) -> None:
    for activation, span in itertools.product(ACTIVATIONS, (1, 2)):
        model = fc_stack(5, 4, shortcut=shortcut, placement=placement, activation=activation, norm=norm, span=span)
        trained(model)
        try:
            deeper = deepen(model, 2)
        except ValueError as error:
            assert activation in str(error) or placement in str(error)  # noqa: PT017
            # What can be done must not be refused.
            linear_or_relu_behind = activation == "linear" or (activation == "relu" and placement not in PRE)
            assert not (shortcut is None and linear_or_relu_behind), activation
            assert not (shortcut is not None and placement in PRE), activation
            assert not (shortcut is not None and placement == "original" and activation in ("relu", "linear"))
        else:
            assert_same_function(model, deeper)


@pytest.mark.parametrize("kind", [*VARIANTS, Scaled(0.7, learned=True), [0.5, 1.0, None, 0.5, "dropout", "conv1x1"]])
@pytest.mark.parametrize("version", [1, 2])
def test_behind_units_with_any_shortcut_come_units_with_the_identity(version: int, kind: object) -> None:
    model = trained(resnet(14, width=4, size=8, version=version, shortcut=kind))
    deeper = deepen(model, 2)
    x = torch.randn(4, 3, 8, 8)
    for training in (True, False):
        found = []
        for net in (model, deeper):
            torch.manual_seed(5)  # the same dropout masks
            with torch.no_grad():
                found.append(copy.deepcopy(net).train(training)(x))
        assert torch.equal(*found)
    fresh = new_units(model, deeper)
    assert len(fresh) == 6
    assert all(isinstance(unit.shortcut, Identity) and unit.scale is None for unit in fresh)


@pytest.mark.parametrize("depth", [8, 14, 26])
def test_the_new_units_stand_behind_each_stage(depth: int) -> None:
    deeper = deepen(resnet(depth, width=4), 2)
    widths = [unit.branch.conv2.out_channels for unit in deeper.units]
    per_stage = (depth - 2) // 6 + 2
    assert widths == [4] * per_stage + [8] * per_stage + [16] * per_stage
    strides = [unit.branch.conv1.stride[0] for unit in deeper.units]
    assert [place for place, stride in enumerate(strides) if stride == 2] == [per_stage, 2 * per_stage]


@pytest.mark.parametrize("placement", ["original", "activation-only-preactivation", "preactivation"])
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_the_deeper_residual_net_trains(builder: str, placement: str) -> None:
    model = trained(built(builder, True, placement=placement))
    deeper = deepen(model, 1)
    fresh = new_units(model, deeper)
    before = [copy.deepcopy(unit.state_dict()) for unit in fresh]
    trained(deeper, 2)  # one step for the layer at zero, one for those before it
    for unit, old in zip(fresh, before, strict=True):
        moved = {name for name, p in unit.named_parameters() if not torch.equal(p, old[name])}
        weights = {name for name, p in unit.named_parameters() if p.dim() > 1}
        assert weights <= moved


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_the_deeper_plain_net_trains(builder: str) -> None:
    model = trained(built(builder, False, placement="original"))
    deeper = deepen(model, 2)
    fresh = new_units(model, deeper)
    before = [copy.deepcopy(unit.state_dict()) for unit in fresh]
    trained(deeper, 1)
    for unit, old in zip(fresh, before, strict=True):
        assert all(not torch.equal(p, old[name]) for name, p in unit.named_parameters())
        assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in unit.modules())


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_the_original_stays_as_it_was(builder: str, residual: bool) -> None:
    model = trained(built(builder, residual, placement="original"))
    state, gradients = copy.deepcopy(model.state_dict()), [p.grad.clone() for p in model.parameters()]
    facts = (repr(model), dict(model.built_from), [module.training for module in model.modules()])
    deeper = trained(deepen(model, 2))
    assert deeper is not model
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, old) for p, old in zip(model.parameters(), gradients, strict=True))
    assert facts == (repr(model), model.built_from, [module.training for module in model.modules()])
    assert not {p.data_ptr() for p in deeper.parameters()} & {p.data_ptr() for p in model.parameters()}


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_dtype_stay(training: bool) -> None:
    for builder, residual in itertools.product(BUILDERS, (True, False)):
        model = built(builder, residual, placement="original").double().train(training)
        deeper = deepen(model, 1)
        assert all(module.training is training for module in deeper.modules())
        assert all(
            tensor.dtype == torch.float64 for tensor in deeper.state_dict().values() if tensor.is_floating_point()
        )
        assert deeper(torch.randn(2, *model.input_shape, dtype=torch.float64)).dtype == torch.float64


def test_a_frozen_norm_stays_frozen() -> None:
    model = trained(resnet(8, width=4, size=8)).train()
    model.units[0].branch.norm1.eval()
    deeper = deepen(model, 1)
    x = torch.randn(4, 3, 8, 8)
    assert not deeper.units[0].branch.norm1.training
    assert torch.equal(copy.deepcopy(model)(x), deeper(x))


def test_deeper_and_deeper() -> None:
    model = trained(resnet(8, width=4, size=8))
    deeper = trained(deepen(model, 1))
    deepest = deepen(deeper, 2)
    assert len(deepest.units) == 3 + 3 + 6
    assert_same_function(deeper, deepest)
    assert_same_function(deepest, pickle.loads(pickle.dumps(deepest)))


def test_a_deepened_net_can_be_measured_and_has_no_false_theory() -> None:
    for build in (partial(fc_stack, 6, 8, init="he"), partial(conv_stack, 6, 8, init="he")):
        shallow = build(shortcut=1.0)
        found = gradflow.compare(shallow, deepen(shallow, 2), batch=4)
        assert set(found.theory) == {"plain"}
    plain_net = resnet(8, width=4, size=8, residual=False)
    assert gradflow.compare(plain_net, deepen(plain_net, 1), batch=4).traces["residual"].layers[-1] == "head.fc"


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 3), "resnet", None])
def test_other_models_cannot_be_deepened(model: object) -> None:
    with pytest.raises(TypeError, match=rf"built by gradflow.models; got {type(model).__name__}"):
        deepen(model, 1)


def test_a_network_of_ones_own_says_what_is_missing() -> None:
    """A Network it is, even if no builder's: the message must not say that it got a Network."""
    own = Network(nn.Identity(), [Unit(nn.Linear(3, 3), shortcut=Identity())], nn.Identity(), input_shape=(3,))
    for model in (own, textbook_fc(skip=True)):
        with pytest.raises((TypeError, ValueError)) as caught:
            deepen(model, 1)
        assert not str(caught.value).endswith("got Network"), str(caught.value)


@pytest.mark.parametrize("extra", [0, -1, 1.0, True, "1", None])
def test_extra_counts_units(extra: object) -> None:
    with pytest.raises(ValueError, match="extra must be a whole number of at least 1"):
        deepen(resnet(8, width=4), extra)


# ── zero_init ──


@pytest.mark.parametrize("placement", list(PLACEMENTS))
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_units_start_as_the_identity(builder: str, placement: str) -> None:
    model = trained(built(builder, True, placement=placement))
    assert zero_init(model) is model
    for training, unit in itertools.product((True, False), model.units):
        unit.train(training)
        first, *_, last = [m for m in unit.branch.modules() if isinstance(m, nn.Linear | nn.Conv2d)] * 2
        inputs = first.weight.shape[1]
        x = torch.randn(6, inputs, 4, 4) if isinstance(first, nn.Conv2d) else torch.randn(6, inputs)
        through = unit.shortcut(unit.pre(x) if unit.share_pre else x)
        if isinstance(unit.shortcut, Identity) and not unit.share_pre:
            assert torch.equal(through, x)
        assert last.weight.shape[0] == through.shape[1]
        if placement == "original":
            assert torch.equal(unit(x), torch.relu(through)), "the identity where x ≥ 0"
            assert torch.equal(unit(x.abs()), unit.shortcut(x.abs()))
        elif placement == "norm-after-addition":
            assert torch.equal(unit(x), unit.post(through)), "no identity: what stands behind the addition stays"
        else:
            assert torch.equal(unit(x), through)


@pytest.mark.parametrize("kind", list(VARIANTS))
def test_units_start_as_their_shortcut_whatever_it_is(kind: str) -> None:
    model = resnet(14, width=4, size=8, version=2, shortcut=kind, zero_init=True).eval()
    x = torch.randn(3, 3, 8, 8)
    h = model.stem(x)
    for unit in model.units:
        h = unit.shortcut(unit.pre(h) if unit.share_pre else h)
    assert torch.equal(model(x), model.head(h))


@pytest.mark.parametrize("placement", list(PLACEMENTS))
@pytest.mark.parametrize("builder", list(BUILDERS))
def test_only_the_last_affine_layer_of_each_branch_is_touched(builder: str, placement: str) -> None:
    model = trained(built(builder, True, placement=placement))
    before = copy.deepcopy(model.state_dict())
    zero_init(model)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    normed = "norm" in builder or builder == "resnet"
    ends_in_norm = normed and placement not in ("norm-after-addition", "preactivation")
    expected = set()
    for place, unit in enumerate(model.units):
        layers = len([m for m in unit.branch.modules() if isinstance(m, nn.Linear | nn.Conv2d)])
        kind = "norm" if ends_in_norm else "fc" if builder.startswith("fc") else "conv"
        expected |= {f"units.{place}.branch.{kind}{layers}.{part}" for part in ("weight", "bias")}
    assert changed == expected & set(before)
    assert all(not model.state_dict()[name].any() for name in changed)


@pytest.mark.parametrize("placement", list(PLACEMENTS))
def test_the_first_step_moves_the_layer_at_zero(placement: str) -> None:
    torch.manual_seed(0)
    model = resnet(14, width=4, size=8, placement=placement, zero_init=True)
    weights = {name: p for name, p in model.named_parameters() if name.startswith("units.") and not p.any()}
    # PyTorch's BatchNorms start with β = 0, so those are at zero, too.
    last = {name for name in weights if name.endswith("weight")}
    assert len(last) == 6
    trained(model, 1)
    moved = {name for name in last if weights[name].any()}
    assert moved == (set() if placement == "activation-before-addition" else last), "ReLU has derivative 0 at 0"


def test_resnet_takes_zero_init() -> None:
    torch.manual_seed(3)
    one = resnet(14, width=4, zero_init=True)
    torch.manual_seed(3)
    other = zero_init(resnet(14, width=4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(not unit.branch.norm2.weight.any() for unit in one.units)


def test_plain_units_are_left_alone_and_plain_nets_refused() -> None:
    mixed = fc_stack(8, 4, shortcut=[1.0, None, 1.0])
    zero_init(mixed)
    assert [bool(unit.branch.fc2.weight.any()) for unit in mixed.units] == [False, True, False]
    plain: list[nn.Module] = [fc_stack(6, 4), plain_twin(mixed), nn.Linear(3, 3)]
    for model in plain:
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(TypeError, match=f"residual units; {type(model).__name__} has none"):
            zero_init(model)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(TypeError, match="residual units"):
        resnet(8, residual=False, zero_init=True)


@pytest.mark.parametrize(
    "branch",
    [nn.ReLU(), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False))],
    ids=["no affine layer", "norm without γ"],
)
def test_a_branch_that_can_be_made_zero_is_zero_or_refused(branch: nn.Module) -> None:
    unit = Unit(branch, shortcut=Identity())
    x = torch.randn(5, 3)
    try:
        zero_init(unit)
    except (TypeError, ValueError) as error:
        assert "branch" in str(error)  # noqa: PT017
    else:
        assert torch.equal(unit(x), x)


@pytest.mark.parametrize("width", [4, 8, 64])
def test_there_is_no_closed_form_for_branches_at_zero(width: int) -> None:
    model = zero_init(fc_stack(6, width, shortcut=1.0))
    found = gradflow.compare(fc_stack(6, width), model, share_weights=False, batch=4)
    assert "residual" not in found.theory
