"""From a state to its numbers, and to the code that gives them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

import gradflow
from gradflow import models
from gradflow.explorer.replays import RECIPE, TRACE_EVERY, Tell, train_both
from gradflow.explorer.states import State
from gradflow.results import Result
from gradflow.seeding import threads

_BUILDERS = {"fc": "fc_stack", "conv": "conv_stack", "resnet": "resnet"}
_FOR_DIGITS: dict[str, dict[str, Any]] = {
    "fc": {"in_features": 64, "out_features": 10},
    "conv": {"in_channels": 1},
    "resnet": {"in_channels": 1},
}
_MEASURES = {"flow": "compare", "split": "split", "paths": "path_spectrum"}
_USUAL = {"activation": "relu", "init": "default", "norm": False}


def compute(state: State, *, tell: Tell | None = None) -> Result:
    """The numbers of a state: a Comparison ("flow"), GradientSplit, PathSpectrum or, for "replay", a Study of two nets.

    They are computed in one thread: on nets of this size two wait for each other, and for the notebook's other
    programs, longer than they compute. ``tell`` hears of each step of a training: kind of net, steps taken, and of
    how many.

    Raises what :func:`gradflow.compare`, :func:`gradflow.split` and :func:`gradflow.path_spectrum` raise, and
    FloatingPointError for a training of which not one step is finite; one that diverges later is among the failures of
    the Study, and its history ends there.
    """
    with threads(1):
        return _computed(state, tell)


def _computed(state: State, tell: Tell | None) -> Result:
    name, sizes, options = _network(state)
    build, shortcut = getattr(models, name), _shortcut(state)
    if state.tab == "replay":

        def built(kind: str) -> nn.Module:
            return build(*sizes, shortcut=None if kind == "plain" else shortcut, **options)

        return train_both(built, state, tell=tell)
    net = partial(build, *sizes, **options)
    nets = [partial(net, shortcut=shortcut)]
    if state.tab == "flow":
        nets.insert(0, partial(net, shortcut=None))
    keywords = _keywords(state)
    if "dtype" in keywords:
        keywords["dtype"] = getattr(torch, keywords["dtype"])
    return getattr(gradflow, _MEASURES[state.tab])(*nets, **keywords)


def code(state: State) -> str:
    """Python code whose last name, ``result``, equals ``compute(state)``.

    With more than one torch thread other last bits may follow. For a training that diverges the code raises its error.
    """
    name, sizes, options = _network(state)
    given = "".join(f", {key}={_literal(value)}" for key, value in options.items())
    if state.tab == "replay":
        return _training_code(state, name, ", ".join(["depth", *map(str, sizes[1:])]), given)
    keywords = _keywords(state)
    nets = [f"partial(net, shortcut={_literal(_shortcut(state))})"]
    if state.tab == "flow":
        nets.insert(0, "partial(net, shortcut=None)")
    told = [f"{key}={f'torch.{value}' if key == 'dtype' else _literal(value)}" for key, value in keywords.items()]
    lines = [
        "from functools import partial",
        "",
        *(["import torch", ""] if "dtype" in keywords else []),
        "import gradflow",
        f"from gradflow.models import {name}",
        "",
        f"net = partial({name}, {', '.join(map(str, sizes))}{given})",
        f"result = gradflow.{_MEASURES[state.tab]}({', '.join([*nets, *told])})",
        "result",
    ]
    return "\n".join(lines)


def _training_code(state: State, name: str, sizes: str, given: str) -> str:
    return f"""from dataclasses import replace

import gradflow
from gradflow.models import {name}


def build(kind, depth):
    return {name}({sizes}, shortcut=None if kind == "plain" else {_literal(_shortcut(state))}{given})


result = gradflow.study(
    build,
    {{"kind": ("plain", "residual"), "depth": ({state.depth},), "seed": ({state.seed},)}},
    gradflow.data.digits({"flat=True" if state.stack == "fc" else ""}),
    replace(gradflow.recipes.lecture_digits, max_steps={RECIPE.max_steps}, batch={state.batch}),
    trace_every={TRACE_EVERY},
    quantities="output_grad",
    progress=False,
)
result"""


def _network(state: State) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """A builder of :mod:`gradflow.models`, its sizes, and those of its options that are not the default."""
    wanted: dict[str, Any] = {"activation": state.activation, "init": state.init, "norm": state.batch_norm}
    options = {key: value for key, value in wanted.items() if value != _USUAL[key]}
    sizes: tuple[int, ...] = (state.depth, state.width)
    if state.stack == "resnet":
        sizes, options = (state.depth,), {"width": state.width, "init": state.init}
    if state.tab == "replay":
        options |= _FOR_DIGITS[state.stack]
    return _BUILDERS[state.stack], sizes, options


def _shortcut(state: State) -> float | str:
    return float(state.lam) if state.shortcut == "original" else state.shortcut


def _keywords(state: State) -> dict[str, Any]:
    """What the measure is told beside the networks, as far as it is not the default."""
    usual = {"mode": "train", "dtype": "float32" if state.tab == "flow" else "float64", "seed": 0, "batch": 32}
    found = {key: getattr(state, key) for key, value in usual.items() if getattr(state, key) != value}
    # Any cotangent shows the split; one that needs no loss stands even λ = 1000.
    return {"start": "random", **found} if state.tab == "split" else found


def _literal(value: Any) -> str:
    """A value as formatted code has it; no name of a choice needs an escape."""
    return f'"{value}"' if isinstance(value, str) else repr(value)
