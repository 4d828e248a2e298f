"""The explorer's widgets, without a browser."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exploring import SMALL, small

import gradflow
from gradflow.explorer import State, code, compute, panel
from gradflow.explorer.controls import WIDTHS
from gradflow.explorer.pictures import Screen
from gradflow.explorer.states import typed
from gradflow.explorer.words import ENGLISH

widgets = pytest.importorskip("ipywidgets")
DEFAULTS = vars(State())


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
    assert explorer.png == Screen().png(explorer.state, compute(explorer.state))
    assert "plain: vanishes" in explorer.caption.value
    assert re.search(r'aria-hidden="true".*done in [\d.]+ s<', explorer.status.value), "which nobody has to hear"
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
    before = explorer.png
    change(explorer, **{name: value})
    assert getattr(explorer.state, name) == (
        float(value) if name == "lam" else typed(name, str(value)) if name in ("batch", "seed") else value
    )
    assert explorer.result == compute(explorer.state)
    assert (explorer.png == before) == (name == "mode"), "without BatchNorm the mode changes nothing"
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
    before = (explorer.png, explorer.state, explorer.caption.value, explorer.status.value)
    right = explorer.controls.widgets[name].value
    change(explorer, **{name: text})
    assert sentence in message(explorer, name)
    assert 'role="alert"' in message(explorer, name)
    assert (explorer.png, explorer.state, explorer.caption.value, explorer.status.value) == before
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
    monkeypatch.setattr(panel, "compute", lambda state, **_: calls.append(state) or compute(state))
    assert explorer.controls.replay.layout.display == "none"
    change(explorer, batch="256", tab="replay")
    assert explorer.controls.replay.layout.display == "flex"
    assert explorer.controls.widgets["dtype"].disabled
    first = explorer.png
    explorer.controls.play.value = 30
    assert explorer.wait(30)
    assert explorer.controls.widgets["step"].value == explorer.state.step == 30
    assert explorer.png != first
    change(explorer, step=0)
    assert explorer.png == first
    assert [state.tab for state in calls].count("replay") == 1
    change(explorer, tab="flow")
    assert len(calls) == 2, "the flow with another batch, and one training"


def test_what_goes_wrong_inside_is_told_and_the_picture_stays(
    explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(state: State, **_: Any) -> Any:
        raise FloatingPointError("the training loss is nan & more")

    before = (explorer.png, explorer.state, explorer.caption.value)
    monkeypatch.setattr(panel, "compute", failing)
    change(explorer, seed="5")
    assert "the training loss is nan &amp; more; the picture is the last one that worked" in explorer.status.value
    assert "aria-hidden" not in explorer.status.value
    assert (explorer.png, explorer.state, explorer.caption.value) == before


def test_a_slow_redraw_says_so(explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(panel, "_PATIENCE", 0.0)
    monkeypatch.setattr(panel, "compute", lambda state, **_: go_on.wait(10) and compute(state))
    told = threading.Event()
    explorer.status.observe(lambda change: "computing…" in change["new"] and told.set(), "value")
    explorer.controls.widgets["seed"].value = "5"
    assert told.wait(10)
    assert "plain: vanishes" in explorer.caption.value, "of the picture that is still there"
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
    assert f">saved mine.pdf, mine.svg, mine.png, mine.json in {tmp_path}<" in explorer.saved.value
    assert gradflow.load(tmp_path / "mine.json") == explorer.result
    explorer.save_button.click()
    assert "in place of the earlier ones" in explorer.saved.value
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
