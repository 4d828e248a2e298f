"""Gradients by layer at initialisation: plain against residual, by norm, and against theory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradflow import plots, theory
from gradflow.figures.book import BookFigure, mode_and_dtype
from gradflow.plots.labels import named, text, verdict
from gradflow.results import Comparison, Panels, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    figure, axes = plots.panel_grid(len(titles))
    for ax, (panel, title) in zip(axes, titles.items(), strict=True):
        plots.gradient_flow(numbers[panel], ax=ax)
        ax.set_title(title)
    plots.shared_legend(figure, axes)
    return plots.fitted(figure)


def _flow_facts(comparison: Comparison) -> dict[str, object]:
    """Words and numbers about one panel of gradient flow."""
    verdicts = comparison.verdicts
    return {
        "plain": verdict(verdicts["plain"]),
        "residual": verdict(verdicts["residual"]),
        "plain_factor": verdicts["plain"].factor,
        "first_gain": next(iter(comparison.ratio["residual"].values())),
        "batch": comparison.provenance["batch"],
        "repeats": comparison.repeats,
        "loss": named("loss", comparison.provenance["loss"]),
        **mode_and_dtype(comparison.provenance),
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
    columns = plots.page_columns(2)
    rows = 2 // columns
    figure = plots.new_figure(plots.DOUBLE_MM, 74 * rows)
    axes = figure.subplots(2 * rows, columns, height_ratios=(3, 1) * rows, sharex=True, squeeze=False)
    pairs = zip(axes[::2].ravel(), axes[1::2].ravel(), strict=True)
    for model, (ax, below) in zip(("plain", "residual"), pairs, strict=True):
        traces = {norm: comparison.traces[model] for norm, comparison in numbers.parts.items()}
        plots.relative_norms(traces, "weight_grad", ax=ax)
        ax.set(title=f"{text(model)}-20", xlabel="")
        trace = traces["rms"]
        plots.element_steps(trace.sizes[trace.body, 0], ax=below)
    plots.shared_legend(figure, [axes[0, 0]])
    return plots.fitted(figure)


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
        "loss": named("loss", numbers["rms"].provenance["loss"]),
        **mode_and_dtype(numbers["rms"].provenance),
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
    figure, (ax,) = plots.panel_grid(1, row_mm=92)
    plots.layer_factors(numbers, ax=ax)
    plots.shared_legend(figure, [ax])
    return plots.fitted(figure)


def _init_theory_facts(numbers: Table) -> dict[str, object]:
    apart = np.abs(numbers["measured"] / numbers["predicted"] - 1)
    worst = int(np.argmax(apart))
    choices = {key: named(key, numbers[key][worst]) for key in ("activation", "init")}
    return {
        "depth": _DEPTH,
        "width": _WIDTH,
        "seeds": _THEORY_SEEDS,
        "middle": 100 * float(np.median(apart)),
        "largest": 100 * float(apart[worst]),
        "where": text("init-theory:where", **choices),
    }


FIGURES = {
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
}
