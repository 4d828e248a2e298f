"""The newest wish wins, and cells and redraws take turns."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from exploring import small

from gradflow.explorer import State, compute, redrawing


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
    with turns.redraw(0):
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
    with turns.redraw(0):
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


def test_of_two_explorers_the_one_asked_last_goes_first_and_both_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrawing, "GRACE", 0.0)
    monkeypatch.setattr(redrawing, "TURNS", redrawing.Turns())
    module, running, go_on = torch.nn.Identity(), threading.Event(), threading.Event()
    done: list[str] = []

    def work(wish: str) -> None:
        running.set()
        while wish == "long" and not go_on.is_set():
            module(torch.zeros(()))
        while wish == "short" and not redrawing.TURNS._redraws_waiting:
            time.sleep(0.001)
        module(torch.zeros(()))  # where the older wish, which waits again, may not stop the newer one
        done.append(wish)
        go_on.set()

    one, other = redrawing.Latest(work), redrawing.Latest(work)
    one.ask("long")
    assert running.wait(10)
    other.ask("short")
    assert other.wait(10)
    assert one.wait(10)
    assert done == ["short", "long"]


def test_what_became_stale_while_it_waited_for_its_turn_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = redrawing.Turns()
    monkeypatch.setattr(redrawing, "TURNS", turns)
    done: list[int] = []
    latest = redrawing.Latest(done.append)
    with turns.cell():
        for wish in range(5):
            latest.ask(wish)
            time.sleep(0.01)
        assert not done
    assert latest.wait(10)
    assert done == [4]
