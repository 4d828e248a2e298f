"""A careless reader at the explorer: wrong text, fast changes, several explorers at once, no notebook."""

from __future__ import annotations

import base64
import random
import re
import threading
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from exploring import DIVERGING, SMALL, small

import gradflow
from gradflow.explorer import State, compute, panel, redrawing
from gradflow.explorer.pictures import Screen, summary

pytest.importorskip("ipywidgets")


@pytest.fixture
def explorer() -> Iterator[panel.Explorer]:
    one = gradflow.explore(**SMALL["fc"])
    yield one
    assert one.wait(60)


def is_up_to_date(explorer: panel.Explorer) -> None:
    """The picture is that of the state, which the controls hold unless a sentence says why not."""
    assert explorer.wait(60)
    with redrawing.TURNS.cell():  # another explorer may be at work
        assert explorer.result == compute(explorer.state)
        assert explorer.png == Screen().png(explorer.state, explorer.result)
    if not any(message.value for message in explorer.controls.messages.values()):
        assert State(**explorer.controls.values()) == explorer.state


def shown(explorer: panel.Explorer) -> tuple[bytes, str]:
    """The picture that is sent to the browser, and what is read out in its place."""
    source, alt = re.fullmatch(r'<img src="data:image/\w+;base64,(.*?)" alt="(.*?)" .*>', explorer.image.value).groups()
    return base64.b64decode(source), unescape(alt)


def test_the_picture_is_sent_with_its_verdict_said_once_above_it(explorer: panel.Explorer) -> None:
    for tab in ("flow", "split", "paths"):
        explorer.controls.widgets["tab"].value = tab
        assert explorer.wait(30)
        png, alt = shown(explorer)
        assert png == explorer.png
        sentences = summary(explorer.state, explorer.result)
        title, *said = re.sub("<.*?>", "", explorer.caption.value.replace("<br>", "\n")).split("\n")
        assert said == [escape(sentence) for sentence in sentences]
        assert title.endswith("of FC, depth 8, width 6")
        assert alt.startswith(f"{title}: ")
        assert not any(sentence in alt + explorer.status.value for sentence in sentences), "said above the picture"
        assert not explorer._screen._figure.texts
    assert 'decoding="sync"' in explorer.image.value


def test_what_is_said_is_text_and_no_markup(explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "summary", lambda *_: ["layer <script> & more"])
    explorer.controls.widgets["seed"].value = "5"
    assert explorer.wait(30)
    assert "<br>layer &lt;script&gt; &amp; more<" in explorer.caption.value


MOVES: dict[str, Any] = {
    "depth": [2, 5, 8, 9, 14, 20],
    "width": [1, 4, 8],
    "stack": ["fc", "conv", "resnet"],
    "activation": ["relu", "tanh"],
    "init": ["he", "normal(0.1)", "normal(-1)", "normal(1e30)", "he "],
    "batch_norm": [True, False],
    "shortcut": ["original", "dropout", "exclusive-gate", "conv1x1"],
    "lam": ["1", "0.5", " 0,5 ", "1e400", "nan", "-0", "1e300", "٣", "１．５", "", "1e-320", "-7"],
    "dtype": ["float32", "float64", "bfloat16"],
    "mode": ["train", "eval"],
    "batch": ["1", "2", "９", "99999999999999999999", "-1", "4.0", "1_0", "9" * 5000],
    "seed": ["0", "7", "-1", "0x10"],
    "tab": ["flow", "split", "paths"],
}


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_fast_changes_end_in_the_picture_of_the_last(
    explorer: panel.Explorer, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        name = chance.choice(list(MOVES))
        explorer.controls.widgets[name].value = chance.choice(MOVES[name])
    final = {"stack": "fc", "init": "he", "lam": "0.5", "batch": "4", "seed": "3", "width": 8, "depth": 9}
    for name, value in {**final, "mode": "train", "batch_norm": False}.items():
        explorer.controls.widgets[name].value = value
    is_up_to_date(explorer)
    assert explorer.state.lam == 0.5
    assert "could not" not in explorer.status.value
    assert not caplog.records


@pytest.mark.parametrize("name", ["lam", "batch", "seed", "init"])
def test_whatever_is_typed_shows_a_picture_or_a_sentence(
    explorer: panel.Explorer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for text in MOVES[name]:
        explorer.controls.widgets[name].value = text
        assert explorer.wait(60)
        told = explorer.controls.messages[name].value
        assert len(told) < 400
        if not told and "the last one that worked" not in explorer.status.value:
            assert explorer.state == State(**explorer.controls.values())
    assert not caplog.records
    is_up_to_date(explorer)


def test_a_first_replay_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A quick machine may be far into the training when it first says so, and at its end when it may be stopped.
    monkeypatch.setattr(panel, "_PATIENCE", 0)
    monkeypatch.setattr(redrawing, "GRACE", 0)
    steps: list[str] = []
    said, moved = threading.Event(), threading.Event()

    def hold(change: Any) -> None:
        """Keep the training at its first step until the next move was made."""
        if "net, step" in change["new"]:
            steps.append(change["new"])
            said.set()
            assert moved.wait(60)

    with redrawing.TURNS.cell():  # the training waits until it is listened to
        one = gradflow.explore(**{**SMALL["fc"], "tab": "replay", "batch": 1})
        one.status.observe(hold, "value")
    try:
        assert (one.result, one.png) == (None, b"")
        assert "not there yet" in shown(one)[1]
        one.name.value = str(tmp_path / "x")
        one.save_button.click()
        assert "there is no picture yet" in one.saved.value
        assert said.wait(60)
        assert "training both nets on the digits… plain net, step 1 of 90" in steps[0]
        assert "<b>Replay of training of FC, depth 8, width 6</b>" in one.caption.value
        one.controls.widgets["tab"].value = "flow"
    finally:
        moved.set()
    is_up_to_date(one)
    assert one.state.tab == "flow"
    assert not any(state.tab == "replay" for state in one._known), "the training was given up"


def test_the_replay_of_a_training_that_diverges_is_shown(explorer: panel.Explorer) -> None:
    for name, value in {**DIVERGING, "lam": "3", "tab": "replay"}.items():
        explorer.controls.widgets[name].value = value
    is_up_to_date(explorer)
    assert "residual: the training loss is nan at step" in explorer.caption.value
    assert "still at step" not in explorer.caption.value
    explorer.controls.widgets["step"].value = 60
    is_up_to_date(explorer)
    assert re.search(r">step 60 of 90<.*residual, still at step \d: explodes", explorer.caption.value)


def test_two_explorers_at_once(explorer: panel.Explorer) -> None:
    other = gradflow.explore(stack="conv", **SMALL["conv"])
    for lam in range(10):
        explorer.controls.widgets["lam"].value = other.controls.widgets["lam"].value = str(lam)
    is_up_to_date(explorer)
    is_up_to_date(other)
    assert explorer.state == small(lam=9.0)
    assert other.state == small("conv", lam=9.0)


def test_closing_it_while_it_computes(explorer: panel.Explorer, caplog: pytest.LogCaptureFixture) -> None:
    explorer.controls.widgets["tab"].value = "replay"
    for widget in (explorer.image, explorer.status, explorer.widget, *explorer.controls.widgets.values()):
        widget.close()
    explorer.controls.widgets["tab"].value = "flow"
    assert explorer.wait(60)
    assert not caplog.records


def test_the_cell_runs_again_while_a_replay_trains(explorer: panel.Explorer) -> None:
    explorer.controls.widgets["tab"].value = "replay"
    with redrawing.TURNS.cell():
        again = gradflow.explore(**SMALL["fc"])
    assert again.state == small()
    is_up_to_date(again)
    explorer.controls.widgets["tab"].value = "flow"
    is_up_to_date(explorer)


def test_without_a_notebook_it_says_what_to_do(explorer: panel.Explorer) -> None:
    text = repr(explorer)
    assert text == explorer._repr_mimebundle_()["text/plain"]
    assert "plain: vanishes" in text
    assert "notebook" in text
    assert "object at" not in text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/x/mine.pdf"), "could not save: permission denied: /x/mine.pdf"),
        (OSError(28, "No space left on device", "mine.pdf"), "could not save: no space left on device: mine.pdf"),
        (ValueError("embedded null byte"), "could not save: embedded null byte"),
    ],
)
def test_what_hinders_saving_is_told(
    explorer: panel.Explorer, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(panel, "save", failing)
    explorer.save_button.click()
    assert words in explorer.saved.value
    assert 'role="alert"' in explorer.saved.value


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "folder/", "/", "."])
def test_names_that_no_file_can_have(explorer: panel.Explorer, name: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    explorer.name.value = name
    explorer.save_button.click()
    assert "could not save" in explorer.saved.value
    assert not list(tmp_path.iterdir())
