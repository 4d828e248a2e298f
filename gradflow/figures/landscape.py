"""The shape of the loss around plain and residual nets (Li et al. 2018)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradflow import plots
from gradflow.figures.book import BookFigure, mode_and_dtype
from gradflow.figures.training import digits_net
from gradflow.plots.labels import listed, text
from gradflow.results import LossSlice, Panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class _Net(NamedTuple):
    """Which net, for how many epochs it is trained, and what is looked at besides the lines."""

    depth: int
    kind: str
    epochs: int
    plane: bool = True
    running: bool = True


# Three and four epochs of the one-cycle recipe leave residual-56 with losses above and below that of plain-56 after 60,
# so that no difference between the two is only one of loss. The longest runs first, so that both processes are busy
# until the end.
_NETS = {
    "plain-56": _Net(56, "plain", 60),
    "residual-56": _Net(56, "residual", 15),
    "residual-56-short": _Net(56, "residual", 4),
    "residual-56-shorter": _Net(56, "residual", 3, plane=False, running=False),
    "plain-20": _Net(20, "plain", 15, running=False),
    "plain-56-untrained": _Net(56, "plain", 0, plane=False, running=False),
    "residual-56-untrained": _Net(56, "residual", 0, plane=False, running=False),
}
_SAMPLES, _DIRECTIONS, _RUNNING_DIRECTIONS = 512, 7, 3
_LINE_STEPS, _PLANE_STEPS = 21, 17
_LOW, _HIGH = 0.1, 10.0


def _loss_shape() -> Panels:
    from joblib import Parallel, delayed

    found = Parallel(n_jobs=min(2, os.cpu_count() or 1))(delayed(_look_around)(net) for net in _NETS.values())
    return Panels(parts=dict(zip(_NETS, found, strict=True)), provenance={"threads": 1})


def _look_around(wanted: _Net) -> Panels:
    """Train one net and slice the loss around it."""
    from gradflow import data, fit, recipes
    from gradflow.measure.landscape import loss_slice
    from gradflow.seeding import seeded, threads

    with threads(1):
        with seeded(0):
            net = digits_net(wanted.depth, wanted.kind)
        parts: dict[str, object] = {}
        if wanted.epochs:
            recipe = replace(recipes.lecture_digits, epochs=wanted.epochs)
            parts["history"] = fit(net, data.digits(), recipe, evaluate_every=wanted.epochs, progress=False)
        x, y = (part[:_SAMPLES] for part in data.digits().train)

        def lines(mode: str, many: int) -> tuple[LossSlice, ...]:
            return tuple(loss_slice(net, (x, y), steps=_LINE_STEPS, mode=mode, seed=seed) for seed in range(many))

        parts["lines"] = lines("train", _DIRECTIONS)
        if wanted.running:
            parts["running"] = lines("eval", _RUNNING_DIRECTIONS)
        if wanted.plane:
            parts["plane"] = loss_slice(net, (x, y), steps=_PLANE_STEPS, directions=2, mode="train")
        return Panels(parts=parts)


def _draw_loss_shape(numbers: Panels) -> Figure:
    figure, (first, *above, untrained, left, right) = plots.panel_grid(6, row_mm=58, tallest=1)
    trained = ("plain-56", "residual-56", "residual-56-short", "residual-56-shorter")
    plots.loss_curves({name: numbers[name]["lines"] for name in trained}, ax=first)
    plots.loss_curves({name: numbers[f"{name}-untrained"]["lines"] for name in trained[:2]}, ax=untrained)
    first.set_title(text("loss-shape:trained"))
    untrained.set_title(text("loss-shape:untrained"))
    for ax in (first, untrained):
        ax.set_box_aspect(1)
    planes = {"b": "plain-56", "c": "residual-56", "e": "residual-56-short", "f": "plain-20"}
    levels = plots.loss_levels(*[numbers[name]["plane"] for name in planes.values()], low=_LOW, high=_HIGH)
    for ax, (letter, name) in zip((*above, left, right), planes.items(), strict=True):
        _draw_plane(ax, numbers[name]["plane"], levels, f"{letter}  {text(f'loss-shape:{name}')}")
    plots.shared_legend(figure, [first, untrained])
    return plots.fitted(figure)


def _draw_plane(ax: Axes, plane: LossSlice, levels: list[float], title: str) -> None:
    plots.loss_contours(plane, ax=ax, levels=levels)
    ax.set_title(listed([title, f"{text('loss')} {_centre_loss(plane):.2g}"]))


def _loss_shape_facts(numbers: Panels) -> dict[str, object]:
    facts: dict[str, object] = {}
    for name, net in _NETS.items():
        key, parts = name.replace("-", "_"), numbers[name].parts
        lines = parts["lines"]
        facts |= {
            f"{key}_loss": _centre_loss(lines[0]),
            f"{key}_wrong": 100 * lines[0].error[lines[0].centre],
            f"{key}_reach": _middle_reach(lines),
            f"{key}_up": 100 * _middle_convexity(lines),
            f"{key}_epochs": net.epochs,
        }
        if "history" in parts:
            facts[f"{key}_error"] = 100 * parts["history"].train_error[-1]
        if "plane" in parts:
            facts[f"{key}_plane_up"] = 100 * parts["plane"].convexity
        if "running" in parts:
            facts[f"{key}_running"] = _middle_reach(parts["running"])
            facts[f"{key}_running_loss"] = _centre_loss(parts["running"][0])
    return facts | _loss_shape_words(numbers) | _loss_shape_setting(numbers)


def _loss_shape_words(numbers: Panels) -> dict[str, object]:
    """What the caption concludes: from nets of similar loss, from the shallow net, and beside the paper."""
    plain = numbers["plain-56"]["lines"]

    def gains(name: str) -> int:
        """In how many ways, wider and more convex, a net's valley is better than that of plain-56."""
        other = numbers[name]["lines"]
        wider = _middle_reach(other) > _middle_reach(plain)
        return wider + (_middle_convexity(other) > _middle_convexity(plain))

    similar = [f"residual-56-{short}" for short in ("short", "shorter")]
    least = min(map(gains, similar))
    low, high = sorted(_centre_loss(numbers[name]["lines"][0]) for name in similar)
    around = low < _centre_loss(plain[0]) < high
    agrees = least == gains("residual-56") == 2
    return {
        "losses": text(f"loss-shape:{'around' if around else 'aside'}"),
        "verdict": text(f"loss-shape:{('neither', 'mixed', 'both')[least]}"),
        "depth": text(f"loss-shape:{'deep' if gains('plain-20') == 2 else 'shallow'}"),
        "paper": text(f"loss-shape:{'agrees' if agrees else 'differs'}"),
        "smoother": text(f"loss-shape:{'smooths' if agrees else 'unclear'}"),
    }


def _loss_shape_setting(numbers: Panels) -> dict[str, object]:
    """What the slices were taken with."""
    plain = numbers["plain-56"]["lines"]
    provenance = plain[0].provenance
    return {
        "directions": len(plain),
        "running_directions": len(numbers["plain-56"]["running"]),
        "samples": provenance["samples"],
        "moved": provenance["moved"],
        **mode_and_dtype(provenance),
        "step": plain[0].alphas[-1] / (len(plain[0].alphas) // 2),
        "low": _LOW,
        "high": _HIGH,
    }


def _centre_loss(around: LossSlice) -> float:
    return float(around.loss[around.centre])


def _middle_reach(lines: tuple[LossSlice, ...]) -> float:
    return float(np.median([line.reach() for line in lines]))


def _middle_convexity(lines: tuple[LossSlice, ...]) -> float:
    return float(np.median([line.convexity for line in lines]))


FIGURES = {"loss-shape": BookFigure(_loss_shape, _draw_loss_shape, _loss_shape_facts)}
