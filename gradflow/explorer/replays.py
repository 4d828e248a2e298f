"""The trainings of a replay: a plain and a residual net on the digits, watched while they go on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from gradflow import data, recipes
from gradflow.explorer.states import State
from gradflow.measure.provenance import describe
from gradflow.results import History, Study
from gradflow.seeding import seeded
from gradflow.training import fit

RECIPE = replace(recipes.lecture_digits, max_steps=90)
"""The replayed training: short, so that nobody waits long for it."""
TRACE_EVERY = 3
LAST_STEP = 87
"""The last step whose gradients are recorded."""
KINDS = ("plain", "residual")
Tell = Callable[[str, int, int], None]
"""What is told after each step: which net is trained, how many steps are taken, and of how many."""


def train_both(build: Callable[[str], nn.Module], state: State, *, tell: Tell | None = None) -> Study:
    """Train the net that ``build`` gives for each kind, and return what :func:`gradflow.study` gives for the two.

    A net whose loss ceases to be finite is there up to its last finite step, and among the failures with the reason.
    Raises FloatingPointError if no net took a step, and what ``tell`` raises, which so can stop the training.
    """
    started = time.perf_counter()
    samples = data.digits(flat=state.stack == "fc")
    settings: list[dict[str, Any]] = []
    histories: list[History] = []
    failures: list[dict[str, Any]] = []
    for kind in KINDS:
        setting = {"kind": kind, "depth": state.depth, "seed": state.seed}
        with seeded(state.seed):
            net = build(kind)
        try:
            history: History | None = fit(
                net,
                samples,
                replace(RECIPE, batch=state.batch),
                seed=state.seed,
                trace_every=TRACE_EVERY,
                quantities="output_grad",
                progress=partial(tell, kind) if tell is not None else False,
            )
        except FloatingPointError as error:
            history = getattr(error, "history", None)
            failures.append(
                {"setting": setting, "error": type(error).__name__, "message": str(error), "step": _step(error)}
            )
        if history is not None and history.trace is not None and history.trace.steps:
            settings.append(setting)
            histories.append(history)
    if not histories:
        raise FloatingPointError("; ".join(f"{one['setting']['kind']}: {one['message']}" for one in failures))
    return Study(
        settings=tuple(settings),
        histories=tuple(histories),
        failures=tuple(failures),
        provenance=describe(seconds=time.perf_counter() - started),
    )


def _step(error: Exception) -> int | None:
    named = re.search(r"\bat step (\d+)", str(error))
    return int(named[1]) if named else None
