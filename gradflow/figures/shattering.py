"""Shattered gradients: Balduzzi et al. 2017, Fig. 1 and 2, with and without BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots
from gradflow.figures.book import BookFigure, mode_and_dtype
from gradflow.plots.labels import listed, text
from gradflow.plots.look import INK, THEORY, look_of
from gradflow.results import Autocorrelation, InputGradients, Panels, autocorrelation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

KINDS = {"plain": None, "residual": 1.0, "weak": 0.1}
"""β of the branches of each kind of net; None: no shortcut."""
DEPTHS, SEEDS = (1, 2, 10, 24, 50), 20
_SHOWN_DEPTH, _WIDTH = 24, 200
_LAGS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32)
_NOISE: dict[str, Any] = {"brown": (0, (7, 2)), "white": (0, (1, 1.5))}
"""Noise to compare with, and how its line is dashed."""
_WALKS = 200


def balduzzi_net(
    layers: int, beta: float | None = None, *, norm: bool = False, bias: float = 1.0, placement: str = "preactivation"
) -> nn.Module:
    """So many layers of 200 rectifiers from a number to a number, He initialisation, N(0, bias²) biases.

    Units of one layer, x + βW relu(x), or W relu(x) without ``beta``; with ``norm`` BatchNorm before each relu.
    Balduzzi17 (1702.08591), §1 and Theorems 1–3.
    """
    import torch

    from gradflow.models import fc_stack, scaled

    # The readout is a Linear layer more, without rectifiers.
    net = fc_stack(
        layers + 1,
        _WIDTH,
        shortcut=None if beta is None else scaled(1.0, branch=beta),
        span=1,
        init="he",
        norm=norm,
        placement=placement,
        in_features=1,
        out_features=1,
    )
    for module in net.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.bias, std=bias)
    return net


def _shattering() -> Panels:
    from gradflow.measure.shattering import input_gradients

    nets = {
        _name(kind, norm, depth): partial(balduzzi_net, depth, beta, norm=norm)
        for norm in (False, True)
        for kind, beta in KINDS.items()
        for depth in DEPTHS
    }
    nets |= {f"zero-{depth}": partial(balduzzi_net, depth, bias=0.0) for depth in DEPTHS[-2:]}
    nets["relu-last"] = partial(balduzzi_net, DEPTHS[-1], KINDS["weak"], placement="activation-before-addition")
    measured = {name: input_gradients({name: build}, repeats=SEEDS) for name, build in nets.items()}

    first = next(iter(measured.values()))
    noise = np.random.default_rng(0).normal(size=(_WALKS, len(first.x)))
    values = {name: one.autocorrelation(_LAGS)[name] for name, one in measured.items()}
    values |= {"brown": autocorrelation(noise.cumsum(axis=1), _LAGS), "white": autocorrelation(noise, _LAGS)}
    looked_at = {name for row in _looked_at() for name in row}
    shown = {name: measured[name][name][:1] for name in nets if name in looked_at or name.startswith("zero")}
    shown |= {"brown": noise[:1].cumsum(axis=1), "white": noise[:1]}
    step = first.autocorrelation([0]).step
    return Panels(
        parts={
            "gradients": InputGradients(x=first.x, gradients=shown, provenance=first.provenance),
            "autocorrelation": Autocorrelation(
                lags=np.array(_LAGS),
                values={name: np.round(one, 6) for name, one in values.items()},  # a third of the file
                step=step,
                provenance=first.provenance,
            ),
        },
        provenance=first.provenance,
    )


def _name(kind: str, norm: bool, depth: int) -> str:
    return f"{kind}-norm-{depth}" if norm else f"{kind}-{depth}"


def _looked_at() -> list[list[str]]:
    """What the rows of curves show: things to compare with, nets without and nets with BatchNorm."""
    deep = [[_name(kind, norm, _SHOWN_DEPTH) for kind in KINDS] for norm in (False, True)]
    return [[_name("plain", False, 1), *_NOISE], *deep]


def _draw_shattering(numbers: Panels) -> Figure:
    figure = plots.new_figure(plots.DOUBLE_MM, 168)
    axes = figure.subplots(5, 3, height_ratios=(1, 1, 1, 1.9, 1.9), sharey="row")
    for row, (ax_row, names) in enumerate(zip(axes, _looked_at(), strict=False)):
        for place, (ax, name) in enumerate(zip(ax_row, names, strict=True)):
            plots.input_gradients(
                numbers["gradients"], ax=ax, models=[name], color=look_of(place).color if row else INK
            )
            ax.set_title(_title(name))
    for ax_row, norm in zip(axes[3:], (False, True), strict=True):
        for place, (ax, kind) in enumerate(zip(ax_row, KINDS, strict=True)):
            _by_depth(numbers["autocorrelation"], ax, kind, norm, look_of(place).color)
    _same_height(axes[:3].ravel(), (-4, 0, 4))
    _same_height(axes[3:].ravel(), (0, 0.5, 1))
    figure.align_ylabels(axes[:, 0])
    _legend(figure, axes[-1, 0])
    for row, ax_row in enumerate(axes):
        for ax in ax_row:
            ax.get_legend().remove()
            if row not in (2, 4):
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
            if ax is not ax_row[0] or row in (0, 2):
                ax.set_ylabel("")
    # One label for the three rows of curves, and nearly as long as they are high.
    axes[1, 0].yaxis.label.set_in_layout(False)
    return plots.fitted(figure)


def _title(name: str, *, with_depth: bool = True) -> str:
    """What a panel shows: noise as it is called, a net by kind, layers and BatchNorm."""
    if name in _NOISE:
        return text(name)
    kind, depth = name.split("-")[0], int(name.split("-")[-1])
    layers = [text("shattering:layers" if depth > 1 else "shattering:layer", depth=depth)] if with_depth else []
    return listed([text(f"shattering:{kind}"), *layers, *[text("shattering:norm")] * ("-norm-" in name)])


def _by_depth(result: Autocorrelation, ax: Axes, kind: str, norm: bool, color: str) -> None:
    """Autocorrelation of one kind of net, pale to dark by depth, between brown and white noise."""
    names = [_name(kind, norm, depth) for depth in DEPTHS]
    plots.autocorrelation(result, ax=ax, models=names, color=color)
    for noise, dashes in _NOISE.items():
        ax.plot(result.lags, result.mean(noise), **{**THEORY, "linestyle": dashes})
    ax.set(title=_title(names[0], with_depth=False), ylim=(None, 1.02), xticks=result.lags[result.lags % 8 == 0])


def _same_height(axes: Sequence[Axes], ticks: Sequence[float]) -> None:
    """One scale for several panels, so that they can be compared by eye."""
    low, high = min(ax.get_ylim()[0] for ax in axes), max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set(ylim=(low, high), yticks=ticks)


def _legend(figure: Figure, ax: Axes) -> None:
    lines = [
        ax.plot([], [], label=str(depth), **shade)[0]
        for depth, shade in zip(DEPTHS, plots.shades(INK, len(DEPTHS)), strict=True)
    ]
    lines += [ax.plot([], [], label=text(n), **{**THEORY, "linestyle": d})[0] for n, d in _NOISE.items()]
    plots.add_legend(figure, lines, [str(line.get_label()) for line in lines], title=text("shattering:legend"))


def _shattering_facts(numbers: Panels) -> dict[str, object]:
    result, gradients = numbers["autocorrelation"], numbers["gradients"]
    lag_16 = {name.replace("-", "_"): result.at(name, 16) for name in result.values}
    lag_1 = {f"{name.replace('-', '_')}_next": result.at(name, 1) for name in result.values}
    errors = {name: float(result.error(name)[result.lags == 16][0]) for name in result.values}
    gain = result.at("residual-50", 16) - result.at("plain-50", 16)
    clear = gain > 2 * np.hypot(errors["residual-50"], errors["plain-50"])
    zero = [name for name in gradients.gradients if name.startswith("zero")]
    return {
        **lag_16,
        **lag_1,
        "error": max(errors[_name("plain", False, depth)] for depth in DEPTHS),
        "versus_plain": text("shattering:above" if clear else "shattering:alike"),
        "zero_depths": listed((name.split("-")[1] for name in zero), "and"),
        "zero_jumps": max(_jumps(gradients[name][0]) for name in zero),
        "inputs": len(gradients.x),
        "low": gradients.x[0],
        "high": gradients.x[-1],
        "step": result.step,
        "seeds": SEEDS,
        "width": _WIDTH,
        **mode_and_dtype(result.provenance),
    }


def _jumps(values: np.ndarray) -> int:
    """Number of places where neighbours differ by more than a thousandth of the whole range."""
    return int(np.sum(np.abs(np.diff(values)) > 1e-3 * np.ptp(values)))


FIGURES = {"shattering": BookFigure(_shattering, _draw_shattering, _shattering_facts)}
