"""Training by epoch and by depth, and how far weights have moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gradflow.plots.labels import text
from gradflow.plots.look import axes_or_new, in_look, look_of, number_layers, paler, tint
from gradflow.plots.page import points

if TYPE_CHECKING:
    from gradflow.results import History, Study

KINDS = ("plain", "residual")


@in_look
def learning_curves(history: History, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Training and test error in percent by epoch."""
    ax = axes_or_new(ax)
    for place, curve in enumerate(("train_error", "test_error")):
        ax.plot(
            history.epoch, 100 * getattr(history, curve), **{**look_of(place).line(), "label": text(curve), **keywords}
        )
    ax.set(xlabel=text("epoch"), ylabel=text("error"), ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


@in_look
def error_curves(
    study: Study, curve: str, *, ax: Axes | None = None, thickness: int | None = None, **wanted: Any
) -> Axes:
    """Error in percent by epoch for each depth and kind of a study: median over seeds and their whole range.

    Deeper nets have thicker lines, unless ``thickness`` (0, 1, …) is given; ``wanted`` narrows the study.
    """
    ax = axes_or_new(ax)
    for kind in KINDS:
        style = look_of(KINDS.index(kind))
        for place, depth in enumerate(depths(study, kind=kind, **wanted)):
            runs = study.select(kind=kind, depth=depth, **wanted)
            curves = 100 * np.array([getattr(run, curve) for run in runs])
            band: dict[str, Any] = {"color": tint(style.color, 0.16), "linewidth": 0, "zorder": 1}
            ax.fill_between(runs[0].epoch, curves.min(axis=0), curves.max(axis=0), **band)
            width = points(0.7 + 0.5 * (place if thickness is None else thickness))
            shown = {**style.line(), "marker": "", "linewidth": width, "label": f"{text(kind)}-{depth}"}
            ax.plot(runs[0].epoch, np.median(curves, axis=0), **shown)
    ax.set(xlabel=text("epoch"), ylabel=text(curve), ylim=(0, 100), xlim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    return ax


@in_look
def error_by_depth(study: Study, *, ax: Axes | None = None, curve: str = "test_error", **keywords: Any) -> Axes:
    """Final error in percent by depth for plain and residual nets: median over seeds, bar over their range."""
    ax = axes_or_new(ax)
    for kind in KINDS:
        present = depths(study, kind=kind)
        values = [100 * study.final(curve, kind=kind, depth=depth) for depth in present]
        _points_by_depth(ax, _places(study, present), values, kind, keywords)
    _number_depths(ax, study)
    ax.set(ylabel=text(curve), ylim=(0, None))
    return ax


@in_look
def steps_by_depth(study: Study, error: float, *, ax: Axes | None = None, **keywords: Any) -> Axes:
    """Steps until the training error falls to ``error``, by depth; arrows up for seeds that never get there."""
    ax = axes_or_new(ax)
    budget = max(float(run.steps[-1]) for run in study.histories)
    for kind in KINDS:
        present = depths(study, kind=kind)
        values = [np.array([run.steps_to(error) for run in study.select(kind=kind, depth=depth)]) for depth in present]
        reached = [np.minimum(value, budget) if np.isfinite(np.median(value)) else None for value in values]
        places = _places(study, present)
        _points_by_depth(ax, places, reached, kind, keywords)
        never, height = places[[value is None for value in reached]], budget * 1.06
        if len(never):
            ax.plot(never, np.full(len(never), height), "^", color=look_of(KINDS.index(kind)).color, clip_on=False)
        for place in never:
            beside: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "center"}
            note = ax.annotate(text("never", budget=int(budget)), (place, height), (points(-4), 0), **beside)
            note.set_fontsize(points(6))
            note.set_in_layout(False)
    _number_depths(ax, study)
    ax.set(ylabel=text("steps_to", percent=100 * error), ylim=(0, budget * 1.15))
    return ax


@in_look
def drift_by_layer(history: History, *, ax: Axes | None = None, steps: Sequence[int] = (), **keywords: Any) -> Axes:
    """‖w_t − w_0‖/‖w_0‖ by layer at some optimiser steps, thin and pale early, thick and dark late."""
    ax = axes_or_new(ax)
    if history.trace is None or history.traced_steps is None:
        raise ValueError('this history has no drift; record it with fit(..., trace_every=1, quantities=("drift",))')
    drift = history.trace["drift"]
    layers = np.arange(1, drift.shape[1] + 1)
    color = keywords.pop("color", look_of(1).color)
    for step, shade in zip(steps, step_shades(color, len(steps)), strict=True):
        row = drift[int(np.flatnonzero(history.traced_steps == step)[0])]
        ax.plot(layers, row, **{**shade, "label": str(step), **keywords})
    ax.set_yscale("log")
    ax.set(xlabel=text("layer"), ylabel=text("drift"))
    number_layers(ax, drift.shape[1])
    return ax


def step_shades(color: str, steps: int) -> list[dict[str, Any]]:
    """How the lines of so many steps of one run are drawn: from thin and pale to thick and dark."""
    late = [(place + 1) / steps for place in range(steps)]
    return [
        {"color": paler(color, 0.35 + 0.65 * one), "linewidth": points(0.6 + 0.3 * place)}
        for place, one in enumerate(late)
    ]


def depths(study: Study, **wanted: Any) -> list[int]:
    """The depths that occur in the part of a study whose settings agree with ``wanted``."""
    found = [s["depth"] for s in study.settings if all(s.get(key) == value for key, value in wanted.items())]
    return sorted(set(found))


def _points_by_depth(
    ax: Axes, places: np.ndarray, values: Sequence[np.ndarray | None], kind: str, keywords: dict[str, Any]
) -> None:
    """Median and range at the place of each depth; None leaves a depth out."""
    shift = -0.06 if kind == "plain" else 0.06
    places = places[[value is not None for value in values]]
    runs = [value for value in values if value is not None]
    middle, low, high = (np.array([measure(value) for value in runs]) for measure in (np.median, np.min, np.max))
    shown = {**look_of(KINDS.index(kind)).line(), "label": text(kind), **keywords}
    bar: dict[str, Any] = {"elinewidth": points(0.8), "capsize": points(2)}
    ax.errorbar(places + shift, middle, yerr=[middle - low, high - middle], **bar, **shown)
    ax.grid(axis="x", visible=False)


def _places(study: Study, present: list[int]) -> np.ndarray:
    """Where depths stand: all that the study has are at equal distances, whichever kinds of net have them."""
    return np.searchsorted(depths(study), present)


def _number_depths(ax: Axes, study: Study) -> None:
    every = depths(study)
    ax.set_xticks(range(len(every)), [str(depth) for depth in every])
    ax.set_xlabel(text("depth"))
