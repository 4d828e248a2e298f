"""What training does to plain and to residual nets: degradation, and how far weights move."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from gradflow import plots
from gradflow.figures.book import BookFigure, mode_and_dtype
from gradflow.plots.labels import text
from gradflow.plots.look import INK
from gradflow.results import History, Panels, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

# ── degradation: deeper plain nets train worse ──

DEPTHS, SEEDS = (8, 20, 56), (0, 1, 2)
_LONGER, _TARGET = 4, 0.1


def digits_net(depth: int, kind: str, **options: Any) -> nn.Module:
    """The plain or residual 6n+2 net for digits: width 8, 8×8 pixels, option A (He15 §4.2); ``options`` of resnet."""
    import torch

    from gradflow.training import plans

    # A tenth faster on a CPU.
    return plans.digits_net(depth, kind, **options).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def digits_study(build: Callable[..., nn.Module], *grids: Mapping[str, Sequence[Any]]) -> Study:
    """A study on the digits by the lecture recipe, two runs at a time, each with one thread."""
    from gradflow import data, recipes, study

    return study(build, grids, data.digits(), recipes.lecture_digits, jobs=min(2, os.cpu_count() or 1))


def trained_nets(
    build: Callable[..., nn.Module], settings: Sequence[Mapping[str, Any]], **options: Any
) -> list[tuple[nn.Module, History]]:
    """Networks built and trained on the digits, one for each setting (a "seed" and arguments of ``build``).

    Two at a time, each with one thread, so that the numbers depend on no machine's number of cores.
    """
    from joblib import Parallel, delayed

    jobs = min(2, os.cpu_count() or 1, len(settings))
    return list(Parallel(n_jobs=jobs)(delayed(_trained)(build, dict(one), options) for one in settings))


def _trained(
    build: Callable[..., nn.Module], setting: dict[str, Any], options: dict[str, Any]
) -> tuple[nn.Module, History]:
    from gradflow import data, fit
    from gradflow.seeding import seeded, threads

    seed = setting.pop("seed")
    with threads(1):
        with seeded(seed):
            net = build(**setting)
        return net, fit(net, data.digits(), seed=seed, progress=False, **options)


def _degradation() -> Study:
    from gradflow import recipes

    epochs = recipes.lecture_digits.epochs
    # The longest runs first, so that both processes are busy until the end.
    longer = {
        "depth": (max(DEPTHS),),
        "kind": ("plain",),
        "epochs": (_LONGER * epochs,),
        "evaluate_every": (_LONGER,),
    }
    usual = {"depth": DEPTHS[::-1], "kind": plots.KINDS, "epochs": (epochs,)}
    return digits_study(digits_net, *({**grid, "seed": SEEDS} for grid in (longer, usual)))


def _usual_and_longer(numbers: Study) -> tuple[Study, Study]:
    epochs = sorted({setting["epochs"] for setting in numbers.settings})
    return numbers.subset(epochs=epochs[0]), numbers.subset(epochs=epochs[-1])


def _draw_degradation(numbers: Study) -> Figure:
    figure, axes = plots.panel_grid(5, row_mm=52)
    usual, longer = _usual_and_longer(numbers)
    plots.error_curves(usual, "train_error", ax=axes[0])
    plots.error_curves(usual, "test_error", ax=axes[1])
    plots.error_by_depth(usual, ax=axes[2], curve="test_error")
    plots.steps_by_depth(usual, _TARGET, ax=axes[3])
    plots.error_curves(longer, "train_error", ax=axes[4], thickness=len(DEPTHS) - 1)
    for ax, panel in zip(axes, "abcde", strict=True):
        ax.set_title(text(f"degradation:{panel}", longer=_LONGER, percent=100 * _TARGET))
    plots.shared_legend(figure, axes[:1], title=text("median_and_range", seeds=len(SEEDS)))
    return plots.fitted(figure)


def _pace(short_error: float, long_error: float) -> str:
    """What four times the steps do to the training error (%) of the deepest plain net."""
    if long_error <= 100 * _TARGET:
        return "slow"
    return "narrowing" if long_error <= short_error / 2 else "lasting"


def _degradation_facts(numbers: Study) -> dict[str, object]:
    usual, longer = _usual_and_longer(numbers)

    def middle(study: Study, curve: str, **wanted: object) -> float:
        return 100 * float(np.median(study.final(curve, **wanted)))

    short_error = middle(usual, "train_error", depth=56, kind="plain")
    long_error = middle(longer, "train_error")
    errors = {
        f"{kind}_{depth}": middle(usual, "test_error", depth=depth, kind=kind)
        for kind in plots.KINDS
        for depth in DEPTHS
    }
    return {
        **errors,
        "train_56": short_error,
        "longer_train_56": long_error,
        "longer_test_56": middle(longer, "test_error"),
        "verdict": text(f"degradation:{_pace(short_error, long_error)}"),
        "epochs": usual.histories[0].epochs,
        "longer_epochs": longer.histories[0].epochs,
        "steps": int(usual.histories[0].steps[-1]),
        "batch": usual.histories[0].provenance["batch"],
        "seeds": len(SEEDS),
        **mode_and_dtype(usual.histories[0].provenance),
    }


# ── weight-drift: how far each layer moves from its start ──

_DRIFT_DEPTH, _DRIFT_WIDTH, _DRIFT_EVERY = 20, 64, 6
_DRIFT_RATES = {"sgd": 0.1, "adam": 1e-3}


def _weight_drift() -> Panels:
    from gradflow import data, fit, recipes
    from gradflow.models import fc_stack
    from gradflow.seeding import seeded

    parts = {}
    for optimizer, lr in _DRIFT_RATES.items():
        # No weight decay: it would move every layer, with or without a gradient.
        recipe = replace(recipes.lecture_digits, optimizer=optimizer, lr=lr, weight_decay=0.0, schedule="constant")
        for kind, shortcut in (("plain", None), ("residual", 1.0)):
            with seeded(0):
                net = fc_stack(_DRIFT_DEPTH, _DRIFT_WIDTH, shortcut=shortcut, in_features=64, out_features=10)
            parts[f"{optimizer}-{kind}"] = fit(
                net, data.digits(flat=True), recipe, trace_every=_DRIFT_EVERY, quantities="drift", progress=False
            )
    return Panels(parts=parts)


def _drift_steps(numbers: Panels) -> list[int]:
    last = int(next(iter(numbers.parts.values())).traced_steps[-1])
    return [_DRIFT_EVERY, 3 * _DRIFT_EVERY, 9 * _DRIFT_EVERY, last]


def _draw_weight_drift(numbers: Panels) -> Figure:
    figure, axes = plots.panel_grid(4, row_mm=48, most=2, sharex=True, sharey=True)
    shown = [(optimizer, kind) for optimizer in _DRIFT_RATES for kind in plots.KINDS]
    for ax, (optimizer, kind) in zip(axes, shown, strict=True):
        history = numbers[f"{optimizer}-{kind}"]
        plots.drift_by_layer(history, ax=ax, steps=_drift_steps(numbers), color=plots.model_color(kind))
        error = 100 * history.train_error[-1]
        ax.set_title(text("drift_panel", optimizer=text(optimizer), kind=text(kind), error=error))
    steps = [str(step) for step in _drift_steps(numbers)]
    lines = [Line2D([], [], **shade) for shade in plots.step_shades(INK, len(steps))]
    plots.add_legend(figure, lines, steps, title=text("step"))
    return plots.fitted(figure)


def _weight_drift_facts(numbers: Panels) -> dict[str, object]:
    found: dict[str, object] = {"depth": _DRIFT_DEPTH, "width": _DRIFT_WIDTH}
    for name, history in numbers.parts.items():
        last = history.trace["drift"][-1]
        key = name.replace("-", "_")
        found |= {f"{key}_first": last[0], f"{key}_last": last[-1], f"{key}_error": 100 * history.train_error[-1]}
    found |= {"steps": _drift_steps(numbers)[-1], "epochs": history.epochs, "batch": history.provenance["batch"]}
    return found | mode_and_dtype(history.provenance)


FIGURES = {
    "degradation": BookFigure(_degradation, _draw_degradation, _degradation_facts),
    "weight-drift": BookFigure(_weight_drift, _draw_weight_drift, _weight_drift_facts),
}
