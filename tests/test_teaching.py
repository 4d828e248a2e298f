"""Every exercise of every lesson with right, nearly right and wrong answers, and the notebooks that ask them."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch

import gradflow
from gradflow import compare, models, plots, teaching
from gradflow.plots.page import CONTEXTS
from gradflow.teaching import Exercise, Mistake, absolute, check, factor, relative

ROOT = Path(__file__).parent.parent
EXERCISES = teaching.exercises()
NUMBERS = [name for name, one in EXERCISES.items() if not isinstance(one.solution, bool | str | tuple)]
LOOK = ("lines.linewidth", "legend.fontsize", "axes.titlesize")
NONSENSE: tuple[Any, ...] = (
    "",
    "0.5?",
    [],
    {},
    object(),
    [[1, 2], [3]],
    float("nan"),
    float("inf"),
    1 + 2j,
    torch.ones(3),
    lambda: 1,
)


def notebook(lesson: str) -> dict[str, Any]:
    """The one notebook of a lesson, with the source of each cell as one string."""
    (path,) = (ROOT / "notebooks").glob(f"{lesson}_*.ipynb")
    return json.loads(path.read_text(encoding="utf-8"))


def sources(lesson: str, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook(lesson)["cells"] if cell["cell_type"] == kind]


def edge(exercise: Exercise, sign: int) -> float:
    """By how much a number may be off, in one direction, and still be right: found by halving."""
    right = float(exercise.solution)  # type: ignore[arg-type]
    step = 1e-9 * max(abs(right), 1e-9)
    if exercise.distance(right + sign * step, right) > 1:
        return 0.0  # only the right number itself is right
    while exercise.distance(right + sign * 2 * step, right) <= 1:
        step *= 2
    fine, off = step, 2 * step
    for _ in range(60):
        middle = (fine + off) / 2
        fine, off = (middle, off) if exercise.distance(right + sign * middle, right) <= 1 else (fine, middle)
    return fine


# ── every exercise of every lesson ──


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_right(name: str) -> None:
    exercise = EXERCISES[name]
    feedback = check(name, exercise.solution)
    assert feedback.verdict == "right"
    assert exercise.because in feedback.message
    assert exercise.solution == EXERCISES[name].solution, "computed once, and no other each time"


@pytest.mark.parametrize("name", EXERCISES)
def test_typical_mistakes_get_their_own_hint(name: str) -> None:
    exercise = EXERCISES[name]
    assert exercise.mistakes, "a lesson knows at least one typical mistake"
    for mistake, wrong in zip(exercise.mistakes, exercise.wrong_answers(), strict=True):
        feedback = check(name, wrong)
        assert (feedback.verdict, feedback.message) == ("wrong", f"Not yet. {mistake.hint}"), f"{name}: {wrong}"


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_nearly_right_is_right_or_close_by_its_tolerance(name: str, sign: int) -> None:
    exercise = EXERCISES[name]
    right, room = float(exercise.solution), edge(exercise, sign)  # type: ignore[arg-type]
    assert check(name, right + sign * 0.9 * room).verdict == "right"
    beyond = check(name, right + sign * max(1.5 * room, 1e-6 * abs(right)))
    assert beyond.verdict in ("close", "wrong")
    assert not beyond.message.startswith("Right")


@pytest.mark.parametrize("name", EXERCISES)
def test_no_answer_and_nonsense_are_met_with_a_sentence(name: str) -> None:
    assert check(name, None).verdict == "unanswered"
    for answer in NONSENSE:
        feedback = check(name, answer)
        assert feedback.verdict == "unreadable", repr(answer)
        assert feedback.message.endswith(".")


@pytest.mark.parametrize("name", NUMBERS)
def test_hints_do_not_give_the_answer(name: str) -> None:
    exercise = EXERCISES[name]
    for hint in (*(mistake.hint for mistake in exercise.mistakes), exercise.otherwise):
        for number in re.findall(r"(?<![\w.,^−-])-?\d+(?:\.\d+)?(?![\w.,/])", hint):
            given = float(number)
            assert given in (0, 1) or exercise.distance(given, exercise.solution) > 1, f"{name}: {hint}"


@pytest.mark.parametrize("name", EXERCISES)
def test_the_notebook_asks_it_once_and_in_these_words(name: str) -> None:
    lesson = name.partition(".")[0]
    asked = [source for source in sources(lesson, "code") if f'teaching.check("{name}", answer)' in source]
    assert len(asked) == 1
    assert asked[0].startswith("answer = None"), "a student starts without an answer"
    assert EXERCISES[name].question in "\n".join(sources(lesson, "markdown"))


@pytest.mark.parametrize("lesson", sorted({name.partition(".")[0] for name in EXERCISES}))
def test_a_notebook_is_stored_as_students_should_find_it(lesson: str) -> None:
    stored = notebook(lesson)
    assert stored["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in stored["cells"] if "outputs" in cell)
    ids = [cell["id"] for cell in stored["cells"]]
    assert len(set(ids)) == len(ids)
    checks = re.findall(r'teaching\.check\("([^"]+)"', "\n".join(sources(lesson, "code")))
    assert set(checks) <= set(EXERCISES)
    assert 2 <= len(checks) <= 3
    for source in sources(lesson, "code"):
        lines = [line for line in source.splitlines() if line and not line.startswith(("import ", "from "))]
        assert len(lines) <= 12, source
    settings = sources(lesson, "code")[0]
    assert 'FULL = os.environ.get("GRADFLOW_FULL") == "1"' in settings
    assert settings.endswith("torch.set_num_threads(1)  # nets this small are faster with one thread")


def test_the_answers_of_lessons_1_and_2_by_hand() -> None:
    below = next(n for n in range(1000) if 6 ** (-n / 2) < np.finfo(np.float32).tiny)
    gate = 1 / (1 + math.exp(-EXERCISES["02.gate"].solution))  # type: ignore[operator]
    found = {name: EXERCISES[name].solution for name in NUMBERS if name[:2] in ("01", "02")}
    by_hand = {"factor": 6**-0.5, "floor": below, "batch": 32 / 128}
    assert {name: found[f"01.{name}"] for name in by_hand} == pytest.approx(by_hand, rel=1e-6)
    assert found["02.product"] == pytest.approx(math.log10(0.9**100))
    assert found["02.growth"] == pytest.approx(1.5**0.5)
    assert (1 - gate) ** 50 == pytest.approx(0.5)


def test_the_answers_of_lesson_7_are_what_the_explorer_shows() -> None:
    from gradflow.explorer import State, compute

    split, half, resnet = (
        compute(state)
        for state in (
            State(init="he", lam=0.9, tab="split"),
            State(dtype="float16"),
            State(stack="resnet", depth=56, width=8),
        )
    )
    read = tuple(10 ** split.median(part)[0] for part in ("shortcut", "whole"))
    assert EXERCISES["07.parts"].solution == pytest.approx(read, rel=1e-4)
    assert EXERCISES["07.floor"].solution == half.verdicts["plain"].below_floor
    assert EXERCISES["07.mode"].solution == resnet.verdicts["plain"].decades
    exact = compute(State(dtype="float64")).values("plain")[0]
    assert EXERCISES["07.parts"].solution[0] == pytest.approx(0.9**24)  # type: ignore[index]
    assert EXERCISES["07.floor"].solution == (exact < np.finfo(np.float16).tiny).sum()
    swapped = check("07.parts", EXERCISES["07.parts"].solution[::-1])  # type: ignore[index]
    assert swapped.message == "Not yet. The order: first the shortcut part, then the whole."


# ── the checker itself ──


def exercise_of(right: Any, **more: Any) -> Exercise:
    return Exercise(**{"question": "?", "right": right, "otherwise": "Think again.", **more})


def test_an_unknown_exercise_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"lesson among 01, .*got name='99\.x'"):
        check("99.x", 1)
    with pytest.raises(ValueError, match=r"01\.factor.*got name='01\.fctor'"):
        check("01.fctor", 1)


def test_feedback_reads_as_a_sentence() -> None:
    assert repr(check("01.factor", None)).startswith("01.factor: No answer yet")


@pytest.mark.parametrize(
    ("near", "right", "inside", "outside"),
    [
        (relative(0.1), -2.0, (-2.19, -1.81), (-2.21, -1.79, 2.0)),
        (relative(0.1), 0.0, (0.0,), (1e-300,)),
        (absolute(0.5), 0.0, (0.49, -0.49), (0.51,)),
        (absolute(0), 7.0, (7,), (7.0000001,)),
        (factor(10), 1e-12, (1.01e-13, 9.9e-12), (0.99e-13, 1.01e-11, 0.0, -1e-12)),
    ],
)
def test_how_near_is_near(
    near: Callable[[float, float], float], right: float, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert all(near(answer, right) <= 1 for answer in inside)
    assert all(near(answer, right) > 1 for answer in outside)


def test_a_tolerance_must_make_sense() -> None:
    for make, bad in ((relative, -0.1), (absolute, math.nan), (factor, 1.0)):
        with pytest.raises(ValueError, match="expected a"):
            make(bad)


def test_numbers_of_every_kind_are_read() -> None:
    exercise = exercise_of(lambda: 3.0)
    for answer in (3, 3.0, np.float32(3), np.array(3), torch.tensor(3.0), torch.tensor([3], dtype=torch.int8)):
        assert exercise.read(answer) == 3.0
    for answer in (True, "3", None, [3, 4], 10**400):
        with pytest.raises(ValueError, match="number"):
            exercise.read(answer)


def test_yes_or_no_takes_nothing_else() -> None:
    exercise = exercise_of(True)
    assert exercise.read(False) is False
    for answer in (1, 0, "True", np.array([True])):
        with pytest.raises(ValueError, match="True or False"):
            exercise.read(answer)


def test_a_row_must_be_as_long_and_each_number_near() -> None:
    exercise = exercise_of((1.0, 2.0))
    for answer in ([1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0]), range(1, 3)):
        assert exercise.distance(exercise.read(answer), exercise.solution) == 0
    assert exercise.distance((1.0, 2.1), exercise.solution) > 1
    for answer in ([1], [1, 2, 3], "12", 1, {1: 1, 2: 2}, torch.tensor(1.0), [1, "2"]):
        with pytest.raises(ValueError, match="number"):
            exercise.read(answer)


def test_words_are_read_whatever_their_case() -> None:
    exercise = exercise_of("vanishes", choices=("vanishes", "explodes"))
    assert exercise.read(" Explodes") == "explodes"
    with pytest.raises(ValueError, match='one of "vanishes", "explodes", not 3'):
        exercise.read(3)


def test_the_first_mistake_that_fits_speaks() -> None:
    wide = Mistake(5, "Too large.", when=lambda answer: answer > 1)
    exercise = exercise_of(1.0, mistakes=(Mistake(lambda right: 2 * right, "Twice."), wide))
    assert exercise.hint(2.01) == "Twice."
    assert exercise.hint(3.0) == "Too large."
    assert exercise.hint(0.0) == "Think again."


def test_the_right_answer_is_computed_when_first_needed_and_once() -> None:
    calls: list[int] = []
    exercise = exercise_of(lambda: calls.append(1) or 4.0)
    assert not calls
    assert exercise.solution == exercise.solution == 4.0
    assert len(calls) == 1


# ── pictures ──


def width_mm(picture: Any) -> float:
    """Width of the SVG that a notebook gets."""
    encoded = re.search(r"data:image/svg\+xml;base64,([^\"]+)", picture._repr_mimebundle_()["text/html"])
    assert encoded
    points = re.search(r'<svg[^>]* width="([\d.]+)pt"', base64.b64decode(encoded[1]).decode())
    assert points
    return float(points[1]) / 72 * 25.4


def test_a_recorded_figure_shows_its_picture_and_caption() -> None:
    recorded = teaching.Recorded("lambda-training", ROOT / "figures")
    shown = recorded._repr_mimebundle_()
    assert shown["text/plain"] == repr(recorded)
    assert "ResNet-56" in shown["text/html"]
    assert width_mm(recorded) == pytest.approx(plots.DOUBLE_MM * CONTEXTS["notebook"].width, abs=0.1)
    with plots.style("lecture"):
        assert width_mm(recorded) == pytest.approx(plots.DOUBLE_MM * CONTEXTS["lecture"].width, abs=0.1)


def test_a_recorded_figure_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lambda-training.*got name='no'"):
        teaching.Recorded("no", tmp_path)
    with pytest.raises(FileNotFoundError, match="lambda-training"):
        teaching.Recorded("lambda-training", tmp_path)


def test_side_by_side_draws_each_result_with_one_legend() -> None:
    five = compare(models.textbook_fc, models.textbook_fc)
    shown = teaching.SideBySide({"left": five, "right": five})
    left, right = shown.draw().axes
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["left", "right"]
    assert left.get_legend() is None
    assert right.get_legend() is None
    assert repr(shown).splitlines()[0].startswith("left, plain vanishes")
    assert shown._repr_mimebundle_()["text/html"].startswith('<img alt="left, plain vanishes')
    for wrong in ({}, dict.fromkeys("abcd", five)):
        with pytest.raises(ValueError, match="one to three results"):
            teaching.SideBySide(wrong)


def test_side_by_side_repeats_no_titles_as_words() -> None:
    losses = gradflow.split(models.fc_stack(6, 8, shortcut=1.0))
    shown = teaching.SideBySide({"left": losses})._repr_mimebundle_()
    assert shown["text/html"].startswith('<img alt="left" ')
    assert "<p" not in shown["text/html"]


def test_a_sheet_has_the_look_of_a_notebook_whatever_the_user_has_set() -> None:
    with mpl.rc_context({"lines.linewidth": 9, "legend.fontsize": 30, "axes.titlesize": 30}):
        sheet = teaching.Sheet(2, titles=("a", "b"))
        sheet.lines(sheet.axes[0], {"one": np.arange(30.0), "two": np.ones(30)}, (1, 0), xlabel="x", ylabel="y")
        sheet.lines(sheet.axes[1], {"one": np.ones(3)}, yscale="log", xlabel="x", ylabel="z")
        sheet.legend()
    scale = CONTEXTS["notebook"].type
    with plots.style("book"):
        linewidth, legend, title = (mpl.rcParams[name] for name in LOOK)
    one, two = sheet.axes[0].lines
    assert one.get_linewidth() == pytest.approx(scale * linewidth)
    assert (one.get_color(), two.get_color()) == (plots.look_of(1).color, plots.look_of(0).color)
    (words,) = sheet.figure.legends
    assert [text.get_text() for text in words.get_texts()] == ["one", "two"]
    assert words.get_texts()[0].get_fontsize() == pytest.approx(scale * legend)
    (shown,) = (text for text in sheet.axes[1].get_children() if getattr(text, "get_text", str)() == "b")
    assert shown.get_fontsize() == pytest.approx(scale * title)
    assert repr(sheet) == "a: y against x; b: z against x"
    assert sheet._repr_mimebundle_()["text/html"].startswith('<img alt="a: y against x; b: z against x" ')
    assert width_mm(sheet) == pytest.approx(plots.DOUBLE_MM * CONTEXTS["notebook"].width, abs=0.1)


def test_a_sheet_of_one_axis_names_it_once() -> None:
    sheet = teaching.Sheet(2, sharey=True)
    for ax in sheet.axes:
        sheet.lines(ax, {"one": np.arange(3.0)}, ylabel="error", xlabel="epoch")
    assert [ax.get_ylabel() for ax in sheet.draw().axes] == ["error", ""]
    assert repr(sheet) == "error against epoch; error against epoch"


def test_showing_a_sheet_again_changes_nothing() -> None:
    words = "along the way (one is the whole length of it, x = 3 %) and then some more words that go on"
    with plots.style(width_mm=60):
        sheet = teaching.Sheet(3, titles=[f"title {words[:length]}" for length in (20, 30, 40)])
    for ax, lines in zip(sheet.axes, (3, 4, 5), strict=True):
        series = {f"line {number} {words[:12]}": np.arange(1.0, 9) for number in range(lines)}
        sheet.lines(ax, series, yscale="log", xlabel=words[:30], ylabel=words[: 5 + 15 * lines])
    sheet.legend()
    first = sheet._repr_mimebundle_()
    assert [bool(ax.get_xlabel()) for ax in sheet.axes] == [False, False, True], "they stand one above the other"
    assert first["text/plain"].count(f"against {words[:30].strip()}") == 3
    assert sheet._repr_mimebundle_() == first


def test_a_sheet_of_a_lecture_has_large_type() -> None:
    with plots.style("lecture"):
        sheet = teaching.Sheet()
    assert sheet.figure.page.context == "lecture"
    assert teaching.Sheet().figure.page.context == "notebook"


def test_a_sheet_says_what_is_wrong() -> None:
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=f"one to three.*got {wrong}"):
            teaching.Sheet(wrong)
    with pytest.raises(ValueError, match="a title for each of 2 panels, got 1"):
        teaching.Sheet(2, titles=("alone",))
