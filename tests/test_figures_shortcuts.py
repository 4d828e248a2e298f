"""Figures about shortcuts: their facts against independent computations, their words, and what is put into the axes."""

from __future__ import annotations

import dataclasses
import math
import re
import string
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

import gradflow
from gradflow import figures, plots
from gradflow.figures.book import BookFigure, Seeds
from gradflow.plots.labels import ENGLISH
from gradflow.results import RATIO_EDGES, GradientSplit, Panels, PathSpectrum, Study, Table

DATA = Path(__file__).parent.parent / "figures" / "data"
NAMES = (
    "lambda-product",
    "path-lengths",
    "forward-signal",
    "lambda-training",
    "shortcut-variants",
    "placements",
    "degradation-anatomy",
)
KINDS, DEPTHS = ("plain", "residual"), (20, 56)
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _in_style() -> Iterator[None]:
    with plots.style():
        yield


def committed(name: str) -> Any:
    """The numbers of a book figure, read once."""
    if name not in _READ:
        path = DATA / f"{name}.json"
        if not path.exists():
            pytest.skip(f"{name} has not been computed yet")
        _READ[name] = gradflow.load(path)
    return _READ[name]


_READ: dict[str, Any] = {}


def facts_of(name: str, numbers: Any = None) -> dict[str, Any]:
    return dict(figures.CATALOGUE[name].facts(committed(name) if numbers is None else numbers))


def agrees(facts: dict[str, Any], expected: dict[str, Any]) -> None:
    """All expected facts are there, to nine digits."""
    for key, value in expected.items():
        if isinstance(value, float):
            assert facts[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
        else:
            assert facts[key] == value, key


def final(study: Study, curve: str, **wanted: Any) -> list[float]:
    """The last values of a curve in percent, by a plain loop."""
    pairs = zip(study.settings, study.histories, strict=True)
    return [
        100 * float(getattr(h, curve)[-1]) for s, h in pairs if all(s[key] == value for key, value in wanted.items())
    ]


def key_of(value: float) -> str:
    return f"{value:g}".replace(".", "_")


def labels(ax: Axes) -> list[str]:
    return [str(one.get_label()) for one in ax.get_lines() if not str(one.get_label()).startswith("_")]


def heights(ax: Axes, label: str) -> np.ndarray:
    found = [one for one in ax.get_lines() if one.get_label() == label]
    assert len(found) == 1, labels(ax)
    return np.asarray(found[0].get_ydata(), dtype=float)


def legend(figure: Figure) -> list[str]:
    return [words.get_text() for one in figure.legends for words in one.get_texts()]


def marker(container: ErrorbarContainer) -> tuple[float, float]:
    middle = container.lines[0]
    return float(middle.get_xdata()[0]), float(middle.get_ydata()[0])


# ── what a book figure is ──


def test_a_book_figure_is_three_functions_and_maybe_seeds() -> None:
    one = BookFigure(compute=dict, draw=dict, facts=dict)
    assert one.seeds is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.seeds = Seeds(3, 1)  # type: ignore[misc]
    assert Seeds(book=5, live=1) == (5, 1)
    for name, figure in figures.CATALOGUE.items():
        assert figure.seeds is None or figure.seeds.book > figure.seeds.live >= 1, name


@pytest.mark.parametrize("name", NAMES)
def test_captions_take_every_number_from_the_facts(name: str) -> None:
    wanted = {field for _, field, _, _ in string.Formatter().parse(ENGLISH[f"caption:{name}"]) if field}
    facts = facts_of(name)
    assert wanted <= facts.keys()
    for key in wanted:
        value = facts[key]
        assert isinstance(value, str) or math.isfinite(value), key


@pytest.mark.parametrize("name", NAMES)
def test_the_book_has_as_many_seeds_as_it_says(name: str) -> None:
    numbers, seeds = committed(name), figures.CATALOGUE[name].seeds
    if seeds:
        assert numbers.provenance["seeds"] == seeds.book == facts_of(name)["seeds"]


# ── lambda-product ──

LAMS = (0.5, 0.9, 1.0, 1.1, 1.5)


def test_facts_of_the_product() -> None:
    numbers, facts = committed("lambda-product"), facts_of("lambda-product")
    for lam in LAMS:
        split = numbers[f"{lam:g}"]
        assert np.unique(split.lam).tolist() == [lam]
        whole = [10 ** (row[0] - row[-1]) for row in split.log10_whole]
        agrees(facts, {f"product_{key_of(lam)}": math.prod([lam] * 50)})
        assert facts[f"whole_{key_of(lam)}"] == pytest.approx(median(whole), rel=0.02), "geometric or arithmetic middle"
        assert 10 ** split.median("shortcut")[0] == pytest.approx(math.prod([lam] * 50), rel=1e-9)
    one, small, linear = (numbers[name] for name in ("1", "small branch", "plain linear"))
    agrees(facts, {"cancelled": 100 * median(one.cancelled[:, 0])})
    agrees(facts, {"small_cancelled": 100 * median(small.cancelled[:, 0])})
    agrees(facts, {"units": len(one.units), "draws": one.draws, "batch": one.provenance["batch"]})
    for key, split in (("signal", one), ("linear", linear)):
        assert facts[key] == pytest.approx(10 ** median(r[-1] - r[0] for r in split.log10_signal))
    assert one.provenance["dtype"] == "float64", "as the caption says"


def test_the_caption_of_the_product_says_what_the_numbers_say() -> None:
    numbers, facts = committed("lambda-product"), facts_of("lambda-product")
    assert facts["product_0_5"] < 1e-9 < 1e-5 < facts["whole_0_5"] < 1
    assert facts["product_0_9"] < 1 < facts["product_1_1"] < facts["whole_1_1"]
    assert np.ptp(numbers["1"].log10_carried, axis=1).max() < 1e-9, "what shortcuts carry stays"
    np.testing.assert_allclose(numbers["1"].log10_summed[:, -1], numbers["1"].log10_signal[:, -1], atol=0.01)
    assert facts["cancelled"] < facts["small_cancelled"] < 100
    assert 1 < facts["small_whole"] < 2
    for lam in LAMS:
        split = numbers[f"{lam:g}"]
        assert np.abs(split.theory["whole"] - split.median("whole")).max() < 0.1, "dots lie on the lines"


def split_of(lam: float = 1.0, *, falling: Any = None, units: int = 3, **fields: Any) -> GradientSplit:
    """A small split of random numbers; ``rise`` decades of the signal a unit."""
    places = (3, units + 1)
    names = ("shortcut", "residual", "whole", "signal", "carried", "summed", "left_over")
    given: dict[str, Any] = {f"log10_{name}": RNG.normal(size=places) for name in names}
    given |= {name: RNG.uniform(size=places) for name in ("cosine", "share", "cancelled")}
    given |= {
        "units": tuple(f"units.{place}" for place in range(units)),
        "lam": np.full((3, units), lam),
        "posts": ("",) * units,
        "gaps": (False,) * units,
        "ratio_counts": np.ones((units + 1, len(RATIO_EDGES) - 1), dtype=int),
        "log10_branch": RNG.normal(size=(3, units)),
        "falling": np.zeros((3, units)) if falling is None else np.asarray(falling, dtype=float),
        "provenance": {"batch": 7},
    }
    return GradientSplit(**{**given, **fields})


def products() -> Panels:
    parts = {f"{lam:g}": split_of(lam) for lam in LAMS}
    return Panels(parts={**parts, "small branch": split_of(), "plain linear": split_of(0.0)})


def test_panels_of_the_product() -> None:
    numbers = products()
    axes = figures.CATALOGUE["lambda-product"].draw(numbers).axes
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes[:5]] == [f"λ = {lam:g}" for lam in LAMS]
    for lam, ax in zip(LAMS, axes, strict=False):
        np.testing.assert_allclose(heights(ax, ENGLISH["whole_part"]), numbers[f"{lam:g}"].median("whole"))
        # Without a closed form of the whole, of which there are dots in the book's figure, only those of ∏λ.
        np.testing.assert_allclose(heights(ax, ENGLISH["theory"])[0], 3 * math.log10(lam), atol=1e-12)
        assert ax.get_legend() is None
    assert len({ax.get_ylim() for ax in axes[:5]}) == 1, "one scale for all λ"
    forward, ratio, words = axes[5:]
    names = [f"forward: {ENGLISH[key]}" for key in ("carried", "summed", "signal", "plain_linear")]
    assert labels(forward) == names, "they look like those of the gradient"
    linear = numbers["plain linear"].log10_signal
    np.testing.assert_allclose(heights(forward, names[-1]), np.median(linear - linear[:, :1], axis=0))
    assert [step.get_label() for step in ratio.patches] == ["F × 1", "F × 0.1"]
    shown = [one.get_text() for one in words.get_legend().get_texts()]
    assert shown == [*labels(axes[0]), *labels(forward), "F × 1", "F × 0.1"]
    assert not words.axison


# ── path-lengths ──


def test_facts_of_path_lengths() -> None:
    numbers, facts = committed("path-lengths"), facts_of("path-lengths")
    units = 54
    for state in ("start", "trained"):
        spectrum = numbers[state]
        assert len(spectrum.units) == units
        shares = [[value / sum(row) for value in row] for row in spectrum.values.tolist()]
        middle = [median(row[k] for row in shares) for k in range(units + 1)]
        low, high = facts[f"{state}_low"], facts[f"{state}_high"]
        assert sum(middle[low : high + 1]) >= 0.95 * sum(middle)
        for start in range(units + 2 - (high - low)):
            assert sum(middle[start : start + high - low]) < 0.95 * sum(middle), "no shorter range has as much"
        assert middle[facts[f"{state}_peak"]] == max(middle), "the peak of the line that is drawn"
        agrees(facts, {f"{state}_veit": 100 * median(sum(row[5:18]) for row in shares)})
        along = median(np.log10(spectrum.single[:, 27]).ravel().tolist())
        mean = median(math.log10(value / math.comb(54, 27)) for value in spectrum.values[:, 27])
        assert facts[f"{state}_cancel"] == pytest.approx(10 ** (along - mean))
        assert spectrum.provenance["mode"] == "train"
        assert spectrum.provenance["dtype"] == "float64"
        assert spectrum.provenance["batch"] == facts["batch"]
        assert spectrum.single.shape[2] == facts["single"]
    paths = sum(math.comb(54, k) for k in range(5, 18)) / 2**54
    agrees(facts, {"veit_paths": 100 * paths, "units": units})
    assert f"{facts['veit_paths']:.2f}" == "0.45", "Veit16 §5"


def test_the_caption_of_path_lengths_says_what_the_numbers_say() -> None:
    numbers, facts = committed("path-lengths"), facts_of("path-lengths")
    assert facts["trained_high"] < facts["start_high"] <= 17
    assert facts["trained_veit"] < facts["start_veit"]
    assert facts["start_veit"] > 80, "much as Veit16 found"
    assert facts["start_cancel"] > 1 < facts["trained_cancel"]
    assert (cancelled(numbers["start"]) > 0).all(), "paths of one length cancel with every seed"


def cancelled(spectrum: PathSpectrum) -> np.ndarray:
    """By how many decades single paths of half the units exceed their mean, for each seed."""
    assert spectrum.single is not None
    along = np.median(np.log10(spectrum.single[:, 27]), axis=1)
    return along - np.array([math.log10(value / math.comb(54, 27)) for value in spectrum.values[:, 27]])


def paths(peak: int, draws: int = 3, units: int = 20) -> PathSpectrum:
    values = np.exp(-np.abs(np.arange(units + 1) - peak)) * RNG.uniform(1, 2, size=(draws, 1))
    single = RNG.lognormal(size=(draws, units + 1, 2))
    names = tuple(map(str, range(units)))
    return PathSpectrum(units=names, plain=0, values=values, whole=values.max(axis=1), single=single)


def test_panels_and_facts_of_paths_follow_the_numbers() -> None:
    numbers = Panels(parts={"start": paths(9), "trained": paths(3)})
    figure = figures.CATALOGUE["path-lengths"].draw(numbers)
    counts, per_path, together = figure.axes
    assert 10 ** counts.get_lines()[0].get_ydata()[7] == pytest.approx(math.comb(20, 7))
    start, trained = ENGLISH["paths:start"], ENGLISH["paths:trained"]
    assert labels(per_path) == labels(together) == [start, trained]
    assert [int(heights(together, label).argmax()) for label in (start, trained)] == [9, 3]
    veit = next(patch for patch in together.patches if patch.get_label() == ENGLISH["paths:veit"])
    assert [veit.get_x(), veit.get_x() + veit.get_width()] == [4.5, 17.5]
    assert legend(figure) == [start, trained, ENGLISH["paths:veit"]]
    facts = facts_of("path-lengths", numbers)
    assert (facts["start_peak"], facts["trained_peak"]) == (9, 3)
    assert facts["start_low"] <= 9 <= facts["start_high"]
    assert facts["trained_low"] <= 3 <= facts["trained_high"] < 9
    assert (facts["units"], facts["seeds"]) == (20, 3)


# ── forward-signal ──

PLACEMENTS = {"original": "original", "activation": "activation-before-addition", "preactivation": "preactivation"}
NETS = {"plain_20": 19, "residual_20": 19, "residual_56": 55}


def test_facts_of_the_forward_signal() -> None:
    numbers, facts = committed("forward-signal"), facts_of("forward-signal")
    for (key, placement), state in product(PLACEMENTS.items(), ("start", "trained")):
        split = numbers[f"{state} {placement}"]
        assert len(split.units) == 27, "as the caption says"
        growth = 10 ** median(row[-1] - row[0] for row in split.log10_signal)
        falling = 100 * median(value for value in split.falling.ravel().tolist() if not math.isnan(value))
        agrees(facts, {f"{key}_{state}": float(growth), f"{key}_{state}_falling": falling})
        assert split.provenance["batch"] == facts["batch"]
        assert split.provenance["mode"] == "train"
    for name, layers in NETS.items():
        table = numbers[f"responses {name.replace('_', '-')}"]
        assert len(table["median"]) == layers, "every 3×3 layer"
        assert (table["low"] <= table["median"]).all()
        assert (table["median"] <= table["high"]).all()
        agrees(facts, {name: median(table["median"].tolist())})


def test_the_caption_of_the_forward_signal_says_what_the_numbers_say() -> None:
    numbers, facts = committed("forward-signal"), facts_of("forward-signal")
    for state, placement in product(("start", "trained"), PLACEMENTS.values()):
        split = numbers[f"{state} {placement}"]
        sizes = np.isnan(split.falling).all(axis=0)
        assert sizes.sum() == 2
        growth = np.diff(np.median(split.log10_signal, axis=0))
        assert (growth[sizes] < 0).all(), "falls where the channels double"
        if placement == PLACEMENTS["activation"]:
            assert np.nanmax(split.falling) == 0, "no element ever falls inside a stage"
            assert (growth[~sizes] > 0).all()
    hardly = [facts[name] for name in NETS]
    assert max(hardly) / min(hardly) < 1.1


def test_panels_and_facts_of_the_signal_follow_the_numbers() -> None:
    parts: dict[str, Any] = {}
    for place, placement in enumerate(PLACEMENTS.values()):
        parts[f"start {placement}"] = split_of(falling=[[place / 10, math.nan, place / 10]] * 3)
        parts[f"trained {placement}"] = split_of(falling=[[place / 5, math.nan, place / 5]] * 3)
    for place, name in enumerate(NETS):
        middle = np.array([1.0, 2.0, 4.0]) + place
        table = Table(columns={"median": middle, "low": middle - 0.5, "high": middle + 0.5})
        parts[f"responses {name.replace('_', '-')}"] = table
    numbers = Panels(parts=parts)
    figure = figures.CATALOGUE["forward-signal"].draw(numbers)
    start, trained, responses, branches = figure.axes
    for placement in PLACEMENTS.values():
        label = ENGLISH[f"placement:{placement}"]
        for ax, state in ((start, "start"), (trained, "trained")):
            signal = numbers[f"{state} {placement}"].log10_signal
            np.testing.assert_allclose(heights(ax, label), np.median(signal - signal[:, :1], axis=0))
        split = numbers[f"trained {placement}"]
        expected = np.median(split.log10_branch - split.log10_signal[:, :3], axis=0)
        np.testing.assert_allclose(heights(branches, label), expected)
    assert labels(responses) == ["plain-20", "residual-20", "residual-56"]
    np.testing.assert_array_equal(heights(responses, "residual-56"), [3, 4, 6])
    assert legend(figure) == labels(start)
    facts = facts_of("forward-signal", numbers)
    falling = [facts[f"{key}_{state}_falling"] for state in ("start", "trained") for key in PLACEMENTS]
    assert falling == pytest.approx([0, 10, 20, 0, 20, 40])
    assert [facts[name] for name in NETS] == [2, 3, 4]


# ── lambda-training ──

TRAINED_LAMS = (0.5, 0.9, 1.0, 1.1)


def study_of(make_history: Callable[..., Any], finals: dict[tuple[tuple[str, Any], ...], tuple[float, ...]]) -> Study:
    """Runs with given final test errors in percent, by setting and seed; training errors are 5 points lower."""
    settings, histories = [], []
    for setting, errors in finals.items():
        for seed, error in enumerate(errors):
            settings.append({**dict(setting), "seed": seed})
            histories.append(make_history((0.95, (error - 5) / 100), provenance={"batch": 128}))
    return Study(settings=tuple(settings), histories=tuple(histories))


def lambdas(make_history: Callable[..., Any]) -> Study:
    finals = {}
    for place, (lam, scaled) in enumerate(product(TRAINED_LAMS, (False, True))):
        finals[("lam", lam), ("scaled", scaled)] = (5.0 + place, 10.0 + place, 18.0 + place)
    return study_of(make_history, finals)


def test_facts_of_training_with_lambda() -> None:
    study, facts = committed("lambda-training"), facts_of("lambda-training")
    for (scaled, word), lam in product(((False, "whole"), (True, "scaled")), TRAINED_LAMS):
        errors = final(study, "test_error", lam=lam, scaled=scaled)
        assert len(errors) == facts["seeds"]
        fails = sum(error > 20 for error in errors)
        key = f"{word}_{key_of(lam)}"
        agrees(facts, {key: median(errors), f"{key}_fails": fails, f"{key}_worst": max(errors)})
    last = study.histories[-1]
    agrees(facts, {"epochs": last.epochs, "steps": int(last.steps[-1]), "batch": last.provenance["batch"]})


def test_the_caption_of_training_with_lambda_says_what_the_numbers_say() -> None:
    facts = facts_of("lambda-training")
    assert facts["whole_0_5_fails"] == facts["scaled_0_5_fails"] == facts["seeds"], "λ = 0.5 fails"
    assert facts["scaled_0_5"] < facts["whole_0_5"], "scaling F as well lowers the median error"
    study = committed("lambda-training")
    whole, scaled = (final(study, "test_error", lam=0.5, scaled=flag) for flag in (False, True))
    assert max(scaled) > min(whole), "the ranges overlap"
    assert facts["scaled_0_5"] > 12.35, "there it comes down further"
    for lam in ("0_9", "1_1"):
        assert facts[f"whole_{lam}"] < 20, "learns in the median"
        assert facts[f"scaled_{lam}_worst"] < facts[f"whole_{lam}_worst"] - 5, "more surely with a small branch"


def test_panels_and_facts_of_lambda_follow_the_numbers(make_history: Callable[..., Any]) -> None:
    study = lambdas(make_history)
    figure = figures.CATALOGUE["lambda-training"].draw(study)
    whole, scaled, last = figure.axes
    for ax, flag in ((whole, False), (scaled, True)):
        assert labels(ax) == [f"λ = {lam:g}" for lam in TRAINED_LAMS]
        for lam in TRAINED_LAMS:
            expected = median(final(study, "train_error", lam=lam, scaled=flag))
            assert heights(ax, f"λ = {lam:g}")[-1] == pytest.approx(expected)
    assert len(last.containers) == 16
    for place, lam in enumerate(TRAINED_LAMS):
        for flag, curve in product((False, True), ("train_error", "test_error")):
            near = place - 0.2 + 0.4 * flag + (-0.1 if curve == "train_error" else 0.1)
            found = next(one for one in last.containers if abs(marker(one)[0] - near) < 1e-9)
            assert marker(found)[1] == pytest.approx(median(final(study, curve, lam=lam, scaled=flag)))
            face = found.lines[0].get_markerfacecolor()
            assert (face == "white") == (curve == "train_error"), "training open, test filled"
            assert found.lines[0].get_color() == plots.look_of(place).color
    assert [one.get_text() for one in last.get_xticklabels()] == ["0.5", "0.9", "1", "1.1"]
    assert 20 in [float(line.get_ydata()[0]) for line in last.get_lines() if list(line.get_xdata()) == [0, 1]]
    facts = facts_of("lambda-training", study)
    fails = [facts[f"{word}_{key_of(lam)}_fails"] for lam in TRAINED_LAMS for word in ("whole", "scaled")]
    assert fails == [0, 0, 0, 1, 1, 1, 1, 1], "20 % is no failure, more is"
    assert (facts["whole_0_5"], facts["scaled_1_1"], facts["seeds"]) == (pytest.approx(10), pytest.approx(17), 3)


# ── shortcut-variants ──

FAILS_IN_THE_PAPER = ("scaled-0", "scaled-0.5", "dropout")
LEARNS_IN_THE_PAPER = {
    "original": 6.61,
    "scaled-0.5-0.5": 12.35,
    "exclusive-gate": 8.70,
    "shortcut-only-gate-0": 12.86,
    "shortcut-only-gate": 6.91,
    "conv1x1": 12.22,
}


def variants(make_history: Callable[..., Any], errors: dict[str, float], gains: dict[str, float]) -> Panels:
    names = tuple(figures.variants.TABLE_1)
    finals = {(("shortcut", name),): (errors[name] - 1, errors[name], errors[name] + 1) for name in names}
    middle = np.array([gains.get(name, -1.0) for name in names])
    table = Table(columns={"shortcut": names, "log10_gain": middle, "low": middle, "high": middle})
    return Panels(parts={"training": study_of(make_history, finals), "gain": table})


def as_in_the_paper() -> dict[str, float]:
    return {**LEARNS_IN_THE_PAPER, **dict.fromkeys(FAILS_IN_THE_PAPER, 80.0)}


def test_table_one_is_the_papers() -> None:
    table = dict(figures.variants.TABLE_1)
    assert {name for name, error in table.items() if math.isinf(error)} == set(FAILS_IN_THE_PAPER)
    assert {name: error for name, error in table.items() if math.isfinite(error)} == LEARNS_IN_THE_PAPER
    assert figures.variants.TABLE_2 == {
        "original": 6.61,
        "norm-after-addition": 8.17,
        "activation-before-addition": 7.84,
        "activation-only-preactivation": 6.71,
        "preactivation": 6.37,
    }


def test_facts_of_shortcut_variants() -> None:
    numbers, facts = committed("shortcut-variants"), facts_of("shortcut-variants")
    study, gain = numbers["training"], numbers["gain"]
    agree, others = 0, []
    for name in as_in_the_paper():
        middle = median(final(study, "test_error", shortcut=name))
        key = name.replace("-", "_").replace(".", "")
        agrees(facts, {f"test_{key}": middle})
        same = (middle > 20) == (name in FAILS_IN_THE_PAPER)
        agree += same
        if not same:
            others.append(ENGLISH[f"shortcut:{name}"])
    agrees(facts, {"agree": agree, "rows": 9})
    assert sum(len(words) for words in others) + 2 * (len(others) - 1) == len(facts["others"])
    assert all(words in facts["others"] for words in others)
    found = dict(zip(gain["shortcut"], gain["log10_gain"], strict=True))
    for name in ("original", "conv1x1"):
        agrees(facts, {f"gain_{name}": float(10 ** found[name])})
    blocked = [name for name, value in found.items() if value == -math.inf and name != "scaled-0"]
    assert all(ENGLISH[f"shortcut:{name}"] in facts["blocked"] for name in blocked)
    assert not any(math.isnan(value) or value == math.inf for value in found.values())


def test_the_caption_of_shortcut_variants_says_what_the_numbers_say() -> None:
    facts = facts_of("shortcut-variants")
    here = {name: facts[f"test_{name.replace('-', '_').replace('.', '')}"] for name in as_in_the_paper()}
    paper = sorted(LEARNS_IN_THE_PAPER, key=LEARNS_IN_THE_PAPER.__getitem__)[:2]
    assert set(sorted(here, key=here.__getitem__)[:2]) == set(paper) == {"original", "shortcut-only-gate"}
    assert abs(here["original"] - here["shortcut-only-gate"]) < 1, "differences between the two are noise"
    other = [name for name in here if (here[name] > 20) != (name in FAILS_IN_THE_PAPER)]
    assert not set(other) & set(FAILS_IN_THE_PAPER), "they learn in the paper"


def test_the_words_of_shortcut_variants_change_sides(make_history: Callable[..., Any]) -> None:
    same = facts_of("shortcut-variants", variants(make_history, as_in_the_paper(), {}))
    assert (same["agree"], same["others"]) == (9, ENGLISH["none"])
    errors = {**as_in_the_paper(), "conv1x1": 60.0, "dropout": 10.0}
    gains = {"original": -2.0, "conv1x1": 1.0, "scaled-0": -math.inf, "dropout": -math.inf}
    differs = facts_of("shortcut-variants", variants(make_history, errors, gains))
    assert differs["agree"] == 7
    assert same["difference"] != differs["difference"], "dropout fails in the paper, and learns here"
    assert set(differs["others"].split("; ")) == {ENGLISH["shortcut:conv1x1"], ENGLISH["shortcut:dropout"]}
    assert differs["blocked"] == ENGLISH["shortcut:dropout"]
    assert (differs["gain_original"], differs["gain_conv1x1"]) == (pytest.approx(0.01), pytest.approx(10))
    edge = facts_of("shortcut-variants", variants(make_history, {**as_in_the_paper(), "conv1x1": 20.0}, {}))
    assert edge["agree"] == 9, "20 % is not over 20 %"


def test_panels_of_shortcut_variants(make_history: Callable[..., Any]) -> None:
    numbers = variants(make_history, as_in_the_paper(), {"scaled-0": -math.inf, "conv1x1": -3.0})
    figure = figures.CATALOGUE["shortcut-variants"].draw(numbers)
    errors, gain = figure.axes
    rows = [ENGLISH[f"shortcut:{name}"] for name in figures.variants.TABLE_1]
    assert [one.get_text() for one in errors.get_yticklabels()] == rows
    assert gain.get_ylim() == errors.get_ylim(), "one row, one shortcut"
    conv = rows.index(ENGLISH["shortcut:conv1x1"])
    assert (-3.0, conv) in [marker(one) for one in gain.containers]
    assert [words.xy[1] for words in gain.texts] == [rows.index(ENGLISH["shortcut:scaled-0"])]
    test = {round(y - 0.15): x for x, y in map(marker, errors.containers) if y - 0.15 == pytest.approx(round(y - 0.15))}
    assert test[conv] == pytest.approx(12.22)
    keys = ("train_error", "test_error", "published", "published_fails")
    assert sorted(legend(figure)) == sorted(ENGLISH[key] for key in keys)


# ── placements ──


def test_facts_of_placements() -> None:
    study, facts = committed("placements"), facts_of("placements")
    for name in figures.variants.TABLE_2:
        key = name.replace("-", "_")
        agrees(
            facts,
            {f"{curve}_{key}": median(final(study, f"{curve}_error", placement=name)) for curve in ("train", "test")},
        )


def test_the_caption_of_placements_says_what_the_numbers_say() -> None:
    facts = facts_of("placements")
    original, after, before, only, full = (facts[f"test_{name.replace('-', '_')}"] for name in figures.variants.TABLE_2)
    assert after > before > max(original, only, full), "BN after the addition is worst, ReLU before it next"
    assert max(only, full) <= original, "both pre-activations do no worse"
    table = figures.variants.TABLE_2
    assert sorted(table, key=table.__getitem__)[-2:] == ["activation-before-addition", "norm-after-addition"]


def test_panels_of_placements(make_history: Callable[..., Any]) -> None:
    names = tuple(figures.variants.TABLE_2)
    finals = {(("placement", name),): (5.0 + row, 9.0 + row, 10.0 + row) for row, name in enumerate(names)}
    figure = figures.CATALOGUE["placements"].draw(study_of(make_history, finals))
    curves, errors = figure.axes
    words = [ENGLISH[f"placement:{name}"] for name in names]
    assert labels(curves) == words == [one.get_text() for one in errors.get_yticklabels()]
    assert legend(figure) == [*words, ENGLISH["published"], ENGLISH["train_error"], ENGLISH["test_error"]]
    assert [heights(curves, label)[-1] for label in words] == pytest.approx([4, 5, 6, 7, 8])
    assert [x for x, y in map(marker, errors.containers) if y % 1 < 0.5] == pytest.approx([9, 10, 11, 12, 13])
    papers = [one for one in errors.get_lines() if str(one.get_label()).endswith(ENGLISH["published"])]
    assert [one.get_xdata()[0] for one in papers] == list(figures.variants.TABLE_2.values())


# ── degradation-anatomy ──


def kernels(run: Any, quantity: int = 0) -> np.ndarray:
    """Gradients (0) or weights (1) of the convolutions by traced step, the last Linear layer left out."""
    assert run.trace.quantities == ("weight_grad", "weight")
    assert "conv" in run.trace.layers[0]
    assert "conv" in run.trace.layers[-2]
    return np.asarray(run.trace.values[:, :-1, quantity])


def test_facts_of_the_anatomy() -> None:
    numbers, facts = committed("degradation-anatomy"), facts_of("degradation-anatomy")
    training, table = numbers["training"], numbers["correlation"]
    for kind, depth in product(KINDS, DEPTHS):
        runs, key = training.select(kind=kind, depth=depth), f"{kind}_{depth}"
        assert len(runs) == facts["seeds"]
        seeds = [kernels(run) for run in runs]
        assert {one.shape[1] for one in seeds} == {depth - 1}
        first = [median(one[step, 1] for one in seeds) for step in range(len(seeds[0]))]
        last = [median(one[step, -1] for one in seeds) for step in range(len(seeds[0]))]
        later = [a / b for a, b in zip(first[1:], last[1:], strict=True)]
        agrees(facts, {f"{key}_error": median(final(training, "train_error", kind=kind, depth=depth))})
        agrees(facts, {f"{key}_start": first[0] / last[0], f"{key}_later": median(later)})
        agrees(facts, {f"{key}_first": median(first[1:])})
        kept = [kernels(run, 1) for run in runs]
        for word, layer in (("first", 1), ("last", -1)):
            start, end = (median(float(one[step, layer]) for one in kept) for step in (0, -1))
            agrees(facts, {f"{key}_growth_{word}": end / start})
        free = [
            median(float(g[step, 1] * w[step, 1]) for g, w in zip(seeds, kept, strict=True))
            / median(float(g[step, -1] * w[step, -1]) for g, w in zip(seeds, kept, strict=True))
            for step in range(len(kept[0]))
        ]
        agrees(facts, {f"{key}_scaled_start": free[0], f"{key}_scaled_later": median(free[1:])})
        rows = [r for r, at in enumerate(table["depth"]) if at == depth and table["kind"][r] == kind]
        deepest = max(rows, key=lambda row: table["layers"][row])
        agrees(facts, {f"{key}_correlation": float(table["correlation"][deepest])})
    deepened, zero = numbers["deepened"], numbers["zero"]
    agrees(facts, {"deepened_start": 100 * median(float(run.train_error[0]) for run in deepened.histories)})
    agrees(facts, {"deepened_worst": 100 * median(float(max(run.train_error)) for run in deepened.histories)})
    agrees(facts, {"deepened_end": median(final(deepened, "train_error"))})
    for word, study in (("zero", zero), ("usual", training.subset(kind="residual", depth=56))):
        agrees(
            facts,
            {f"{word}_error": median(final(study, "train_error")), f"{word}_test": median(final(study, "test_error"))},
        )
    agrees(facts, {"extra": 6, "epochs": training.histories[0].epochs, "steps": int(training.histories[0].steps[-1])})
    assert {int(run.traced_steps[-1]) for run in training.histories} == {facts["traced"]}


def test_the_caption_of_the_anatomy_says_what_the_numbers_say() -> None:
    numbers, facts = committed("degradation-anatomy"), facts_of("degradation-anatomy")
    others = [facts[f"{key}_error"] for key in ("plain_20", "residual_20", "residual_56")]
    assert facts["plain_56_error"] > 50 > 1 > max(others)
    for seed, run in enumerate(numbers["training"].select(kind="plain", depth=56)):
        start = kernels(run)[0]
        assert start[1] / start[-1] > 1000, f"explodes at the first step with seed {seed}"
    assert facts["plain_56_start"] > 10 * max(
        facts[f"{key}_start"] for key in ("plain_20", "residual_20", "residual_56")
    )
    assert facts["plain_56_later"] > 0.1, "nor does it vanish later: a third over 54 layers"
    for seed, run in enumerate(numbers["training"].select(kind="plain", depth=56)):
        weights = kernels(run, 1)
        growth = weights[-1] / weights[0]
        assert growth[1] > 20 > 1.1 > growth[-1], f"the first kernels grow most with seed {seed}"
        assert growth[1] == max(growth[1:])
    assert facts["plain_56_scaled_later"] > 50 * facts["plain_56_later"], "much of the fall is one of scale"
    assert facts["plain_56_scaled_later"] < facts["plain_56_scaled_start"] / 20, "but not all of it"
    table = numbers["correlation"]
    for depth in DEPTHS:
        plain, residual = (
            {
                int(n): float(c)
                for n, c, k, d in zip(*(table[key] for key in ("layers", "correlation", "kind", "depth")), strict=True)
                if (k, d) == (kind, depth)
            }
            for kind in KINDS
        )
        assert plain[0] == residual[0] == pytest.approx(1)
        assert plain[6] < 0.2 < residual[6], "decorrelate within a few layers in both plain nets"
        assert all(plain[layers] < residual[layers] for layers in plain if layers)
    assert facts["deepened_start"] < 1 < 20 < facts["deepened_end"] <= facts["deepened_worst"]
    assert max(facts["zero_error"], facts["usual_error"]) < 1, "learns as well"
    assert abs(facts["zero_test"] - facts["usual_test"]) < 1


def anatomy(make_history: Callable[..., Any], make_trace: Callable[..., Any], plain_56: float = 80.0) -> Panels:
    settings, histories = [], []
    for kind, depth, seed in product(KINDS, DEPTHS, range(3)):
        values = RNG.lognormal(size=(4, 6, 2))
        trace = make_trace(values, shapes=(*[(4, 8, 5, 5)] * 5, (4, 10)), quantities=("weight_grad", "weight"))
        error = plain_56 if (kind, depth) == ("plain", 56) else 6.0
        settings.append({"kind": kind, "depth": depth, "seed": seed})
        curve = (0.9, (error + seed - 5) / 100)
        histories.append(make_history(curve, trace=trace, traced_steps=np.arange(4), provenance={"batch": 128}))
    rows = list(product(DEPTHS, KINDS, (0, 6)))
    middle = np.array([1.0 if layers == 0 else 0.1 * row for row, (_, _, layers) in enumerate(rows)])
    table = {"correlation": middle, "low": middle - 0.1, "high": middle + 0.1}
    table |= {"depth": np.array([row[0] for row in rows]), "layers": np.array([row[2] for row in rows])}
    deepened = tuple(make_history((0.01, worst, end)) for worst, end in ((0.8, 0.3), (0.9, 0.5), (0.7, 0.4)))
    zero = tuple(make_history((0.9, end)) for end in (0.02, 0.03, 0.01))
    seeds = range(3)
    return Panels(
        parts={
            "training": Study(settings=tuple(settings), histories=tuple(histories)),
            "correlation": Table(columns={**table, "kind": tuple(row[1] for row in rows)}),
            "deepened": Study(settings=tuple({"extra": 6, "seed": s} for s in seeds), histories=deepened),
            "zero": Study(settings=tuple({"kind": "residual", "depth": 56, "seed": s} for s in seeds), histories=zero),
        }
    )


def test_panels_of_the_anatomy(make_history: Callable[..., Any], make_trace: Callable[..., Any]) -> None:
    numbers = anatomy(make_history, make_trace)
    figure = figures.CATALOGUE["degradation-anatomy"].draw(numbers)
    errors, first, later, correlation, construction, zero = figure.axes
    names = [f"{kind}-{depth}" for kind in KINDS for depth in DEPTHS]
    for ax in (errors, first, later, correlation):
        assert labels(ax) == names
    for kind, depth in product(KINDS, DEPTHS):
        seeds = [run.trace.values[:, :5, 0] for run in numbers["training"].select(kind=kind, depth=depth)]
        name = f"{kind}-{depth}"
        np.testing.assert_allclose(heights(first, name), np.median([one[0] for one in seeds], axis=0))
        after = np.median([np.median(one[1:], axis=0) for one in seeds], axis=0)
        np.testing.assert_allclose(heights(later, name), after)
    assert heights(errors, "plain-56")[-1] == pytest.approx(76)
    assert heights(correlation, "plain-56").tolist() == pytest.approx([1.0, 0.5])
    scratch, deepened = labels(construction)
    assert deepened == "from trained plain-20"
    assert heights(construction, scratch)[-1] == pytest.approx(76)
    assert heights(construction, deepened).tolist() == pytest.approx([1, 80, 40])
    assert [heights(zero, label)[-1] for label in labels(zero)] == pytest.approx([2, 2])
    assert labels(zero) == [ENGLISH["anatomy:usual"], ENGLISH["anatomy:zero"]]
    assert legend(figure) == names


def test_facts_of_the_anatomy_follow_the_numbers(
    make_history: Callable[..., Any], make_trace: Callable[..., Any]
) -> None:
    facts = facts_of("degradation-anatomy", anatomy(make_history, make_trace, plain_56=40.0))
    assert (facts["plain_56_error"], facts["plain_20_error"]) == (pytest.approx(36), pytest.approx(2))
    found = [facts[f"deepened_{when}"] for when in ("start", "worst", "end")]
    assert found == pytest.approx([1, 80, 40])
    assert (facts["zero_error"], facts["zero_test"]) == (pytest.approx(2), pytest.approx(7))
    assert facts["residual_56_correlation"] == pytest.approx(0.7)
    assert (facts["seeds"], facts["batch"]) == (3, 128)


def test_growth_is_that_of_the_weights_and_the_scale_falls_out(
    make_history: Callable[..., Any], make_trace: Callable[..., Any]
) -> None:
    """Kernels c times as long, with gradients 1/c of their size, change what is free of scale in nothing."""
    numbers = anatomy(make_history, make_trace)
    before = facts_of("degradation-anatomy", numbers)
    for run in numbers["training"].histories:
        run.trace.values[1:, 1] *= (1 / 8, 8)
    after = facts_of("degradation-anatomy", numbers)
    for key in (f"{kind}_{depth}" for kind, depth in product(KINDS, DEPTHS)):
        assert after[f"{key}_growth_first"] == pytest.approx(8 * before[f"{key}_growth_first"])
        assert after[f"{key}_later"] == pytest.approx(before[f"{key}_later"] / 8)
        for same in ("growth_last", "start", "scaled_start", "scaled_later"):
            assert after[f"{key}_{same}"] == pytest.approx(before[f"{key}_{same}"])


# ── the nets behind the numbers ──


def test_the_laboratory_stack_is_what_the_caption_says() -> None:
    import torch

    net = figures.units.laboratory_stack(0.9, branch=0.1)
    units = [module for module in net.modules() if getattr(module, "is_unit", False)]
    assert len(units) == 50
    weights = [p for name, p in net.named_parameters() if p.shape == (64, 64)]
    assert not any(p.any() for name, p in net.named_parameters() if "bias" in name)
    assert float(torch.stack(list(weights)).detach().var()) == pytest.approx(1 / 64, rel=0.02)
    x = torch.randn(3, 64)
    (inner,) = [p for p in units[4].parameters() if p.shape == (64, 64)]
    with torch.no_grad():
        torch.testing.assert_close(units[4](x), 0.9 * x + 0.1 * torch.relu(x) @ inner.T)


@pytest.mark.parametrize("scaled", [False, True])
def test_lambda_stands_on_every_shortcut_and_maybe_its_rest_on_every_branch(scaled: bool) -> None:
    import torch

    net = figures.variants.scaled_net(0.75, scaled).eval()
    units = [module for module in net.modules() if getattr(module, "is_unit", False)]
    assert len(units) == 27
    x = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        expected = torch.relu(0.75 * x + (0.25 if scaled else 1) * units[1].branch(x))
        torch.testing.assert_close(units[1](x), expected)


def test_frozen_statistics_are_those_of_the_batch() -> None:
    import torch

    x = torch.randn(16, 1, 8, 8)
    net = figures.anatomy._frozen(20, "residual", x)
    assert not net.training
    norm = next(module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))
    kernel = next(module for module in net.modules() if isinstance(module, torch.nn.Conv2d))
    with torch.no_grad():
        before = kernel(x)
    torch.testing.assert_close(norm.running_mean, before.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, before.var((0, 2, 3)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_in_front_of_batchnorm_has_a_gradient_at_right_angles_that_goes_as_one_over_its_length(
    kind: str,
) -> None:
    import torch

    from gradflow.data import digits

    x, y = (part[:64] for part in digits().train)
    net = figures.training.digits_net(20, kind).double()
    kernels = [module.weight for module in net.modules() if isinstance(module, torch.nn.Conv2d)]

    def gradients() -> Any:
        return torch.autograd.grad(torch.nn.functional.cross_entropy(net(x.double()), y), kernels)

    before = gradients()
    assert len(before) == 19
    for kernel, gradient in zip(kernels, before, strict=True):
        cosine = torch.cosine_similarity(kernel.detach().flatten(), gradient.flatten(), dim=0)
        assert abs(float(cosine)) < 1e-3, "not quite zero: BatchNorm adds ε to the variance"
    with torch.no_grad():
        kernels[1] *= 3
    after = gradients()
    torch.testing.assert_close(3 * after[1], before[1], rtol=1e-2, atol=1e-3 * float(before[1].abs().max()))
    torch.testing.assert_close(after[-1], before[-1], rtol=1e-2, atol=1e-3 * float(before[-1].abs().max()))


def test_responses_are_taken_behind_every_batchnorm() -> None:
    import torch

    nets = [figures.training.digits_net(20, kind) for kind in KINDS]
    table = figures.units._responses(nets, (torch.randn(32, 1, 8, 8), None))
    assert [len(table[column]) for column in ("median", "low", "high")] == [19, 19, 19]
    np.testing.assert_allclose(table["median"], 1, atol=0.03, err_msg="γ is 1 at the start")


def test_captions_name_what_their_numbers_belong_to() -> None:
    """A few whole sentences, so that no number stands at another's place."""
    whole = re.sub(r"\s+", " ", figures.caption("placements", committed("placements")))
    facts = facts_of("placements")
    assert (
        f"original {facts['test_original']:.1f} %, BN after addition {facts['test_norm_after_addition']:.1f} %" in whole
    )
    anatomy_words = figures.caption("degradation-anatomy", committed("degradation-anatomy"))
    assert f"training error of plain-56 is {facts_of('degradation-anatomy')['plain_56_error']:.0f} %" in anatomy_words
