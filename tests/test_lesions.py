"""lesion() against networks rebuilt by hand without units or in another order, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor, nn

import gradflow.seeding
from gradflow import lesion, plots
from gradflow.measure.lesions import kendall_tau, resized, swapped
from gradflow.models import Identity, Network, Projection, Unit, ZeroPad, fc_stack, plain_twin, resnet
from gradflow.plots.labels import text
from gradflow.results import Lesion, load


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(many: int, classes: int = 10, seed: int = 1) -> Tensor:
    return torch.randint(classes, (many,), generator=torch.Generator().manual_seed(seed))


def error_of(model: Callable[[Tensor], Tensor], data: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return float((model(data[0]).argmax(1) != data[1]).double().mean())


def rebuilt(net: Network, units: list[nn.Module]) -> nn.Module:
    return nn.Sequential(net.stem, *units, net.head).eval()


class Branchless(nn.Module):
    """What is left of a unit that changes size."""

    def __init__(self, unit: Unit, shortcut: nn.Module) -> None:
        super().__init__()
        self.unit, self.shortcut = unit, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.unit.post(self.shortcut(self.unit.pre(x) if self.unit.share_pre else x))


def small_net(**options: Any) -> Network:
    """A ResNet-14 whose units and running statistics all matter."""
    torch.manual_seed(3)
    net = resnet(14, width=4, in_channels=1, size=8, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 0.3 * torch.randn_like(module.running_mean)
            module.running_var *= torch.rand_like(module.running_var) + 0.5
    return net


def images(many: int = 70) -> tuple[Tensor, Tensor]:
    return draw(many, 1, 8, 8), labels(many)


def teacher(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Data on which the net makes no mistake, so that every lesion shows."""
    with torch.no_grad():
        return x, net.eval()(x).argmax(1)


@pytest.fixture(scope="module")
def stack() -> Network:
    torch.manual_seed(0)
    return fc_stack(8, 16, span=1, init="he", shortcut=0.7, in_features=6, out_features=4)


@pytest.fixture(scope="module")
def stack_data(stack: Network) -> tuple[Tensor, Tensor]:
    return teacher(stack, draw(90, 6))


@pytest.fixture(scope="module")
def measured(stack: Network, stack_data: tuple[Tensor, Tensor]) -> Lesion:
    return lesion(stack, stack_data, draws=4, batch=32, plain=plain_twin(stack))


# ── removing ──


def test_one_unit_removed_is_the_net_rebuilt_without_it(
    stack: Network, stack_data: tuple[Tensor, Tensor], measured: Lesion
) -> None:
    assert measured.error == 0
    units = list(stack.units)
    by_hand = [error_of(rebuilt(stack, units[:at] + units[at + 1 :]), stack_data) for at in range(len(units))]
    assert measured.without_one == pytest.approx(by_hand)
    assert len(set(by_hand)) > 2, "the oracle must tell the units apart"
    assert measured.units == tuple(f"units.{at}" for at in range(6))
    assert not measured.changes_size.any()


@pytest.mark.parametrize("options", [{}, {"option": "B"}, {"version": 2}, {"version": 2, "option": "B"}])
def test_a_unit_that_changes_size_keeps_its_shortcut(options: dict[str, Any]) -> None:
    net = small_net(**options)
    data = teacher(net, images()[0])
    found = lesion(net, data, draws=1)
    assert found.changes_size.tolist() == [False, False, True, False, True, False]
    units = list(net.units)
    for at, unit in enumerate(units):
        left = [Branchless(unit, unit.shortcut)] if found.changes_size[at] else []
        by_hand = error_of(rebuilt(net, units[:at] + left + units[at + 1 :]), data)
        assert found.without_one[at] == pytest.approx(by_hand)


def test_a_plain_unit_that_changes_size_leaves_zero_padding() -> None:
    net = small_net(residual=False)
    data = teacher(net, images()[0])
    found, units = lesion(net, data, draws=1), list(net.units)
    for at, width in ((2, 4), (4, 8)):
        left = Branchless(units[at], ZeroPad(width, 2 * width, 2))
        by_hand = error_of(rebuilt(net, [*units[:at], left, *units[at + 1 :]]), data)
        assert found.without_one[at] == pytest.approx(by_hand)
    assert not found.has_shortcut.any()
    assert found.kind == "plain"


def test_k_units_removed_is_a_net_of_the_others(
    stack: Network, stack_data: tuple[Tensor, Tensor], measured: Lesion
) -> None:
    units = list(stack.units)
    for k in range(1, 7):
        possible = {
            round(error_of(rebuilt(stack, [units[at] for at in kept]), stack_data), 6)
            for mask in range(64)
            if len(kept := [at for at in range(6) if mask >> at & 1]) == 6 - k
        }
        assert {round(error, 6) for error in measured.without_several[k - 1]} <= possible
    bare = error_of(rebuilt(stack, []), stack_data)
    assert measured.without_several[-1] == pytest.approx([bare] * 4)
    assert measured.removed.tolist() == [1, 2, 3, 4, 5, 6]


def test_sets_are_of_distinct_units() -> None:
    """Each unit adds its own power of two to a count, so that the error tells which are left."""
    net = Network(nn.Identity(), [Adder(2**at) for at in range(5)], Counter(), input_shape=(1,))
    found = lesion(net, (torch.zeros(1, 1), torch.tensor([31])), draws=20)
    assert found.error == 0
    left = [order for order in net.head.seen if order != 31]
    counts = [bin(value).count("1") for value in left]
    assert set(counts) == {0, 1, 2, 3, 4}
    for at in range(5):
        assert 31 - 2**at in left


class Adder(Unit):
    """A unit that adds a number to its input."""

    def __init__(self, number: float) -> None:
        super().__init__(Constant(number), shortcut=Identity())


class Constant(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x + self.number


SEEN: list[int] = []


class Counter(nn.Module):
    """Scores that name the number that arrived, and note it for the test, whichever copy of the net is run."""

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(int(x[0, 0]))
        return nn.functional.one_hot(x[:, 0].long(), 32).float() + 0 * x

    @property
    def seen(self) -> list[int]:
        return SEEN


@pytest.mark.parametrize(
    ("before", "after"),
    [((4, 8, 8), (8, 4, 4)), ((3, 7, 7), (4, 4, 4)), ((3, 8, 8), (3, 3, 3)), ((2, 5, 5), (7, 5, 5))],
)
def test_resized_is_option_a(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    x = draw(2, *before)
    by_shortcut = ZeroPad(before[0], after[0], -(-before[1] // after[1]))(x)
    assert torch.equal(resized(x, before, after), by_shortcut)


def test_resized_features() -> None:
    assert resized(torch.ones(1, 2), (2,), (5,)).tolist() == [[0, 1, 1, 0, 0]]
    assert resized(torch.arange(5.0)[None], (5,), (2,)).tolist() == [[2, 3]]
    for before, after in (((4, 8), (4, 16)), ((4, 8, 8), (256,)), ((4, 8), (4, 7))):
        with pytest.raises(ValueError, match="no zero padding turns"):
            resized(torch.zeros(1, *before), before, after)


def test_features_that_change_size() -> None:
    torch.manual_seed(0)
    wide = [Unit(nn.Linear(4, 6), post=nn.ReLU()), Unit(nn.Linear(6, 6), shortcut=Identity())]
    wide.append(Unit(nn.Linear(6, 3), shortcut=Projection(6, 3, norm=False, image=False)))
    net = Network(nn.Identity(), wide, nn.Linear(3, 3), input_shape=(4,))
    data = teacher(net, draw(60, 4))
    found = lesion(net, data, draws=2)
    padded = nn.Sequential(nn.ConstantPad1d((1, 1), 0.0), nn.ReLU())
    by_hand = [[padded, *wide[1:]], [wide[0], wide[2]], [*wide[:2], wide[2].shortcut]]
    assert found.without_one == pytest.approx([error_of(rebuilt(net, units), data) for units in by_hand])
    assert found.changes_size.tolist() == [True, False, True]
    assert len(found.swaps) == len(found.tau) == len(found.reordered) == 0, "no two units of equal shape"
    assert "swap" not in repr(found)


# ── reordering ──


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(9)))
def test_tau_is_scipys(order: list[int]) -> None:
    assert kendall_tau(tuple(order)) == pytest.approx(stats.kendalltau(range(9), order).statistic)


def test_no_swap_is_the_original_order() -> None:
    order = tuple(range(7))
    assert swapped(order, []) == order
    assert kendall_tau(order) == 1
    assert kendall_tau(order[::-1]) == -1
    assert swapped(order, [(0, 2), (0, 1)]) == (1, 2, 0, 3, 4, 5, 6)
    assert swapped(order, [(0, 2), (0, 2)]) == order


def test_reordered_is_the_net_rebuilt_in_that_order(
    stack: Network, stack_data: tuple[Tensor, Tensor], measured: Lesion
) -> None:
    """With one swap there are fifteen orders, each with its τ and error."""
    units = list(stack.units)
    possible = set()
    for one in range(6):
        for other in range(one + 1, 6):
            order = swapped(tuple(range(6)), [(one, other)])
            error = error_of(rebuilt(stack, [units[at] for at in order]), stack_data)
            possible.add((round(stats.kendalltau(range(6), order).statistic, 6), round(error, 6)))
    first = measured.swaps == 1
    found = {(round(t, 6), round(e, 6)) for t, e in zip(measured.tau[first], measured.reordered[first], strict=True)}
    assert found <= possible
    assert measured.swaps.tolist() == [m for m in (1, 2, 4, 8) for _ in range(4)]
    assert (measured.tau < 1).any()


def test_units_that_change_size_never_move() -> None:
    """In a ResNet-8 no two units have the same shape on both sides; in a ResNet-14 the first stage has one pair."""
    assert len(lesion(resnet(8, width=2, in_channels=1, size=8), images(), draws=3).tau) == 0
    net = small_net()
    data = teacher(net, images()[0])
    found, units = lesion(net, data, draws=3), list(net.units)
    by_hand = error_of(rebuilt(net, [units[1], units[0], *units[2:]]), data)
    expected = [(1 - 2 / 15, by_hand) if count % 2 else (1.0, 0.0) for count in found.swaps]
    assert list(zip(found.tau, found.reordered, strict=True)) == [pytest.approx(each) for each in expected]


def test_units_that_change_size_never_move_even_if_two_do_so_alike() -> None:
    layers = [Unit(nn.Linear(*sizes)) for sizes in ((4, 6), (6, 4), (4, 6))]
    net = Network(nn.Identity(), layers, nn.Linear(6, 3), input_shape=(4,))
    assert len(lesion(net, (draw(9, 4), labels(9, 3)), draws=2).tau) == 0


# ── what is asked, and what is left ──


def everything(model: nn.Module) -> list[Any]:
    tensors = [(id(t), t.detach().clone()) for t in (*model.parameters(), *model.buffers())]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    kept = [(m.training, set(m.__dict__), len(m._forward_hooks)) for m in model.modules()]
    return [tensors, grads, kept, [p.requires_grad for p in model.parameters()]]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_everything_is_left_as_found(mode: str) -> None:
    net, beside = small_net().train(), small_net(residual=False).eval()
    net.units[0].requires_grad_(False)
    data = images()
    nn.functional.cross_entropy(net(data[0]), data[1]).backward()
    before, x = (everything(net), everything(beside)), data[0].clone()
    rng = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    style = dict(mpl.rcParams)
    lesion(net, data, plain=beside, draws=2, mode=mode)
    assert same((everything(net), everything(beside)), before)
    assert torch.equal(data[0], x)
    assert torch.equal(torch.get_rng_state(), rng[0])
    assert np.random.get_state()[1].tolist() == rng[1]
    assert random.getstate() == rng[2]
    assert dict(mpl.rcParams) == style


def test_modes() -> None:
    net = small_net()
    data = teacher(net, images()[0])
    found = {mode: lesion(net, data, draws=1, mode=mode, batch=40) for mode in ("eval", "train")}
    assert found["eval"].error == 0
    by_hand = [
        error_of(small_net().train(), (x, y)) * len(x) for x, y in zip(*(p.split(40) for p in data), strict=True)
    ]
    assert found["train"].error == pytest.approx(sum(by_hand) / 70)
    assert found["train"].provenance["mode"] == "train"
    assert found["eval"].provenance["samples"] == 70


def test_a_net_without_randomness_keeps_its_error_in_any_batch(
    stack: Network, stack_data: tuple[Tensor, Tensor], measured: Lesion
) -> None:
    for batch in (1, 512):
        again = lesion(stack, stack_data, draws=4, batch=batch, plain=plain_twin(stack))
        assert again.without_one == pytest.approx(measured.without_one)
        assert again.reordered == pytest.approx(measured.reordered)


def test_dropout_in_train_mode_has_the_masks_of_the_seed() -> None:
    torch.manual_seed(0)
    net = small_net(shortcut="dropout")
    x = draw(40, 1, 8, 8)
    with gradflow.seeding.seeded(5), torch.no_grad():
        y = net.train()(x).argmax(1)
    before = torch.get_rng_state()
    assert lesion(net, (x, y), draws=1, mode="train", seed=5).error == 0
    assert lesion(net, (x, y), draws=1, mode="train", seed=6).error > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds(stack: Network, stack_data: tuple[Tensor, Tensor], measured: Lesion) -> None:
    shared: dict[str, Any] = {"draws": 4, "batch": 32, "plain": plain_twin(stack)}
    torch.rand(3)
    assert lesion(stack, stack_data, **shared) == measured
    other = lesion(stack, stack_data, seed=1, **shared)
    assert not np.array_equal(other.without_several, measured.without_several)
    assert not np.array_equal(other.tau, measured.tau)
    assert np.array_equal(other.without_one, measured.without_one)


def test_beside(stack: Network, stack_data: tuple[Tensor, Tensor], measured: Lesion) -> None:
    assert measured.plain is not None
    alone = lesion(plain_twin(stack), stack_data, draws=4, batch=32)
    assert np.array_equal(measured.plain.without_one, alone.without_one)
    assert np.array_equal(measured.plain.reordered, alone.reordered)
    assert (measured.kind, alone.kind) == ("residual", "plain")
    assert alone.plain is None


def test_chance_is_the_error_of_the_best_constant_answer(stack: Network) -> None:
    y = torch.tensor([0, 1, 1, 1, 3])
    assert lesion(stack, (draw(5, 6), y), draws=1).chance == pytest.approx(0.4)


def test_a_unit_known_under_two_names_is_removed() -> None:
    torch.manual_seed(0)
    net = fc_stack(5, 8, span=1, in_features=4, out_features=3)
    net.last = net.units[2]
    data = teacher(net, draw(50, 4))
    by_hand = error_of(rebuilt(net, list(net.units)[:2]), data)
    found = lesion(net, data, draws=1)
    assert found.without_one[list(found.units).index("units.2")] == pytest.approx(by_hand)


def test_scores_that_are_not_numbers_are_wrong(stack: Network) -> None:
    head = nn.Sequential(stack.head, Spoiled())
    found = lesion(Network(stack.stem, list(stack.units), head, input_shape=(6,)), (draw(8, 6), torch.zeros(8).long()))
    assert found.error == 1
    assert (found.without_one == 1).all()


class Spoiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.nan


# ── mistakes ──


class Round(nn.Module):
    """Two units, and a way round the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (Unit(nn.Linear(6, 6), shortcut=Identity()) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        between = self.first(x)
        return between + self.second(between)


class Twice(nn.Module):
    """One unit passed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = Unit(nn.Linear(6, 6), shortcut=Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(self.unit(x))


class Nested(nn.Module):
    """A unit inside a unit."""

    def __init__(self) -> None:
        super().__init__()
        self.outer = Unit(nn.Sequential(Unit(nn.Linear(6, 6))), shortcut=Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(x)


class Flattening(nn.Module):
    """A plain unit in whose place no zero padding can stand."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = Unit(nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(x)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Linear(6, 4), TypeError, "model must have units .*Linear has none"),
        ("resnet", TypeError, r"model must be a trained torch.nn.Module with units; got 'resnet'"),
        (lambda: fc_stack(4, 8), TypeError, "model must be a trained torch.nn.Module"),
        (Round(), ValueError, "one after the other"),
        (Twice(), ValueError, "each unit must be passed once; unit is passed 2 times"),
        (Nested(), ValueError, r"outer.branch.0 is inside outer"),
        (nn.Sequential(Unit(nn.Identity()), nn.Unflatten(1, (2, 3))), TypeError, r"it returned shape \(2, 2, 3\)"),
    ],
)
def test_networks_that_cannot_be_measured(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lesion(model, (draw(7, 6), torch.zeros(7).long()))


def test_a_plain_unit_that_cannot_be_padded() -> None:
    with pytest.raises(ValueError, match=r"unit unit cannot be removed: no zero padding turns \(2, 3\) into \(6,\)"):
        lesion(Flattening(), (draw(7, 2, 3), torch.zeros(7).long()))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": draw(5, 6)}, TypeError, "got no y"),
        ({"data": None}, TypeError, "got no y"),
        ({"data": (draw(5, 6), draw(5))}, TypeError, "one integer label a sample.*float32"),
        ({"data": (draw(5, 6), torch.zeros(5, dtype=torch.bool))}, TypeError, "integer label"),
        ({"data": (draw(5, 6), labels(5, 4)[:, None])}, TypeError, r"shape \(5, 1\)"),
        ({"data": (draw(5, 6), labels(4, 4))}, ValueError, "as many samples"),
        ({"data": (draw(0, 6), labels(0, 4))}, ValueError, "at least one sample"),
        ({"data": (draw(5, 6), torch.full((5,), 4))}, ValueError, "labels 0 … 3 for a model of 4 scores; got 4 … 4"),
        ({"data": (draw(5, 6), torch.full((5,), -1))}, ValueError, "got -1 … -1"),
        ({"draws": 0}, ValueError, "draws=0"),
        ({"draws": True}, ValueError, "draws=True"),
        ({"batch": 2.5}, ValueError, r"batch=2\.5"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"mode": "test"}, ValueError, "'test'"),
        ({"plain": nn.Linear(6, 4)}, TypeError, "plain must have units"),
        ({"plain": "plain"}, TypeError, "plain must be a trained"),
    ],
)
def test_arguments_that_cannot_be_used(
    stack: Network, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    data = changes.pop("data", (draw(5, 6), labels(5, 4)))
    with pytest.raises(error, match=message):
        lesion(stack, data, **changes)


# ── the result ──


def test_the_result_comes_back_and_is_a_table(measured: Lesion, tmp_path: Any) -> None:
    assert (
        load(measured.save(tmp_path / "lesion.json").save(tmp_path / "lesion.svg") and tmp_path / "lesion.json")
        == measured
    )
    frame = measured.to_frame()
    assert set(frame["net"]) == {"model", "plain"}
    model = frame[frame["net"] == "model"]
    assert len(model) == 1 + 6 + 6 * 4 + 4 * 4
    assert model[model["lesion"] == "one"]["error"].tolist() == pytest.approx(measured.without_one.tolist())
    assert model[model["lesion"] == "swaps"].groupby("count")["draw"].max().tolist() == [3, 3, 3, 3]


def test_the_words_are_those_of_the_numbers() -> None:
    found = Lesion(
        units=("a", "b", "c"),
        changes_size=np.array([False, True, False]),
        has_shortcut=np.array([True, True, True]),
        error=0.01,
        chance=0.9,
        without_one=np.array([0.02, 0.3, 0.04]),
        without_several=np.array([[0.02, 0.04], [0.1, 0.3], [0.8, 0.8]]),
        swaps=np.array([1, 1, 2, 2]),
        tau=np.array([0.5, 0.5, 0.25, 0.25]),
        reordered=np.array([0.1, 0.1, 0.2, 0.4]),
    )
    assert repr(found).splitlines() == [
        "Lesion: residual net of 3 units, error 1.0 % (always the same answer: 90.0 %)",
        "unit removed   error  changes size",
        "a              2.0 %",
        "b             30.0 %           yes",
        "c              4.0 %",
        "one removed: error 4.0 % in the median, 30.0 % without b, which changes size",
        "random units removed: error 3.0 % with 1, 20.0 % with 2, 80.0 % with 3 (median of 2 draws)",
        "units swapped: error 10.0 % after 1 swap (τ = 0.5), 30.0 % after 2 swaps (τ = 0.25)",
    ]


def lines(ax: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_pictures_show_the_numbers(measured: Lesion) -> None:
    ax = measured.plot(Figure().subplots())
    drawn = lines(ax)["residual, 6 units"]
    assert drawn.get_xdata().tolist() == list(range(6)), "as many units: no relative axis"
    assert drawn.get_ydata() == pytest.approx(100 * measured.without_one)
    assert ax.get_xlabel() == text("removed_unit")
    ax = plots.lesion_by_count(measured, ax=Figure().subplots())
    drawn = lines(ax)["plain, 6 units"]
    beside = measured.plain
    assert beside is not None
    assert drawn.get_ydata() == pytest.approx([100 * beside.error, *100 * np.median(beside.without_several, axis=1)])
    ax = plots.lesion_by_order(measured, ax=Figure().subplots())
    drawn = lines(ax)["residual, 6 units"]
    assert (drawn.get_xdata()[0], drawn.get_ydata()[0]) == (1, 100 * measured.error)
    at = measured.swaps == 8
    point = (np.median(measured.tau[at]), 100 * np.median(measured.reordered[at]))
    assert any(found == pytest.approx(point) for found in zip(*drawn.get_data(), strict=True))
    assert ax.get_xlim()[0] > ax.get_xlim()[1], "the original order stands left"


def test_pictures_of_nets_of_different_length_and_of_several_seeds() -> None:
    nets = [small_net(), resnet(20, width=2, in_channels=1, size=8)]
    few, many = (lesion(net, images(20), draws=2) for net in nets)
    both = [lesion(nets[1], images(20), draws=2, seed=seed, plain=nets[0]) for seed in (0, 1)]
    ax = plots.lesion_by_unit(both, ax=Figure().subplots())
    drawn = lines(ax)["residual, 9 units"]
    assert drawn.get_xdata() == pytest.approx(np.linspace(0, 1, 9))
    assert drawn.get_ydata() == pytest.approx(100 * many.without_one)
    assert text("changes_size") in lines(ax)
    stars = [line for line in ax.lines if line.get_label() == "_changes"]
    assert sorted(len(line.get_xdata()) for line in stars) == [2, 2]
    ax = plots.lesion_by_count(both, ax=Figure().subplots())
    assert lines(ax)["residual, 9 units"].get_xdata()[-1] == 100
    plots.lesion_by_order(both, ax=Figure().subplots())
    with pytest.raises(ValueError, match="training seed only"):
        plots.lesion_by_unit([few, many])
    with pytest.raises(ValueError, match="training seed only"):
        plots.lesion_by_count([])


def test_a_plain_net_alone_looks_plain_and_a_row_of_one_unit_can_be_drawn() -> None:
    net = fc_stack(3, 5, shortcut=None, span=1, in_features=4, out_features=3)
    found = lesion(net, (draw(9, 4), labels(9, 3)), draws=2)
    for picture in (plots.lesion_by_unit, plots.lesion_by_count, plots.lesion_by_order):
        ax = picture(found, ax=Figure().subplots())
        assert lines(ax)["plain, 1 unit"].get_color() == plots.model_color("plain")
    assert "after" not in repr(found)


@pytest.mark.parametrize("units", [1, 2, 3, 8])
def test_units_are_counted_in_whole_numbers(units: int) -> None:
    net = fc_stack(units + 2, 5, shortcut=None, span=1, in_features=4, out_features=3)
    found = lesion(net, (draw(9, 4), labels(9, 3)), draws=1)
    for picture, last in ((plots.lesion_by_unit, units - 1), (plots.lesion_by_count, units)):
        ax = picture(found, ax=Figure().subplots())
        low, high = ax.get_xlim()
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert set(ticks) <= set(range(last + 1))
        assert len(ticks) >= min(last + 1, 4), ticks


def test_progress_is_silent_unless_asked(stack: Network, capfd: pytest.CaptureFixture[str]) -> None:
    lesion(stack, (draw(5, 6), labels(5, 4)), draws=1)
    assert capfd.readouterr() == ("", "")
    lesion(stack, (draw(5, 6), labels(5, 4)), draws=1, progress=True)
    assert "lesions" in capfd.readouterr().err


def test_a_trained_residual_net_survives_what_a_plain_one_does_not() -> None:
    """Veit16 Fig. 3 in seconds."""
    data = gradflow.data.digits()
    nets = {}
    for residual in (True, False):
        torch.manual_seed(0)
        nets[residual] = resnet(14, width=8, in_channels=1, size=8, residual=residual)
        recipe = dataclasses.replace(gradflow.recipes.lecture_digits, epochs=6)
        gradflow.fit(nets[residual], data, recipe, evaluate_every=6, progress=False)
    found = lesion(nets[True], data.test, plain=nets[False], draws=2)
    assert found.plain is not None
    assert found.error < 0.1
    assert found.plain.error < 0.1
    assert np.median(found.without_one) < 0.4 < 0.6 < np.median(found.plain.without_one)
