"""Plots of units, paths and settings by their artists: the numbers, marks and words that are put into the axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import same_color
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradflow import plots
from gradflow.plots.labels import ENGLISH
from gradflow.plots.look import THEORY
from gradflow.plots.units import powers_of_ten
from gradflow.results import RATIO_EDGES, GradientSplit, PathSpectrum, Study, Table

RNG = np.random.default_rng(0)
PARTS = ("shortcut", "residual", "whole")
LENGTHS = 4
COUNTS = [math.comb(LENGTHS, k) for k in range(LENGTHS + 1)]


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """No plot leaves a figure in pyplot or a changed setting."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    assert not pyplot.get_fignums()


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def line(ax: Axes, label: str) -> Line2D:
    found = [one for one in ax.get_lines() if one.get_label() == label]
    assert len(found) == 1, [one.get_label() for one in ax.get_lines()]
    return found[0]


def labels(ax: Axes) -> list[str]:
    return [str(one.get_label()) for one in ax.get_lines()]


def legend_of(ax: Axes) -> list[str]:
    return [words.get_text() for words in ax.get_legend().get_texts()]


def bands(ax: Axes) -> list[PolyCollection]:
    return [one for one in ax.collections if isinstance(one, PolyCollection)]


def edges(band: PolyCollection, x: float) -> list[float]:
    """Where a band begins and ends above x."""
    heights = [y for path in band.get_paths() for place, y in path.vertices if np.isclose(place, x)]
    return [min(heights), max(heights)]


def bar(container: ErrorbarContainer) -> tuple[float, float, list[list[float]]]:
    """Where the marker of an errorbar lies, and from where to where the bar goes."""
    marker, _, sticks = container.lines
    return float(marker.get_xdata()[0]), float(marker.get_ydata()[0]), sticks[0].get_segments()[0].tolist()


def split_of(units: int = 4, draws: int = 5, **fields: Any) -> GradientSplit:
    """A split of random numbers, with λ = 0.5 everywhere."""
    places = (draws, units + 1)
    names = ("shortcut", "residual", "whole", "signal", "carried", "summed", "left_over")
    given: dict[str, Any] = {f"log10_{name}": RNG.normal(size=places) for name in names}
    given |= {name: RNG.normal(size=places) for name in ("cosine", "share", "cancelled")}
    given |= {
        "units": tuple(f"units.{place}" for place in range(units)),
        "lam": np.full((draws, units), 0.5),
        "posts": ("",) * units,
        "gaps": (False,) * units,
        "ratio_counts": np.ones((units + 1, len(RATIO_EDGES) - 1), dtype=int),
        "log10_branch": RNG.normal(size=(draws, units)),
        "falling": np.zeros((draws, units)),
    }
    return GradientSplit(**{**given, **fields})


def spectrum_of(draws: int = 5, **fields: Any) -> PathSpectrum:
    """A spectrum of random numbers through four units."""
    given: dict[str, Any] = {
        "units": tuple("abcd"),
        "plain": 0,
        "values": RNG.lognormal(sigma=2, size=(draws, LENGTHS + 1)),
        "whole": RNG.lognormal(size=draws),
    }
    return PathSpectrum(**{**given, **fields})


# ── the gradient by the way it came ──


def test_parts_are_medians_relative_to_the_last_gradient_with_quartiles(ax: Axes) -> None:
    split = split_of()
    assert plots.split_lines(split, ax=ax) is ax
    for part, band in zip(PARTS, bands(ax), strict=True):
        relative = getattr(split, f"log10_{part}") - split.log10_whole[:, 4][:, None]
        drawn = line(ax, ENGLISH[f"{part}_part"])
        np.testing.assert_array_equal(drawn.get_xdata(), [0, 1, 2, 3, 4])
        np.testing.assert_allclose(drawn.get_ydata(), np.median(relative, axis=0))
        for place in range(4):
            expected = np.quantile(relative[:, place], [0.25, 0.75])
            assert edges(band, place) == pytest.approx(expected)
    assert line(ax, ENGLISH["whole_part"]).get_ydata()[-1] == 0, "the last gradient is one"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["unit"], ENGLISH["split"])


def test_dots_are_the_product_from_each_unit_on_and_theory(ax: Axes) -> None:
    lam = np.array([[0.5, 2.0, -0.1, 3.0]] * 3 + [[9.0, 9.0, 9.0, 9.0]])
    predicted = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    plots.split_lines(split_of(draws=4, lam=lam, theory={"whole": predicted}), ax=ax)
    dots = line(ax, ENGLISH["product"])
    np.testing.assert_array_equal(dots.get_xdata(), range(5))
    products = [math.log10(abs(np.prod([0.5, 2.0, -0.1, 3.0][place:]))) for place in range(5)]
    np.testing.assert_allclose(dots.get_ydata(), products, atol=1e-12)
    np.testing.assert_array_equal(line(ax, "_theory").get_ydata(), predicted)
    assert dots.get_marker() in ("", "None")
    assert dots.get_linestyle() == line(ax, "_theory").get_linestyle() != "-"
    shown = [words.get_text() for words in ax.get_legend().get_texts()]
    assert shown == [ENGLISH[f"{part}_part"] for part in PARTS] + [ENGLISH["product"]]


@pytest.mark.parametrize("sign", [-1, 1])
def test_three_thousand_decades_stay_in_the_picture(ax: Axes, sign: int) -> None:
    lam = np.full((2, 50), 10.0 ** (sign * 60))
    slope = sign * 60.0 * np.arange(50, -1, -1)
    given = {f"log10_{part}": np.array([slope, slope + 2]) for part in PARTS}
    plots.split_lines(split_of(50, 2, lam=lam, **given), ax=ax)
    np.testing.assert_allclose(line(ax, ENGLISH["theory"]).get_ydata(), slope)
    np.testing.assert_allclose(line(ax, ENGLISH["whole_part"]).get_ydata(), slope)
    assert line(ax, ENGLISH["theory"]).get_ydata()[0] == pytest.approx(sign * 3000)
    low, high = ax.get_ylim()
    assert low <= min(0, sign * 3000)
    assert high >= max(0, sign * 3000)
    assert ax.get_yscale() == "linear", "no float holds 10^3000: the axis counts powers of ten"
    ticks = ax.yaxis.get_ticklocs()
    assert [named(one) for one in tick_labels(ax.yaxis)] == ticks.tolist()
    assert np.ptp(ticks) > 2000


def test_a_part_that_is_zero_is_not_drawn_and_breaks_nothing(ax: Axes) -> None:
    nothing = np.full((5, 5), -math.inf)
    nothing[:, 4] = 0
    zero = {"log10_shortcut": nothing, "log10_whole": np.zeros((5, 5)), "lam": np.zeros((5, 4))}
    plots.split_lines(split_of(**zero), ax=ax)
    FigureCanvasAgg(ax.figure).draw()
    assert line(ax, ENGLISH["shortcut_part"]).get_xydata().tolist() == [[4, 0]]
    assert not {ENGLISH["product"], ENGLISH["theory"]} & set(labels(ax)), "dots at one place are not to be seen"
    assert legend_of(ax) == [ENGLISH[f"{part}_part"] for part in PARTS]
    assert np.isfinite(ax.get_ylim()).all()


def test_dots_end_where_there_is_no_product(ax: Axes) -> None:
    lam = np.array([[0.5, math.nan, 0.5, 0.5]] * 5)
    plots.split_lines(split_of(lam=lam), ax=ax)
    assert line(ax, ENGLISH["theory"]).get_xdata().tolist() == [2, 3, 4]
    behind_gap = plots.split_lines(split_of(gaps=(False, False, False, True)), ax=Figure().subplots())
    assert line(behind_gap, ENGLISH["theory"]).get_xdata().tolist() == [3, 4]


def test_the_legend_names_the_theory_that_is_drawn_only() -> None:
    whole, unknown = {"whole": np.arange(5.0)}, np.full((5, 4), math.nan)
    for given, theory in (
        ({"lam": unknown}, []),
        ({"lam": unknown, "theory": whole}, ["theory"]),
        ({}, ["theory"]),
        ({"theory": whole}, ["product"]),
    ):
        drawn = plots.split_lines(split_of(**given), ax=Figure().subplots())
        assert legend_of(drawn) == [ENGLISH[key] for key in (*(f"{part}_part" for part in PARTS), *theory)]
        dotted = [one for one in drawn.get_lines() if same_color(one.get_color(), THEORY["color"])]
        assert len(dotted) == ("lam" not in given) + ("theory" in given)


def test_one_draw_has_no_band_and_parts_can_be_chosen(ax: Axes) -> None:
    plots.split_lines(split_of(draws=1), ax=ax, parts=("whole",), linewidth=4.5)
    assert not bands(ax)
    assert labels(ax) == [ENGLISH["whole_part"], ENGLISH["theory"]]
    assert line(ax, ENGLISH["whole_part"]).get_linewidth() == 4.5
    together = plots.split_lines(split_of(draws=1), ax=Figure().subplots())
    looks = [line(together, ENGLISH[f"{part}_part"]) for part in PARTS]
    for what in (Line2D.get_color, Line2D.get_marker, Line2D.get_linestyle):
        assert len({what(one) for one in looks}) == 3
    assert line(ax, ENGLISH["whole_part"]).get_color() == looks[2].get_color(), "a part keeps its look"


def test_signals_are_relative_to_the_first(ax: Axes) -> None:
    split = split_of()
    plots.signal_lines(split, ax=ax)
    for part in ("signal", "carried", "summed"):
        relative = getattr(split, f"log10_{part}") - split.log10_signal[:, 0][:, None]
        np.testing.assert_allclose(line(ax, ENGLISH[part]).get_ydata(), np.median(relative, axis=0))
    assert edges(bands(ax)[2], 3) == pytest.approx(
        np.quantile(split.log10_signal[:, 3] - split.log10_signal[:, 0], [0.25, 0.75])
    )
    assert line(ax, ENGLISH["signal"]).get_ydata()[0] == 0
    plots.signal_lines(split, ax=ax, parts=("signal",), place=3, label="another")
    assert line(ax, "another").get_color() == plots.look_of(3).color
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["unit"], ENGLISH["signal_split"])


def test_branches_are_relative_to_the_signal_they_read(ax: Axes) -> None:
    split = split_of()
    plots.branch_lines(split, ax=ax, place=2, label="b")
    relative = split.log10_branch - split.log10_signal[:, :4]
    np.testing.assert_array_equal(line(ax, "b").get_xdata(), [0, 1, 2, 3])
    np.testing.assert_allclose(line(ax, "b").get_ydata(), np.median(relative, axis=0))
    assert edges(bands(ax)[0], 1) == pytest.approx(np.quantile(relative[:, 1], [0.25, 0.75]))
    assert line(ax, "b").get_color() == plots.look_of(2).color
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["unit"], ENGLISH["branch_over_signal"])


@pytest.mark.parametrize("units", [1, 4, 27, 50, 110])
def test_units_are_numbered_from_zero(ax: Axes, units: int) -> None:
    plots.split_lines(split_of(units, 2), ax=ax)
    ticks = ax.get_xticks()
    assert ticks[0] == 0
    assert len(ticks) <= 9
    assert max(ticks) <= units
    assert len(set(np.diff(ticks))) <= 1, "evenly"


# ── residual ÷ shortcut part ──


def stairs(ax: Axes, place: int = 0) -> tuple[np.ndarray, np.ndarray]:
    values, at, _ = ax.patches[place].get_data()
    return np.asarray(values), np.asarray(at)


def test_steps_integrate_the_counts_and_minus_one_is_marked(ax: Axes) -> None:
    ratios = np.concatenate([RNG.normal(-1, 0.5, 4000), 1e4 * RNG.normal(size=1000)])
    counts = np.tile(np.histogram(ratios, RATIO_EDGES)[0], (5, 1))
    counts[0] = 7
    plots.part_ratio(split_of(ratio_counts=counts), ax=ax, unit=2, label="r")
    heights, at = stairs(ax)
    assert heights.max() == 1
    assert heights[0] > 0 < heights[-1], "no empty bins at the ends"
    mass = heights * np.diff(at)
    for low, high in ((-3.0, -0.5), (0.0, 2.0), (-30.0, 30.0)):
        inside = (at[:-1] > low - 1e-9) & (at[1:] < high + 1e-9)
        expected = np.mean((ratios >= np.sinh(low)) & (ratios < np.sinh(high)))
        assert mass[inside].sum() / mass.sum() == pytest.approx(expected, rel=1e-9)
    mark = next(one for one in ax.get_lines() if one.get_gid() == "cancelled")
    np.testing.assert_allclose(np.sinh(mark.get_xdata()), -1)
    assert [words.get_text() for words in ax.texts] == ["−1"]
    assert ax.texts[0].xy[0] == pytest.approx(np.arcsinh(-1))


def test_the_axis_of_the_quotient_is_an_asinh(ax: Axes) -> None:
    plots.part_ratio(split_of(), ax=ax)
    named = dict(zip([one.get_text() for one in ax.get_xticklabels()], ax.get_xticks(), strict=True))
    assert {key: np.sinh(at) for key, at in named.items()} == pytest.approx(
        {"$-10^6$": -1e6, "0": 0, "$10^6$": 1e6}, rel=1e-9
    )
    assert ax.get_ylim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["part_ratio"], ENGLISH["density"])


def test_two_quotients_share_one_mark_and_have_their_own_look(ax: Axes) -> None:
    plots.part_ratio(split_of(), ax=ax, label="one")
    plots.part_ratio(split_of(), ax=ax, place=4, label="other")
    assert len([one for one in ax.get_lines() if one.get_gid() == "cancelled"]) == 1
    assert len(ax.texts) == 1
    assert [step.get_label() for step in ax.patches] == ["one", "other"]
    for step, place in zip(ax.patches, (1, 4), strict=True):
        assert same_color(step.get_edgecolor(), plots.look_of(place).color)


def test_no_quotient_at_all_is_an_empty_picture(ax: Axes) -> None:
    plots.part_ratio(split_of(ratio_counts=np.zeros((5, len(RATIO_EDGES) - 1), dtype=int)), ax=ax)
    FigureCanvasAgg(ax.figure).draw()
    assert not stairs(ax)[0].any()


# ── the gradient by path length ──


def test_shares_of_path_lengths_sum_to_one(ax: Axes) -> None:
    plots.path_lengths(spectrum_of(1), ax=ax)
    assert ax.get_lines()[0].get_ydata().sum() == pytest.approx(1)
    assert ax.get_lines()[0].get_xdata().tolist() == [0, 1, 2, 3, 4]


def test_shares_are_medians_with_quartiles(ax: Axes) -> None:
    spectrum = spectrum_of()
    plots.path_lengths(spectrum, ax=ax, place=3, label="s")
    shares = np.array([row / row.sum() for row in spectrum.values])
    np.testing.assert_allclose(line(ax, "s").get_ydata(), np.median(shares, axis=0))
    for length in range(5):
        assert edges(bands(ax)[0], length) == pytest.approx(np.quantile(shares[:, length], [0.25, 0.75]))
    assert ax.get_ylim()[0] == 0
    assert ax.get_yscale() == "linear"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["path_length"], ENGLISH["path_share"])


def test_a_spectrum_by_itself_says_which_line_is_theory(ax: Axes) -> None:
    predicted = spectrum_of(theory=np.arange(5.0))
    assert legend_of(predicted.plot(ax)) == [ENGLISH["measured"], ENGLISH["theory"]]
    assert legend_of(predicted.plot(ax, label="another")) == [ENGLISH["measured"], ENGLISH["theory"], "another"]
    assert spectrum_of().plot(Figure().subplots()).get_legend() is None, "one line needs no name"
    assert plots.path_lengths(predicted, ax=Figure().subplots()).get_legend() is None, "panels have one for all"


@pytest.mark.parametrize("units", [1, 2, 3, 11, 54])
@pytest.mark.parametrize("width", [1.5, 3.3, 6.0])
def test_path_lengths_are_counted_in_whole_numbers(units: int, width: float) -> None:
    fields = {"units": tuple(map(str, range(units))), "values": RNG.lognormal(size=(2, units + 1)), "whole": np.ones(2)}
    for draw in (plots.path_lengths, plots.path_counts, plots.gradient_per_path):
        ax = draw(spectrum_of(**fields), ax=Figure((width, 2)).subplots())
        low, high = ax.get_xlim()
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert len(ticks) >= 2
        assert all(tick == round(tick) for tick in ticks), ticks


@pytest.mark.parametrize("plain", [0, 1, 3])
def test_paths_are_counted(ax: Axes, plain: int) -> None:
    plots.path_counts(spectrum_of(plain=plain), ax=ax)
    drawn = ax.get_lines()[0]
    assert drawn.get_xdata().tolist() == list(range(plain, 5))
    expected = [math.comb(4 - plain, k) for k in range(5 - plain)]
    np.testing.assert_allclose(10.0 ** drawn.get_ydata(), expected)
    assert 10 ** drawn.get_ydata().max() == pytest.approx(max(expected))
    assert ax.get_ylabel() == ENGLISH["path_counts"]


def test_gradient_per_path_is_that_of_all_over_their_number_and_the_whole(ax: Axes) -> None:
    single = RNG.lognormal(sigma=3, size=(5, 5, 7))
    spectrum = spectrum_of(single=single)
    plots.gradient_per_path(spectrum, ax=ax, label="mean")
    mean = np.median(spectrum.values / COUNTS / spectrum.whole[:, None], axis=0)
    np.testing.assert_allclose(10 ** line(ax, "mean").get_ydata(), mean)
    along = [[single[s, k, n] / spectrum.whole[s] for s in range(5) for n in range(7)] for k in range(5)]
    np.testing.assert_allclose(10 ** line(ax, "_single").get_ydata(), np.median(along, axis=1))
    assert line(ax, "_single").get_color() == line(ax, "mean").get_color()
    assert line(ax, "_single").get_linestyle() == ":"
    assert ax.get_ylabel() == ENGLISH["per_path"]


def test_lengths_that_no_path_has_are_left_out(ax: Axes) -> None:
    values, single = np.ones((2, 5)), np.ones((2, 5, 3))
    values[:, :2], single[:, :2] = 0, math.nan
    plots.gradient_per_path(spectrum_of(2, plain=2, values=values, single=single), ax=ax, label="mean")
    assert line(ax, "mean").get_xdata().tolist() == [2, 3, 4]
    assert line(ax, "_single").get_xdata().tolist() == [2, 3, 4]
    bare = plots.gradient_per_path(spectrum_of(), ax=Figure().subplots())
    assert len(bare.get_lines()) == 1


def test_a_draw_without_gradient_is_left_out(ax: Axes) -> None:
    values = np.array([[0.0] * 5, [1.0] * 5, [1.0] * 5])
    plots.gradient_per_path(spectrum_of(3, values=values, whole=np.array([0.0, 1.0, 1.0])), ax=ax, label="mean")
    np.testing.assert_allclose(10 ** line(ax, "mean").get_ydata(), 1 / np.array(COUNTS))


def test_responses_are_medians_and_ranges_by_layer(ax: Axes) -> None:
    table = Table(columns={"median": np.array([2.0, 3.0]), "low": np.array([1.0, 2.5]), "high": np.array([4.0, 5.0])})
    plots.response_line(table, ax=ax, place=3, label="net")
    assert line(ax, "net").get_xdata().tolist() == [1, 2]
    assert line(ax, "net").get_ydata().tolist() == [2, 3]
    assert [edges(bands(ax)[0], layer) for layer in (1, 2)] == [[1, 4], [2.5, 5]]
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] >= 5
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["layer"], ENGLISH["response"])


# ── an axis of decimal logarithms ──


def tick_labels(axis: Any) -> list[str]:
    return [axis.get_major_formatter()(place) for place in axis.get_ticklocs()]


def named(label: str) -> float:
    """The decimal logarithm of what a label says."""
    power = re.fullmatch(r"\$10\^\{(-?\d+)\}\$", label)
    return float(power[1]) if power else math.log10(float(label))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.05, 0.25, {"1"}),
        (-0.35, -0.05, {"0.5"}),
        (-0.7, 0.8, {"0.2", "0.5", "1", "2", "5"}),
        (1.2, 2.7, {"20", "50", "$10^{2}$", "200", "500"}),
        (-2.1, 2.1, {"$10^{-2}$", "0.1", "1", "10", "$10^{2}$"}),
        (-28, 2, {"1", "$10^{-25}$"}),
        (-3000, 0, {"1", "$10^{-1000}$", "$10^{-3000}$"}),
        (-1, 2999, {"1", "$10^{1000}$"}),
    ],
)
@pytest.mark.parametrize("direction", ["x", "y"])
def test_ticks_say_what_they_are_the_logarithms_of(
    ax: Axes, low: float, high: float, expected: set[str], direction: str
) -> None:
    axis = getattr(ax, f"{direction}axis")
    getattr(ax, f"set_{direction}lim")(low, high)
    powers_of_ten(axis)
    shown = tick_labels(axis)
    assert expected <= set(shown)
    assert len(shown) == len(set(shown)) <= 8
    for label, place in zip(shown, axis.get_ticklocs(), strict=True):
        assert named(label) == pytest.approx(place, abs=1e-9)
        assert low <= place <= high


@pytest.mark.parametrize("decades", [2, 5, 17, 61, 400, 3000])
def test_ticks_are_few_and_even(ax: Axes, decades: int) -> None:
    ax.set_ylim(-decades - 0.4, 0.3)
    powers_of_ten(ax.yaxis)
    ticks = ax.yaxis.get_ticklocs()
    assert 2 <= len(ticks) <= 8
    assert len(set(np.diff(ticks))) == 1
    assert 0 in ticks


@pytest.mark.parametrize("value", [0.0, -40.0, 2.0, 3000.0])
def test_one_value_alone_has_a_tick(ax: Axes, value: float) -> None:
    ax.plot([0, 1], [value, value])
    powers_of_ten(ax.yaxis)
    ax.set_ylim(value - 1.5, value + 1.5)
    assert value in ax.yaxis.get_ticklocs()


def test_a_narrow_axis_has_a_tick(ax: Axes) -> None:
    ax.set_ylim(math.log10(2.2), math.log10(4.5))
    powers_of_ten(ax.yaxis)
    assert len(ax.yaxis.get_ticklocs())


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_narrow_axis_far_out_has_a_tick(ax: Axes, sign: int) -> None:
    ax.set_ylim(sign * 3000 - 0.5, sign * 3000 + 0.5)
    powers_of_ten(ax.yaxis)
    assert sign * 3000 in ax.yaxis.get_ticklocs()


@pytest.mark.parametrize("value", [-3000, 3000])
def test_a_narrow_axis_far_out_is_labelled_by_its_numbers(ax: Axes, value: int) -> None:
    ax.set_ylim(value - 0.5, value + 0.5)
    powers_of_ten(ax.yaxis)
    assert not {"0", "inf"} & set(tick_labels(ax.yaxis))


def test_an_axis_may_be_upside_down(ax: Axes) -> None:
    ax.set_ylim(2, -3)
    powers_of_ten(ax.yaxis)
    assert len(ax.yaxis.get_ticklocs())


# ── studies by a setting ──


@pytest.fixture
def runs(make_history: Callable[..., Any]) -> Study:
    """Three seeds with λ = 0.5, then three with λ = 1; test errors are 5 points above training errors."""
    finals = {0.5: (0.70, 0.80, 0.95), 1.0: (0.01, 0.03, 0.02)}
    settings = [{"lam": lam, "seed": seed} for lam in finals for seed in range(3)]
    curves = [(0.9, 0.5 + final / 10, final) for values in finals.values() for final in values]
    return Study(settings=tuple(settings), histories=tuple(map(make_history, curves)))


def test_curves_by_a_setting_are_medians_and_ranges(runs: Study, ax: Axes) -> None:
    plots.curves_by(runs, "lam", "train_error", ax=ax, names={1.0: "one", 0.5: "half"})
    assert labels(ax) == ["one", "half"], "in the order of names"
    np.testing.assert_allclose(line(ax, "half").get_ydata(), [90, 58, 80])
    np.testing.assert_allclose(line(ax, "one").get_ydata(), [90, 50.2, 2])
    assert edges(bands(ax)[1], 2) == pytest.approx([70, 95])
    assert edges(bands(ax)[0], 2) == pytest.approx([1, 3])
    assert line(ax, "one").get_xdata().tolist() == [0, 1, 2]
    assert ax.get_ylim() == (0, 100)
    assert ax.get_xlim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["epoch"], ENGLISH["train_error"])


def test_losses_are_not_percents_and_looks_go_on_from_a_place(runs: Study, ax: Axes) -> None:
    plots.curves_by(runs, "lam", "train_loss", ax=ax, names={0.5: "half", 1.0: "one"}, place=3, linewidth=4.5)
    np.testing.assert_allclose(line(ax, "half").get_ydata(), [1.8, 1.16, 1.6])
    assert ax.get_ylim()[1] < 100
    assert [one.get_color() for one in ax.get_lines()] == [plots.look_of(place).color for place in (3, 4)]
    assert {one.get_linewidth() for one in ax.get_lines()} == {4.5}
    with pytest.raises(KeyError):
        plots.curves_by(runs, "lam", "train_error", ax=ax, names={0.7: "unknown"})


def named_runs(make_history: Callable[..., Any]) -> Study:
    finals = {"good": (0.02, 0.01, 0.06), "bad": (0.6, 0.7, 0.9), "worse": (0.8, 0.85, 0.9)}
    settings = [{"shortcut": name, "seed": seed} for name in finals for seed in range(3)]
    curves = [(0.9, final) for values in finals.values() for final in values]
    return Study(settings=tuple(settings), histories=tuple(map(make_history, curves)))


def test_error_rows_show_both_errors_beside_the_papers(make_history: Callable[..., Any], ax: Axes) -> None:
    names = {"bad": "Bad", "good": "Good", "worse": "Worse"}
    published = {"good": 6.6, "bad": math.inf, "worse": math.inf}
    plots.error_rows(named_runs(make_history), "shortcut", names, ax=ax, published=published)
    found = [bar(container) for container in ax.containers]
    places = [(70, -0.15), (75, 0.15), (2, 0.85), (7, 1.15), (85, 1.85), (90, 2.15)]
    np.testing.assert_allclose([(x, y) for x, y, _ in found], places)
    bars = [segment for *_, segment in found]
    np.testing.assert_allclose(bars[:2], [[[60, -0.15], [90, -0.15]], [[65, 0.15], [95, 0.15]]])
    faces = [container.lines[0].get_markerfacecolor() for container in ax.containers]
    assert faces == ["white", plots.look_of(1).color] * 3, "training open, test filled"
    papers = [one for one in ax.get_lines() if "aper" in str(one.get_label())]
    marks = {(one.get_xdata()[0], one.get_ydata()[0]): one for one in papers}
    assert {place: mark.get_marker() for place, mark in marks.items()} == {(6.6, 1): "|", (20, 0): ">", (20, 2): ">"}
    assert [one.get_text() for one in ax.get_yticklabels()] == ["Bad", "Good", "Worse"]
    bottom, top = ax.get_ylim()
    assert bottom > 2 > 0 > top, "the first row is the uppermost"
    assert ax.get_xlabel() == ENGLISH["error"]


def test_the_legend_of_error_rows_has_each_mark_once(make_history: Callable[..., Any], ax: Axes) -> None:
    names = {name: name for name in ("good", "bad", "worse")}
    plots.error_rows(named_runs(make_history), "shortcut", names, ax=ax, published={**dict.fromkeys(names, math.inf)})
    shown = ax.get_legend_handles_labels()[1]
    assert sorted(shown) == sorted([ENGLISH["train_error"], ENGLISH["test_error"], ENGLISH["published_fails"]])
    other = Figure().subplots()
    plots.error_rows(named_runs(make_history), "shortcut", names, ax=other, published=dict.fromkeys(names, 7.0))
    assert other.get_legend_handles_labels()[1].count(ENGLISH["published"]) == 1
    assert ENGLISH["published_fails"] not in other.get_legend_handles_labels()[1]


def test_gains_are_medians_and_ranges_and_zero_is_said(ax: Axes) -> None:
    table = Table(
        columns={
            "log10_gain": np.array([-1.0, -math.inf, -7.5, 0.25]),
            "low": np.array([-1.5, -math.inf, -9.0, 0.25]),
            "high": np.array([-0.5, -10.0, -7.0, 0.5]),
        }
    )
    plots.gain_rows(table, ax=ax)
    FigureCanvasAgg(ax.figure).draw()
    found = [bar(container) for container in ax.containers]
    assert [(x, y) for x, y, _ in found] == [(-1, 0), (-7.5, 2), (0.25, 3)]
    np.testing.assert_allclose(found[1][2], [[-9, 2], [-7, 2]])
    assert [(words.get_text(), words.xy[1]) for words in ax.texts] == [("0", 1)]
    assert ax.texts[0].xy[0] == 0
    assert ax.texts[0].xycoords[0] == "axes fraction", "at the left end, where no gradient is"
    assert [one.get_xdata() for one in ax.get_lines() if list(one.get_ydata()) == [0, 1]] == [[0, 0]], "a gain of one"
    assert ax.get_xlabel() == ENGLISH["shortcut_gain"]
    assert "1" in tick_labels(ax.xaxis)


def test_a_range_from_zero_gain_is_seen(ax: Axes) -> None:
    table = Table(columns={"log10_gain": np.array([-1.0]), "low": np.array([-math.inf]), "high": np.array([0.0])})
    plots.gain_rows(table, ax=ax)
    assert np.ptp(np.array(bar(ax.containers[0])[2])[:, 0]) >= 1


def test_gradient_by_depth(make_history: Callable[..., Any], make_trace: Callable[..., Any], ax: Axes) -> None:
    settings, histories, recorded = [], [], {}
    for kind in ("plain", "residual"):
        for depth, layers in ((20, 3), (56, 5)):
            for seed in range(3):
                values = RNG.lognormal(size=(4, layers + 1, 1))
                recorded[kind, depth, seed] = values[:, :layers, 0]
                shapes = (*[(4, 8, 5, 5)] * layers, (4, 10))
                trace = make_trace(values, shapes=shapes, quantities=("weight_grad",))
                settings.append({"kind": kind, "depth": depth, "seed": seed})
                histories.append(make_history(trace=trace, traced_steps=np.arange(4)))
    study = Study(settings=tuple(settings), histories=tuple(histories))
    first = plots.gradient_by_depth(study, ax=Figure().subplots(), steps=slice(0, 1))
    plots.gradient_by_depth(study, ax=ax, steps=slice(1, None))
    assert labels(ax) == ["plain-20", "plain-56", "residual-20", "residual-56"]
    for kind in ("plain", "residual"):
        for depth in (20, 56):
            seeds = [recorded[kind, depth, seed] for seed in range(3)]
            later = np.median([np.median(one[1:], axis=0) for one in seeds], axis=0)
            np.testing.assert_allclose(line(ax, f"{kind}-{depth}").get_ydata(), later)
            at_start = np.median([one[0] for one in seeds], axis=0)
            np.testing.assert_allclose(line(first, f"{kind}-{depth}").get_ydata(), at_start)
    assert line(ax, "plain-20").get_xdata().tolist() == [0, 0.5, 1], "the head behind pooling is left out"
    assert line(ax, "plain-56").get_linewidth() > line(ax, "plain-20").get_linewidth()
    assert line(ax, "plain-56").get_color() == plots.model_color("plain") == line(ax, "plain-20").get_color()
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == f"{ENGLISH['rms']} of {ENGLISH['weight_grad']}"
    assert ax.get_xlabel() == ENGLISH["relative_depth"]


def test_correlations_by_layers_behind(ax: Axes) -> None:
    middle = RNG.normal(size=8)
    table = Table(
        columns={
            "depth": np.array([20, 20, 56, 56] * 2),
            "kind": ("plain",) * 4 + ("residual",) * 4,
            "layers": np.array([0, 2, 0, 6] * 2),
            "correlation": middle,
            "low": middle - 0.1,
            "high": middle + 0.2,
        }
    )
    plots.correlation_lines(table, ax=ax)
    for start, label in enumerate(("plain-20", "plain-56", "residual-20", "residual-56")):
        drawn = line(ax, label)
        assert drawn.get_xdata().tolist() == [0, 6 if "56" in label else 2]
        np.testing.assert_array_equal(drawn.get_ydata(), middle[2 * start : 2 * start + 2])
        assert edges(bands(ax)[start], 0) == pytest.approx([middle[2 * start] - 0.1, middle[2 * start] + 0.2])
    assert line(ax, "residual-56").get_color() == plots.model_color("residual")
    assert (ax.get_xlabel(), ax.get_ylabel()) == (ENGLISH["layers_behind"], ENGLISH["gradient_correlation"])
    assert ax.get_yscale() == "linear", "correlations may be negative"


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("filled", [False, True])
def test_median_and_range(ax: Axes, across: bool, filled: bool) -> None:
    look = plots.look_of(2)
    plots.median_and_range(ax, 7.0, np.array([4.0, 1.0, 3.0, 9.0]), look, filled=filled, across=across, label="m")
    x, y, segment = bar(ax.containers[0])
    place, middle = (y, x) if across else (x, y)
    assert (place, middle) == (7, 3.5)
    assert [sorted(point) for point in segment] == [[1, 7], [7, 9]]
    assert [point[1 if across else 0] for point in segment] == [7, 7]
    marker = ax.containers[0].lines[0]
    assert marker.get_marker() == look.marker
    assert marker.get_markerfacecolor() == (look.color if filled else "white")
    assert ax.get_legend_handles_labels()[1] == ["m"]


# ── house rules for all ──


def test_every_word_comes_from_the_table_of_labels(runs: Study) -> None:
    gains = Table(columns={name: np.array([0.0]) for name in ("log10_gain", "low", "high")})
    drawn: list[Callable[[Axes], Axes]] = [
        lambda ax: plots.split_lines(split_of(), ax=ax),
        lambda ax: plots.signal_lines(split_of(), ax=ax),
        lambda ax: plots.branch_lines(split_of(), ax=ax),
        lambda ax: plots.part_ratio(split_of(), ax=ax),
        lambda ax: plots.path_lengths(spectrum_of(), ax=ax),
        lambda ax: plots.path_counts(spectrum_of(), ax=ax),
        lambda ax: plots.gradient_per_path(spectrum_of(), ax=ax),
        lambda ax: plots.gain_rows(gains, ax=ax),
        lambda ax: plots.curves_by(runs, "lam", "test_error", ax=ax, names={1.0: "one"}),
    ]
    for draw in drawn:
        figure = Figure()
        target, neighbour = figure.subplots(1, 2)
        empty = len(neighbour.get_children())
        assert draw(target) is target
        assert {target.get_xlabel(), target.get_ylabel()} - {""} <= set(ENGLISH.values())
        assert len(neighbour.get_children()) == empty
        assert not figure.legends
