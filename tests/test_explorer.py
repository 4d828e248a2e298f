"""The explorer: its states, its numbers and its pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from exploring import SMALL, executed, picture, small
from hypothesis import given
from hypothesis import strategies as st

import gradflow
from gradflow.explorer import State, code, compute, draw, save
from gradflow.explorer.pictures import Screen, summary
from gradflow.explorer.replays import LAST_STEP, RECIPE, TRACE_EVERY
from gradflow.explorer.states import CHOICES, LIMITS, problems, typed, unused
from gradflow.results import Comparison, GradientSplit, PathSpectrum, Study
from gradflow.seeding import seeded

DEFAULTS = dataclasses.asdict(State())


@pytest.fixture(scope="module")
def trained() -> Study:
    """One replay for all tests that need no training of their own."""
    return compute(small(tab="replay", batch=256))


# ── states ──


@given(
    depth=st.integers(*LIMITS["depth"]),
    width=st.integers(*LIMITS["width"]),
    batch=st.integers(2, LIMITS["batch"][1]),
    seed=st.integers(*LIMITS["seed"]),
    lam=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3),
    norm=st.booleans(),
    choices=st.fixed_dictionaries({name: st.sampled_from(choices) for name, choices in CHOICES.items()}),
)
def test_every_state_within_the_limits_is_one(
    depth: int, width: int, batch: int, seed: int, lam: float, norm: bool, choices: dict[str, str]
) -> None:
    if choices["stack"] == "resnet":
        depth = 8 + 6 * (depth // 7)
    state = State(depth=depth, width=width, batch=batch, seed=seed, lam=lam, batch_norm=norm, **choices)
    assert state.essential.essential == state.essential
    assert hash(state.essential) == hash(dataclasses.replace(state, step=7).essential)
    compile(code(state), "code", "exec")


wrong = st.one_of(
    st.tuples(st.sampled_from(list(LIMITS)), st.sampled_from([-1, 10**12, 2.5, True, None, "many", float("nan")])),
    st.tuples(st.sampled_from([*CHOICES, "init"]), st.text(min_size=1).map("no ".__add__) | st.none() | st.integers()),
    st.tuples(st.just("lam"), st.sampled_from(["abc", None, float("nan"), float("inf"), True])),
    st.tuples(st.just("init"), st.sampled_from(["normal(-1)", "normal(x)", "normal()", "", "He", "\U00014647" * 20])),
    st.tuples(st.just("batch_norm"), st.sampled_from([1, 0, "yes", None])),
)


@given(wrong)
def test_each_mistake_gets_one_sentence_at_its_place(mistake: tuple[str, Any]) -> None:
    name, value = mistake
    found = problems({**DEFAULTS, name: value})
    assert set(found) == {name}
    label = "λ" if name == "lam" else name
    assert found[name].startswith(f"{label} must be ")
    assert "got" in found[name]
    assert len(found[name]) < 200
    with pytest.raises(ValueError, match=f"^{label} must be "):
        State(**{**DEFAULTS, name: value})


def test_the_depth_of_a_resnet() -> None:
    assert problems({**DEFAULTS, "stack": "resnet", "depth": 21})["depth"].endswith("nearest are 20 and 26")
    assert not problems({**DEFAULTS, "stack": "resnet", "depth": 20})


def test_batchnorm_of_one_sample() -> None:
    one = {**DEFAULTS, "batch_norm": True, "batch": 1}
    assert "two samples" in problems(one)["batch"]
    assert not problems({**one, "mode": "eval"})
    compute(State(**{**one, "mode": "eval", "depth": 4}))


def test_several_mistakes_are_all_told() -> None:
    with pytest.raises(ValueError, match=r"depth must.*width must.*λ must"):
        State(depth=0, width=0, lam=float("nan"))


@given(st.text(max_size=8))
def test_what_is_typed_is_a_number_or_stays_text(text: str) -> None:
    for name in ("lam", "batch"):
        value = typed(name, text)
        assert value == text or isinstance(value, float if name == "lam" else int)
        problems({**DEFAULTS, name: value})


def test_what_changes_nothing_changes_no_number() -> None:
    for state, other in (
        (small("resnet"), {"activation": "tanh", "batch_norm": True}),
        (small(shortcut="dropout"), {"lam": 0.1}),
        (small(), {"step": 9}),
    ):
        changed = dataclasses.replace(state, **other)
        assert set(other) <= changed.unused
        assert changed.essential == state.essential
        assert code(changed) == code(state)
        assert compute(changed) == compute(state)
    assert {"dtype", "mode"} <= unused({**DEFAULTS, "tab": "replay"})
    assert "step" not in unused({**DEFAULTS, "tab": "replay"})


# ── numbers ──


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("tab", ["flow", "split", "paths"])
def test_the_code_gives_what_is_shown(stack: str, tab: str) -> None:
    state = small(stack, tab=tab, seed=3, init="he", lam=0.5, dtype="float64" if tab == "flow" else "float32")
    shown, found = compute(state), executed(state)
    assert found == shown
    assert type(shown) is {"flow": Comparison, "split": GradientSplit, "paths": PathSpectrum}[tab]
    assert executed(dataclasses.replace(state, seed=4)) != shown, "equality can fail"


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "eval", "batch_norm": True},
        {"activation": "sigmoid", "init": "normal(0.3)"},
        {"shortcut": "exclusive-gate"},
        {"dtype": "bfloat16"},
        {"dtype": "float16", "tab": "split"},
        {"batch": 5, "tab": "paths"},
    ],
    ids=str,
)
def test_the_code_says_every_setting(more: dict[str, Any]) -> None:
    state = small(**more)
    assert executed(state) == compute(state)
    assert executed(state) != compute(small(tab=state.tab))


def test_the_code_of_a_replay(trained: Study) -> None:
    state = small(tab="replay", batch=256)
    assert executed(state) == trained


def test_the_flow_is_that_of_a_plain_and_a_residual_net() -> None:
    """Against compare() told the same in other words: two networks built by hand from one seed."""
    with seeded(5):
        plain = gradflow.models.fc_stack(8, 6)
    with seeded(5):
        residual = gradflow.models.fc_stack(8, 6, shortcut=gradflow.models.Scaled(0.5))
    by_hand = gradflow.compare(plain, residual, seed=5)
    shown = compute(small(lam=0.5, seed=5))
    for name in ("plain", "residual"):
        np.testing.assert_array_equal(shown.values(name), by_hand.values(name))
        np.testing.assert_array_equal(shown.theory[name], by_hand.theory[name])
    assert shown.verdicts["plain"].word == "vanishes"


def test_the_split_stands_a_huge_product() -> None:
    split = compute(small(tab="split", lam=1e80, dtype="float64"))
    assert split.median("shortcut")[0] == pytest.approx(3 * 80)
    assert "shortcut part 1.00e+240" in summary(small(tab="split"), split)[0]


def test_the_replay_holds_every_recorded_step(trained: Study) -> None:
    run = trained.histories[0]
    assert run.steps[-1] == RECIPE.max_steps
    np.testing.assert_array_equal(run.traced_steps, np.arange(0, LAST_STEP + 1, TRACE_EVERY))
    assert run.trace["output_grad"].shape == (LAST_STEP // TRACE_EVERY + 1, 8)


# ── pictures ──


@pytest.mark.parametrize("stack", SMALL)
@pytest.mark.parametrize("tab", ["flow", "split", "paths"])
def test_every_tab_of_every_stack_is_drawn(stack: str, tab: str) -> None:
    state = small(stack, tab=tab)
    result = compute(state)
    figure = draw(state, result)
    assert all(ax.lines for ax in figure.axes)
    assert figure.get_suptitle().replace("\n", " ") == " ".join(summary(state, result))
    assert picture(Screen().png(state, result)).std() > 0.05, "not an empty sheet"


def test_both_nets_share_an_axis_with_theory_and_verdicts() -> None:
    state = small()
    result = compute(state)
    ax = draw(state, result).axes[0]
    assert ax.get_yscale() == "log"
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(drawn["plain"], result.values("plain")[0])
    np.testing.assert_array_equal(drawn["residual"], result.values("residual")[0])
    assert {"theory", "_theory"} <= set(drawn)
    assert summary(state, result)[0] == f"plain: {result.verdicts['plain']}"


@pytest.mark.parametrize(("step", "place"), [(0, 0), (2, 0), (3, 1), (4, 1), (LAST_STEP, -1), (10_000, -1)])
def test_the_replay_shows_the_step_that_is_asked_for(trained: Study, step: int, place: int) -> None:
    figure = draw(small(tab="replay", batch=256, step=step), trained)
    left, right = figure.axes
    for line, history in zip(left.lines, trained.histories, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), history.trace["output_grad"][place])
    run = trained.histories[0]
    now = run.traced_steps[place] * run.epoch[-1] / run.steps[-1]
    assert right.lines[-1].get_xdata()[0] == pytest.approx(now, abs=0.05)
    assert left.get_ylim() == draw(small(tab="replay"), trained).axes[0].get_ylim(), "the axis stands still"
    assert figure.get_suptitle().startswith(f"step {run.traced_steps[place]} of 90")


def test_a_replay_with_zeros_still_has_room(trained: Study) -> None:
    dead = [dataclasses.replace(run, trace=zeroed(run.trace)) for run in trained.histories]
    study = dataclasses.replace(trained, histories=tuple(dead))
    state = small(tab="replay")
    low, high = draw(state, study).axes[0].get_ylim()
    assert low < np.finfo(np.float32).smallest_subnormal < high
    Screen().png(state, study)


def zeroed(trace: Any) -> Any:
    values = trace.values.copy()
    values[:, :-1] = 0
    return dataclasses.replace(trace, values=values)


def test_a_kept_figure_shows_only_the_last_state() -> None:
    screen, fresh = Screen(), Screen()
    split, flow = small(tab="split"), small()
    first = screen.png(flow, compute(flow))
    assert screen.png(split, compute(split)) == fresh.png(split, compute(split))
    assert screen.png(flow, compute(flow)) == first


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    Screen().png(small(), compute(small()))
    assert dict(mpl.rcParams) == before


def test_saving_writes_the_book_figure_and_its_numbers(tmp_path: Path) -> None:
    state = small(lam=0.5)
    result = compute(state)
    paths = save(state, result, tmp_path / "new" / "flow 1.2")
    assert [path.name for path in paths] == [f"flow 1.2.{kind}" for kind in ("pdf", "svg", "png", "json")]
    assert gradflow.load(paths[-1]) == result
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert b"<svg" in paths[1].read_bytes()
    before = [path.read_bytes() for path in paths]
    save(state, result, tmp_path / "new" / "flow 1.2")
    assert [path.read_bytes() for path in paths] == before
    for empty in ("", "  ", "/"):
        with pytest.raises(ValueError, match="type a file name first"):
            save(state, result, empty)
