"""Gradients at different inputs: against finite differences, closed forms and one sample at a time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor, nn

from gradflow import load, plots, theory
from gradflow.data import digits, gaussian
from gradflow.figures.shattering import balduzzi_net
from gradflow.measure.shattering import gradient_correlation, input_gradients
from gradflow.models import conv_stack, fc_stack, resnet
from gradflow.results import Autocorrelation, GradientCorrelation, InputGradients, autocorrelation
from gradflow.seeding import derived_seed, seeded

GRID = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]


def scalar_net(**keywords: Any) -> nn.Module:
    return fc_stack(5, 16, **{"in_features": 1, "out_features": 1, "activation": "tanh", **keywords})


# ── autocorrelation ──


def test_autocorrelation_is_what_numpy_correlates() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 3, 40)).cumsum(axis=-1)
    found = autocorrelation(rows, range(40))
    assert found.shape == (2, 3, 40)
    for place in np.ndindex(2, 3):
        centred = rows[place] - rows[place].mean()
        whole = np.correlate(centred, centred, mode="full")[39:]
        np.testing.assert_allclose(found[place], whole / whole[0], atol=1e-13)


def test_autocorrelation_of_a_sine_has_a_closed_form() -> None:
    n, omega = 256, 2 * np.pi * 5 / 256
    lags = np.arange(200)
    m = n - lags
    overlap = m * np.cos(omega * lags) - np.sin(m * omega) / np.sin(omega) * np.cos(omega * (n - 1))
    np.testing.assert_allclose(autocorrelation(3 + np.sin(omega * np.arange(n)), lags), overlap / n, atol=1e-12)


def test_autocorrelation_of_white_noise_is_known_on_average() -> None:
    values = np.random.default_rng(0).normal(size=6)
    every_order = np.array(list(itertools.permutations(values)))
    expected = [1.0] + [-(6 - lag) / (6 * 5) for lag in range(1, 6)]
    np.testing.assert_allclose(autocorrelation(every_order, range(6)).mean(axis=0), expected, atol=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3e20, 1e-310])
def test_a_constant_correlates_with_nothing(constant: float) -> None:
    rows = np.stack([np.full(32, constant), np.arange(32.0)])
    found = autocorrelation(rows, [0, 1])
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_rounding_is_no_signal() -> None:
    rounded = np.float32(0.1) * (1 + np.float32(1e-7) * np.arange(32, dtype=np.float32))
    assert rounded.dtype == np.float32
    assert np.ptp(rounded) > 0
    assert np.isnan(autocorrelation(rounded, [0, 1])).all()
    assert np.isfinite(autocorrelation(rounded.astype(float), [0, 1])).all(), "in float64 it would be one"


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_autocorrelation(lost: float) -> None:
    rows = np.random.default_rng(0).normal(size=(2, 16))
    rows[0, 3] = lost
    assert np.isnan(autocorrelation(rows, [0, 1])).tolist() == [[True, True], [False, False]]


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=30).filter(lambda values: len(set(values)) > 1),
    scale=st.sampled_from([1e-300, 1e-30, -1.0, 1e30, 1e300]),
    shift=st.integers(-10, 10),
)
def test_autocorrelation_ignores_size_and_mean(values: list[int], scale: float, shift: int) -> None:
    lags = range(len(values))
    found = autocorrelation(values, lags)
    assert found[0] == pytest.approx(1)
    assert (np.abs(found) <= 1 + 1e-12).all()
    assert found.sum() == pytest.approx(0.5), "all products of deviations add up to zero"
    np.testing.assert_allclose(autocorrelation(scale * (np.array(values) + shift), lags), found, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "lags", "message"),
    [
        ([1.0, 2.0], [2], "from 0 to 1; got lag=2"),
        ([1.0, 2.0], [-1], "got lag=-1"),
        ([1.0, 2.0], [0.5], "got lag=0.5"),
        ([1.0, 2.0], [True], "got lag=True"),
        ([1.0, 2.0], [], "at least one lag"),
        ([], [0], "at least one number"),
        (1.0, [0], "at least one number"),
    ],
)
def test_bad_lags_and_values(values: Any, lags: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        autocorrelation(values, lags)


# ── dy/dx along a line ──


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("norm", [False, True])
def test_gradients_are_finite_differences_of_the_summed_output(norm: bool, mode: str) -> None:
    net = scalar_net(norm=norm, shortcut=1.0, out_features=3).double()
    found = input_gradients({"net": net}, GRID, mode=mode)["net"]
    assert found.shape == (1, 9)
    twin = copy.deepcopy(net).train(mode == "train")

    def total(place: int, shift: float) -> float:
        moved = GRID.clone()
        moved[place] += shift
        with torch.no_grad():
            return float(twin(moved).sum())

    expected = [(total(place, 1e-5) - total(place, -1e-5)) / 2e-5 for place in range(9)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-8)
    if norm:
        other = input_gradients(net, GRID, mode="eval" if mode == "train" else "train")["model"]
        assert not np.allclose(found, other, rtol=0.01), "BatchNorm couples the inputs in train mode only"


def test_one_layer_of_rectifiers_adds_up_its_open_gates() -> None:
    net = balduzzi_net(1).double()
    stem, readout = (module for module in net.modules() if isinstance(module, nn.Linear))
    w, b, v = (tensor.detach().numpy() for tensor in (stem.weight[:, 0], stem.bias, readout.weight[0]))
    x = np.linspace(-2, 2, 256)
    found = input_gradients(net)
    np.testing.assert_allclose(found.x, x)
    np.testing.assert_allclose(found["model"][0], ((w * x[:, None] + b > 0) * w * v).sum(axis=1), rtol=1e-10)


@pytest.mark.parametrize("layers", [1, 12])
def test_zero_biases_shatter_nothing_at_any_depth(layers: int) -> None:
    found = input_gradients(partial(balduzzi_net, layers, bias=0.0), repeats=2, dtype=torch.float64)
    lags = np.arange(80)
    for row in found["model"]:
        assert len(np.unique(np.round(row / np.abs(row).max(), 9))) == 2, "one slope on each side of zero"
    for row in found.autocorrelation(lags)["model"]:
        np.testing.assert_allclose(row, (256 - 3 * lags) / 256, atol=1e-9, err_msg="of a step in the middle")


def test_a_linear_net_has_nothing_to_correlate() -> None:
    found = input_gradients(partial(scalar_net, activation="linear"), repeats=3)
    assert found["model"].dtype == np.float32
    assert np.isnan(found.autocorrelation([1])["model"]).all()
    assert "nan" in repr(found)


def test_seeds_are_those_of_the_builds() -> None:
    nets = {"a": scalar_net, "b": partial(scalar_net, shortcut=1.0)}
    first, again = (input_gradients(nets, GRID, repeats=3, seed=5) for _ in range(2))
    assert first == again
    assert list(first.gradients) == ["a", "b"]
    with seeded(6):
        alone = scalar_net()
    np.testing.assert_array_equal(first["a"][1], input_gradients(alone, GRID)["model"][0])
    assert not np.array_equal(first["a"][0], first["a"][1])
    assert first.provenance["seed"] == 5


def test_a_single_net_and_its_dtype() -> None:
    net = scalar_net()
    single, double = (input_gradients(net, GRID, dtype=dtype)["model"] for dtype in (None, torch.float64))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-6)
    assert input_gradients(net, GRID, dtype=torch.bfloat16)["model"].dtype == np.float32


def test_outputs_that_do_not_hear_the_input_have_no_gradient() -> None:
    class Deaf(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x))

    assert not input_gradients(Deaf(), GRID)["model"].any()


def test_layers_that_work_in_place_and_no_grad_around() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(1, 1))
    with torch.no_grad():
        found = input_gradients(net, GRID)["model"][0]
    np.testing.assert_allclose(found, np.where(GRID[:, 0] > 0, net[1].weight.item(), 0), rtol=1e-6)


def as_found(net: nn.Module) -> Callable[[], None]:
    """Assert later that nothing of a net and of the global generators has changed."""
    net.train()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    next(net.parameters()).requires_grad_(False)
    state, rng = copy.deepcopy(net.state_dict()), torch.get_rng_state()

    def check() -> None:
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
        assert all(torch.equal(one.grad, torch.ones_like(one)) for one in net.parameters() if one.grad is not None)
        assert [one.requires_grad for one in net.parameters()] == [False] + [True] * (len(list(net.parameters())) - 1)
        assert all(module.training for module in net.modules())
        assert not any(module._forward_hooks or "forward" in vars(module) for module in net.modules())
        assert torch.equal(torch.get_rng_state(), rng)

    return check


def test_models_and_inputs_stay_as_they_are() -> None:
    net, x = scalar_net(norm=True), GRID.float().requires_grad_()
    check = as_found(net)
    for mode in ("train", "eval"):
        input_gradients(net, x, mode=mode)
        gradient_correlation(net, torch.randn(8, 1, generator=torch.Generator()), mode=mode)
    check()
    assert x.grad is None
    assert torch.equal(x, GRID.float())


class Gives(nn.Module):
    """A model with a given output."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output


@pytest.mark.parametrize(
    ("models", "keywords", "error", "message"),
    [
        ({}, {}, ValueError, "at least one model"),
        ({"a": 3}, {}, TypeError, "a must be a torch.nn.Module"),
        ({"a": nn.Linear(1, 1)}, {"repeats": 2}, ValueError, "needs functions that build"),
        (scalar_net, {"repeats": 0}, ValueError, "repeats=0"),
        (scalar_net, {"mode": "test"}, ValueError, "mode must be"),
        (scalar_net, {"seed": -1}, ValueError, "seed=-1"),
        (scalar_net, {"dtype": "float64"}, TypeError, "dtype must be"),
        (scalar_net, {"x": [0.0, 1.0]}, TypeError, r"shape \(N, 1\); got list"),
        (scalar_net, {"x": torch.arange(4)[:, None]}, TypeError, "torch.int64"),
        (scalar_net, {"x": torch.zeros(4)}, ValueError, r"got \(4,\)"),
        (scalar_net, {"x": torch.zeros(4, 2)}, ValueError, r"got \(4, 2\)"),
        (scalar_net, {"x": torch.zeros(1, 1)}, ValueError, r"got \(1, 1\)"),
        (scalar_net, {"x": torch.tensor([[0.0], [1.0], [3.0]])}, ValueError, "even steps"),
        (scalar_net, {"x": torch.tensor([[2.0], [1.0], [0.0]])}, ValueError, "even steps"),
        (scalar_net, {"x": torch.zeros(3, 1)}, ValueError, "even steps"),
        (scalar_net, {"x": torch.tensor([[0.0], [np.nan], [2.0]])}, ValueError, "even steps"),
        ({"wide": nn.Linear(2, 1)}, {}, ValueError, r"wide fails on inputs of shape \(256, 1\)"),
        ({"odd": Gives((1, 2))}, {}, ValueError, "odd must give one row for each of the 256 inputs; got tuple"),
        ({"odd": Gives(torch.zeros(()))}, {}, ValueError, r"got \(\)"),
        ({"odd": Gives(torch.zeros(3, 1))}, {}, ValueError, r"got \(3, 1\)"),
        ({"odd": lambda: 3}, {}, TypeError, "function for odd must return"),
    ],
)
def test_bad_arguments(models: Any, keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        input_gradients(models, **keywords)


# ── between the samples of a batch ──


def one_by_one(net: nn.Module, layer: str, x: Tensor, value: Callable[[Tensor, int], Tensor]) -> np.ndarray:
    """Gradient rows of each sample alone, with a hook and a batch of one, float64."""
    rows: list[np.ndarray] = []
    kept: list[Tensor] = []
    handle = dict(net.named_modules())[layer].register_forward_hook(lambda m, i, output: kept.append(output))
    for place in range(len(x)):
        output = net(x[place : place + 1])
        rows.append(torch.autograd.grad(value(output, place), kept.pop())[0].flatten().numpy())
    handle.remove()
    return np.stack(rows)


def cosines_of(rows: np.ndarray) -> np.ndarray:
    """corrcoef of what has no mean is the cosine."""
    return np.corrcoef(np.hstack([rows, -rows]))


@pytest.mark.parametrize("layer", ["stem", "units.1", "units.0.branch.conv1"])
def test_loss_gradients_are_those_of_each_sample_alone(layer: str) -> None:
    net = resnet(8, width=4, in_channels=1, size=8).double()
    x, y = (part[:12] for part in digits().train)
    found = gradient_correlation(net, (x, y), layer=layer, start="loss", mode="eval")
    rows = one_by_one(net.eval(), layer, x.double(), lambda output, i: F.cross_entropy(output, y[i : i + 1]))
    expected = cosines_of(rows)
    np.testing.assert_allclose(found.cosines[0], expected, atol=1e-10)
    assert found.mean[0] == pytest.approx(expected[~np.eye(12, dtype=bool)].mean())
    alike = (y[:, None] == y).numpy() & ~np.eye(12, dtype=bool)
    assert found.same[0] == pytest.approx(expected[alike].mean())


def test_a_readout_is_the_same_for_all_samples() -> None:
    net, x = conv_stack(4, 3, size=6).double(), torch.randn(7, 3, 6, 6, dtype=torch.float64)
    found = gradient_correlation(net, x, mode="eval")
    jacobian = [one_by_one(net.eval(), "stem", x, lambda output, i, k=k: output[0, k]) for k in range(10)]
    readout = gaussian((10,), batch=1, seed=derived_seed(0, 5))[0].double().numpy()
    rows = np.tensordot(readout, np.stack(jacobian), 1)
    np.testing.assert_allclose(found.cosines[0], cosines_of(rows), atol=1e-10)


def test_with_batchnorm_a_row_is_the_effect_on_the_whole_batch() -> None:
    net = fc_stack(4, 5, activation="tanh", norm=True, out_features=1).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    found = gradient_correlation(net, x, mode="train")
    twin = copy.deepcopy(net).train()
    signal = twin.stem(x).detach()
    rows = np.zeros((6, 5))
    with torch.no_grad():
        for place in np.ndindex(6, 5):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = signal.clone()
                moved[place] += shift
                ends.append(float(twin.head(twin.units(moved)).sum()))
            rows[place] = ends[0] - ends[1]
    np.testing.assert_allclose(found.cosines[0], cosines_of(rows), atol=1e-6)
    assert found.provenance["mode"] == "train"


def test_wide_nets_do_what_theory_says() -> None:
    x = torch.randn(2, 400)
    x[1] = 0.6 * x[0] + 0.8 * x[1]
    units = 10
    found = gradient_correlation(partial(fc_stack, units + 1, 400, span=1, init="he"), x, repeats=12)
    # The head is a relu and a Linear layer, one unit more.
    expected = theory.gradient_correlation(units=units, rho=float(F.cosine_similarity(*x, dim=0))).backward[0]
    assert expected < 0.5
    assert found.mean.mean() == pytest.approx(expected, abs=0.04)


def test_labels_alone_cancel_the_mean_over_balanced_classes() -> None:
    """The warning of the docstring, in closed form: uniform scores, orthonormal readout."""
    classes, each = 5, 4
    stem, head = nn.Linear(8, 8), nn.Linear(8, classes, bias=False)
    nn.init.orthogonal_(head.weight)
    head.weight.data *= 1e-6
    net = nn.Sequential()
    net.stem, net.head = stem, head
    y = torch.arange(classes).repeat(each)
    found = gradient_correlation(net, (torch.randn(len(y), 8), y), start="loss", dtype=torch.float64)
    assert found.same[0] == pytest.approx(1, abs=1e-4)
    assert found.different[0] == pytest.approx(-1 / (classes - 1), abs=1e-4)
    assert found.mean[0] == pytest.approx(-1 / (len(y) - 1), abs=1e-4), "about zero, though nothing is shattered"
    readout = gradient_correlation(net, (torch.randn(len(y), 8), y), dtype=torch.float64)
    assert readout.mean[0] == pytest.approx(1)


def test_samples_without_gradient_are_left_out_and_counted() -> None:
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True), nn.Flatten())
    x = torch.tensor([[1.0, 1.0], [2.0, 3.0], [-1.0, -1.0]]) * 1e-30
    found = gradient_correlation(net, x, layer="0")
    assert found.mean[0] == pytest.approx(1)
    assert np.isnan(found.cosines[0, 2]).all()
    assert np.isnan(found.same[0])
    assert "no gradient at 1 sample" in repr(found)


def test_vanishing_gradients_have_a_direction_all_the_same() -> None:
    net = fc_stack(3, 8).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    before = gradient_correlation(net, x).cosines
    net.head[-1].weight.data *= 1e-250
    np.testing.assert_allclose(gradient_correlation(net, x).cosines, before, atol=1e-9)


def test_correlation_is_reproducible_and_seeds_differ() -> None:
    build = partial(fc_stack, 4, 8, out_features=3)
    first, again = (gradient_correlation(build, repeats=3, seed=2) for _ in range(2))
    assert first == again
    assert first.cosines.shape == (3, 32, 32)
    assert not np.allclose(first.cosines[0], first.cosines[1])
    np.testing.assert_array_equal(gradient_correlation(build, seed=3).cosines[0], first.cosines[1])


def test_dropout_masks_belong_to_the_seed() -> None:
    net, x = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)), torch.linspace(0, 1, 40)[:, None]
    first, again, other = (input_gradients(net, x, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert set(np.unique(first["model"])) != {0.0}
    assert not np.array_equal(first["model"], other["model"])
    batch = torch.ones(40, 1)
    masks = [gradient_correlation(net, batch, layer="0", seed=seed).cosines for seed in (0, 0, 1)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2], equal_nan=True)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(self.stem(x))


class Cut(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.stem(x).detach()


@pytest.mark.parametrize(
    ("model", "keywords", "error", "message"),
    [
        (fc_stack(3, 4), {"start": "random"}, ValueError, "readout, loss; got start='random'"),
        (fc_stack(3, 4), {"layer": "stam"}, ValueError, "stem, stem.fc, .*got layer='stam'"),
        (fc_stack(3, 4), {"layer": ""}, ValueError, "got layer=''"),
        (fc_stack(3, 4), {"mode": "both"}, ValueError, "mode must be"),
        (fc_stack(3, 4), {"batch": 1}, ValueError, "two samples"),
        (fc_stack(3, 4), {"repeats": 2}, ValueError, "functions that build"),
        (3, {}, TypeError, "torch.nn.Module"),
        (Twice(), {}, ValueError, "stem must run once in a forward pass; it ran 2 times"),
        (Twice(), {"layer": "idle"}, ValueError, "it ran 0 times"),
        (Cut(), {}, ValueError, "nothing of what stem gives reaches the output"),
        (nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 2)), {"layer": "0"}, TypeError, "returns tuple"),
        (nn.Sequential(nn.LSTM(4, 2)), {"layer": "0", "data": torch.zeros(2, 4)}, ValueError, "got tuple"),
    ],
)
def test_bad_arguments_of_the_correlation(
    model: Any, keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        gradient_correlation(model, **keywords)


# ── results ──


def three_results() -> list[Any]:
    gradients = input_gradients({"plain": partial(balduzzi_net, 3), "line": nn.Linear(1, 1)})
    labelled = gradient_correlation(fc_stack(3, 4), (torch.randn(6, 4), torch.tensor([0, 1, 2] * 2)))
    return [gradients, gradients.autocorrelation([0, 1, 16]), labelled]


def test_results_come_back_as_they_were_saved(tmp_path: Path) -> None:
    for result in three_results():
        path = tmp_path / f"{type(result).__name__}.json"
        result.save(path)
        assert load(path) == result
        assert len(result.to_frame()) > 0
        assert result._repr_mimebundle_()["text/plain"] == repr(result)


def test_the_words_of_the_results() -> None:
    gradients, correlated, labelled = three_results()
    assert "dy/dx at 256 inputs from -2 to 2" in repr(gradients)
    assert "train mode" in repr(gradients)
    assert "lag of 0.0157 in x" in repr(correlated)
    assert "of one class" in repr(labelled)
    assert "between 6 samples" in repr(labelled)


def test_frames_have_a_row_for_each_number() -> None:
    gradients, correlated, _ = three_results()
    frame = gradients.to_frame()
    assert len(frame) == 512
    row = frame[(frame["model"] == "plain") & (frame["x"] == gradients.x[7])]
    assert row["gradient"].item() == gradients["plain"][0, 7]
    assert len(correlated.to_frame()) == 6


def test_means_and_errors_leave_out_seeds_without_a_value() -> None:
    values = np.array([[1.0, 0.5], [np.nan, np.nan], [1.0, 0.1]])
    result = Autocorrelation(lags=np.array([0, 4]), values={"a": values, "b": values[1:2]}, step=0.5)
    np.testing.assert_allclose(result.mean("a"), [1, 0.3])
    np.testing.assert_allclose(result.error("a"), [0, 0.2])
    assert np.isnan(result.mean("b")).all()
    assert np.isnan(result.error("b")).all()
    assert result.at("a", 4) == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"one of 0, 4; got lag=3"):
        result.at("a", 3)


def test_pairs_are_of_different_samples() -> None:
    cosines = np.array([[[1, 0.5, 0.1], [0.5, 1, 0.3], [0.1, 0.3, 1]]])
    result = GradientCorrelation(layer="stem", start="loss", cosines=cosines, labels=np.array([[0, 0, 1]]))
    assert result.mean == pytest.approx([0.3])
    assert result.same == pytest.approx([0.5])
    assert result.different == pytest.approx([0.2])
    unknown = GradientCorrelation(layer="stem", start="loss", cosines=cosines)
    assert np.isnan([unknown.same, unknown.different]).all()


# ── pictures ──


def test_lines_are_means_and_bands_two_standard_errors() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3))
    result = Autocorrelation(lags=np.array([0, 2, 4]), values={"a": values, "b": values[:1]}, step=0.25)
    ax = result.plot(ax=Figure().subplots())
    lines = ax.get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), values.mean(axis=0))
    np.testing.assert_array_equal(lines[0].get_xdata(), [0, 2, 4])
    (band,) = ax.collections
    error = values.std(axis=0, ddof=1) / np.sqrt(5)
    heights = band.get_paths()[0].vertices
    for lag, middle, one in zip((0, 2, 4), values.mean(axis=0), error, strict=True):
        ends = heights[heights[:, 0] == lag, 1]
        assert [ends.min(), ends.max()] == pytest.approx([middle - 2 * one, middle + 2 * one])
    assert "0.25" in ax.get_xlabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_shades_go_from_pale_and_thin_to_dark_and_thick() -> None:
    looks = plots.shades("#0B4F8A", 5)
    assert [look["linewidth"] for look in looks] == sorted(look["linewidth"] for look in looks)
    brightness = [sum(to_rgb(look["color"])) for look in looks]
    assert brightness == sorted(brightness, reverse=True)
    assert len({str((look["linestyle"], look["linewidth"])) for look in looks}) == 5


def test_curves_are_drawn_in_standard_units() -> None:
    x = np.linspace(0, 1, 4)
    result = InputGradients(x=x, gradients={"a": np.array([[1.0, 2, 3, 6]]), "flat": np.full((1, 4), 2.0)})
    curve, flat = (line.get_ydata() for line in result.plot(ax=Figure().subplots()).get_lines())
    np.testing.assert_allclose(curve, (np.array([1, 2, 3, 6]) - 3) / np.sqrt(3.5))
    np.testing.assert_array_equal(flat, 0)
    only = plots.input_gradients(result, ax=Figure().subplots(), models=["a"], color="red")
    assert [line.get_color() for line in only.get_lines()] == ["red"]


# ── the nets of the figure ──


@pytest.mark.parametrize("layers", [1, 2, 24])
@pytest.mark.parametrize("norm", [False, True])
def test_nets_of_the_figure_have_so_many_layers_of_rectifiers(layers: int, norm: bool) -> None:
    net = balduzzi_net(layers, 0.1, norm=norm)
    kinds = [type(module) for module in net.modules()]
    assert kinds.count(nn.ReLU) == layers
    assert kinds.count(nn.Linear) == layers + 1
    assert kinds.count(nn.BatchNorm1d) == layers * norm
    assert net(torch.zeros(3, 1)).shape == (3, 1)
    biases = torch.cat([module.bias for module in net.modules() if isinstance(module, nn.Linear)])
    assert biases.std().item() == pytest.approx(1, abs=0.15)


def test_the_published_autocorrelations() -> None:
    """REFERENCE.md §5; a mean of 20 seeds has a standard error of about .05."""
    nets = {
        "plain-1": partial(balduzzi_net, 1),
        "plain-24": partial(balduzzi_net, 24),
        "plain-50": partial(balduzzi_net, 50),
        "relu-last": partial(balduzzi_net, 50, 0.1, placement="activation-before-addition"),
    }
    found = input_gradients(nets, repeats=20).autocorrelation([16])
    measured = [float(found.mean(name)[0]) for name in nets]
    assert measured == pytest.approx([0.68, 0.18, 0.08, 0.86], abs=0.1)
