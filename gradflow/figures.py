"""The catalogue of book figures: for each name, how to compute its numbers, draw them, and state them in a caption."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots, storage, theory
from gradflow.plots.labels import text
from gradflow.results import Comparison, Panels, Result, Study, Table, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

FORMATS = ("pdf", "svg", "png")


@dataclass(frozen=True)
class BookFigure:
    """One figure: ``compute()`` makes its numbers, ``draw(numbers)`` the picture, ``facts(numbers)`` what the caption
    states."""

    compute: Callable[[], Result]
    draw: Callable[[Any], Figure]
    facts: Callable[[Any], Mapping[str, object]]


def make(name: str, folder: Path, formats: tuple[str, ...] = FORMATS, *, from_data: bool = False) -> list[Path]:
    """Compute a figure (or, with ``from_data``, read its numbers), write numbers and pictures, and return the paths.

    Writes ``folder/data/NAME.json`` and ``folder/NAME.pdf`` and so on. Raises KeyError for an unknown name,
    FileNotFoundError when ``from_data`` finds no numbers, ValueError when they cannot be read.
    """
    figure, stored = CATALOGUE[name], folder / "data" / f"{name}.json"
    if from_data and not stored.exists():
        raise FileNotFoundError(f"{stored} does not exist; run `gradflow figures {name} --out {folder}` to compute it")
    numbers = load(stored) if from_data else _computed(figure).save(stored)
    with plots.style():
        picture = figure.draw(numbers)
    pictures = [folder / f"{name}.{kind}" for kind in formats]
    for path in pictures:
        storage.write_whole(path, plots.render(picture, path.suffix[1:]))
    return [stored, *pictures]


def _computed(figure: BookFigure) -> Result:
    """The numbers of a figure, with the versions and threads they were computed with."""
    from gradflow.measure.provenance import describe

    started = time.perf_counter()
    numbers = figure.compute()
    return replace(numbers, provenance={**describe(seconds=time.perf_counter() - started), **numbers.provenance})


def caption(name: str, numbers: Result) -> str:
    """The caption of a figure, its numbers taken from the result it shows."""
    return text(f"caption:{name}", **CATALOGUE[name].facts(numbers))


def gallery(folder: Path) -> Path:
    """Write ``folder/README.md``: every figure whose numbers are in ``folder/data``, with its caption."""
    parts = ["# Figures\n\nDrawn by `gradflow figures`; each caption is computed from the numbers in `data/`.\n"]
    for name in CATALOGUE:
        stored = folder / "data" / f"{name}.json"
        if stored.exists():
            parts.append(f"## {name}\n\n![{name}]({name}.png)\n\n{caption(name, load(stored))}\n")
    path = folder / "README.md"
    storage.write_whole(path, "\n".join(parts).encode())
    return path


# ── fc-flow: the source chapter's experiment, and the same in deeper nets ──


def _fc_flow() -> Panels:
    from gradflow import compare
    from gradflow.models import fc_stack, textbook_fc

    parts = {"5": compare(textbook_fc, partial(textbook_fc, skip=True), repeats=200)}
    for depth in (10, 50):
        plain, residual = (partial(fc_stack, depth, 64, shortcut=shortcut) for shortcut in (None, 1.0))
        parts[str(depth)] = compare(plain, residual, repeats=50)
    return Panels(parts=parts)


def _draw_flow(numbers: Panels, titles: Mapping[str, str]) -> Figure:
    """Panels of gradient flow side by side, one legend for all."""
    figure = plots.new_figure(plots.DOUBLE_MM, 62)
    axes = figure.subplots(1, len(titles))
    for ax, (panel, title) in zip(axes, titles.items(), strict=True):
        plots.gradient_flow(numbers[panel], ax=ax)
        ax.set_title(title)
        ax.get_legend().remove()
        if ax is not axes[0]:
            ax.set_ylabel("")
    plots.shared_legend(figure, axes)
    return figure


def _flow_facts(comparison: Comparison) -> dict[str, object]:
    """Words and numbers about one panel of gradient flow."""
    verdicts = comparison.verdicts
    return {
        "plain": str(verdicts["plain"]),
        "residual": str(verdicts["residual"]),
        "plain_factor": verdicts["plain"].factor,
        "first_gain": next(iter(comparison.ratio["residual"].values())),
        "batch": comparison.provenance["batch"],
        "repeats": comparison.repeats,
        "dtype": comparison.provenance["dtype"],
        "mode": comparison.provenance["mode"],
        "loss": comparison.provenance["loss"],
    }


def _fc_flow_facts(numbers: Panels) -> dict[str, object]:
    five, fifty = _flow_facts(numbers["5"]), _flow_facts(numbers["50"])
    return {
        **five,
        "fifty_plain": fifty["plain"],
        "fifty_residual": fifty["residual"],
        "deep_repeats": fifty["repeats"],
    }


# ── conv-flow: the same in convolutional nets ──


def _conv_flow() -> Panels:
    from gradflow import compare
    from gradflow.models import conv_stack

    def stacks(norm: bool) -> Comparison:
        plain, residual = (
            partial(conv_stack, 50, 16, shortcut=shortcut, norm=norm, size=8) for shortcut in (None, 1.0)
        )
        return compare(plain, residual, repeats=15)

    return Panels(parts={"without": stacks(False), "with": stacks(True)})


def _conv_flow_facts(numbers: Panels) -> dict[str, object]:
    without, normed = _flow_facts(numbers["without"]), _flow_facts(numbers["with"])
    return {**without, "norm_plain": normed["plain"], "norm_residual": normed["residual"]}


# ── why-rms: one gradient, four norms ──


def _why_rms() -> Panels:
    from gradflow import compare
    from gradflow.measure.norms import NORMS
    from gradflow.models import resnet

    def by_norm(norm: str) -> Comparison:
        plain = partial(resnet, 20, residual=False)
        return compare(plain, partial(resnet, 20), quantity="weight_grad", norm=norm, repeats=3)

    return Panels(parts={norm: by_norm(norm) for norm in NORMS})


def _draw_why_rms(numbers: Panels) -> Figure:
    figure = plots.new_figure(plots.DOUBLE_MM, 74)
    (left, right), (below_left, below_right) = figure.subplots(2, 2, height_ratios=(3, 1), sharex=True)
    for model, ax, below in (("plain", left, below_left), ("residual", right, below_right)):
        traces = {norm: comparison.traces[model] for norm, comparison in numbers.parts.items()}
        plots.relative_norms(traces, "weight_grad", ax=ax)
        ax.set(title=f"{text(model)}-20", xlabel="")
        trace = traces["rms"]
        plots.element_steps(trace.sizes[trace.body, 0], ax=below)
    right.set_ylabel("")
    below_right.set_ylabel("")
    plots.shared_legend(figure, [left])
    return figure


def _why_rms_facts(numbers: Panels) -> dict[str, object]:
    trace = numbers["rms"].traces["plain"]
    sizes = trace.sizes[trace.body, 0]

    def first_over_last(norm: str) -> float:
        values = numbers[norm].traces["plain"].median("weight_grad")[trace.body]
        return float(values[1] / values[-1])

    ratios = {norm: first_over_last(norm) for norm in numbers.parts}
    return {
        **ratios,
        "size_ratio": sizes[-1] / sizes[1],
        "understated": ratios["rms"] / ratios["l2"],
        "batch": numbers["rms"].provenance["batch"],
        "repeats": numbers["rms"].repeats,
    }


# ── init-theory: measured against predicted factor per layer ──

_INITS = ("default", "xavier", "orthogonal", "he", "normal(0.1)")
_DEPTH, _WIDTH, _THEORY_SEEDS = 40, 256, 3


def _init_theory() -> Table:
    from gradflow.models import ACTIVATIONS

    rows = []
    for activation in ACTIVATIONS:
        for init in _INITS:
            factors = [_layer_factor(activation, init, seed) for seed in range(_THEORY_SEEDS)]
            predicted = theory.gradient_factor(activation, init, _WIDTH, depth=_DEPTH)
            rows.append((activation, init, *np.quantile(factors, (0.5, 0.0, 1.0)), predicted))
    activations, inits, *numbers = zip(*rows, strict=True)
    columns = dict(zip(("measured", "low", "high", "predicted"), map(np.array, numbers), strict=True))
    return Table(columns={"activation": activations, "init": inits, **columns})


def _layer_factor(activation: str, init: str, seed: int) -> float:
    """Measured factor per hidden layer toward the input, for a cotangent that knows nothing of the network."""
    from gradflow import data, models, trace
    from gradflow.seeding import seeded

    with seeded(seed):
        # float64, because forty sigmoid layers leave float32's range.
        net = models.fc_stack(_DEPTH, _WIDTH, init=init, activation=activation).double()
    x, cotangent = (data.gaussian((_WIDTH,), seed=2 * seed + offset).double() for offset in (10_000, 10_001))
    with trace(net, quantities="output_grad") as watched:
        (net(x) * cotangent).sum().backward()
    values = watched.result["output_grad"][0]
    return float((values[0] / values[-2]) ** (1 / (_DEPTH - 2)))


def _draw_init_theory(numbers: Table) -> Figure:
    figure = plots.new_figure(plots.DOUBLE_MM, 92)
    plots.layer_factors(numbers, ax=figure.subplots())
    return figure


def _init_theory_facts(numbers: Table) -> dict[str, object]:
    apart = np.abs(numbers["measured"] / numbers["predicted"] - 1)
    worst = int(np.argmax(apart))
    return {
        "depth": _DEPTH,
        "width": _WIDTH,
        "seeds": _THEORY_SEEDS,
        "middle": 100 * float(np.median(apart)),
        "largest": 100 * float(apart[worst]),
        "where": f"{numbers['activation'][worst]} with {numbers['init'][worst]}",
    }


# ── degradation: deeper plain nets train worse ──

DEPTHS, SEEDS = (8, 20, 56), (0, 1, 2)
_LONGER, _TARGET = 4, 0.1


def digits_net(depth: int, kind: str) -> nn.Module:
    """The plain or residual 6n+2 net for digits: width 8, 8×8 pixels, option A (He15 §4.2)."""
    import torch

    from gradflow.models import resnet

    net = resnet(depth, width=8, in_channels=1, size=8, residual=kind == "residual")
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            # A tenth faster on a CPU.
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return net


def _degradation() -> Study:
    from gradflow import data, recipes, study

    recipe = recipes.lecture_digits
    # The longest runs first, so that both processes are busy until the end.
    longer = {
        "depth": (max(DEPTHS),),
        "kind": ("plain",),
        "epochs": (_LONGER * recipe.epochs,),
        "evaluate_every": (_LONGER,),
    }
    usual = {"depth": DEPTHS[::-1], "kind": plots.KINDS, "epochs": (recipe.epochs,)}
    grids = [{**grid, "seed": SEEDS} for grid in (longer, usual)]
    return study(digits_net, grids, data.digits(), recipe, jobs=min(2, os.cpu_count() or 1))


def _usual_and_longer(numbers: Study) -> tuple[Study, Study]:
    epochs = sorted({setting["epochs"] for setting in numbers.settings})
    return numbers.subset(epochs=epochs[0]), numbers.subset(epochs=epochs[-1])


def _draw_degradation(numbers: Study) -> Figure:
    figure = plots.new_figure(plots.DOUBLE_MM, 104)
    axes = figure.subplots(2, 3).ravel()
    usual, longer = _usual_and_longer(numbers)
    plots.error_curves(usual, "train_error", ax=axes[0])
    plots.error_curves(usual, "test_error", ax=axes[1])
    plots.error_by_depth(usual, ax=axes[3], curve="test_error")
    plots.steps_by_depth(usual, _TARGET, ax=axes[4])
    plots.error_curves(longer, "train_error", ax=axes[5], thickness=len(DEPTHS) - 1)
    for ax, panel in zip((axes[0], axes[1], axes[3], axes[4], axes[5]), "abcde", strict=True):
        ax.set_title(text(f"degradation:{panel}", longer=_LONGER, percent=100 * _TARGET))
    axes[2].set_axis_off()
    axes[2].legend(*axes[0].get_legend_handles_labels(), loc="center", title=text("median_and_range", seeds=len(SEEDS)))
    return figure


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
    figure = plots.new_figure(plots.DOUBLE_MM, 96)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for row, optimizer in zip(axes, _DRIFT_RATES, strict=True):
        for ax, kind in zip(row, plots.KINDS, strict=True):
            history = numbers[f"{optimizer}-{kind}"]
            plots.drift_by_layer(history, ax=ax, steps=_drift_steps(numbers), color=plots.model_color(kind))
            error = 100 * history.train_error[-1]
            ax.set_title(text("drift_panel", optimizer=text(optimizer), kind=text(kind), error=error))
            ax.label_outer()
            ax.legend(title=text("step"), loc="lower right", ncols=2)
    return figure


def _weight_drift_facts(numbers: Panels) -> dict[str, object]:
    found: dict[str, object] = {"depth": _DRIFT_DEPTH, "width": _DRIFT_WIDTH}
    for name, history in numbers.parts.items():
        last = history.trace["drift"][-1]
        key = name.replace("-", "_")
        found |= {f"{key}_first": last[0], f"{key}_last": last[-1], f"{key}_error": 100 * history.train_error[-1]}
    return found | {"steps": _drift_steps(numbers)[-1], "epochs": history.epochs, "batch": history.provenance["batch"]}


CATALOGUE: dict[str, BookFigure] = {
    "fc-flow": BookFigure(
        _fc_flow,
        lambda numbers: _draw_flow(numbers, {n: text("layers_panel", layers=n) for n in ("5", "10", "50")}),
        _fc_flow_facts,
    ),
    "conv-flow": BookFigure(
        _conv_flow,
        lambda numbers: _draw_flow(numbers, {"without": text("without_norm"), "with": text("with_norm")}),
        _conv_flow_facts,
    ),
    "why-rms": BookFigure(_why_rms, _draw_why_rms, _why_rms_facts),
    "init-theory": BookFigure(_init_theory, _draw_init_theory, _init_theory_facts),
    "degradation": BookFigure(_degradation, _draw_degradation, _degradation_facts),
    "weight-drift": BookFigure(_weight_drift, _draw_weight_drift, _weight_drift_facts),
}
