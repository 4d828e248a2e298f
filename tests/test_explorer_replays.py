"""The explorer's replays, also of trainings that diverge, and its pictures on the screen and in a book."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exploring import DIVERGING, executed, picture, small
from PIL import Image

from gradflow import plots
from gradflow.explorer import State, compute, draw, save
from gradflow.explorer.pictures import SCREEN_PX, Screen, summary
from gradflow.explorer.replays import LAST_STEP, RECIPE, TRACE_EVERY
from gradflow.explorer.states import CHOICES
from gradflow.results import Study
from gradflow.seeding import threads


@pytest.fixture(scope="module")
def trained() -> Study:
    """One replay for all tests that need no training of their own."""
    return compute(small(tab="replay", batch=256))


@pytest.fixture(scope="module")
def diverged() -> Study:
    return compute(State(**DIVERGING))


# ── trainings that diverge, and what a training tells ──


def test_both_trainings_tell_each_step() -> None:
    told: list[tuple[str, int, int]] = []
    state = small(tab="replay", batch=1024)
    study = compute(state, tell=lambda *where: told.append(where))
    assert study == compute(state)
    steps = RECIPE.max_steps
    expected = [(kind, step, total) for kind, total in totals(told).items() for step in range(1, total + 1)]
    assert told == expected
    assert list(totals(told)) == ["plain", "residual"]
    assert all(total <= steps for total in totals(told).values())


def totals(told: list[tuple[str, int, int]]) -> dict[str, int]:
    return {kind: total for kind, _, total in told}


def test_a_training_that_diverges_is_there_up_to_its_last_finite_step(diverged: Study) -> None:
    (failure,) = diverged.failures
    assert failure["setting"]["kind"] == "residual"
    assert failure["step"] == int(re.search(r"nan at step (\d+)", failure["message"])[1]) < LAST_STEP
    plain, residual = diverged.histories
    np.testing.assert_array_equal(residual.traced_steps, np.arange(0, failure["step"], TRACE_EVERY))
    assert plain.steps[-1] == RECIPE.max_steps
    assert np.isfinite(residual.trace.values).all()
    with pytest.raises(FloatingPointError) as raised:
        executed(State(**DIVERGING))
    assert str(raised.value) == failure["message"], "the code says the same"


def test_the_replay_of_a_diverged_training_says_so_and_stands_still(diverged: Study) -> None:
    state = State(**DIVERGING, step=30)
    message = diverged.failures[0]["message"]
    assert summary(state, diverged)[-1] == f"residual: {message}"
    figure = draw(state, diverged)
    plain, residual = figure.axes[0].lines
    now = figure.axes[1].lines[-1].get_xydata()
    np.testing.assert_allclose(now, [[0, 100 * diverged.histories[1].train_error[-1]]], err_msg="stands still, too")
    np.testing.assert_array_equal(plain.get_ydata(), diverged.histories[0].trace["output_grad"][10])
    np.testing.assert_array_equal(residual.get_ydata(), diverged.histories[1].trace["output_grad"][-1])
    title = figure.get_suptitle().replace("\n", " ")
    last = diverged.histories[1].traced_steps[-1]
    assert title.startswith("step 30 of 90 plain: ")
    assert f"residual, still at step {last}: explodes" in title
    assert title.endswith(message)
    at_start = draw(dataclasses.replace(state, step=0), diverged).get_suptitle()
    assert "still at" not in at_start
    assert picture(Screen().png(state, diverged)).std() > 0.05


def test_a_net_that_takes_no_step_is_told_and_the_other_keeps_its_look() -> None:
    state = State(**{**DIVERGING, "lam": 1e10}, batch=1024)
    study = compute(state)
    assert [setting["kind"] for setting in study.settings] == ["plain"]
    assert summary(state, study)[-1].startswith("residual: the training loss is nan before the first step: ")
    Screen().png(state, study)
    other = dataclasses.replace(
        study,
        settings=({**study.settings[0], "kind": "residual"},),
        failures=({**study.failures[0], "setting": {**study.settings[0]}},),
    )
    for shown, kind in ((study, "plain"), (other, "residual")):
        left, right = draw(state, shown).axes
        color = plots.model_color(kind)
        pale, past, now = right.lines
        assert [line.get_color() for line in (left.lines[0], past, now)] == [color] * 3
        assert pale.get_color() == plots.look.paler(color, 0.35)
        assert [text.get_text() for text in right.get_legend().get_texts()] == [kind]


def test_if_no_net_takes_a_step_the_reason_is_told() -> None:
    with pytest.raises(FloatingPointError, match=r"plain: the training .*; residual: the training"):
        compute(State(**{**DIVERGING, "init": "normal(1e30)"}))


def test_one_thread_computes_whatever_the_user_has() -> None:
    with threads(2):
        for state in (small(), small(tab="replay", batch=1024)):
            assert compute(state).provenance.get("threads", 1) == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(FloatingPointError):
            compute(State(**{**DIVERGING, "init": "normal(1e30)"}))
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("last", [(0.9, 0.04), (0.02, 0.016), (0.88, 0.5), (0.5, 0.5)])
def test_the_legend_hides_no_error_at_any_step(trained: Study, last: tuple[float, float]) -> None:
    runs = [
        dataclasses.replace(run, train_error=np.concatenate([[0.9], np.full(len(run.steps) - 1, error)]))
        for run, error in zip(trained.histories, last, strict=True)
    ]
    study = dataclasses.replace(trained, histories=tuple(runs))
    places = set()
    for step in (0, LAST_STEP):
        screen = Screen()
        screen.png(small(tab="replay", step=step), study)
        ax = screen._figure.axes[1]
        legend = ax.get_legend().get_window_extent(screen._canvas.get_renderer())
        for line in ax.lines:
            x, y = ax.transData.transform(line.get_xydata()).T
            along = np.linspace(0, len(x) - 1, 500)
            points = np.stack([np.interp(along, np.arange(len(x)), one) for one in (x, y)], axis=1)
            assert not legend.count_contains(points)
        places.add(legend.bounds)
    assert len(places) == 1, "it stands still"


# ── on the screen and in a book ──


def test_the_picture_is_what_was_drawn_at_twice_the_size_on_the_screen() -> None:
    screen = Screen()
    png = screen.png(small(), compute(small()))
    with Image.open(io.BytesIO(png)) as found:
        assert (found.format, found.mode) == ("PNG", "RGB")
        pixels = np.asarray(found)
    assert pixels.shape[:2] == (1.5 * SCREEN_PX[1], 1.5 * SCREEN_PX[0])
    np.testing.assert_array_equal(pixels, np.asarray(screen._canvas.buffer_rgba())[..., :3])


@pytest.mark.parametrize("tab", CHOICES["tab"])
def test_nothing_is_cut_off_and_the_type_is_that_of_the_text_around_it(tab: str, trained: Study) -> None:
    screen, state = Screen(), small(tab=tab, batch=256)
    screen.png(state, trained if tab == "replay" else compute(state))
    figure, renderer = screen._figure, screen._canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    assert not figure.texts, "the sentences stand above the picture"
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes)), "the panels stand apart"
    css_pixels = figure.axes[0].xaxis.label.get_fontsize() / 72 * figure.dpi / 1.5
    assert 13 <= css_pixels <= 15


@pytest.mark.parametrize("tab", CHOICES["tab"])
def test_in_a_book_the_sentences_stand_above_the_axes(tab: str, diverged: Study) -> None:
    state = State(**{**DIVERGING, "tab": tab, "step": 60})
    figure = draw(state, diverged if tab == "replay" else compute(state))
    figure.draw_without_rendering()
    (said,) = (text.get_window_extent() for text in figure.texts)
    assert figure.bbox.x0 <= said.x0 < said.x1 <= figure.bbox.x1
    assert max(ax.get_window_extent().y1 for ax in figure.axes) < said.y0 < said.y1 <= figure.bbox.y1


@pytest.mark.parametrize("around", [{}, {"context": "lecture"}, {"context": "notebook"}])
def test_what_is_saved_is_set_for_a_book(around: dict[str, Any], tmp_path: Path) -> None:
    state = small()
    with plots.style(**around):
        pdf, svg, *_ = save(state, compute(state), tmp_path / "flow")
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf.read_bytes())
    assert [float(side) / 72 * 25.4 for side in box.groups()] == pytest.approx([174, 92], abs=0.1)
    assert re.search(r'<svg [^>]*width="493\.\d+pt"', svg.read_text().replace("\n", " "))
    figure = draw(state, compute(state))
    assert figure.axes[0].xaxis.label.get_fontsize() == 7


@pytest.mark.parametrize("ending", [".pdf", ".svg", ".png", ".json"])
def test_an_ending_is_not_part_of_the_name(ending: str, tmp_path: Path) -> None:
    paths = save(small(), compute(small()), f" {tmp_path / 'mine'}{ending} ")
    assert [path.name for path in paths] == ["mine.pdf", "mine.svg", "mine.png", "mine.json"]
