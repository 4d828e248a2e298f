"""Gradients along a line of inputs, and how fast they forget each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from gradflow.plots.labels import text
from gradflow.plots.look import axes_or_new, in_look, look_of, paler, tint
from gradflow.plots.page import points

if TYPE_CHECKING:
    from gradflow.results import Autocorrelation, InputGradients

_DASHES: tuple[Any, ...] = ("-", (0, (1, 1)), (0, (4, 1.2)), (0, (4, 1, 1, 1)), "-")
"""Of the lines of one colour, pale to dark: told apart in grey, too."""


@in_look
def input_gradients(
    result: InputGradients,
    *,
    ax: Axes | None = None,
    models: Sequence[str] | None = None,
    seed: int = 0,
    **keywords: Any,
) -> Axes:
    """dy/dx over x for one seed of each model (or of ``models``), less its mean and over its standard deviation."""
    ax = axes_or_new(ax)
    for place, model in enumerate(models if models is not None else result.gradients):
        values = result[model][seed].astype(float)
        spread = values.std()
        look = look_of(place)
        shown = {"color": look.color, "linewidth": points(0.7), "label": text(model), **keywords}
        ax.plot(result.x, (values - values.mean()) / (spread if spread > 0 else 1.0), **shown)
    ax.set(xlabel=text("input_x"), ylabel=text("standard_gradient"), xlim=(result.x[0], result.x[-1]))
    ax.legend()
    return ax


@in_look
def autocorrelation(
    result: Autocorrelation,
    *,
    ax: Axes | None = None,
    models: Sequence[str] | None = None,
    color: str | None = None,
    **keywords: Any,
) -> Axes:
    """Autocorrelation by lag of each model (or of ``models``): mean over seeds, band of two standard errors each way.

    With ``color`` all lines have it, pale to dark in the order given; otherwise each has its own look.
    """
    ax = axes_or_new(ax)
    chosen = list(models if models is not None else result.values)
    looks = shades(color, len(chosen)) if color else [look_of(place).line() for place in range(len(chosen))]
    for model, look in zip(chosen, looks, strict=True):
        shown = {**look, "label": text(model), **keywords}
        mean, error = result.mean(model), result.error(model)
        if np.isfinite(error).any():
            band: dict[str, Any] = {"color": tint(shown["color"]), "linewidth": 0, "zorder": 1}
            ax.fill_between(result.lags, mean - 2 * error, mean + 2 * error, **band)
        ax.plot(result.lags, mean, **shown)
    ax.set(xlabel=text("lag", step=result.step), ylabel=text("autocorrelation"), xlim=(0, result.lags[-1]))
    ax.legend()
    return ax


def shades(color: str, lines: int) -> list[dict[str, Any]]:
    """How so many lines of one colour are drawn, e.g. by depth: from pale and thin to dark and thick."""
    late = [(place + 1) / lines for place in range(lines)]
    return [
        {
            "color": paler(color, 0.4 + 0.6 * one),
            "linewidth": points(0.8 + 0.6 * one),
            "linestyle": _DASHES[place % len(_DASHES)],
            "zorder": 2 + one,
        }
        for place, one in enumerate(late)
    ]
