"""The figures beside published trainings: what is put into the axes, what the captions say, and how they are made."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import gradflow
from gradflow import figures, plots
from gradflow.figures import published
from gradflow.figures.book import BookFigure
from gradflow.plots.labels import ENGLISH, text
from gradflow.plots.training import _apart
from gradflow.results import History, Study, Table
from gradflow.training import plans

FIGURE_6, RESNET_18 = "he15-figure6", "resnet18-cifar100"
STEPS = {"name": "chapter", "schedule": "steps", "lr": 0.1, "factor": 0.2, "milestones": (0.3, 0.6, 0.8)}
EXPONENTIAL = {"name": "exponential", "schedule": "exponential", "lr": 0.1, "factor": 0.008}
ONE_CYCLE = {"name": "he15", "schedule": "one-cycle", "lr": 0.1}

Errors = dict[tuple[str, int], tuple[float, float]]
"""Final training and test error by kind and depth."""

LIKE_THE_PAPER: Errors = {
    ("plain", 8): (0.43, 0.42),
    ("plain", 20): (0.47, 0.455),
    ("plain", 56): (0.81, 0.80),
    ("residual", 8): (0.41, 0.40),
    ("residual", 20): (0.35, 0.355),
    ("residual", 56): (0.33, 0.36),
}


def run(train: float, test: float, recipe: dict[str, Any], *, epochs: int, per_epoch: int = 391) -> History:
    """A run that falls from an error of 90 % to its final ones; its training error begins with NaN, as in fit()."""
    steps = per_epoch * np.arange(epochs + 1)
    fallen = 1 - np.exp(-4 * steps / steps[-1])
    curves = [0.9 + (end - 0.9) * fallen / fallen[-1] for end in (train, test)]
    curves[0][0] = np.nan
    place = np.arange(1, epochs + 1) / epochs
    lowered = [sum(one > end for end in recipe.get("milestones", ())) for one in place - 1e-9]
    rates = 0.1 * recipe.get("factor", 1) ** (place if recipe["schedule"] == "exponential" else np.array(lowered))
    return History(
        epoch=np.arange(epochs + 1),
        steps=steps,
        train_loss=2 * curves[0],
        train_error=curves[0],
        test_loss=2 * curves[1],
        test_error=curves[1],
        learning_rate=rates,
        provenance={"batch": 128, "recipe": recipe, "train_curve": "mean over the batches"},
    )


def by_depth(errors: Errors, *, width: int = 8, epochs: int = 6, per_epoch: int = 391, seeds: int = 1) -> Study:
    """A study of plain and residual nets; each further seed is one point worse."""
    settings, histories = [], []
    for (kind, depth), (train, test) in errors.items():
        for seed in range(seeds):
            settings.append({"width": width, "kind": kind, "depth": depth, "seed": seed})
            ends = (train + 0.01 * seed, test + 0.01 * seed)
            histories.append(run(*ends, ONE_CYCLE, epochs=epochs, per_epoch=per_epoch))
    return Study(settings=tuple(settings), histories=tuple(histories))


def chapter(residual: float, plain: float, exponential: float, *, width: int = 16, epochs: int = 8) -> Study:
    """A study of ResNet-18, its plain twin and an exponential schedule, by their final test errors."""
    runs = (("residual", STEPS, residual), ("plain", STEPS, plain), ("residual", EXPONENTIAL, exponential))
    return Study(
        settings=tuple({"width": width, "kind": kind, "recipe": one["name"], "seed": 0} for kind, one, _ in runs),
        histories=tuple(run(error - 0.02, error, one, epochs=epochs, per_epoch=782) for _, one, error in runs),
    )


def alone(numbers: Study) -> Study:
    """The first run of a study, which names no width: then it is that of the published nets."""
    setting = {key: value for key, value in numbers.settings[0].items() if key != "width"}
    return Study(settings=(setting,), histories=numbers.histories[:1])


STUDIES: dict[str, tuple[str, Callable[[], Study]]] = {
    "small": (FIGURE_6, lambda: by_depth(LIKE_THE_PAPER)),
    "seeds": (FIGURE_6, lambda: by_depth(LIKE_THE_PAPER, seeds=3)),
    "whole": (
        FIGURE_6,
        lambda: by_depth(
            {(kind, depth): (0.002, 0.08) for kind in plots.KINDS for depth in (20, 32, 44, 56, 110)},
            width=16,
            epochs=160,
            per_epoch=400,
            seeds=2,
        ),
    ),
    "chapter": (RESNET_18, lambda: chapter(0.54, 0.58, 0.57)),
    "whole chapter": (RESNET_18, lambda: chapter(0.25, 0.27, 0.29, width=64, epochs=100)),
    "whole chapter, alone": (RESNET_18, lambda: alone(chapter(0.25, 0.27, 0.29, epochs=100))),
}


@pytest.fixture(autouse=True)
def _in_style(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the book's look, and with both figures in the catalogue, also before they are recorded."""
    monkeypatch.setattr(figures, "CATALOGUE", {**figures.CATALOGUE, **published.FIGURES})
    with plots.style():
        yield


@pytest.fixture(params=STUDIES)
def drawn(request: pytest.FixtureRequest) -> tuple[str, Study, Figure]:
    name, make = STUDIES[request.param]
    numbers = make()
    return name, numbers, published.FIGURES[name].draw(numbers)


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the one line with this label."""
    (found,) = [one for one in ax.get_lines() if one.get_label() == label]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def open_markers(ax: Axes) -> list[tuple[float, float]]:
    found = [one for one in ax.get_lines() if one.get_marker() in "os" and one.get_linestyle() == "None"]
    return [(float(one.get_xdata()[0]), float(one.get_ydata()[0])) for one in found]


# ── the pictures ──


def test_the_book_s_rules_hold(drawn: tuple[str, Study, Figure]) -> None:
    name, numbers, picture = drawn
    assert picture.get_figwidth() * 25.4 == pytest.approx(plots.DOUBLE_MM)
    again = published.FIGURES[name].draw(numbers)
    assert plots.render(picture, "svg") == plots.render(again, "svg")
    widths = [ax.get_position().width for ax in picture.axes]
    assert max(widths) < 1.3 * min(widths)


def test_nothing_is_cut_off_and_no_words_overlap(drawn: tuple[str, Study, Figure]) -> None:
    _, _, picture = drawn
    FigureCanvasAgg(picture).draw()
    frame = picture.bbox.padded(1)
    words = [one for ax in picture.axes for one in (ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts)]
    words += [one for legend in picture.legends for one in (legend.get_title(), *legend.get_texts())]
    # Without the lines that lead from the published errors to their depths.
    boxes = [(one.get_text(), Text.get_window_extent(one)) for one in words if one.get_visible() and one.get_text()]
    for name, box in boxes:
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1, name
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1, name
    pairs = [(a, b) for place, (a, one) in enumerate(boxes) for b, other in boxes[:place] if one.overlaps(other)]
    assert not pairs


def test_errors_by_step() -> None:
    numbers = by_depth(LIKE_THE_PAPER, seeds=3)
    plain, residual, _ = published.FIGURES[FIGURE_6].draw(numbers).axes
    assert plain.get_ylim() == residual.get_ylim()
    for ax, kind in ((plain, "plain"), (residual, "residual")):
        dashed = [one for one in ax.get_lines() if one.is_dashed()]
        widths = []
        for place, depth in enumerate((8, 20, 56)):
            pairs = zip(numbers.settings, numbers.histories, strict=True)
            runs = [history for setting, history in pairs if (setting["kind"], setting["depth"]) == (kind, depth)]
            x, y = line(ax, f"{kind}-{depth}")
            assert x.tolist() == runs[0].steps.tolist()
            assert y == pytest.approx([median(100 * h.test_error[k] for h in runs) for k in range(7)])
            train_x, train = dashed[place].get_data()
            assert list(train_x) == runs[0].steps[1:].tolist(), "NaN before training is left out"
            assert train == pytest.approx([median(100 * h.train_error[k] for h in runs) for k in range(1, 7)])
            (bold,) = [one for one in ax.get_lines() if one.get_label() == f"{kind}-{depth}"]
            assert bold.get_linewidth() > dashed[place].get_linewidth()
            widths.append((bold.get_linewidth(), -sum(bold.get_color())))
        assert widths == sorted(widths), "deeper is thicker and darker"
        bands = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
        assert [band.min() for band in bands] == pytest.approx(
            [100 * LIKE_THE_PAPER[kind, depth][1] for depth in (8, 20, 56)]
        )


def test_published_errors_at_the_edge_and_by_depth() -> None:
    plain, residual, by_depth_panel = published.FIGURES[FIGURE_6].draw(by_depth(LIKE_THE_PAPER)).axes
    low, high = plain.get_ylim()
    everything = []
    for ax, kind in ((plain, "plain"), (residual, "residual")):
        known = {**published.HE15_ERRORS[kind], **published.HE15_ABOVE[kind]}
        marks = open_markers(ax)
        assert all(x == 1 for x, _ in marks), "at the right edge"
        assert sorted(y for _, y in marks) == sorted(known.values())
        assert all(low < y < high for _, y in marks)
        labels = {note.get_text(): note.xy[1] for note in ax.texts if note.get_text()}
        assert labels == {str(depth): error for depth, error in known.items()}
        everything += known.items()
    ticks = {
        round(x): int(one.get_text())
        for x, one in zip(by_depth_panel.get_xticks(), by_depth_panel.get_xticklabels(), strict=True)
    }
    assert list(ticks.values()) == [8, 20, 32, 44, 56, 110]
    assert sorted((ticks[round(x)], y) for x, y in open_markers(by_depth_panel)) == sorted(everything)
    arrows = [note for note in (*plain.texts, *by_depth_panel.texts) if not note.get_text()]
    assert [note.xy[1] for note in arrows] == [60, 60], "above 60, not 60"


def test_final_errors_by_depth() -> None:
    numbers = by_depth(LIKE_THE_PAPER, seeds=3)
    ax = published.FIGURES[FIGURE_6].draw(numbers).axes[2]
    for kind in plots.KINDS:
        x, test = line(ax, kind)
        _, train = line(ax, f"_{kind}")
        assert np.round(x).tolist() == [0, 1, 4], "8, 20 and 56 among 8, 20, 32, 44, 56, 110"
        ends = [LIKE_THE_PAPER[kind, depth] for depth in (8, 20, 56)]
        assert test == pytest.approx([100 * error + 1 for _, error in ends])
        assert train == pytest.approx([100 * error + 1 for error, _ in ends])
    ranges = sorted(tuple(path.vertices[:, 1]) for bars in ax.collections for path in bars.get_paths())
    expected = sorted((100 * error, 100 * error + 2) for pair in LIKE_THE_PAPER.values() for error in pair)
    assert np.array(ranges) == pytest.approx(np.array(expected))


def test_small_errors_stay_on_the_axis() -> None:
    _, make = STUDIES["whole"]
    ax = published.FIGURES[FIGURE_6].draw(make()).axes[0]
    assert 0.1 < ax.get_ylim()[0] < 0.2
    nothing = by_depth({("plain", 8): (0.0, 0.08), ("residual", 8): (0.3, 0.3)})
    plain = published.FIGURES[FIGURE_6].draw(nothing).axes[0]
    plots.render(plain.figure, "png")
    assert plain.get_ylim()[0] > 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted))
def test_labels_are_pushed_apart(heights: list[float]) -> None:
    found = np.array(_apart(heights, 0.05))
    assert (np.diff(found) >= 0.05 - 1e-9).all()
    assert found.mean() == pytest.approx(np.mean(heights))
    if len(heights) == 1 or min(np.diff(heights)) >= 0.05:
        assert found == pytest.approx(heights)


def test_accuracy_by_the_part_of_the_run() -> None:
    numbers = chapter(0.54, 0.58, 0.57)
    test, train, _ = published.FIGURES[RESNET_18].draw(numbers).axes
    names = ("residual", "plain twin", "residual, exponential rate")
    for history, name in zip(numbers.histories, names, strict=True):
        x, y = line(test, name)
        assert x == pytest.approx([12.5 * epoch for epoch in range(9)])
        assert y == pytest.approx(100 - 100 * history.test_error)
        x, y = line(train, name)
        assert x == pytest.approx([12.5 * epoch for epoch in range(1, 9)])
        assert y == pytest.approx(100 - 100 * history.train_error[1:])
    assert line(test, text("resnet18:chapter"))[1].tolist() == [50, 60, 70, 75.63]
    assert line(test, text("resnet18:chapter"))[0].tolist() == [30, 60, 80, 100]
    assert line(test, text("resnet18:stem"))[1].tolist() == [67.8]
    assert line(test, text("resnet18:repository"))[1].tolist() == [75.61]


@pytest.mark.parametrize("schedule", ["steps", "exponential", "one-cycle"])
def test_the_learning_rate_is_that_of_the_scheduler(schedule: str) -> None:
    """Against the rates that PyTorch's scheduler gives, at the last step of each epoch."""
    fields = {"steps": STEPS, "exponential": EXPONENTIAL, "one-cycle": ONE_CYCLE}[schedule]
    recipe, epochs, per_epoch = gradflow.recipes.Recipe(**{**fields, "epochs": 10}), 10, 40
    optimizer = recipe.make_optimizer(torch.nn.Linear(1, 1))
    scheduler = recipe.make_scheduler(optimizer, epochs * per_epoch)
    rates = []
    for _ in range(epochs * per_epoch):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    at_ends = np.array(rates[per_epoch - 1 :: per_epoch])
    history = replace(run(0.3, 0.3, fields, epochs=epochs), learning_rate=at_ends)
    ax = plots.rate_by_progress({"a": history}, looks={"a": plots.look_of(0)}, ax=plots.new_figure().subplots())
    x, y = line(ax, "a")
    ends = 10 * np.arange(1, 11) - 0.25  # the last step of an epoch begins a 400th of the run before its end
    if schedule == "one-cycle":
        assert x.tolist() == [10 * epoch for epoch in range(1, 11)]
        assert y.tolist() == at_ends.tolist()
    else:
        assert np.exp(np.interp(ends, x, np.log(y))) == pytest.approx(at_ends)
        assert (x[0], x[-1]) == (0, 100)


def test_lines_where_the_rate_falls() -> None:
    for ax in published.FIGURES[RESNET_18].draw(chapter(0.54, 0.58, 0.57)).axes:
        dotted = [one.get_xdata()[0] for one in ax.get_lines() if one.get_linestyle() == ":"]
        assert dotted == pytest.approx([30, 60, 80])


# ── the words ──


def caption_of(name: str, numbers: Study) -> str:
    return figures.caption(name, numbers)


def title_of(name: str, numbers: Study) -> str:
    return published.FIGURES[name].draw(numbers).legends[0].get_title().get_text()


def test_the_caption_is_filled_in(drawn: tuple[str, Study, Figure]) -> None:
    name, numbers, _ = drawn
    assert not re.search(r"[{}]|nan|None|  |\.\.", caption_of(name, numbers))
    wanted = {field for _, field, _, _ in string.Formatter().parse(ENGLISH[f"caption:{name}"]) if field}
    assert wanted == published.FIGURES[name].facts(numbers).keys(), "nothing missing, nothing idle"


@pytest.mark.parametrize("name", STUDIES)
def test_title_and_caption_say_whether_it_is_the_published_run(name: str) -> None:
    figure, make = STUDIES[name]
    title, caption = title_of(figure, make()), caption_of(figure, make())
    if name.startswith("whole"):
        assert "as in the" in title
        assert "not a reproduction" not in title + caption
    else:
        width, epochs = (8, 6) if figure == FIGURE_6 else (16, 8)
        assert f"width {width}, {epochs} epochs: not a reproduction" in title
        assert "not a reproduction" in caption
        assert f"width {width} and {epochs} epochs" in caption


@pytest.mark.parametrize(("width", "epochs"), [(16, 6), (8, 160), (16, 320)])
def test_another_budget_is_not_the_paper_s(width: int, epochs: int) -> None:
    assert "not a reproduction" in title_of(
        FIGURE_6, by_depth(LIKE_THE_PAPER, width=width, epochs=epochs, per_epoch=400)
    )


def test_the_numbers_in_the_caption_are_those_of_the_study() -> None:
    caption = caption_of(FIGURE_6, by_depth(LIKE_THE_PAPER, seeds=3))
    assert "plain-8/20/56 43.0 / 46.5 / 81.0 %, residual-8/20/56 41.0 / 36.5 / 37.0 %" in caption
    assert "median and range of 3 seeds" in caption
    assert "plain-56 ends with a higher training error than plain-8, 82.0 against 44.0 %" in caption
    assert "With 56 layers the final training error is 48.0 points lower with shortcuts" in caption
    assert "residual-20/32/44/56/110 8.75 / 7.51 / 7.17 / 6.97 / 6.43 %" in caption
    assert "plain-20/32/44/56 9.5 / 9.92 / 11.35 / 12.76 %" in caption
    assert "plain-110 above 60 %" in caption
    caption = caption_of(RESNET_18, chapter(0.54, 0.58, 0.57))
    assert "residual 46.0 %, plain twin 42.0 %, residual, exponential rate 43.0 %" in caption
    assert "50 / 60 / 70 / 75.63 %" in caption
    assert "by 0.2 (30/60/80 %)" in caption


@pytest.mark.parametrize(
    ("plain", "residual", "words"),
    [
        (0.6, 0.3, ["higher training error than plain-8", "lower training error than residual-8", "Both are as in"]),
        (0.6, 0.5, ["residual-56 ends with a higher", "The first is as in the paper", "the second is not"]),
        (0.6, 0.405, ["residual-8, 40.5 and 40.0 %, cannot be told apart", "The first is as in the paper"]),
        (0.3, 0.2, ["plain-56 ends with a lower", "The second is as in the paper", "the first is not"]),
        (0.395, 0.5, ["plain-8, 39.5 and 40.0 %, cannot be told apart", "In the paper it is otherwise"]),
    ],
)
def test_what_depth_does_is_computed(plain: float, residual: float, words: list[str]) -> None:
    ends = {("plain", 8): 0.4, ("plain", 56): plain, ("residual", 8): 0.4, ("residual", 56): residual}
    caption = caption_of(FIGURE_6, by_depth({key: (error, 0.4) for key, error in ends.items()}))
    for word in words:
        assert word in caption
    gap = 100 * (residual - plain)
    assert f"{abs(gap):.1f} points {'lower' if gap < 0 else 'higher'} with shortcuts" in caption


def test_one_depth_is_not_compared() -> None:
    caption = caption_of(FIGURE_6, by_depth({("plain", 20): (0.4, 0.4), ("residual", 20): (0.4, 0.4)}))
    assert "there is one depth only of plain nets" in caption
    assert not re.search("in the paper", caption, re.IGNORECASE)
    assert "not to be told apart with and without shortcuts" in caption


@pytest.mark.parametrize(
    ("plain", "exponential", "words"),
    [
        (0.58, 0.57, ["4.0 points more than its plain twin", "3.0 points less than with", ", as in the chapter"]),
        (0.50, 0.51, ["4.0 points less than its plain twin", "3.0 points more than with", ", unlike in the chapter"]),
        (0.545, 0.535, ["about as much as its plain twin", "about as much as with", ", unlike in the chapter"]),
    ],
)
def test_what_the_twin_and_the_schedule_do_is_computed(plain: float, exponential: float, words: list[str]) -> None:
    caption = caption_of(RESNET_18, chapter(0.54, plain, exponential))
    for word in words:
        assert word in caption


def test_noise_is_two_standard_errors() -> None:
    """Against draws: of two nets that are equally good, one in twenty pairs may look different."""
    shares = np.random.default_rng(0).binomial(10_000, 0.4, size=(4000, 2)) / 100
    called = np.mean([published._difference(*pair) != 0 for pair in shares])
    assert 0.035 < called < 0.06


def test_what_is_missing_is_not_spoken_of() -> None:
    whole = chapter(0.54, 0.58, 0.57)
    caption = caption_of(RESNET_18, alone(whole))
    assert not re.search("twin|xponential|counts as none", caption)
    failed = replace(whole, failures=({"setting": {}, "error": "FloatingPointError", "message": "", "step": 3},))
    assert "one run each, 1 failed and left out" in caption_of(RESNET_18, failed)
    in_eval = [
        replace(h, provenance={k: v for k, v in h.provenance.items() if k != "train_curve"}) for h in whole.histories
    ]
    assert "in eval mode" in caption_of(RESNET_18, replace(whole, histories=tuple(in_eval)))
    assert "in train mode" in caption_of(RESNET_18, whole)


# ── how they are made ──


@pytest.mark.slow
def test_a_real_study_is_drawn_and_told() -> None:
    """What fit() writes down is what the figures read."""
    images, labels = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8), torch.arange(64) % 10
    data = ((images, labels), (images[:32], labels[:32]))
    grid = {"width": (2,), "depth": (8, 14), "kind": plots.KINDS, "seed": (0,)}
    numbers = gradflow.study(
        lambda width, depth, kind: gradflow.models.resnet(depth, width=width, residual=kind == "residual"),
        grid,
        data,
        replace(gradflow.recipes.he15_cifar10, epochs=2, batch=32),
        evaluate_train=False,
        progress=False,
    )
    assert np.isnan(numbers.histories[0].train_error[0])
    assert "width 2, 2 epochs" in title_of(FIGURE_6, numbers)
    assert "augmented, in train mode" in caption_of(FIGURE_6, numbers)


@pytest.mark.slow
def test_in_full_a_figure_carries_out_its_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pictures() -> Any:
        images = torch.arange(32 * 3 * 32 * 32, dtype=torch.uint8).view(32, 3, 32, 32)
        return (images, torch.arange(32) % 10), (images, torch.arange(32) % 10)

    name = published.FIGURES[FIGURE_6].recorded
    grid = {"depth": (8, 14), "kind": plots.KINDS, "width": (2,), "epochs": (1,), "seed": (0,)}
    monkeypatch.setitem(plans.PLANS, name, replace(plans.PLANS[name], grid=(grid,), data=pictures))
    make = partial(figures.make, FIGURE_6, tmp_path / "figures", ("svg",), full=True)
    stored, picture, *_ = make()
    numbers = gradflow.load(stored)
    assert numbers.provenance["plan"] == name
    assert "width 2 and 1 epochs" in caption_of(FIGURE_6, numbers)
    assert len(list((tmp_path / "runs" / name).glob("*/history.json"))) == 4
    before = picture.read_bytes(), stored.read_bytes()
    make()
    assert (picture.read_bytes(), stored.read_bytes()) == before, "nothing was trained again"


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A catalogue of one recorded figure; the list tells what it was asked to train."""
    asked: list[Any] = []

    def train(plan: str, folder: Path) -> Table:
        asked.append((plan, folder))
        return Table(columns={"number": np.arange(3.0)}, provenance={"threads": 1})

    def draw(numbers: Table) -> Figure:
        picture = plots.new_figure()
        picture.subplots().plot(numbers["number"])
        return picture

    monkeypatch.setattr(figures, "CATALOGUE", {"one": BookFigure(train, draw, lambda numbers: {}, recorded="a-plan")})
    return asked


def test_a_recorded_figure_is_drawn_from_what_is_there(
    one: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = partial(figures.make, "one", tmp_path / "figures", ("svg",))
    for options in ({}, {"from_data": True}):
        with pytest.raises(
            FileNotFoundError, match=r"one\.json does not exist; run `gradflow figures one --full --out"
        ):
            make(**options)
    assert list(tmp_path.iterdir()) == []

    written = make(full=True)
    assert one == [("a-plan", tmp_path / "runs" / "a-plan")]
    numbers = gradflow.load(written[0])
    assert numbers.provenance["plan"] == "a-plan"
    before = [path.read_bytes() for path in written]
    assert capsys.readouterr().err == ""

    assert make() == written
    assert re.fullmatch(r"one: drawn from \S+one\.json; --full .*\n", capsys.readouterr().err)
    assert make(from_data=True) == written
    assert capsys.readouterr().err == ""
    assert len(one) == 1, "nothing was trained again"
    assert [path.read_bytes() for path in written] == before


def test_the_numbers_of_another_plan_are_kept(one: list[Any], tmp_path: Path) -> None:
    stored = tmp_path / "data" / "one.json"
    Table(columns={"number": np.arange(9.0)}, provenance={"plan": "a-longer-plan"}).save(stored)
    with pytest.raises(FileExistsError, match=r"holds the plan a-longer-plan, --full would run a-plan"):
        figures.make("one", tmp_path, ("svg",), full=True)
    assert one == []
    figures.make("one", tmp_path, ("svg",))
    assert len(gradflow.load(stored)["number"]) == 9


def test_a_full_run_stands_in_for_a_small_one(tmp_path: Path) -> None:
    """The same figure draws what a longer plan has recorded, and the gallery tells of it."""
    STUDIES["whole"][1]().save(tmp_path / "data" / f"{FIGURE_6}.json")
    assert len(figures.make(FIGURE_6, tmp_path, ("svg",))) == 4
    assert "Width 16 and 64,000 steps, as in the paper" in figures.gallery(tmp_path).read_text()
