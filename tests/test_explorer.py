"""The explorer: states, numbers, pictures, the newest wish, and the widgets without a browser."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image as mpl_image
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradflow
from gradflow.explorer import State, code, compute, draw, panel, redrawing, save
from gradflow.explorer.controls import WIDTHS
from gradflow.explorer.numbers import LAST_STEP, RECIPE, TRACE_EVERY
from gradflow.explorer.pictures import Screen, summary
from gradflow.explorer.states import CHOICES, LIMITS, problems, typed, unused
from gradflow.explorer.words import ENGLISH
from gradflow.results import Comparison, GradientSplit, PathSpectrum, Study
from gradflow.seeding import seeded

widgets = pytest.importorskip("ipywidgets")
DEFAULTS = dataclasses.asdict(State())
SMALL: dict[str, dict[str, Any]] = {
    "fc": {"depth": 8, "width": 6},
    "conv": {"depth": 6, "width": 3, "batch": 4},
    "resnet": {"depth": 8, "width": 2, "batch": 4},
}


def small(stack: str = "fc", **more: Any) -> State:
    return State(**{"stack": stack, **SMALL[stack], **more})


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
    st.tuples(st.just("init"), st.sampled_from(["normal(-1)", "normal(x)", "normal()", "", "He"])),
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


def executed(state: State) -> Any:
    names: dict[str, Any] = {}
    exec(code(state), names)
    return names["result"]


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


def picture(png: bytes) -> np.ndarray:
    return mpl_image.imread(io.BytesIO(png))


# ── the newest wish ──


def test_the_latest_wish_wins_and_nothing_queues() -> None:
    done: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def work(wish: int) -> None:
        started.set()
        assert go_on.wait(10)
        done.append(wish)

    latest = redrawing.Latest(work)
    latest.ask(0)
    assert started.wait(10)
    for wish in range(1, 50):
        latest.ask(wish)
    assert not latest.wait(0)
    go_on.set()
    assert latest.wait(10)
    assert done == [0, 49]


def test_slow_work_is_overtaken_where_a_module_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    running = threading.Event()
    module = torch.nn.Identity()

    def work(wish: str) -> None:
        for _ in range(2 if wish == "quick" else 10**9):
            module(torch.zeros(()))
            running.set()
        done.append(wish)

    monkeypatch.setattr(redrawing, "GRACE", 0.05)
    latest = redrawing.Latest(work)
    latest.ask("slow")
    assert running.wait(10)
    latest.ask("quick")
    assert latest.wait(10)
    assert done == ["quick"]
    module(torch.zeros(()))
    assert not torch.nn.modules.module._global_forward_pre_hooks, "no hook is left"


def test_quick_work_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrawing, "GRACE", 1e9)
    done: list[int] = []
    module, running = torch.nn.Identity(), threading.Event()

    def work(wish: int) -> None:
        running.set()
        while not wish and not latest._waiting:
            time.sleep(0.001)
        module(torch.zeros(()))
        done.append(wish)

    latest = redrawing.Latest(work)
    latest.ask(0)
    assert running.wait(10)
    latest.ask(1)
    assert latest.wait(10)
    assert done == [0, 1]


def test_a_training_is_overtaken_and_the_generators_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrawing, "GRACE", 0.0)
    done: list[State] = []
    slow = small(tab="replay", batch=1)
    steps = threading.Event()

    def work(state: State) -> None:
        steps.set()
        compute(state)
        done.append(state)

    before = torch.get_rng_state()
    latest = redrawing.Latest(work)
    latest.ask(slow)
    assert steps.wait(10)
    latest.ask(small())
    assert latest.wait(60)
    assert done == [small()]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_redraw_that_fails_does_not_end_the_explorer(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    latest = redrawing.Latest(lambda wish: done.append(1 // wish))
    latest.ask(0)
    assert latest.wait(10)
    assert "could not redraw" in caplog.text
    latest.ask(1)
    assert latest.wait(10)
    assert done == [1]


def test_cells_and_redraws_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = redrawing.Turns()
    monkeypatch.setattr(redrawing, "TURNS", turns)
    module, seen, running = torch.nn.Identity(), [], threading.Event()
    busy = True

    def work(wish: str) -> None:
        running.set()
        while busy:
            module(torch.zeros(()))
        seen.append(wish)

    latest = redrawing.Latest(work)
    latest.ask("drawn")
    assert running.wait(10)
    with turns.cell(), turns.cell():  # a cell may run another
        assert not seen, "the cell stopped the redraw"
        running.clear()
        assert not running.wait(0.1), "which waits for its end"
        assert not latest.wait(0)
        busy = False
        assert not seen
    assert latest.wait(10)
    assert seen == ["drawn"], "and is done afterwards"
    turns.after_cell()  # the end of the cell that made the explorer
    with turns.redraw():
        assert not turns.cell_waits


def test_an_interrupted_wait_for_a_turn_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = redrawing.Turns()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(turns._state, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            turns.before_cell()
    turns.after_cell()
    assert not turns.cell_waits
    with turns.redraw():
        pass


def test_a_shell_is_followed_once() -> None:
    registered: list[str] = []

    class Events:
        def register(self, event: str, _: Any) -> None:
            registered.append(event)

    class Shell:
        events = Events()

    turns, shell = redrawing.Turns(), Shell()
    for one in (shell, shell, None):
        turns.follow(one)
    assert registered == ["pre_run_cell", "post_run_cell"]


# ── the widgets ──


@pytest.fixture
def explorer() -> Iterator[panel.Explorer]:
    one = gradflow.explore(**SMALL["fc"])
    yield one
    assert one.wait(30)


def change(explorer: panel.Explorer, **values: Any) -> None:
    for name, value in values.items():
        explorer.controls.widgets[name].value = value
    assert explorer.wait(30)


def message(explorer: panel.Explorer, name: str) -> str:
    return explorer.controls.messages[name].value


def test_it_starts_with_a_picture_and_a_verdict(explorer: panel.Explorer) -> None:
    assert explorer.image.value == Screen().png(explorer.state, compute(explorer.state))
    assert "plain: vanishes" in explorer.status.value
    assert "done in" in explorer.status.value
    assert explorer.result == compute(small())
    assert set(explorer._repr_mimebundle_()) >= {"text/plain"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 12),
        ("width", 9),
        ("activation", "tanh"),
        ("init", "orthogonal"),
        ("batch_norm", True),
        ("shortcut", "scaled-0.5"),
        ("lam", "0.5"),
        ("dtype", "float64"),
        ("mode", "eval"),
        ("batch", "7"),
        ("seed", "11"),
        ("tab", "split"),
        ("tab", "paths"),
    ],
)
def test_every_control_changes_the_state(explorer: panel.Explorer, name: str, value: Any) -> None:
    before = explorer.image.value
    change(explorer, **{name: value})
    assert getattr(explorer.state, name) == (
        float(value) if name == "lam" else typed(name, str(value)) if name in ("batch", "seed") else value
    )
    assert explorer.result == compute(explorer.state)
    assert (explorer.image.value == before) == (name == "mode"), "without BatchNorm the mode changes nothing"
    assert not any(one.value for one in explorer.controls.messages.values())


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("init", "normal(-1)", "init must be one of default"),
        ("lam", "abc", "λ must be a number such as 0.9; got &#x27;abc&#x27;"),
        ("lam", "nan", "λ must be a number"),
        ("lam", "<b>", "got &#x27;&lt;b&gt;&#x27;"),
        ("batch", "0", "batch must be a whole number from 1 to 1024; got 0"),
        ("batch", "2.5", "batch must be a whole number"),
        ("seed", "", "seed must be a whole number"),
    ],
)
def test_a_mistake_shows_a_sentence_and_keeps_the_picture(
    explorer: panel.Explorer, name: str, text: str, sentence: str
) -> None:
    before = (explorer.image.value, explorer.state, explorer.status.value)
    right = explorer.controls.widgets[name].value
    change(explorer, **{name: text})
    assert sentence in message(explorer, name)
    assert 'role="alert"' in message(explorer, name)
    assert (explorer.image.value, explorer.state, explorer.status.value) == before
    change(explorer, **{name: right})
    assert message(explorer, name) == ""


def test_the_stack_sets_depths_that_it_has(explorer: panel.Explorer) -> None:
    change(explorer, depth=21, batch="2")
    change(explorer, stack="resnet")
    depth = explorer.controls.widgets["depth"]
    assert (depth.value, depth.min, depth.step) == (20, 8, 6)
    assert (explorer.state.depth, explorer.state.width) == (20, WIDTHS["resnet"])
    assert explorer.controls.widgets["activation"].disabled
    change(explorer, depth=21)
    assert "nearest are 20 and 26" in message(explorer, "depth")
    assert explorer.state.depth == 20
    change(explorer, stack="fc")
    assert (depth.value, depth.min, depth.step) == (21, 2, 1)
    assert message(explorer, "depth") == ""
    assert not explorer.controls.widgets["activation"].disabled


def test_one_change_of_the_stack_is_one_redraw(explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[State] = []
    monkeypatch.setattr(explorer._latest, "ask", asked.append)
    explorer.controls.widgets["stack"].value = "resnet"
    assert [(state.stack, state.depth, state.width) for state in asked] == [("resnet", 8, WIDTHS["resnet"])]


def test_the_replay_is_trained_once_and_played(explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[State] = []
    monkeypatch.setattr(panel, "compute", lambda state: calls.append(state) or compute(state))
    assert explorer.controls.replay.layout.display == "none"
    change(explorer, batch="256", tab="replay")
    assert explorer.controls.replay.layout.display == "flex"
    assert explorer.controls.widgets["dtype"].disabled
    first = explorer.image.value
    explorer.controls.play.value = 30
    assert explorer.wait(30)
    assert explorer.controls.widgets["step"].value == explorer.state.step == 30
    assert explorer.image.value != first
    change(explorer, step=0)
    assert explorer.image.value == first
    assert [state.tab for state in calls].count("replay") == 1
    change(explorer, tab="flow")
    assert len(calls) == 2, "the flow with another batch, and one training"


def test_what_goes_wrong_inside_is_told_and_the_picture_stays(
    explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(state: State) -> Any:
        raise FloatingPointError("the training loss is nan & more")

    before, state = explorer.image.value, explorer.state
    monkeypatch.setattr(panel, "compute", failing)
    change(explorer, seed="5")
    assert "the training loss is nan &amp; more; the picture is the last one that worked" in explorer.status.value
    assert (explorer.image.value, explorer.state) == (before, state)


def test_a_slow_redraw_says_so(explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(panel, "_PATIENCE", 0.0)
    monkeypatch.setattr(panel, "compute", lambda state: go_on.wait(10) and compute(state))
    told = threading.Event()
    explorer.status.observe(lambda change: "computing…" in change["new"] and told.set(), "value")
    explorer.controls.widgets["seed"].value = "5"
    assert told.wait(10)
    go_on.set()
    assert explorer.wait(10)
    assert "done in" in explorer.status.value


def test_the_code_button_shows_the_code_of_the_picture(explorer: panel.Explorer) -> None:
    change(explorer, lam="0.25", tab="paths")
    change(explorer, lam="abc")
    explorer.copy_button.click()
    assert explorer.code_text.value == code(small(lam=0.25, tab="paths"))
    assert explorer.code_text.layout.display == ""
    script = explorer._clipboard.outputs[0]["data"]["application/javascript"]
    assert json.dumps(explorer.code_text.value) in script


def test_the_save_button_says_where(explorer: panel.Explorer, tmp_path: Path) -> None:
    explorer.name.value = str(tmp_path / "mine")
    explorer.save_button.click()
    assert explorer.saved.value == f"saved mine.pdf, mine.svg, mine.png, mine.json in {tmp_path}"
    assert gradflow.load(tmp_path / "mine.json") == explorer.result
    for name, sentence in (("", "type a file name first"), (str(tmp_path / "mine.json" / "x"), "could not save")):
        explorer.name.value = name
        explorer.save_button.click()
        assert sentence in explorer.saved.value


def test_every_control_has_a_label_and_a_help(explorer: panel.Explorer) -> None:
    for name, widget in explorer.controls.widgets.items():
        if name != "tab":
            assert widget.description == ENGLISH[name]
            assert widget.tooltip == ENGLISH[f"{name}?"]
    assert {f"{name}?" for name in DEFAULTS} <= set(ENGLISH)


def test_where_it_starts_is_checked() -> None:
    with pytest.raises(ValueError, match="depth must be 6n"):
        gradflow.explore(stack="resnet", depth=21)
    with pytest.raises(TypeError, match="colour"):
        gradflow.explore(colour="red")
    big = gradflow.explore(depth=2, width=300, batch=2)
    assert big.controls.widgets["width"].value == 300


def test_without_ipywidgets_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'gradflow-toolkit\[notebooks\]'"):
        gradflow.explore()
