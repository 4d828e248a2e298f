"""How long a reader of the explorer waits from the move of a control to the new picture."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

import gradflow
from gradflow.explorer import Explorer, State, compute
from gradflow.explorer.pictures import Screen
from gradflow.models import fc_stack
from gradflow.seeding import threads

_MOVES = 25


def exploring() -> None:
    """From a move of λ or depth to the picture, for the 50-layer FC stack, and what of it is computing and drawing.

    No state was seen before. Drawing is timed with numbers that are there, computing alone, and the bare passes are
    forward and backward through nets like the two that are compared.
    """
    explorer = gradflow.explore(depth=50, width=64)
    for control, moves in (("λ", _lambdas()), ("depth", _depths())):
        _times(explorer, *next(moves))  # what is done once only
        rounds = [_times(explorer, *move) for move in itertools.islice(moves, _MOVES)]
        title = f"explorer, FC 50 × 64, {_MOVES} moves of {control}"
        print(f"\n{title}: median ms of wall clock, of CPU, and CPU ÷ bare passes")
        for part in rounds[0]:
            wall, cpu = (1000 * statistics.median(one[part][clock] for one in rounds) for clock in (0, 1))
            ratio = statistics.median(one[part][1] / one["bare passes"][1] for one in rounds)
            print(f"  {wall:6.1f} {cpu:6.1f} {ratio:6.1f}  {part}")


def _lambdas() -> Iterator[tuple[str, Any]]:
    return (("lam", f"{0.9 + step / 1000:.3f}") for step in itertools.count())


def _depths() -> Iterator[tuple[str, Any]]:
    """Depths around fifty, each once."""
    return (("depth", 50 + (step + 1) // 2 * (-1) ** step) for step in itertools.count(1))


def _clocked(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall clock, and of CPU, which programs beside this one lengthen less."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _times(explorer: Explorer, name: str, value: Any) -> dict[str, tuple[float, float]]:
    """Seconds of a move, and of its parts done once more."""

    def move() -> None:
        explorer.controls.widgets[name].value = value
        if not explorer.wait(60):
            raise TimeoutError("the explorer shows no picture after a minute")

    found = {"move to picture": _clocked(move)}
    state, result = explorer.state, explorer.result
    if str(getattr(state, name)) != str(float(value) if name == "lam" else value) or result is None:
        raise ValueError(f"the explorer shows {state}, not {name}={value}")
    with threads(1):
        found["compute"] = _clocked(lambda: compute(state))
        found["draw"] = _clocked(lambda: _SCREEN.png(state, result))
        found["bare passes"] = _clocked(_passes(state))
    return found


def _passes(state: State) -> Callable[[], None]:
    nets = [fc_stack(state.depth, state.width, shortcut=shortcut) for shortcut in (None, state.lam)]
    x, y = torch.randn(2, state.batch, state.width)

    def run() -> None:
        for net in nets:
            F.mse_loss(net(x), y).backward()

    return run


_SCREEN = Screen()
