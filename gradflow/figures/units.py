"""The gradient unit by unit: products of shortcuts, paths by length, and the signal on its way forward."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots, theory
from gradflow.figures.book import BookFigure, Seeds, mode_and_dtype
from gradflow.figures.training import digits_net, trained_nets
from gradflow.plots.labels import text
from gradflow.results import GradientSplit, Panels, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

# ── lambda-product: the bare product is only the shortcut part ──

LAMBDAS = (0.5, 0.9, 1.0, 1.1, 1.5)
_UNITS, _WIDTH, _DRAWS, _SMALL = 50, 64, 13, 0.1


def laboratory_stack(lam: float | None, activation: str = "relu", branch: float = 1.0) -> nn.Module:
    """Fifty units λx + branch·W relu(x) of width 64 without biases, Var(W) = 1/64, between a stem and a head."""
    from gradflow.models import fc_stack, scaled

    shortcut = None if lam is None else scaled(lam, branch)
    init = f"normal({_WIDTH**-0.5})"
    return fc_stack(_UNITS + 2, _WIDTH, shortcut=shortcut, span=1, init=init, activation=activation)


def _lambda_product() -> Panels:
    from gradflow import split

    stacks: dict[str, Any] = {f"{lam:g}": partial(laboratory_stack, lam) for lam in LAMBDAS}
    stacks["small branch"] = partial(laboratory_stack, 1.0, branch=_SMALL)
    stacks["plain linear"] = partial(laboratory_stack, None, "linear")
    return Panels(parts={name: split(build, start="random", repeats=_DRAWS) for name, build in stacks.items()})


def _draw_lambda_product(numbers: Panels) -> Figure:
    figure, axes = plots.panel_grid(len(LAMBDAS) + 2, row_mm=52, panel_mm=35, most=4)
    for lam, ax in zip(LAMBDAS, axes, strict=False):
        plots.split_lines(numbers[f"{lam:g}"], ax=ax)
        ax.set_title(text("lambda_panel", lam=f"{lam:g}"))
    limits = [ax.get_ylim() for ax in axes[: len(LAMBDAS)]]
    for ax in axes[: len(LAMBDAS)]:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    forward, ratio = axes[len(LAMBDAS) :]
    plots.signal_lines(numbers["1"], ax=forward)
    plots.signal_lines(numbers["plain linear"], ax=forward, parts=("signal",), place=3, label=text("plain_linear"))
    plots.part_ratio(numbers["1"], ax=ratio, label=text("branch", scale=1))
    plots.part_ratio(numbers["small branch"], ax=ratio, place=4, label=text("branch", scale=_SMALL))
    for line in forward.get_legend_handles_labels()[0]:
        line.set_label(text("lambda-product:of_forward", name=line.get_label()))
    for ax, title in ((forward, "forward"), (ratio, "ratio")):
        ax.set_title(text(f"lambda-product:{title}"))
    plots.shared_legend(figure, axes)
    return plots.fitted(figure)


def _lambda_product_facts(numbers: Panels) -> dict[str, object]:
    found: dict[str, object] = {"units": _UNITS, "width": _WIDTH, "draws": _DRAWS}
    for lam in LAMBDAS:
        split: GradientSplit = numbers[f"{lam:g}"]
        key = f"{lam:g}".replace(".", "_")
        found |= {f"product_{key}": 10 ** split.log10_product[0, 0], f"whole_{key}": 10 ** split.median("whole")[0]}
    one: GradientSplit = numbers["1"]
    linear: GradientSplit = numbers["plain linear"]
    return found | {
        "cancelled": 100 * float(np.median(one.cancelled[:, 0])),
        "small_cancelled": 100 * float(np.median(numbers["small branch"].cancelled[:, 0])),
        "small_whole": 10 ** numbers["small branch"].median("whole")[0],
        "signal": 10 ** float(np.median(one.log10_signal[:, -1] - one.log10_signal[:, 0])),
        "linear": 10 ** float(np.median(linear.log10_signal[:, -1] - linear.log10_signal[:, 0])),
        "batch": one.provenance["batch"],
        **mode_and_dtype(one.provenance),
    }


# ── path-lengths: how much gradient paths of each length carry ──

_PATH_DEPTH, _SINGLE, _BATCH = 110, 3, 128
VEIT = (5, 17)
"""Lengths from which Veit16 §5 found nearly all gradient to come, of 54."""


def _path_lengths(seeds: int) -> Panels:
    from gradflow import data, path_spectrum

    x, y = data.digits().train
    shared: dict[str, Any] = {"data": (x[:_BATCH], y[:_BATCH]), "repeats": seeds, "sampled": _SINGLE}
    settings = [{"depth": _PATH_DEPTH, "kind": "residual", "seed": seed} for seed in range(seeds)]
    trained = iter([net for net, _ in trained_nets(digits_net, settings, evaluate_every=15)])
    return Panels(
        parts={
            "start": path_spectrum(partial(digits_net, _PATH_DEPTH, "residual"), **shared),
            "trained": path_spectrum(partial(next, trained), **shared),
        }
    )


def _draw_path_lengths(numbers: Panels) -> Figure:
    figure, axes = plots.panel_grid(3)
    counts, per_path, together = axes
    plots.path_counts(numbers["start"], ax=counts)
    for place, (state, spectrum) in enumerate(numbers.parts.items()):
        plots.gradient_per_path(spectrum, ax=per_path, place=place, label=text(f"paths:{state}"))
        plots.path_lengths(spectrum, ax=together, place=place, label=text(f"paths:{state}"))
    together.axvspan(VEIT[0] - 0.5, VEIT[1] + 0.5, color="#E8E8E8", zorder=0, label=text("paths:veit"))
    for ax, panel in zip(axes, "abc", strict=True):
        ax.set_title(text(f"path-lengths:{panel}"))
    plots.shared_legend(figure, [per_path, together])
    return plots.fitted(figure)


def _path_lengths_facts(numbers: Panels) -> dict[str, object]:
    found: dict[str, object] = {"depth": _PATH_DEPTH, "batch": _BATCH, "single": _SINGLE}
    for state, spectrum in numbers.parts.items():
        low, high = spectrum.interval()
        units = len(spectrum.units)
        middle = units // 2
        along = np.median(np.log10(spectrum.single[:, middle]))
        found |= {
            f"{state}_low": low,
            f"{state}_high": high,
            f"{state}_veit": 100 * float(np.median(spectrum.share(*VEIT))),
            f"{state}_peak": int(np.argmax(np.median(spectrum.values, axis=0))),
            f"{state}_cancel": 10 ** float(along - np.median(spectrum.log10_per_path[:, middle])),
        }
    return found | {
        "units": units,
        "veit_paths": 100 * theory.path_share(units, *VEIT),
        "seeds": len(numbers["start"].values),
        **mode_and_dtype(numbers["start"].provenance),
    }


# ── forward-signal: does the signal grow with depth, and how strong are the responses ──

_SIGNAL_DEPTH = 56
SIGNAL_PLACEMENTS = ("original", "activation-before-addition", "preactivation")
SHALLOW, DEEP = {"plain-20": (20, "plain"), "residual-20": (20, "residual")}, "residual-56"
RESPONSES = (*SHALLOW, DEEP)


def _forward_signal(seeds: int) -> Panels:
    from gradflow import data, split

    x, y = data.digits().train
    batch = (x[:_BATCH], y[:_BATCH])
    options = {
        **{
            placement: {"depth": _SIGNAL_DEPTH, "kind": "residual", "placement": placement}
            for placement in SIGNAL_PLACEMENTS
        },
        **{name: {"depth": depth, "kind": kind} for name, (depth, kind) in SHALLOW.items()},
    }
    settings = [{**option, "seed": seed} for option in options.values() for seed in range(seeds)]
    trained = [net for net, _ in trained_nets(digits_net, settings, evaluate_every=15)]
    nets = {name: trained[place * seeds : (place + 1) * seeds] for place, name in enumerate(options)}
    parts: dict[str, Any] = {}
    for placement in SIGNAL_PLACEMENTS:
        start = partial(digits_net, _SIGNAL_DEPTH, "residual", placement=placement)
        parts[f"start {placement}"] = split(start, batch, repeats=seeds)
        # A builder that hands out one trained net after the other.
        parts[f"trained {placement}"] = split(partial(next, iter(nets[placement])), batch, repeats=seeds)
    responding = {**{name: nets[name] for name in SHALLOW}, DEEP: nets["original"]}
    parts |= {f"responses {name}": _responses(several, batch) for name, several in responding.items()}
    return Panels(parts=parts)


def _responses(nets: list[nn.Module], batch: Any) -> Table:
    """Standard deviation of what each 3×3 convolution gives behind its BatchNorm, before ReLU and addition."""
    from gradflow import trace

    found = []
    for net in nets:
        net.train()
        with trace(net, layers=("stem.norm", "*.norm1", "*.norm2"), quantities="activation_std") as watched:
            net(batch[0])
        found.append(watched.result["activation_std"][0])
    middle, low, high = np.quantile(found, (0.5, 0, 1), axis=0)
    return Table(columns={"median": middle, "low": low, "high": high})


def _draw_forward_signal(numbers: Panels) -> Figure:
    figure, (start, trained, responses, branches) = plots.panel_grid(4, row_mm=54, most=2)
    for place, placement in enumerate(SIGNAL_PLACEMENTS):
        shown: dict[str, Any] = {"place": place, "label": text(f"placement:{placement}")}
        for ax, state in ((start, "start"), (trained, "trained")):
            plots.signal_lines(numbers[f"{state} {placement}"], ax=ax, parts=("signal",), **shown)
        plots.branch_lines(numbers[f"trained {placement}"], ax=branches, **shown)
    for place, name in enumerate(RESPONSES):
        plots.response_line(numbers[f"responses {name}"], ax=responses, place=place + 3, label=text(name))
    panels = {"start": start, "trained": trained, "responses": responses, "branches": branches}
    for panel, ax in panels.items():
        ax.set_title(text(f"forward-signal:{panel}"))
    responses.legend(loc="lower right")
    plots.shared_legend(figure, [start, trained])
    return plots.fitted(figure)


def _forward_signal_facts(numbers: Panels) -> dict[str, object]:
    found: dict[str, object] = {"depth": _SIGNAL_DEPTH, "batch": _BATCH}
    for placement in SIGNAL_PLACEMENTS:
        key = placement.split("-")[0]
        for state in ("start", "trained"):
            part: GradientSplit = numbers[f"{state} {placement}"]
            growth = np.median(part.log10_signal[:, -1] - part.log10_signal[:, 0])
            found |= {
                f"{key}_{state}": 10 ** float(growth),
                f"{key}_{state}_falling": 100 * float(np.nanmedian(part.falling)),
            }
    for name in RESPONSES:
        found[name.replace("-", "_")] = float(np.median(numbers[f"responses {name}"]["median"]))
    original: GradientSplit = numbers["start original"]
    return found | {"seeds": original.draws, **mode_and_dtype(original.provenance)}


FIGURES = {
    "lambda-product": BookFigure(_lambda_product, _draw_lambda_product, _lambda_product_facts),
    "path-lengths": BookFigure(_path_lengths, _draw_path_lengths, _path_lengths_facts, Seeds(5, 1)),
    "forward-signal": BookFigure(_forward_signal, _draw_forward_signal, _forward_signal_facts, Seeds(5, 1)),
}
