"""path_spectrum() against every single path: products of the maps of one ordinary forward pass, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from closeness import approx
from test_splitting import AroundUnits, InAList, Ordinary, features, images, linear_unit, rms, shared_unit
from torch import Tensor, nn

import gradflow
from gradflow import plots, theory
from gradflow.models import PLACEMENTS, VARIANTS, Scaled, conv_stack, fc_stack, resnet, scaled, textbook_fc
from gradflow.results import PathSpectrum

Build = Callable[[], nn.Module]
spectrum = gradflow.path_spectrum


def every_path(true: Ordinary) -> dict[tuple[int, ...], Tensor]:
    """∂loss/∂x_0 along each of the paths: 1 where it takes a unit's branch, 0 where its shortcut."""
    found: dict[tuple[int, ...], Tensor] = {(): true.cotangent}
    for place in reversed(range(len(true.calls))):
        call, ahead = true.calls[place], {}
        for path, part in found.items():
            v = true.through_post(call, part)
            ahead[(1, *path)] = true.across_gap(place, true.through_branch(call, v))
            if "h" in call:
                ahead[(0, *path)] = true.across_gap(place, true.through_shortcut(call, v))
        found = ahead
    return found


def by_length(paths: dict[tuple[int, ...], Tensor], units: int) -> list[Tensor]:
    zero = torch.zeros_like(next(iter(paths.values())))
    return [sum((part for path, part in paths.items() if sum(path) == k), zero) for k in range(units + 1)]


fc = partial(fc_stack, 10, 6, span=1)
v1 = partial(resnet, 8, width=4)
v2 = partial(resnet, 14, width=4, version=2)
NETS: dict[str, tuple[Build, Callable[[], tuple[Tensor, Tensor]]]] = {
    "fc": (partial(fc, shortcut=1.0), features),
    "fc-plain": (fc, features),
    "fc-mixed": (partial(fc, shortcut=[None, 1.0, -0.5, None, 2.0, 0.0, "dropout", "conv1x1"]), features),
    "fc-norm": (partial(fc, shortcut=0.9, norm=True, activation="tanh"), features),
    "conv": (partial(conv_stack, 8, 3, shortcut=0.5, span=1), images),
    "v1": (v1, images),
    "v1-plain": (partial(v1, residual=False), images),
    "v2": (v2, images),
    "v2-mixed": (partial(v2, shortcut=[None, 1.0, 0.5, "dropout", None, "exclusive-gate"]), images),
    "textbook": (partial(textbook_fc, skip=True, width=6), features),
    "list": (InAList, features),
    "shared": (shared_unit, features),
    "gap": (
        lambda: nn.Sequential(linear_unit(), nn.Linear(6, 4), nn.Tanh(), linear_unit(4), nn.Linear(4, 6)),
        features,
    ),
    **{f"fc-{name}": (partial(fc_stack, 6, 6, span=1, shortcut=name), features) for name in VARIANTS},
    **{f"v2-{name}": (partial(resnet, 8, width=4, version=2, shortcut=name), images) for name in VARIANTS},
    **{f"placement-{name}": (partial(v1, placement=name), images) for name in PLACEMENTS},
    **{f"option-{o}{v}": (partial(v1, version=v, option=o), images) for o in "BC" for v in (1, 2)},
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETS)
def test_every_length_is_the_sum_over_its_paths(name: str, mode: str) -> None:
    build, data = NETS[name]
    net = build()
    result = spectrum(net, data(), mode=mode, seed=2)
    true = Ordinary(net, *data(), mode=mode, seed=2)
    whole = true.wholes()[0]
    paths = every_path(true)
    slots = by_length(paths, len(true.calls))
    assert result.values[0] == approx([rms(slot) for slot in slots], rel=1e-9, abs=1e-14 * rms(whole))
    assert result.whole[0] == approx(rms(whole))
    torch.testing.assert_close(sum(slots[1:], slots[0]), whole)
    plain = sum("h" not in call for call in true.calls)
    assert result.plain == plain
    assert len(paths) == 2 ** (len(true.calls) - plain)
    counts = np.bincount([sum(path) for path in paths], minlength=len(slots))
    assert 10**result.log10_counts == approx(counts)
    with np.errstate(divide="ignore"):
        assert 10 ** result.log10_per_path[0] == approx(
            np.where(counts, result.values[0] / np.maximum(counts, 1), np.nan)
        )


@pytest.mark.parametrize("name", ["fc", "fc-mixed", "v1", "v2-mixed", "fc-plain", "shared"])
def test_paths_through_no_branch_are_the_shortcut_part(name: str) -> None:
    build, data = NETS[name]
    net = build()
    split = gradflow.split(net, data(), seed=1)
    paths = spectrum(net, data(), seed=1)
    assert paths.values[0, 0] == approx(10 ** split.log10_shortcut[0, 0])
    assert paths.whole[0] == approx(10 ** split.log10_whole[0, 0])
    assert paths.units == split.units


@pytest.mark.parametrize("name", ["fc", "fc-mixed", "v2-mixed", "gap", "v1", "placement-norm-after-addition"])
def test_single_paths_are_real_paths_of_their_length(name: str) -> None:
    build, data = NETS[name]
    net = build()
    result = spectrum(net, data(), sampled=4, seed=2)
    paths = every_path(Ordinary(net, *data(), seed=2))
    assert result.single is not None
    assert result.single.shape == (1, len(result.units) + 1, 4)
    for length in result.lengths:
        sizes = np.array([rms(part) for path, part in paths.items() if sum(path) == length])
        for value in result.single[0, length]:
            if not len(sizes):
                assert np.isnan(value)
            else:
                assert np.min(np.abs(sizes - value)) <= 1e-9 * value
    if name == "fc":
        assert len({f"{value:.6e}" for value in result.single[0, 4]}) > 1  # 70 paths to choose from


def test_a_net_of_shortcuts_alone_in_closed_form() -> None:
    """Linear units whose branch is c·x: G_k = C(U, k) λ^(U−k) c^k times the cotangent."""
    lam, c, units = 0.5, 3.0, 6
    net = fc_stack(units + 2, 4, span=1, shortcut=Scaled(lam), activation="linear")
    with torch.no_grad():
        for unit in net.units:
            unit.branch[-1].weight.copy_(c * torch.eye(4))
    result = spectrum(net)
    size = result.whole[0] / (lam + c) ** units
    assert result.values[0] == approx(
        [math.comb(units, k) * lam ** (units - k) * c**k * size for k in range(units + 1)]
    )
    assert 10 ** result.log10_per_path[0] == approx([lam ** (units - k) * c**k * size for k in range(units + 1)])


def test_theory_is_close_in_a_wide_stack() -> None:
    """Where ∂loss/∂x_U is random; a head's ReLU would tie it to the masks."""
    lam, s, width = 0.8, 0.7, 128

    def build() -> nn.Module:
        net = fc_stack(12, width, span=1, shortcut=scaled(lam, s), init=f"normal({width**-0.5})")
        return nn.Sequential(net.stem, net.units)

    def random_start(output: Tensor, y: Tensor) -> Tensor:
        return (output * y).sum()

    result = spectrum(build, loss=random_start, repeats=5)
    measured = np.median(2 * np.log10(result.values), axis=0)  # ∂loss/∂x_U is N(0, 1)
    predicted = theory.log10_path_moments(10, lam=lam, gain=s**2 / 2)
    assert measured == approx(predicted, rel=0, abs=0.3)
    assert np.abs(measured[:8] - predicted[:8]).max() < 0.1


# ── shares and intervals ──


def made(values: Any, plain: int = 0, **fields: Any) -> PathSpectrum:
    values = np.atleast_2d(np.asarray(values, dtype=float))
    units = tuple(f"units.{place}" for place in range(values.shape[1] - 1))
    return PathSpectrum(units=units, plain=plain, values=values, whole=values.sum(1), **fields)


def test_share_and_interval_by_hand() -> None:
    one = made([1, 2, 4, 2, 1])
    assert one.share(0, 4) == approx([1])
    assert one.share(2, 2) == approx([0.4])
    assert one.share(1, 3) == approx([0.8])
    assert one.interval(0.4) == (2, 2)
    assert one.interval(0.8) == (1, 3)
    assert one.interval(1.0) == (0, 4)
    assert made([[1, 0, 0], [0, 1, 0], [0, 1, 0]]).interval(0.9) == (1, 1)
    assert made([0, 0, 3], plain=2).interval() == (2, 2)
    for low, high in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(ValueError, match=f"lengths go from 0 to 4; got low={low}, high={high}"):
            one.share(low, high)
    for share in (0, 1.5, -0.1):
        with pytest.raises(ValueError, match="share"):
            one.interval(share)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_no_shorter_interval_holds_as_much(share: float) -> None:
    result = spectrum(fc(shortcut=1.0))
    low, high = result.interval(share)
    parts = result.values[0] / result.values[0].sum()
    assert parts[low : high + 1].sum() >= share - 1e-9
    for start, end in product(result.lengths, result.lengths):
        if end - start < high - low:
            assert parts[start : end + 1].sum() < share


def test_the_table_says_what_the_numbers_say() -> None:
    lines = repr(made([1, 2, 4, 2, 1])).splitlines()
    assert lines[0] == "PathSpectrum: RMS of ∂loss/∂x_0 by path length through 4 units (one draw)"
    assert lines[4].split() == ["2", "6", "4", "40.0%"]
    assert lines[-1] == "95 % of it comes from paths of length 0 to 4, which are 100 % of all paths"
    plain = repr(made([0, 0, 1, 2, 0.001], plain=2)).splitlines()
    assert plain[2].split() == ["0", "0", "0", "0.0%"]
    assert plain[-1] == "95 % of it comes from paths of length 2 to 3, which are 75 % of all paths"


@pytest.mark.parametrize("values", [[0, 0, 0], [np.nan] * 3], ids=["zero", "nan"])
def test_a_gradient_of_nothing_has_a_table_and_a_picture(values: list[float]) -> None:
    result = made(values)
    try:
        assert "PathSpectrum" in repr(result)
        result.plot().figure.canvas.draw()
    finally:
        plt.close("all")


def test_more_paths_than_a_float_can_count() -> None:
    assert "inf" not in repr(made(np.ones(1101)))


# ── arguments ──


def test_repeats_take_the_seeds_one_by_one() -> None:
    build = partial(fc, shortcut=0.9)
    result = spectrum(build, repeats=3, seed=5, sampled=2)
    assert result.values.shape == (3, 9)
    assert result.single is not None
    assert result.single.shape == (3, 9, 2)
    for repeat in range(3):
        torch.manual_seed(5 + repeat)
        one = spectrum(build(), seed=5 + repeat, sampled=2)
        assert result.values[repeat] == approx(one.values[0])
        assert one.single is not None
        assert result.single[repeat] == approx(one.single[0])


def test_integer_labels_and_ones_own_loss() -> None:
    net, (x, _) = fc_stack(8, 6, shortcut=1.0, out_features=3), features()
    labels = torch.arange(7) % 3
    assert spectrum(net, (x, labels)).whole[0] == approx(rms(Ordinary(net, x, labels).wholes()[0]))

    def odd(output: Tensor, y: Tensor) -> Tensor:
        return (output[:, 0] * y).exp().sum()

    result = spectrum(net, (x, labels), loss=odd)
    assert result.whole[0] == approx(rms(Ordinary(net, x, labels, loss=odd).wholes()[0]))
    assert result.provenance["loss"] == "odd"


def test_with_dtype_none_it_is_the_models_own() -> None:
    net = fc(shortcut=1.0)
    assert gradflow.path_spectrum(net, features()).provenance["dtype"] == "float64"
    rough = gradflow.path_spectrum(net, features(), dtype=None)
    assert rough.provenance["dtype"] == "float32"
    assert rough.values == approx(spectrum(net, features()).values, rel=1e-4)


@pytest.mark.parametrize(
    "build",
    [
        partial(fc_stack, 44, 8, span=1, init="normal(0.1)"),
        partial(fc_stack, 46, 8, span=1, init="normal(0.1)", activation="tanh"),
        partial(fc_stack, 52, 8, span=1, shortcut=2.0),
    ],
    ids=["small", "small-tanh", "large"],
)
def test_signals_a_float32_can_hold_are_no_trouble(build: Build) -> None:
    net = build()
    whole = rms(Ordinary(net, *features(8), dtype=torch.float32).wholes()[0])
    assert gradflow.path_spectrum(net, features(8)).whole[0] == approx(whole, rel=1e-3)


def test_bad_arguments_are_refused_before_any_work() -> None:
    net = fc(shortcut=1.0)
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"sampled": -1}, ValueError, "sampled must be a whole number of at least 0; got sampled=-1"),
        ({"sampled": 2.5}, ValueError, "sampled=2.5"),
        ({"sampled": True}, ValueError, "sampled=True"),
        ({"mode": "test"}, ValueError, "mode"),
        ({"dtype": "float64"}, TypeError, "dtype"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"repeats": 2}, ValueError, "functions that build a model"),
        ({"batch": 0}, ValueError, "batch=0"),
    ]
    for arguments, kind, words in bad:
        with pytest.raises(kind, match=words):
            gradflow.path_spectrum(net, **arguments)
    with pytest.raises(TypeError, match=r"a model with units .* Linear has none"):
        spectrum(nn.Linear(6, 6))
    depths = iter((6, 8))
    with pytest.raises(ValueError, match="as many units each time"):
        spectrum(lambda: fc_stack(next(depths), 6), repeats=2)
    with pytest.raises(ValueError, match="lam must be a finite number"):
        fc(shortcut=math.inf)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("head"),
        pytest.param("between"),
        "parallel",
    ],
)
def test_ways_round_units_are_refused(where: str) -> None:
    with pytest.raises(ValueError, match="one after the other"):
        spectrum(AroundUnits(where), features())


@pytest.mark.parametrize("y", [None, torch.zeros(0, dtype=torch.long)], ids=["x", "x and y"])
def test_an_empty_batch_is_refused(y: Tensor | None) -> None:
    x = torch.zeros(0, 6)
    with pytest.raises(ValueError, match="at least one sample"):
        spectrum(fc(shortcut=1.0), x if y is None else (x, y))


def test_a_loss_that_is_no_scalar_says_so() -> None:
    with pytest.raises((TypeError, ValueError), match=r"scalar|number"):
        spectrum(fc(shortcut=1.0), loss=nn.MSELoss(reduction="none"))


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(off: Callable[[], Any]) -> None:
    net = fc(shortcut=1.0)
    with off():
        inside = spectrum(net)
    assert inside == spectrum(net)


# ── manners ──


def test_everything_is_left_as_found() -> None:
    net = resnet(8, width=4, shortcut="dropout").eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    spectrum(net, images(), sampled=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or "forward" in vars(module) for module in net.modules())


def test_save_load_and_frame(tmp_path: Path) -> None:
    for sampled in (0, 3):
        result = spectrum(fc(shortcut=[None, *[1.0] * 7]), sampled=sampled)
        result.save(tmp_path / "paths.json")
        assert gradflow.load(tmp_path / "paths.json") == result
        frame = result.to_frame()
        assert frame["length"].tolist() == list(range(9))
        assert frame["rms"].to_numpy() == approx(result.values[0])
        assert frame["log10_count"][0] == -np.inf
        assert 10 ** frame["log10_count"][4] == approx(math.comb(7, 3))


@pytest.mark.parametrize("name", ["fc", "fc-plain", "fc-mixed", "v2-mixed"])
@pytest.mark.parametrize("sampled", [0, 2])
def test_all_pictures_draw(name: str, sampled: int) -> None:
    build, data = NETS[name]
    result = spectrum(build(), data(), sampled=sampled)
    try:
        for draw in (plots.path_lengths, plots.path_counts, plots.gradient_per_path):
            draw(result).figure.canvas.draw()
        line = plots.path_lengths(result).lines[0]
        assert line.get_ydata() == approx(result.values[0] / result.values[0].sum())
        counts = plots.path_counts(result).lines[0]
        assert counts.get_ydata() == approx(result.log10_counts[np.isfinite(result.log10_counts)])
    finally:
        plt.close("all")


def test_theory_by_length_is_close_to_a_wide_net_and_only_where_there_is_one() -> None:
    build = partial(fc_stack, 10, 256, span=1, shortcut=0.8, init="he")
    spectrum = gradflow.path_spectrum(build, repeats=3, batch=64)
    share = np.median(spectrum.shares, axis=0)
    predicted = 10**spectrum.theory / np.sum(10**spectrum.theory)
    assert predicted == approx(share, rel=0, abs=0.03)
    assert gradflow.path_spectrum(resnet(8, width=2, size=8)).theory is None
