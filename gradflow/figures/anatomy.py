"""What degradation is and what it is not: four nets side by side, and deeper nets that start as shallower ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots
from gradflow.figures.book import BookFigure, Seeds, mode_and_dtype
from gradflow.figures.training import digits_net, digits_study
from gradflow.plots.labels import text
from gradflow.results import History, Panels, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

DEPTHS = (20, 56)
_EXTRA = (max(DEPTHS) - min(DEPTHS)) // 6
"""Units of two layers that bring each of the three stages of the shallow net to the deep one's length."""
_TRACE_EVERY, _CORRELATED = 11, 64
_QUANTITIES = ("weight_grad", "weight")


def deepened_net(extra: int) -> nn.Module:
    """Plain-20 trained on the digits, made deeper by ``extra`` units of identity layers behind each of its stages."""
    from gradflow import data, fit
    from gradflow.models import deepen

    net = digits_net(min(DEPTHS), "plain")
    fit(net, data.digits(), evaluate_every=15, progress=False)
    return deepen(net, extra)  # type: ignore[arg-type]


def _anatomy(seeds: int) -> Panels:
    shared = {"evaluate_every": (3,), "seed": tuple(range(seeds))}
    traced = {"trace_every": (_TRACE_EVERY,), "quantities": (_QUANTITIES,)}
    four = {"depth": DEPTHS[::-1], "kind": plots.KINDS, **traced}
    from_zero = {"depth": DEPTHS[1:], "kind": ("residual",), "zero_init": (True,)}
    return Panels(
        parts={
            "training": digits_study(digits_net, {**four, **shared}),
            "correlation": _correlations(seeds),
            "deepened": digits_study(deepened_net, {"extra": (_EXTRA,), **shared, "evaluate_every": (1,)}),
            "zero": digits_study(digits_net, {**from_zero, **shared}),
        }
    )


def _correlations(seeds: int) -> Table:
    """Mean cosine between per-sample gradients of a random readout behind some units, at the start.

    BatchNorm's statistics are frozen at those of the batch, so that the function is that of training and samples do
    not meet.
    """
    from gradflow import data
    from gradflow.measure.shattering import gradient_correlation

    x, y = data.digits().train
    batch, rows = (x[:_CORRELATED], y[:_CORRELATED]), []
    for depth in DEPTHS:
        for kind in plots.KINDS:
            units = (depth - 2) // 2
            build = partial(_frozen, depth, kind, batch[0])
            for behind in range(0, units, max(1, units // 9)):
                layer = f"units.{units - 1 - behind}"
                found = gradient_correlation(build, batch, layer=layer, mode="eval", repeats=seeds)
                rows.append((depth, kind, 2 * behind, *np.quantile(found.mean, (0.5, 0, 1))))
    depths, kinds, layers, *numbers = zip(*rows, strict=True)
    columns: dict[str, Any] = dict(zip(("correlation", "low", "high"), map(np.array, numbers), strict=True))
    return Table(columns={"depth": np.array(depths), "kind": kinds, "layers": np.array(layers), **columns})


def _frozen(depth: int, kind: str, x: Tensor) -> nn.Module:
    """A fresh net whose BatchNorms keep the statistics of one batch."""
    import torch

    net = digits_net(depth, kind)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(x)
    return net.eval()


def _draw_anatomy(numbers: Panels) -> Figure:
    figure, axes = plots.panel_grid(6, row_mm=56)
    training: Study = numbers["training"]
    deep = training.subset(depth=max(DEPTHS))
    plots.error_curves(training, "train_error", ax=axes[0])
    plots.gradient_by_depth(training, ax=axes[1], steps=slice(0, 1))
    plots.gradient_by_depth(training, ax=axes[2], steps=slice(1, None))
    plots.correlation_lines(numbers["correlation"], ax=axes[3])
    construction = {_EXTRA: text("anatomy:deepened", shallow=min(DEPTHS))}
    plots.curves_by(deep, "kind", "train_error", ax=axes[4], names={"plain": text("anatomy:scratch")})
    plots.curves_by(numbers["deepened"], "extra", "train_error", ax=axes[4], names=construction, place=3)
    plots.curves_by(deep, "kind", "train_error", ax=axes[5], names={"residual": text("anatomy:usual")}, place=1)
    plots.curves_by(
        numbers["zero"], "kind", "train_error", ax=axes[5], names={"residual": text("anatomy:zero")}, place=4
    )
    for ax, panel in zip(axes, "abcdef", strict=True):
        ax.set_title(text(f"anatomy:{panel}"))
    for ax in axes[1:3]:
        ax.set_xlabel(text("relative_depth_short"))
    for ax in axes[4:]:
        ax.set(ylim=(0, 150), yticks=range(0, 101, 25))  # with room for the legend above the curves
        ax.legend(loc="upper right", handlelength=2, handletextpad=0.5)
    plots.shared_legend(figure, [axes[0]])
    return plots.fitted(figure)


def _kernel_facts(runs: Sequence[History]) -> dict[str, float]:
    """The first kernel beside the last: their gradients, their growth, and the gradients free of the weights' scale.

    The stem's kernel sees one channel, and is left out.
    """
    traces = [run.trace for run in runs if run.trace is not None]
    gradients, weights = (np.array([one[name][:, one.body] for one in traces]) for name in _QUANTITIES)
    gradient, weight, scaled = (np.median(values, axis=0) for values in (gradients, weights, gradients * weights))
    ratio, scaled_ratio = (values[:, 1] / values[:, -1] for values in (gradient, scaled))
    return {
        "start": float(ratio[0]),
        "later": float(np.median(ratio[1:])),
        "first": float(np.median(gradient[1:, 1])),
        "growth_first": float(weight[-1, 1] / weight[0, 1]),
        "growth_last": float(weight[-1, -1] / weight[0, -1]),
        "scaled_start": float(scaled_ratio[0]),
        "scaled_later": float(np.median(scaled_ratio[1:])),
    }


def _anatomy_facts(numbers: Panels) -> dict[str, object]:
    training: Study = numbers["training"]
    history = training.histories[0]
    assert history.traced_steps is not None
    found: dict[str, object] = {
        "seeds": len(training.select(depth=min(DEPTHS), kind="plain")),
        "epochs": int(history.epoch[-1]),
        "steps": int(history.steps[-1]),
        "traced": int(history.traced_steps[-1]),
        "batch": history.provenance["batch"],
        "correlated": _CORRELATED,
        "extra": _EXTRA,
        **mode_and_dtype(history.provenance),
    }
    table: Table = numbers["correlation"]
    for kind in plots.KINDS:
        for depth in DEPTHS:
            runs = training.select(kind=kind, depth=depth)
            rows = (np.asarray(table["kind"]) == kind) & (table["depth"] == depth)
            found |= {
                f"{kind}_{depth}_error": 100 * float(np.median([run.train_error[-1] for run in runs])),
                f"{kind}_{depth}_correlation": float(table["correlation"][rows][-1]),
                **{f"{kind}_{depth}_{name}": value for name, value in _kernel_facts(runs).items()},
            }
    deepened, zero = numbers["deepened"], numbers["zero"]
    usual = training.select(kind="residual", depth=max(DEPTHS))
    return found | {
        "deepened_start": 100 * float(np.median([run.train_error[0] for run in deepened.histories])),
        "deepened_worst": 100 * float(np.median([run.train_error.max() for run in deepened.histories])),
        "deepened_end": 100 * float(np.median(deepened.final("train_error"))),
        "zero_error": 100 * float(np.median(zero.final("train_error"))),
        "usual_error": 100 * float(np.median([run.train_error[-1] for run in usual])),
        "zero_test": 100 * float(np.median(zero.final("test_error"))),
        "usual_test": 100 * float(np.median([run.test_error[-1] for run in usual])),
    }


FIGURES = {"degradation-anatomy": BookFigure(_anatomy, _draw_anatomy, _anatomy_facts, Seeds(3, 1))}
