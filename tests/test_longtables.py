"""A figure's numbers as one long table: every number back exactly, medians as NumPy has them."""

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import gradflow
from gradflow import figures
from gradflow.figures.longtables import long_table
from gradflow.results import Lesion, LossSlice, Panels, PathSpectrum, Table

FOLDER = Path(__file__).parent.parent / "figures"


def read(result):
    """The rows of a long table as a reader of the file gets them."""
    content = long_table(result).decode()
    assert "\r" not in content
    rows = list(csv.DictReader(io.StringIO(content)))
    assert all(None not in row and None not in row.values() for row in rows), "every row has every column"
    return rows


def numbers(rows, name):
    return np.array([float(row[name]) for row in rows if row[name]])


def test_a_table_comes_back_exactly():
    values = np.array([0.1, 1 / 3, np.nan, np.inf, -np.inf, 5e-324, -0.0])
    words = ("a,b", 'with "quotes"', "∂", "", "line\nbreak", "e", "f")
    rows = read(Table(columns={"value": values, "word": words, "single": np.float32(values)}))
    assert np.array_equal([float(row["value"]) for row in rows], values, equal_nan=True)
    assert np.array_equal([np.float32(row["single"]) for row in rows], np.float32(values), equal_nan=True)
    assert tuple(row["word"] for row in rows) == words
    assert rows[1]["single"] == "0.33333334", "no more digits than it takes"


def test_a_trace_has_a_row_for_each_step_and_layer(each_kind):
    trace = each_kind["Trace"]
    rows = read(trace)
    assert [(row["step"], row["layer"]) for row in rows[:6]] == [("0", str(n)) for n in range(1, 6)] + [("1", "1")]
    for quantity in trace.quantities:
        assert np.array_equal(numbers(rows, quantity), trace[quantity].ravel())


def test_a_comparison_has_medians_quartiles_and_theory_as_drawn(each_kind):
    comparison = each_kind["Comparison"]
    rows = read(comparison)
    plain = [row for row in rows if row["model"] == "plain"]
    values = comparison.values("plain")
    for name, q in (("median", 0.5), ("lower_quartile", 0.25), ("upper_quartile", 0.75)):
        assert numbers(plain, name) == pytest.approx(np.quantile(values, q, axis=0), rel=1e-12)
    assert numbers(plain, "theory") == pytest.approx(np.geomspace(1e-4, 1, 5) * np.median(values[:, -1]), rel=1e-12)
    assert [row["name"] for row in plain] == list(comparison.traces["plain"].layers)
    assert {row["theory"] for row in rows if row["model"] == "residual"} == {""}


def test_a_history_has_curves_rates_and_its_trace(each_kind):
    history = each_kind["History"]
    rows = read(history)
    curves = [row for row in rows if row["epoch"]]
    for name in ("train_loss", "train_error", "test_loss", "test_error"):
        assert np.array_equal(numbers(curves, name), getattr(history, name))
    assert [row["learning_rate"] for row in curves] == ["", "0.1", "0.1"]
    traced = [row for row in rows if row["layer"]]
    assert sorted({int(row["step"]) for row in traced}) == [0, 5, 10]
    assert np.array_equal(numbers(traced, "output_grad"), history.trace["output_grad"].ravel())


def test_a_study_has_every_curve_and_the_median_and_range_of_traces(make_study, make_history, make_trace):
    study = make_study()
    rows = read(study)
    assert len(rows) == sum(len(history.epoch) for history in study.histories)
    last = [row for row in rows if (row["kind"], row["depth"], row["seed"], row["step"]) == ("plain", "20", "1", "20")]
    assert float(last[0]["train_error"]) == study.select(kind="plain", depth=20, seed=1)[0].train_error[-1]

    values = np.random.default_rng(1).lognormal(size=(4, 2, 3))
    histories = tuple(make_history(trace=make_trace(one), traced_steps=np.array([0, 7])) for one in values)
    settings = tuple({"kind": kind, "seed": seed} for kind in ("plain", "residual") for seed in (0, 1))
    traced = [row for row in read(type(study)(settings=settings, histories=histories)) if row["layer"]]
    assert len(traced) == 2 * 2 * 3
    assert {row["seed"] for row in traced} == {""}
    plain = [row for row in traced if row["kind"] == "plain"]
    for name, find in (("output_grad", np.median), ("output_grad_low", np.min), ("output_grad_high", np.max)):
        assert numbers(plain, name) == pytest.approx(find(values[:2], axis=0).ravel(), rel=1e-12)


def test_a_traced_study_has_a_row_for_each_step_and_layer(make_study, make_history, make_trace):
    values = np.random.default_rng(4).lognormal(size=(3, 2, 4, 2))
    histories = tuple(make_history(trace=make_trace(one), traced_steps=np.array([0, 7])) for one in values)
    settings = tuple({"kind": "plain", "seed": seed} for seed in range(3))
    traced = [row for row in read(type(make_study())(settings=settings, histories=histories)) if row["layer"]]
    assert [(row["step"], row["layer"]) for row in traced] == [(s, str(n)) for s in "07" for n in range(1, 5)]
    for at, name in enumerate(("output_grad", "weight_grad")):
        for ending, find in (("", np.median), ("_low", np.min), ("_high", np.max)):
            found = numbers(traced, f"{name}{ending}")
            assert found == pytest.approx(find(values[..., at], axis=0).ravel(), rel=1e-12)


def test_a_split_has_what_its_figures_show(each_kind):
    split = each_kind["GradientSplit"]
    rows = read(split)
    places = [row for row in rows if row["log10_whole_median"]]
    assert [row["unit"] for row in places] == [*split.units, "output"]
    for part in ("shortcut", "residual", "whole"):
        found = np.array([float(row[f"log10_{part}_median"]) for row in places])
        assert found == pytest.approx(np.median(split.relative(part), axis=0), abs=1e-12)
    bins = [row for row in rows if row["count"]]
    assert sum(int(row["count"]) for row in bins) == split.ratio_counts[0].sum()
    assert all(float(row["ratio_from"]) < float(row["ratio_to"]) for row in bins)


def test_paths_have_shares_and_single_paths():
    values = np.random.default_rng(2).lognormal(size=(3, 4))
    single = np.random.default_rng(3).lognormal(size=(3, 4, 5))
    spectrum = PathSpectrum(units=("a", "b", "c"), plain=0, values=values, whole=values.sum(1), single=single)
    rows = read(spectrum)
    assert numbers(rows, "share_median") == pytest.approx(np.median(spectrum.shares, axis=0))
    assert 10 ** numbers(rows, "log10_paths") == pytest.approx([1, 3, 3, 1])
    along = np.log10(single) - np.log10(spectrum.whole)[:, None, None]
    assert numbers(rows, "log10_single_path_over_whole") == pytest.approx(np.median(along, axis=(0, 2)))


def test_a_lesion_has_every_measurement(each_kind):
    lesion: Lesion = each_kind["Lesion"]
    rows = read(lesion)
    columns = lesion._columns()
    expected = Counter(zip(columns["net"], columns["lesion"], columns["count"], columns["error"], strict=True))
    found = Counter((row["net"], row["lesion"], int(row["count"]), float(row["error"])) for row in rows)
    assert found == expected


def test_a_slice_of_the_loss_has_both_directions(each_kind):
    plane: LossSlice = each_kind["LossSlice"]
    rows = read(plane)
    grid = {(float(row["alpha"]), float(row["alpha_2"])): float(row["loss"]) for row in rows}
    assert grid[plane.alphas[0], plane.alphas[2]] == plane.loss[0, 2]
    assert len(grid) == plane.loss.size


def test_gradients_by_input_and_their_correlation(each_kind):
    along, correlated = each_kind["InputGradients"], each_kind["Autocorrelation"]
    assert np.array_equal(np.float32(numbers(read(along), "gradient")), along["plain"].ravel())
    assert np.array_equal(numbers(read(correlated), "autocorrelation"), correlated.mean("plain"))


def test_panels_say_which_and_go_to_any_depth(make_study):
    table = Table(columns={"x": np.array([1.0, 2.0])})
    rows = read(Panels(parts={"a": Panels(parts={"b": (table, table)}), "c": make_study(), "d": table}))
    assert Counter(row["panel"] for row in rows) == {"a/b/0": 2, "a/b/1": 2, "c": 24, "d": 2}


@pytest.mark.parametrize("kind", ["Cost", "GradientCorrelation"])
def test_what_no_figure_shows_has_no_long_table(each_kind, kind):
    with pytest.raises(TypeError, match=r"to_frame"):
        long_table(each_kind[kind])


@pytest.mark.parametrize("name", figures.CATALOGUE)
def test_every_figure_has_one(name):
    content = long_table(gradflow.load(FOLDER / "data" / f"{name}.json"))
    rows = list(csv.reader(io.StringIO(content.decode())))
    assert len(rows) > 10
    assert len({len(row) for row in rows}) == 1
    assert len(content) < 600_000
    assert not any("object at" in cell or "[" in cell or "{" in cell for row in rows for cell in row)
