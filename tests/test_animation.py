"""Films: what each frame shows, and the files they are saved to, read back with other programs."""

from __future__ import annotations

import base64
import dataclasses
import gc
import io
import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.animation import FuncAnimation, PillowWriter
from PIL import Image

from gradflow import plots
from gradflow.results import Comparison, History, Study

LAYERS = 9


def some_comparison(make: Callable[..., Comparison], layers: int = LAYERS, repeats: int = 3, **more: Any) -> Comparison:
    random = np.random.default_rng(layers)
    plain = np.geomspace(1e-6, 1, layers) * random.lognormal(sigma=0.3, size=(repeats, layers))
    residual = random.lognormal(sigma=0.3, size=(repeats, layers))
    return make({"plain": np.geomspace(1e-6, 1, layers)}, plain=plain, residual=residual, **more)


@pytest.fixture
def comparison(make_comparison: Callable[..., Comparison]) -> Comparison:
    return some_comparison(make_comparison)


def traced(make_history: Callable[..., History], make_trace: Any, seed: int = 0, steps: int = 5) -> History:
    """20 steps in two epochs, traced at every fifth."""
    values = np.random.default_rng(seed).lognormal(size=(steps, 4, 2))
    return make_history(trace=make_trace(values), traced_steps=5 * np.arange(steps))


def study_of(make_history: Any, make_trace: Any, **settings: Any) -> Study:
    runs = [({"kind": kind, **settings}, traced(make_history, make_trace, seed)) for seed, kind in enumerate(KINDS)]
    return Study(settings=tuple(run[0] for run in runs), histories=tuple(run[1] for run in runs))


KINDS = ("residual", "plain")


def turned(film: plots.Film, place: int) -> Any:
    film._turn(place)
    return film.figure.axes[0]


def line(ax: Any, label: str) -> np.ndarray:
    (found,) = (one for one in ax.lines if one.get_label() == label and len(one.get_xdata()))
    return np.asarray(found.get_xydata())


def words(film: plots.Film) -> str:
    return film.figure.axes[0].get_title(loc="left")


# ── the wave ──


def test_each_frame_shows_one_more_layer_from_the_last_to_the_first(comparison: Comparison) -> None:
    film = comparison.animate()
    assert isinstance(film, FuncAnimation)
    assert len(film.seconds) == LAYERS + 1
    for place in range(LAYERS):
        ax = turned(film, place)
        for name in ("plain", "residual"):
            medians = np.median(comparison.values(name), axis=0)
            shown = line(ax, name)[:, 1]
            np.testing.assert_array_equal(shown[-1 - place :], medians[-1 - place :])
            assert np.isnan(shown[: LAYERS - 1 - place]).all()
        assert words(film).startswith(f"backward: layer {LAYERS - place} of {LAYERS}")
        assert not any(one.get_visible() for one in ax.lines if one.get_label() == "theory")


def test_the_last_frame_is_the_plot_with_theory_and_verdicts(comparison: Comparison) -> None:
    film = comparison.animate()
    ax, whole = turned(film, len(film.seconds) - 1), comparison.plot(plots.new_figure().subplots())
    drawn = {str(one.get_label()): one for one in ax.lines if one.get_visible()}
    for one in whole.lines:
        same = drawn[str(one.get_label())]
        np.testing.assert_array_equal(same.get_xydata(), one.get_xydata())
        assert (same.get_color(), same.get_linestyle(), same.get_marker()) == (
            *(one.get_color(), one.get_linestyle(), one.get_marker()),
        )
    assert {"plain", "residual", "theory"} <= set(drawn)
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((*whole.get_xlim(), *whole.get_ylim()))
    assert words(film) == "\n".join(f"{name}: {verdict}" for name, verdict in comparison.verdicts.items())
    assert film.alt == words(film)
    assert [entry.get_text() for entry in ax.get_legend().get_texts()] == ["plain", "residual", "theory"]


def test_axes_layout_and_legend_stand_still(comparison: Comparison) -> None:
    film = comparison.animate()
    seen = set()
    for place in range(len(film.seconds)):
        ax = turned(film, place)
        film.figure.draw_without_rendering()
        seen.add((ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds, ax.get_legend().get_window_extent().bounds))
    assert len(seen) == 1


def test_a_ring_and_a_line_mark_the_front(comparison: Comparison) -> None:
    film = comparison.animate()
    ax = turned(film, 2)
    rings = [np.asarray(one.get_xydata()) for one in ax.lines if one.get_label() == "_front"]
    expected = [[[LAYERS - 2, np.median(comparison.values(name), axis=0)[-3]]] for name in ("plain", "residual")]
    np.testing.assert_array_equal(rings, expected)
    ax = turned(film, LAYERS)
    assert all(len(one.get_xdata()) == 0 for one in ax.lines if one.get_label() == "_front")


def test_bands_are_cut_at_the_front(comparison: Comparison) -> None:
    film = comparison.animate()
    ax = turned(film, 3)
    edges = [ax.transData.inverted().transform(band.get_clip_box().p0)[0] for band in ax.collections]
    np.testing.assert_allclose(edges, [LAYERS - 3] * 2)


def test_zeros_appear_when_the_wave_gets_there(make_comparison: Callable[..., Comparison]) -> None:
    film = make_comparison(plain=[[0.0, 0.0, 1e-3, 1.0]], residual=[[1.0, np.nan, 1.0, 1.0]]).animate()
    marks = [np.isfinite(line(turned(film, place), "zero (underflow)")[:, 1]).sum() for place in range(5)]
    assert marks == [0, 0, 1, 2, 2]


def test_nets_of_different_depth_go_by_relative_depth(make_comparison: Callable[..., Comparison]) -> None:
    film = make_comparison(plain=np.ones((1, 3)), residual=np.ones((1, 5))).animate()
    seen = []
    for place in range(6):
        ax = turned(film, place)
        seen.append(tuple(int(np.isfinite(line(ax, name)[:, 1]).sum()) for name in ("plain", "residual")))
    assert seen == [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 5)]
    turned(film, 1)
    assert words(film).startswith("backward: relative depth 0.75")


@pytest.mark.parametrize("layers", [1, 2, 59, 60, 110, 1202])
def test_deep_nets_do_not_get_more_than_sixty_frames(layers: int, make_comparison: Callable[..., Comparison]) -> None:
    film = some_comparison(make_comparison, layers, repeats=1).animate()
    assert min(layers, 20) < len(film.seconds) <= 60
    counts = [np.isfinite(line(turned(film, place), "residual")[:, 1]).sum() for place in range(len(film.seconds))]
    steps = np.diff(counts[:-1])
    assert counts[-1] == counts[-2] == layers
    assert len(set(steps)) <= 1, "the wave goes at an even pace"
    assert sum(film.seconds[:-1]) == pytest.approx(6, abs=3) or layers < 8


# ── several comparisons ──


def test_deeper_nets_follow_and_shallow_ones_stay_pale(make_comparison: Callable[..., Comparison]) -> None:
    nets = [some_comparison(make_comparison, layers) for layers in (4, 6)]
    film = nets[0].animate(nets[1])
    assert len(film.seconds) == 4 + 1 + 6 + 1
    ax = turned(film, 4)
    assert words(film).startswith("4 layers\nplain: vanishes")
    shown = [one for one in ax.lines if one.get_label() == "plain"]
    assert [np.isfinite(one.get_ydata()).sum() for one in shown] == [4, 0], "what comes later is not seen yet"
    bright = mpl.colors.to_rgb(shown[0].get_color())
    turned(film, 7)
    assert words(film).startswith("6 layers, backward: layer 4 of 6")
    assert [np.isfinite(one.get_ydata()).sum() for one in shown] == [4, 3]
    assert np.all(np.array(mpl.colors.to_rgb(shown[0].get_color())) >= bright)
    assert sum(mpl.colors.to_rgb(shown[0].get_color())) > sum(bright)
    assert [note.get_text() for note in ax.texts if note.get_visible()] == ["4 layers"]
    turned(film, 0)
    assert mpl.colors.to_rgb(shown[0].get_color()) == bright, "turning back turns everything back"
    assert not any(note.get_visible() for note in ax.texts)


def test_later_comparisons_of_the_same_nets_have_titles_of_ones_own(comparison: Comparison) -> None:
    film = comparison.animate(comparison, titles=("start", "epoch 5"))
    turned(film, len(film.seconds) - 1)
    assert words(film).startswith("epoch 5\nplain")
    turned(film, 1)
    assert words(film).startswith(f"start, backward: layer {LAYERS - 1}")


def test_wrong_films_are_refused(comparison: Comparison, make_comparison: Callable[..., Comparison]) -> None:
    mixed = make_comparison(plain=np.ones((1, 3)), residual=np.ones((1, 5)))
    with pytest.raises(ValueError, match="equal numbers of layers each"):
        comparison.animate(mixed)
    with pytest.raises(ValueError, match="a title for each of 1 comparisons; got 2"):
        comparison.animate(titles=("a", "b"))
    for seconds in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match="seconds must be positive"):
            comparison.animate(seconds=seconds)
    with pytest.raises(ValueError, match="at least one comparison"):
        plots.gradient_film([])


def test_seconds_are_how_long_a_wave_runs(comparison: Comparison) -> None:
    film = comparison.animate(comparison, seconds=4.5, titles=("a", "b"))
    assert film.seconds == (*[0.5] * LAYERS, 3.0, *[0.5] * LAYERS, 3.0)


# ── trainings ──


def test_a_training_shows_each_traced_step_and_the_errors_so_far(make_history: Any, make_trace: Any) -> None:
    history = traced(make_history, make_trace)
    film = history.animate()
    assert len(film.seconds) == 5
    for place, step in enumerate((0, 5, 10, 15, 20)):
        ax = turned(film, place)
        np.testing.assert_array_equal(line(ax, "net")[:, 1], history.trace.values[place, :, 0])
        errors = film.figure.axes[1].lines[0].get_xydata()
        np.testing.assert_allclose(errors[-1], [step / 10, 100 * np.interp(step, [0, 10, 20], [0.9, 0.5, 0.25])])
        assert film.figure.get_suptitle().startswith(f"optimiser step {step} of 20\nnet: ")
    weights = history.animate(quantity="weight_grad")
    np.testing.assert_array_equal(line(turned(weights, 1), "net")[:, 1], history.trace.values[1, :, 1])


def test_a_study_shows_all_its_runs_the_plain_one_first(make_history: Any, make_trace: Any) -> None:
    study = study_of(make_history, make_trace, depth=8)
    film = study.animate()
    limits = set()
    for place in range(5):
        ax = turned(film, place)
        assert [str(one.get_label()) for one in ax.lines] == ["plain", "residual"]
        for kind in KINDS:
            trace = study.select(kind=kind)[0].trace
            np.testing.assert_array_equal(line(ax, kind)[:, 1], trace.values[place, :, 0])
        limits.add((ax.get_ylim(), ax.get_position().bounds))
    assert len(limits) == 1
    assert [entry.get_text() for entry in film.figure.axes[1].get_legend().get_texts()] == ["plain", "residual"]


def test_runs_are_told_apart_by_what_differs(make_history: Any, make_trace: Any) -> None:
    parts = [study_of(make_history, make_trace, depth=8, seed=seed) for seed in range(4)]
    study = Study(
        settings=tuple(one for part in parts for one in part.settings),
        histories=tuple(one for part in parts for one in part.histories),
    )
    assert list(study.subset(seed=1).named()) == ["plain", "residual"]
    assert list(study.subset(kind="plain").named()) == [f"seed {seed}" for seed in range(4)]
    assert list(study.named())[:2] == ["plain, seed 0", "plain, seed 1"]
    assert study.named()["residual, seed 3"] is study.select(kind="residual", seed=3)[0]
    with pytest.raises(ValueError, match="at most 6 runs in one film, got 8"):
        study.animate()
    assert len(study.animate(seed=2).seconds) == 5
    with pytest.raises(KeyError, match="no run with"):
        study.animate(seed=7)


def test_a_run_that_was_traced_less_often_stays_as_it_was(make_history: Any, make_trace: Any) -> None:
    study = study_of(make_history, make_trace)
    rare = study.histories[0]
    rare = dataclasses.replace(rare, trace=rare.trace.at(0), traced_steps=np.array([10]))
    film = dataclasses.replace(study, histories=(rare, study.histories[1])).animate()
    for place in range(5):
        ax = turned(film, place)
        np.testing.assert_array_equal(line(ax, "residual")[:, 1], rare.trace.values[0, :, 0])
        np.testing.assert_array_equal(line(ax, "plain")[:, 1], study.histories[1].trace.values[place, :, 0])


def test_a_long_training_keeps_sixty_steps_with_first_and_last(make_history: Any, make_trace: Any) -> None:
    history = traced(make_history, make_trace, steps=400)
    film = history.animate()
    assert len(film.seconds) == 60
    np.testing.assert_array_equal(line(turned(film, 0), "net")[:, 1], history.trace.values[0, :, 0])
    np.testing.assert_array_equal(line(turned(film, 59), "net")[:, 1], history.trace.values[-1, :, 0])


def test_a_training_without_trace_says_how_to_get_one(make_history: Any, make_study: Any, make_trace: Any) -> None:
    with pytest.raises(ValueError, match="no trace; record one with"):
        make_history().animate()
    with pytest.raises(ValueError, match="'residual' has no trace"):
        make_study().animate(depth=8, seed=0, kind="residual")
    with pytest.raises(ValueError, match="quantity must be one of output_grad, weight_grad; got 'drift'"):
        traced(make_history, make_trace).animate(quantity="drift")


def test_the_frame_of_a_training_can_show_the_rest_of_the_errors(make_history: Any, make_trace: Any) -> None:
    run = traced(make_history, make_trace)
    (ax, errors) = plots.new_figure().subplots(1, 2)
    shown = Comparison(traces={"net": run.trace.at(1)}, quantity="output_grad", norm="rms")
    plots.training_frame(shown, {"net": run}, 5, ax=ax, errors=errors, limits=(1e-9, 10), rest=True)
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), 100 * run.train_error)
    assert len(errors.lines[1].get_ydata()) == 2
    assert ax.get_ylim() == (1e-9, 10)


def test_limits_hold_every_gradient_and_the_mark_of_zeros(make_comparison: Callable[..., Comparison]) -> None:
    low, high = plots.gradient_limits([make_comparison(a=[[0.0, 3.0, np.inf]]), make_comparison(a=[[np.nan, 50.0]])])
    assert low < np.finfo(np.float32).smallest_subnormal
    assert 50 < high < 200
    assert plots.gradient_limits([make_comparison(a=[[np.nan]])]) == (0.1, 10)


def test_one_step_of_a_trace(each_kind: dict[str, Any]) -> None:
    trace = each_kind["Trace"]
    for place in (0, 2, -1):
        np.testing.assert_array_equal(trace.at(place).values, trace.values[[place]])
        np.testing.assert_array_equal(trace.at(place).histograms, trace.histograms[[place]])
        np.testing.assert_array_equal(trace.at(place).nonfinite, trace.nonfinite[[place]])
    with pytest.raises(IndexError):
        trace.at(3)


# ── pages ──


def test_films_are_drawn_for_a_notebook_unless_a_block_says_otherwise(comparison: Comparison) -> None:
    assert comparison.animate().figure.page.context == "notebook"
    for context in ("book", "lecture"):
        with plots.style(context):
            film = comparison.animate()
        assert film.figure.page.context == context
        size = film.figure.axes[0].xaxis.label.get_size()
        assert size == pytest.approx({"book": 7, "lecture": 7 * 2.4}[context])
    assert film.figure.get_figwidth() / film.figure.get_figheight() == pytest.approx(16 / 9, rel=0.01)


def test_a_film_keeps_its_language(comparison: Comparison, tmp_path: Path) -> None:
    with plots.style(language="zh"):
        film = comparison.animate()
    turned(film, 0)
    assert words(film).startswith(plots.labels.TABLES["zh"]["film:backward"].format(layer=LAYERS, layers=LAYERS))
    film.save(tmp_path / "film.html")
    assert '<html lang="zh">' in (tmp_path / "film.html").read_text(encoding="utf-8")


# ── files ──


@pytest.fixture(scope="module")
def short(make_comparison: Callable[..., Comparison]) -> plots.Film:
    return some_comparison(make_comparison, 3).animate(seconds=0.6)


def test_a_gif_has_every_frame_with_its_time(short: plots.Film, tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    assert short.save(path) is short
    drawn = [np.asarray(picture) for picture in short.pictures()]
    with Image.open(path) as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
        assert gif.size == (1280, drawn[0].shape[0])
        for place, duration in enumerate((200, 200, 200, 3000)):
            gif.seek(place)
            assert gif.info["duration"] == duration
            apart = np.abs(np.asarray(gif.convert("RGB")).astype(int) - drawn[place])
            assert apart.mean() < 0.2, "few colours are enough for a drawing"
            assert (np.asarray(gif.convert("RGB"))[0, 0] == 255).all(), "paper is white"
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize("ending", ["gif", "html"])
def test_films_have_the_same_bytes_each_time(ending: str, tmp_path: Path, make_comparison: Any) -> None:
    for name in "ab":
        some_comparison(make_comparison, 3).animate().save(tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


class Images(HTMLParser):
    """The pictures of a page, and what else it refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pictures: list[dict[str, str | None]] = []
        self.others: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "img":
            self.pictures.append(given)
        elif given.keys() & {"src", "href"} or tag == "link":
            self.others.append(tag)


def test_a_page_has_every_frame_and_needs_no_network(short: plots.Film, tmp_path: Path) -> None:
    short.save(tmp_path / "film.html")
    page = (tmp_path / "film.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub("base64,[A-Za-z0-9+/=]*", "", page))
    found = Images(page)
    assert not found.others
    assert len(found.pictures) == 4
    for picture, drawn in zip(found.pictures, short.pictures(), strict=True):
        kind, code = str(picture["src"]).split(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(code))) as frame:
            assert np.abs(np.asarray(frame.convert("RGB")).astype(int) - np.asarray(drawn)).mean() < 0.2
    assert ["hidden" in picture for picture in found.pictures] == [True, True, True, False]
    assert found.pictures[-1]["alt"] == short.alt
    seconds = re.search(r"data-seconds=\"([^\"]*)\"", page)
    assert seconds
    assert json.loads(seconds[1]) == [0.2, 0.2, 0.2, 3.0]


def test_a_notebook_plays_it(short: plots.Film) -> None:
    shown = short._repr_html_()
    assert len(Images(shown).pictures) == 4
    assert "<html" not in shown
    assert 'aria-label="play"' in shown


def test_names_that_look_like_code_stay_text(make_comparison: Callable[..., Comparison]) -> None:
    film = make_comparison(**{'<script>alert("x")</script>': np.ones((1, 2))}).animate()
    assert "alert" not in re.sub(r"alt=\"[^\"]*\"", "", film._repr_html_())


@pytest.mark.skipif(not shutil.which("ffprobe") or not shutil.which("ffmpeg"), reason="needs ffmpeg and ffprobe")
def test_an_mp4_is_read_by_other_programs(short: plots.Film, tmp_path: Path) -> None:
    assert short.save(tmp_path / "film.mp4") is short
    asked = "stream=codec_name,pix_fmt,width,height:format=duration"
    call = ["ffprobe", "-v", "error", "-show_entries", asked, "-of", "json", str(tmp_path / "film.mp4")]
    told = json.loads(subprocess.run(call, check=True, capture_output=True).stdout)
    height = round(1280 * 79.4 / 174) // 2 * 2
    assert told["streams"][0] == {"codec_name": "h264", "pix_fmt": "yuv420p", "width": 1280, "height": height}
    assert float(told["format"]["duration"]) == pytest.approx(3.6, abs=0.11)


def test_without_ffmpeg_it_says_so_before_drawing(
    short: plots.Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(short, "pictures", lambda: pytest.fail("frames were drawn"))
    with pytest.raises(RuntimeError, match=r"ffmpeg, which was not found: install it .* \.gif or \.html"):
        short.save(tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_what_ffmpeg_says_is_passed_on(short: plots.Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho no room left >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RuntimeError, match="no room left"):
        short.save(tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("name", ["film", "film.avi", "film.png", "film.gif.zip"])
def test_other_endings_are_refused(name: str, short: plots.Film, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"must end in \.gif, \.html or \.mp4; got '{name}'"):
        short.save(tmp_path / name)


def test_matplotlibs_own_writers_work_too(short: plots.Film, tmp_path: Path) -> None:
    assert short.save(tmp_path / "own.gif", writer=PillowWriter(fps=5), dpi=40) is short
    with Image.open(tmp_path / "own.gif") as gif:
        assert gif.n_frames == 4


def test_films_leave_nothing_behind(comparison: Comparison, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison.animate()
        gc.collect()
    comparison.animate().save(tmp_path / "film.gif")
    assert pyplot.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_comparisons_of_different_quantities_make_no_film(make_comparison: Callable[..., Any]) -> None:
    first = make_comparison(plain=np.ones((1, 4)), residual=np.ones((1, 4)))
    with pytest.raises(ValueError, match="one quantity by one norm; got RMS of ∂loss/∂output, L2 norm of ∂loss"):
        first.animate(dataclasses.replace(first, norm="l2"))
    with pytest.raises(TypeError, match=r"takes comparisons, from gradflow\.compare; got int"):
        first.animate(5)


def test_a_film_says_in_words_what_it_shows(make_comparison: Callable[..., Any]) -> None:
    film = make_comparison(plain=np.geomspace(1e-6, 1, 4)[None]).animate()
    assert repr(film) == film.alt
    assert "vanishes toward the input" in film.alt
