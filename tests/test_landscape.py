"""Slices of the loss: against parabolas in closed form, and against the weights a model is really given."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.collections import PolyCollection
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from torch import Tensor, nn

from gradflow import load, plots
from gradflow.figures import landscape as figure
from gradflow.measure.landscape import loss_slice
from gradflow.models import resnet
from gradflow.models.shortcuts import Gate
from gradflow.results import LossSlice, Panels

SAMPLES, INPUTS, OUTPUTS = 40, 6, 3


def linear(outputs: int = OUTPUTS) -> nn.Linear:
    return nn.Linear(INPUTS, outputs).double()


def whitened() -> Tensor:
    """x (N, D) in float64 with xᵀx = N·1, so that mean (x·d)² is ‖d‖² for every d."""
    q, _ = torch.linalg.qr(torch.randn(SAMPLES, INPUTS, dtype=torch.float64))
    return q * SAMPLES**0.5


def slice_of(loss: Any, *, radius: float = 1.0, **fields: Any) -> LossSlice:
    loss = np.asarray(loss, dtype=float)
    return LossSlice(alphas=np.linspace(-radius, radius, len(loss)), loss=loss, **fields)


# ── a linear model and a squared error: everything in closed form ──


def test_one_weight_gives_the_parabola_of_school() -> None:
    """A filter of one weight leaves the direction no choice but its sign."""
    model = nn.Linear(1, 1, bias=False).double()
    w, x, y = model.weight.item(), torch.randn(9, 1).double(), torch.randn(9, 1).double()
    found = loss_slice(model, (x, y), radius=2.0, steps=9)
    alphas = np.array([-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(found.alphas, alphas)
    upward, downward = ([float(((x * w * (1 + sign * a) - y) ** 2).mean()) for a in alphas] for sign in (1, -1))
    assert np.allclose(found.loss, upward, rtol=1e-12) or np.allclose(found.loss, downward, rtol=1e-12)
    assert found.error is None
    assert found.convexity == 1


def test_the_parabola_has_the_curvature_that_the_filters_norms_give() -> None:
    model, x = linear(), whitened()
    y = torch.randn(SAMPLES, OUTPUTS).double()
    for row in range(OUTPUTS):

        def of_one(output: Tensor, y: Tensor, place: int = row) -> Tensor:
            return F.mse_loss(output[:, place], y[:, place])

        found = loss_slice(model, (x, y), steps=11, loss=of_one, seed=row)
        slope, square = np.polynomial.polynomial.polyfit(found.alphas, found.loss, 2)[1:]
        fitted = found.loss[5] + slope * found.alphas + square * found.alphas**2
        np.testing.assert_allclose(found.loss, fitted, rtol=1e-11)
        assert square == pytest.approx(float(model.weight[row].detach().square().sum()), rel=1e-11)


def test_a_plane_is_a_paraboloid_and_its_axis_is_the_line() -> None:
    model, data = linear(), (whitened(), torch.randn(SAMPLES, OUTPUTS).double())
    line, plane = (loss_slice(model, data, steps=7, directions=many, seed=3) for many in (1, 2))
    assert plane.loss.shape == (7, 7)
    np.testing.assert_allclose(plane.loss[:, 3], line.loss, rtol=1e-12)
    a, b = np.meshgrid(plane.alphas, plane.alphas, indexing="ij")
    terms = np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=-1).reshape(49, 6)
    weights, *_ = np.linalg.lstsq(terms, plane.loss.ravel(), rcond=None)
    np.testing.assert_allclose(terms @ weights, plane.loss.ravel(), rtol=1e-11)
    expected = float(model.weight.detach().square().sum()) / OUTPUTS
    assert weights[3:5] == pytest.approx([expected, expected], rel=1e-11)
    assert abs(weights[5]) < 2 * expected, "the two directions differ"
    assert plane.convexity == 1


# ── what the weights become ──


class Spy(nn.Module):
    """Every kind of parameter there is; each forward call writes down what they are."""

    log: list[dict[str, Tensor]] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.conv = nn.Conv2d(4, 6, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 4, 2, groups=2)
        self.gate = Gate(4, 4)
        self.layer_norm = nn.LayerNorm((4, 5, 5))
        self.head = nn.Linear(4, 3)
        self.lam = nn.Parameter(torch.tensor(0.9))
        self.embedding.weight.data[2] = 0
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        self.log.append({name: one.detach().clone() for name, one in self.named_parameters()})
        h = self.norm(self.conv(self.embedding(x).permute(0, 3, 1, 2)))
        h = self.up(h)
        h = self.lam * self.gate(h) * self.layer_norm(h)
        return self.head(h.mean((2, 3)))


def filters(name: str, weight: Tensor) -> Tensor:
    """One row per filter, by hand: output channels of the two groups of ``up`` are 2 of 6 inputs' halves."""
    if name != "up.weight":
        return weight.flatten(1)
    return torch.stack([weight[3 * group : 3 * group + 3, out].flatten() for group in (0, 1) for out in (0, 1)])


MOVED = ("embedding.weight", "conv.weight", "up.weight", "gate.conv.weight", "head.weight")


def test_each_filter_moves_by_its_own_length_and_nothing_else_moves() -> None:
    model, data = Spy(), (torch.randint(5, (8, 4, 4)), torch.randint(3, (8,)))
    home = {name: one.detach().clone() for name, one in model.named_parameters()}
    Spy.log.clear()
    found = loss_slice(model, data, radius=0.5, steps=5)
    assert len(Spy.log) == 5
    for alpha, seen in zip(found.alphas, Spy.log, strict=True):
        for name, weight in home.items():
            step = seen[name] - weight
            if name in MOVED:
                norms = filters(name, weight).norm(dim=1)
                torch.testing.assert_close(filters(name, step).norm(dim=1), abs(alpha) * norms)
            else:
                assert not step.any(), name
    assert found.provenance["moved"] == sum(home[name].numel() for name in MOVED)
    assert all(torch.equal(Spy.log[2][name], home[name]) for name in home), "the centre is the model itself"
    forth, back = (Spy.log[place]["head.weight"] - home["head.weight"] for place in (4, 0))
    torch.testing.assert_close(forth, -back)
    cosine = F.cosine_similarity(forth.flatten(), home["head.weight"].flatten(), dim=0)
    assert abs(cosine) < 0.99, "a random direction, not the weights' own"


def test_the_two_directions_are_independent_and_the_same_in_every_dtype() -> None:
    model, data = Spy(), (torch.randint(5, (8, 4, 4)), torch.randint(3, (8,)))
    Spy.log.clear()
    loss_slice(model, data, steps=3, directions=2)
    home = model.conv.weight.detach()
    first, second = (Spy.log[place]["conv.weight"] - home for place in (7, 5))
    assert abs(F.cosine_similarity(first.flatten(), second.flatten(), dim=0)) < 0.4
    torch.testing.assert_close(Spy.log[8]["conv.weight"] - home, first + second)
    Spy.log.clear()
    loss_slice(copy.deepcopy(model).float(), data, steps=3)
    torch.testing.assert_close(Spy.log[2]["conv.weight"] - home.float(), first.float(), rtol=1e-4, atol=1e-6)


def test_shared_weights_move_once() -> None:
    model = nn.Sequential(linear(INPUTS), linear(INPUTS))
    model[1].weight = model[0].weight
    found = loss_slice(model, (whitened(), whitened()), steps=3)
    assert found.provenance["moved"] == INPUTS**2


# ── what is measured there ──


def digits_like() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    model = resnet(8, width=4, in_channels=1, size=8).double()
    x, y = torch.randn(30, 1, 8, 8).double(), torch.randint(10, (30,))
    model(x)  # running statistics of their own
    return model, (x, y)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_centre_is_what_the_model_itself_gives(mode: str) -> None:
    model, (x, y) = digits_like()
    found = loss_slice(model, (x, y), steps=3, mode=mode, directions=2)
    direct = copy.deepcopy(model).train(mode == "train")
    with torch.no_grad():
        output = direct(x)
    assert found.loss[1, 1] == pytest.approx(float(F.cross_entropy(output, y)), rel=1e-12)
    assert found.error is not None
    assert found.error[1, 1] == pytest.approx(np.mean((output.argmax(1) != y).numpy()), abs=1e-12)
    assert (found.provenance["mode"], found.provenance["samples"]) == (mode, 30)


def test_parts_are_counted_by_their_size() -> None:
    model, data = digits_like()
    whole, parts = (loss_slice(model, data, steps=3, batch=batch) for batch in (30, 7))
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-12)
    assert whole.error is not None
    assert parts.error is not None
    np.testing.assert_allclose(parts.error, whole.error, atol=1e-12)


def test_the_scale_of_filters_before_batchnorm_makes_no_difference() -> None:
    """The reason for filter normalisation (Li et al. 2018, §4): the same function, the same slice."""
    model, data = digits_like()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-14
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for module in scaled.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= 10 * torch.rand(len(module.weight), 1, 1, 1)
    one, other = (loss_slice(net, data, steps=5, mode="train") for net in (model, scaled))
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-7)


def test_nothing_is_changed() -> None:
    model, data = digits_like()
    model.stem.requires_grad_(False)
    model(data[0]).sum().backward()
    before = copy.deepcopy(model.state_dict())
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    x, y = data[0].clone(), data[1].clone()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]
    loss_slice(model, data, steps=3, mode="train")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        assert parameter.grad is None if grad is None else torch.equal(parameter.grad, grad)
    assert [p.requires_grad for p in model.stem.parameters()] == [False] * len(list(model.stem.parameters()))
    assert model.training
    assert torch.equal(data[0], x)
    assert torch.equal(data[1], y)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    np.testing.assert_array_equal(np.random.get_state()[1], states[2])  # type: ignore[index]


def test_seeds_decide() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    data = torch.randn(20, 4).double(), torch.randint(3, (20,))
    one = loss_slice(model, data, steps=3, mode="train")
    torch.manual_seed(99)
    assert loss_slice(model, data, steps=3, mode="train") == one
    assert not np.allclose(loss_slice(model, data, steps=3, mode="train", seed=1).loss, one.loss)
    almost = loss_slice(model, data, steps=3, mode="train", radius=1e-9)
    np.testing.assert_allclose(almost.loss, almost.loss[1], rtol=1e-6)  # the same dropout masks at each point


def test_what_is_not_finite_is_kept_and_counts_as_wrong() -> None:
    class Fragile(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + (0 if self.weight.norm() < 2 * self.home else torch.nan)

    model = Fragile(4, 3).double()
    model.home = float(model.weight.detach().norm())
    data = torch.randn(10, 4).double(), torch.zeros(10, dtype=torch.int64)
    found = loss_slice(model, data, radius=4.0, steps=5)
    assert np.isfinite(found.loss[2])
    assert found.lost == 5 - np.isfinite(found.loss).sum() > 0
    assert not np.isfinite(found.loss[[0, -1]]).any()
    assert found.error is not None
    assert list(found.error[[0, -1]]) == [1, 1], "though argmax of NaN is 0, the label"
    assert "not finite at" in repr(found)


def test_a_loss_of_ones_own_and_outputs_of_ones_own() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.fc(x), x

    model, data = Pair(), (torch.randn(10, 4), torch.randint(3, (10,)))

    def of_pair(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return F.cross_entropy(output[0], y) - 7

    found = loss_slice(model, data, steps=3, loss=of_pair)
    assert found.loss[1] == pytest.approx(float(F.cross_entropy(model.fc(data[0]), data[1]).detach()) - 7, rel=1e-6)
    assert found.error is None
    assert found.provenance["loss"] == "of_pair"
    with pytest.raises(TypeError, match="pass loss="):
        loss_slice(model, data, steps=3)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"steps": 20}, ValueError, r"odd number .* got steps=20"),
        ({"steps": 1}, ValueError, r"at least 3.* got steps=1"),
        ({"steps": 5.0}, ValueError, r"got steps=5\.0"),
        ({"steps": True}, ValueError, "got steps=True"),
        ({"directions": 3}, ValueError, "1 or 2; got directions=3"),
        ({"directions": True}, ValueError, "got directions=True"),
        ({"radius": 0}, ValueError, "above 0; got radius=0"),
        ({"radius": -1.0}, ValueError, "radius"),
        ({"radius": float("inf")}, ValueError, "radius"),
        ({"radius": float("nan")}, ValueError, "radius"),
        ({"radius": "1"}, ValueError, "radius"),
        ({"batch": 0}, ValueError, "got batch=0"),
        ({"mode": "test"}, ValueError, "mode"),
        ({"seed": -1}, ValueError, "seed"),
        ({"data": (torch.empty(0, 6), torch.empty(0, 3))}, ValueError, "at least one sample"),
        ({"data": (torch.randn(4, 6), torch.randn(5, 3))}, ValueError, "as many samples"),
        ({"data": torch.randn(4, 6)}, TypeError, "got no y"),
        ({"data": None}, TypeError, "pair"),
        ({"model": nn.ReLU()}, ValueError, "ReLU has no weights"),
        ({"model": nn.BatchNorm1d(6)}, ValueError, "no weights"),
        ({"model": "net"}, TypeError, "must be a torch.nn.Module; got str"),
    ],
)
def test_bad_arguments_are_found_at_the_door(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    arguments = {"model": nn.Linear(6, 3), "data": (torch.randn(4, 6), torch.randn(4, 3)), **changes}
    with pytest.raises(error, match=match):
        loss_slice(arguments.pop("model"), arguments.pop("data"), **arguments)


def test_weights_that_are_all_zero_have_no_length_to_move_by() -> None:
    model = nn.Linear(6, 3)
    nn.init.zeros_(model.weight)
    with pytest.raises(ValueError, match="zeros as weights only"):
        loss_slice(model, (torch.randn(4, 6), torch.randn(4, 3)))


# ── the result ──

GRID = np.linspace(-1, 1, 9)
BOWL = 1 + 4 * (GRID[:, None] ** 2 + 2 * GRID**2)
SADDLE = 10 + GRID[:, None] ** 2 - GRID**2
TWISTED = 10 + GRID[:, None] ** 2 + GRID**2 + 3 * GRID[:, None] * GRID


def test_reach_is_the_nearest_point_that_is_too_high() -> None:
    assert slice_of(1 + 4 * GRID**2).reach() == 0.75
    assert slice_of(1 + 4 * GRID**2).reach(0.2) == 0.25
    assert slice_of(BOWL).reach() == 0.5
    assert slice_of(GRID**2).reach() == np.inf
    assert slice_of([9, 1, 0, 0, np.nan]).reach() == 1.0
    assert slice_of([0, np.inf, 0, 0, 0]).reach() == 0.5
    assert slice_of([np.nan] * 5).reach() == 0.0


def test_convexity_sees_all_directions_of_a_plane() -> None:
    assert slice_of(BOWL).convexity == 1
    assert slice_of(SADDLE).convexity == 0
    assert slice_of(TWISTED).convexity == 0, "curved upward along both axes, downward along a diagonal"
    assert slice_of(-BOWL).convexity == 0
    assert slice_of(np.abs(GRID)).convexity == 1
    assert slice_of([1, 0, 1, 0, 1]).convexity == pytest.approx(2 / 3)
    assert slice_of([1, 0, 1, np.nan, 1]).convexity == 1
    assert np.isnan(slice_of([np.inf, 1, np.inf]).convexity)


def test_text_table_and_file(tmp_path: Any) -> None:
    known = {"samples": 5, "mode": "eval", "loss": "cross-entropy", "seed": 0}
    line = slice_of(1 + 4 * GRID**2, error=GRID**2, provenance=known)
    assert "1 direction, 9 points within ±1 (samples 5, mode eval" in repr(line)
    assert "loss at the centre 1; 1 above that first at distance 0.75 (grid step 0.25)" in repr(line)
    assert "curves upward at 100% of the inner points" in repr(line)
    plane = slice_of(BOWL)
    assert re.search(r"2 directions, 9 × 9 points", repr(plane))
    assert re.search(r"\n1 +5 +\S+ +10\n", repr(plane)), "at about distance 1: (1, 0) lowest and (0.5, 1) highest"
    assert len(line.to_frame()) == 9
    assert list(plane.to_frame().columns) == ["alpha", "beta", "loss"]
    for one in (line, plane, slice_of(np.where(BOWL > 5, np.inf, BOWL))):
        assert load(one.save(tmp_path / "one.json").save(tmp_path / "one.svg") and tmp_path / "one.json") == one
        repr(one)


# ── the pictures ──


def line_of(ax: Any, label: str) -> Any:
    return next(one for one in ax.get_lines() if one.get_label() == label)


def test_curves_show_median_and_range() -> None:
    losses = [GRID**2 + 1, GRID**2 + 2, GRID**2 + 4]
    ax = plots.loss_curves({"plain": [slice_of(one) for one in losses]}, ax=Figure().subplots())
    np.testing.assert_array_equal(line_of(ax, "plain").get_ydata(), GRID**2 + 2)
    (band,) = [one for one in ax.collections if isinstance(one, PolyCollection)]
    assert (band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()) == (1, 5)
    assert ax.get_yscale() == "log"
    assert plots.loss_curves({"plain": slice_of(GRID**2)}, ax=Figure().subplots()).get_yscale() == "linear"


def test_curves_flag_what_is_not_finite() -> None:
    ax = plots.loss_curves({"plain": [slice_of([1, 2, 3]), slice_of([np.inf, 2, 3])]}, ax=Figure().subplots())
    assert list(line_of(ax, "not finite").get_xdata()) == [-1]
    lost = plots.loss_curves({"plain": slice_of([np.nan] * 3)}, ax=Figure().subplots())
    assert len(line_of(lost, "not finite").get_xdata()) == 3


def test_contours_put_the_first_direction_to_the_right() -> None:
    uneven = BOWL.copy()
    uneven[8, 0] = np.nan
    ax = plots.loss_contours(slice_of(uneven), ax=Figure().subplots(), levels=[2.0, 4.0, 8.0])
    filled, lines = [one for one in ax.collections if isinstance(one, QuadContourSet)]
    assert (list(filled.levels), list(lines.levels)) == ([2, 4, 8], [2, 4, 8])
    path = lines.get_paths()[0].vertices
    inside = path[np.isfinite(path).all(axis=1)]
    assert inside[:, 0].max() == pytest.approx(0.5, abs=0.01), "4a² = 1"
    assert inside[:, 1].max() == pytest.approx(8**-0.5, abs=0.03), "8b² = 1"
    assert line_of(ax, "not finite").get_xydata().tolist() == [[1, -1]]


@pytest.mark.parametrize("loss", [np.ones((5, 5)), np.full((5, 5), np.nan), -BOWL, 1e9 * BOWL, BOWL * 0])
def test_every_plane_can_be_drawn(loss: np.ndarray) -> None:
    drawn = Figure()
    slice_of(loss).plot(ax=drawn.subplots())
    plots.render(drawn, "svg")


def test_levels_are_shared_and_evenly_spaced() -> None:
    levels = np.array(plots.loss_levels(slice_of(BOWL), slice_of(SADDLE), low=2.0))
    assert levels[0] <= 2
    assert levels[-1] >= 13
    assert np.ptp(np.diff(np.log10(levels))) < 0.03, "two digits"


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: plots.loss_curves({"plain": slice_of(BOWL)}), "loss_contours"),
        (lambda: plots.loss_curves({"plain": []}), "one direction"),
        (lambda: plots.loss_curves({"plain": [slice_of(GRID), slice_of(GRID, radius=2)]}), "same radius"),
        (lambda: plots.loss_contours(slice_of(GRID)), "loss_curves"),
    ],
)
def test_the_wrong_kind_of_slice_is_refused(draw: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        draw()


# ── the words of the figure ──


def test_the_caption_concludes_what_the_numbers_say() -> None:
    narrow = slice_of(np.minimum(100 * GRID**2, 4 + np.cos(9 * GRID)) + 1)
    wide = slice_of(3 * GRID**2 + 1)

    def words(plain: LossSlice, short: LossSlice, shorter: LossSlice = wide) -> dict[str, object]:
        around = {"plain-56": plain, "residual-56": wide, "plain-20": wide}
        around |= {"residual-56-short": short, "residual-56-shorter": shorter}
        return figure._loss_shape_words(Panels(parts={k: Panels(parts={"lines": (v,)}) for k, v in around.items()}))

    assert "wider and more convex both times" in str(words(narrow, wide)["verdict"])
    assert words(narrow, wide)["paper"] == "As in the paper"
    assert "on one side" in str(words(narrow, wide)["losses"])
    low, high = slice_of(3 * GRID**2 + 0.5), slice_of(3 * GRID**2 + 2)
    for pair in ((low, high), (high, low)):
        assert "above and below" in str(words(narrow, *pair)["losses"])
    for pair in ((narrow, wide), (wide, narrow)):
        assert "no difference is left" in str(words(narrow, *pair)["verdict"])
        assert words(narrow, *pair)["paper"] == "Other than in the paper"
    assert "does not take depth" in str(words(wide, wide)["depth"])
