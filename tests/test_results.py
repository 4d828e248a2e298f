"""Results: on disk and back, equality, pictures, tables and text."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradflow import load
from gradflow.results import Panels, Result, Table, Trace, quantile

KINDS = (
    *("Trace", "Comparison", "History", "Study", "Table", "Panels"),
    *("GradientSplit", "PathSpectrum", "Lesion", "LossSlice"),
    *("InputGradients", "Autocorrelation", "GradientCorrelation", "Cost"),
)
DRAWN = ("Trace", "Comparison", "History", "Study", "GradientSplit", "PathSpectrum", "Lesion", "LossSlice")

floats = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 2.2e-308, 1e308]))
arrays = st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_, np.uint64]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
names = st.text(max_size=6)
reserved = st.sampled_from(["kind", "fields", "float", "array", "dtype", "shape", "format", "version"])
facts = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def bits(value: Any) -> Any:
    """A value in a form in which nan equals nan (of any payload) and -0.0 differs from 0.0."""
    if isinstance(value, np.ndarray):
        value = np.where(np.isnan(value), np.array(np.nan, value.dtype), value) if value.dtype.kind == "f" else value
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(bits(item) for item in value)
    if isinstance(value, Result):
        return type(value), bits(value.stored()[1])
    return type(value), value


def round_trip(result: Any, folder: Path) -> Any:
    path = folder / "result.json"
    path.unlink(missing_ok=True)
    assert result.save(path) is result
    return load(path)


# ── round trips ──


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_back_is_what_was_saved(kind: str, each_kind: dict[str, Any], tmp_path: Path) -> None:
    result = each_kind[kind]
    back = round_trip(result, tmp_path)
    assert type(back) is type(result)
    assert back == result
    assert bits(back) == bits(result)
    assert set(Result.kinds) == set(KINDS), "a new kind of result needs its place in these tests"


@settings(max_examples=60, deadline=None)
@given(values=hnp.arrays(np.float64, st.tuples(*[st.integers(0, 3)] * 3), elements=floats))
def test_any_trace_round_trips(
    values: np.ndarray, make_trace: Callable[..., Trace], tmp_path_factory: pytest.TempPathFactory
) -> None:
    result = make_trace(values, dtypes=("float64",) * values.shape[1])
    back = round_trip(result, tmp_path_factory.getbasetemp())
    assert back == result
    assert bits(back) == bits(result)


@settings(max_examples=100, deadline=None)
@given(array=arrays, numbers=st.lists(floats, max_size=3), provenance=st.dictionaries(names, facts, max_size=3))
def test_any_array_and_any_facts_round_trip(
    array: np.ndarray, numbers: list[float], provenance: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    result = Table(columns={"a": array, "b": tuple(numbers)}, provenance=provenance)
    back = round_trip(result, tmp_path_factory.getbasetemp())
    assert bits(back.columns) == bits(result.columns)
    assert bits(back.provenance) == bits(result.provenance)
    assert back == result


@settings(max_examples=50, deadline=None)
@given(columns=st.dictionaries(names | reserved, st.just(np.array([1.0, 2.0])), min_size=1, max_size=3))
def test_columns_may_have_any_name(columns: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert round_trip(Table(columns=columns), tmp_path_factory.getbasetemp()) == Table(columns=columns)


def test_loaded_arrays_cannot_be_written_to(each_kind: dict[str, Any], tmp_path: Path) -> None:
    back = round_trip(each_kind["Trace"], tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        back.values[0] = 0


def test_the_file_is_text_with_a_line_for_each_field(each_kind: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.json"
    each_kind["Trace"].save(path)
    lines = path.read_text().splitlines()
    assert lines[1:4] == ['"format": "gradflow-result",', '"version": 1,', '"kind": "Trace",']
    fields = [field.name for field in dataclasses.fields(each_kind["Trace"])]
    assert [line.split('"')[1] for line in lines[4:-1]] == fields
    assert json.loads(path.read_text())["norm"] == "rms"
    assert "NaN" not in path.read_text()


# ── files that are something else ──


@pytest.mark.parametrize("kind", ["Trace", "Comparison"])
def test_a_truncated_file_is_refused_at_any_byte(kind: str, each_kind: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    content = each_kind[kind].save(path) and path.read_bytes()
    ends = range(len(content) - 1) if len(content) < 600 else sorted({*range(200), *range(200, len(content) - 1, 53)})
    for end in (*ends, len(content) - 2):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"cut\.json"):
            load(path)


GOOD = '"format": "gradflow-result", "version": 1'
ARRAY = '{"dtype": "float64", "shape": [2], "array": [1.0, 2.0]}'


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not JSON",
        "null",
        "[1, 2]",
        '"text"',
        "{}",
        '{"a": 1}',
        '{"format": "other", "version": 1, "kind": "Table"}',
        '{"format": "gradflow-result"}',
        '{"format": "gradflow-result", "version": 2, "kind": "Table", "columns": {}}',
        '{"format": "gradflow-result", "version": "1", "kind": "Table", "columns": {}}',
        "{" + GOOD + "}",
        "{" + GOOD + ', "kind": "Tableau", "columns": {}}',
        "{" + GOOD + ', "kind": 3, "columns": {}}',
        "{" + GOOD + ', "kind": ["Table"], "columns": {}}',
        "{" + GOOD + ', "kind": "Table"}',
        "{" + GOOD + ', "kind": "Table", "columns": {}, "colour": "red"}',
        "{" + GOOD + ', "kind": "Table", "columns": {"x": ' + ARRAY.replace("[2]", "[3]") + "}}",
        "{" + GOOD + ', "kind": "Table", "columns": {"x": ' + ARRAY.replace("float64", "float99") + "}}",
        "{" + GOOD + ', "kind": "Table", "columns": {"x": ' + ARRAY.replace("2.0", '"two"') + "}}",
        "{" + GOOD + ', "kind": "Table", "columns": {"x": {"float": "two"}}}',
        "{" + GOOD + ', "kind": "Panels", "parts": {"a": {"kind": "Trace", "fields": 3}}}',
        "{" + GOOD + ', "kind": "Panels", "parts": {"a": {"kind": "Trace", "fields": {"values": 1}}}}',
    ],
)
def test_what_is_no_result_is_a_value_error_that_names_the_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"strange\.json"):
        load(path)
    # and a result may be saved in its place
    result = Table(columns={"x": np.ones(2)})
    assert load(result.save(path) and path) == result


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "picture.json"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"picture\.json"):
        load(path)


def test_a_later_version_says_update(tmp_path: Path, each_kind: dict[str, Any]) -> None:
    path = tmp_path / "later.json"
    each_kind["Table"].save(path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ValueError, match=r"later\.json has format version 2.*update"):
        load(path)


def test_other_endings_and_missing_files(tmp_path: Path, each_kind: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\.json"):
        load(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "a.json")
    for name in ("a", "a.jpg", "a.json.gz", "a.csv"):
        with pytest.raises(ValueError, match=rf"\.json, \.pdf, \.svg, \.png or \.html; got '{name}'"):
            each_kind["Trace"].save(tmp_path / name)
    assert not list(tmp_path.iterdir())


# ── equality ──


def test_equality_ignores_the_run_and_nothing_else(each_kind: dict[str, Any]) -> None:
    for result in each_kind.values():
        later = dataclasses.replace(result, provenance={**result.provenance, "run": {"time": "later", "seconds": 3.0}})
        assert later == result
        assert dataclasses.replace(result, provenance={**result.provenance, "seed": 77}) != result
        assert result != "something else"


def test_equality_ignores_the_run_of_inner_results(each_kind: dict[str, Any]) -> None:
    trace = each_kind["Trace"]
    later = dataclasses.replace(trace, provenance={**trace.provenance, "run": {}})
    assert Panels(parts={"a": trace}) == Panels(parts={"a": later})
    other = dataclasses.replace(trace, norm="l2")
    assert Panels(parts={"a": trace}) != Panels(parts={"a": other})


def test_equality_sees_numbers_shapes_dtypes_and_nan(make_trace: Callable[..., Trace]) -> None:
    values = np.array([[1.0, math.nan, 3.0]])
    trace = make_trace(values)
    assert trace == make_trace(values.copy())
    assert trace != make_trace([[1.0, math.nan, np.nextafter(3.0, 4)]])
    assert trace != make_trace([[1.0, 2.0, 3.0]])
    assert trace != make_trace(np.array([[1.0, math.nan, 3.0]] * 2))
    assert trace != dataclasses.replace(trace, values=trace.values.astype(np.float32))


def test_a_trace_with_histograms_differs_from_one_without(each_kind: dict[str, Any]) -> None:
    trace = each_kind["Trace"]
    without = dataclasses.replace(trace, histograms=None)
    assert trace != without
    assert without != trace


def test_results_have_no_hash(each_kind: dict[str, Any]) -> None:
    for result in each_kind.values():
        with pytest.raises(TypeError, match="hash"):
            hash(result)


def test_frozen(each_kind: dict[str, Any]) -> None:
    for result in each_kind.values():
        for field in dataclasses.fields(result):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(result, field.name, None)


# ── writing ──


def test_an_equal_result_leaves_the_file_untouched(each_kind: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for result in each_kind.values():
        path.unlink(missing_ok=True)
        result.save(path)
        os.utime(path, ns=(1, 1))
        dataclasses.replace(result, provenance={**result.provenance, "run": {"time": "later"}}).save(path)
        assert path.stat().st_mtime_ns == 1
        dataclasses.replace(result, provenance={**result.provenance, "seed": 77}).save(path)
        assert path.stat().st_mtime_ns != 1
        assert load(path).provenance["seed"] == 77


@pytest.mark.parametrize("ending", ["json", "png"])
@pytest.mark.parametrize("at", ["replace", "fsync"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    at: str, ending: str, each_kind: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x.{ending}"
    each_kind["Trace"].save(path)
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, at, interrupt)
    with pytest.raises(KeyboardInterrupt):
        each_kind["History"].save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_get_the_usual_permissions(each_kind: dict[str, Any], tmp_path: Path) -> None:
    each_kind["Table"].save(tmp_path / "x.json")
    (tmp_path / "y").touch()
    assert (tmp_path / "x.json").stat().st_mode == (tmp_path / "y").stat().st_mode


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize("kind", ["Comparison", "Study"])
def test_pictures_have_the_same_bytes_each_time(
    kind: str, ending: str, each_kind: dict[str, Any], tmp_path: Path
) -> None:
    back = round_trip(each_kind[kind], tmp_path)
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    assert each_kind[kind].save(first) is each_kind[kind]
    back.save(second)
    assert first.read_bytes() == second.read_bytes()
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert first.read_bytes().startswith(start)
    assert not re.search(rb"<dc:date>|CreationDate", first.read_bytes())


@pytest.mark.parametrize("kind", ["Table", "Panels"])
def test_results_without_a_picture_say_so(kind: str, each_kind: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"a {kind} has no picture"):
        each_kind[kind].save(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


# ── tables and text ──


def test_frame_of_a_trace(each_kind: dict[str, Any]) -> None:
    trace = each_kind["Trace"]
    frame = trace.to_frame()
    assert list(frame.columns) == ["step", "layer", "quantity", "value", "nonfinite"]
    assert len(frame) == 3 * 5 * 2
    for (step, layer, quantity), row in frame.set_index(["step", "layer", "quantity"]).iterrows():
        assert row["value"] == trace[quantity][step, trace.layers.index(layer)]


def test_frame_of_a_comparison(each_kind: dict[str, Any]) -> None:
    result = each_kind["Comparison"]
    frame = result.to_frame()
    assert list(frame.columns) == ["model", "repeat", "layer", "output_grad"]
    assert len(frame) == 2 * 3 * 5
    chosen = frame[(frame.model == "plain") & (frame.repeat == 2) & (frame.layer == "fc4")]
    assert chosen.output_grad.tolist() == [result.values("plain")[2, 3]]


def test_frames_of_training_runs_and_tables(each_kind: dict[str, Any]) -> None:
    history = each_kind["History"].to_frame()
    assert history.train_error.tolist() == [0.9, 0.5, 0.25]
    assert history.steps.tolist() == [0, 10, 20]
    study = each_kind["Study"].to_frame()
    assert list(study.columns) == ["kind", "depth", "seed", "train_error", "test_error"]
    chosen = study[(study.kind == "plain") & (study.depth == 20) & (study.seed == 1)]
    assert chosen.train_error.tolist() == [0.62]
    table = each_kind["Table"].to_frame()
    assert table["name"].tolist() == ["a", "b"]
    with pytest.raises(TypeError, match="Panels is not a table"):
        each_kind["Panels"].to_frame()


def test_repr_holds_the_numbers(each_kind: dict[str, Any], make_trace: Callable[..., Trace]) -> None:
    shown = repr(make_trace([[1.5e-7, 0.25, 0.0, math.nan, 12345.0]], unseen=("fc9",)))
    for words in ("fc1", "1.50e-07", "0.25", "1.23e+04", "nan", "one step", "nothing measured for: fc9"):
        assert words in shown
    comparison = repr(each_kind["Comparison"])
    assert "plain" in comparison
    assert "toward the input" in comparison
    assert "2 epochs, 20 steps" in repr(each_kind["History"])
    assert "8 runs" in repr(each_kind["Study"])
    assert "1.5" in repr(each_kind["Table"])
    assert "[left]" in repr(each_kind["Panels"])
    assert all(len(line) < 160 for result in each_kind.values() for line in repr(result).splitlines())


def test_long_tables_lose_their_middle(make_trace: Callable[..., Trace]) -> None:
    shown = repr(make_trace(np.ones((1, 200)))).splitlines()
    assert len(shown) < 30
    assert sum(line.startswith("…") for line in shown) == 1
    assert any(line.startswith("fc1 ") for line in shown)
    assert any(line.startswith("fc200 ") for line in shown)
    assert "…" not in repr(make_trace(np.ones((1, 20))))


@pytest.mark.parametrize("kind", DRAWN)
def test_notebook_shows_text_and_picture(kind: str, each_kind: dict[str, Any]) -> None:
    bundle = each_kind[kind]._repr_mimebundle_()
    assert bundle["text/plain"] == repr(each_kind[kind])
    picture = re.search(r'<img[^>]*src="data:image/svg\+xml;base64,([^"]+)"', bundle["text/html"])
    assert picture
    assert b"<svg" in base64.b64decode(picture[1])
    assert "<pre style=" in bundle["text/html"]


@pytest.mark.parametrize("kind", ["Table", "Panels"])
def test_notebook_shows_at_least_the_text_of_what_has_no_picture(kind: str, each_kind: dict[str, Any]) -> None:
    bundle = each_kind[kind]._repr_mimebundle_()
    assert bundle["text/plain"] == repr(each_kind[kind])
    assert "<pre style=" in bundle["text/html"]


def test_html_page_needs_no_network(each_kind: dict[str, Any], make_trace: Callable[..., Trace]) -> None:
    page = each_kind["Comparison"].to_html()
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"<script|<link|src=\"http|href=", page)
    assert "data:image/svg+xml;base64," in page
    shady = make_trace(np.ones((1, 2)), layers=("<script>alert(1)</script>", "b&b"))
    assert "<script>" not in shady.to_html()
    assert "b&amp;b" in shady.to_html()


# ── what results compute ──


def test_trace_by_quantity(each_kind: dict[str, Any]) -> None:
    trace = each_kind["Trace"]
    assert trace.steps == 3
    np.testing.assert_array_equal(trace["weight_grad"], trace.values[:, :, 1])
    np.testing.assert_array_equal(trace.median("weight_grad"), np.median(trace.values[:, :, 1], axis=0))
    np.testing.assert_array_equal(trace.histogram("weight_grad"), trace.histograms[:, :, 1])
    with pytest.raises(KeyError, match=r"output_grad, weight_grad; got 'weight'"):
        trace["weight"]
    with pytest.raises(ValueError, match="histograms=True"):
        dataclasses.replace(trace, histograms=None).histogram("output_grad")


def test_median_leaves_nan_out(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace([[1.0, math.nan, math.inf], [3.0, math.nan, 1.0], [math.nan, math.nan, math.inf]])
    np.testing.assert_array_equal(trace.median("output_grad"), [2.0, math.nan, math.inf])
    np.testing.assert_array_equal(quantile(np.array([[1.0, 5.0], [2.0, math.nan]]), 0.25), [1.25, 5.0])


@given(hnp.arrays(np.float64, (5, 3), elements=st.floats(-1e3, 1e3)), st.floats(0, 1))
def test_quantile_without_nan_is_numpys(values: np.ndarray, q: float) -> None:
    np.testing.assert_allclose(quantile(values, q), np.quantile(values, q, axis=0), rtol=1e-12, atol=1e-12)


def test_least_precise_dtype_and_body(make_trace: Callable[..., Trace]) -> None:
    values = np.ones((1, 3))
    shapes = ((4, 8, 5, 5), (4, 8, 5, 5), (4, 10))
    trace = make_trace(values, dtypes=("float64", "float16", "float32"), shapes=shapes)
    assert trace.dtype == "float16"
    assert trace.body.tolist() == [True, True, False]
    assert make_trace(values, dtypes=("float64",) * 3).dtype == "float64"
    assert make_trace([[1e-9, 1e-5, 1e3]], shapes=shapes).verdict().layers == 2


def test_ratio_is_the_median_of_ratios_by_name(make_comparison: Callable[..., Any], make_trace: Any) -> None:
    plain = np.array([[1.0, 2.0], [4.0, 1.0], [2.0, 0.0]])
    other = np.array([[2.0, 6.0, 1.0], [4.0, 3.0, 1.0], [8.0, 1.0, 1.0]])
    result = make_comparison(plain=plain, residual=make_trace(other, layers=("fc2", "fc1", "extra")))
    assert result.ratio == {
        "residual": {
            "fc2": float(np.median([2 / 2, 4 / 1, math.inf])),
            "fc1": float(np.median([6 / 1, 3 / 4, 1 / 2])),
        }
    }


def test_steps_to_an_error(make_history: Callable[..., Any]) -> None:
    history = make_history((0.9, 0.5, 0.6, 0.1))
    assert history.steps_to(0.5) == 10
    assert history.steps_to(0.3) == 30
    assert history.steps_to(0.05) == math.inf


def test_study_select_and_final(each_kind: dict[str, Any]) -> None:
    study = each_kind["Study"]
    assert len(study.select(kind="plain", depth=8)) == 2
    assert study.select(kind="residual", depth=20, seed=1) == [study.histories[7]]
    np.testing.assert_allclose(study.final(kind="plain", depth=20), [0.65, 0.67])
    np.testing.assert_allclose(study.final("train_error", kind="plain", depth=20), [0.6, 0.62])
    with pytest.raises(KeyError, match="no run with"):
        study.select(kind="gated")
