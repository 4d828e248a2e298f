"""The gradients of nets at one step of their training, with their errors beside them; and a film of all steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gradflow.plots.animation import END, HEIGHT_MM, MOST_FRAMES, TYPE, check_seconds, in_lines, pace_of
from gradflow.plots.film import Film
from gradflow.plots.flow import gradient_flow
from gradflow.plots.labels import text, verdict
from gradflow.plots.look import DOUBLE_MM, in_look, look_of, new_figure, paler, style
from gradflow.plots.page import points
from gradflow.verdicts import smallest_subnormal

if TYPE_CHECKING:
    from gradflow.results import Comparison, History


@in_look
def training_frame(
    gradients: Comparison,
    runs: Mapping[str, History],
    step: float,
    *,
    ax: Axes,
    errors: Axes,
    limits: tuple[float, float] | None = None,
    rest: bool = False,
    alone: int | None = None,
) -> Axes:
    """Gradients by layer at one optimiser step into ``ax``, and training errors up to that step into ``errors``.

    ``gradients`` and ``runs`` have the same names; ``limits`` are those of the gradient's axis (see
    :func:`gradient_limits`). With ``rest`` the errors that come later are seen too, pale. ``alone`` is the place
    among the looks of a net that has lost the others, and is named like them; it changes nothing for several nets.
    """
    first = alone or 0 if len(runs) == 1 else 0
    gradient_flow(gradients, ax=ax, theory=False, **(look_of(first).line() if first else {}))
    if limits is not None:
        ax.set_ylim(*limits)
    handles, labels = ax.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    legend = ax.get_legend()
    assert legend is not None
    legend.remove()
    for place, run in enumerate(runs.values(), first):
        _error_line(errors, run, step, place, rest)
    last = max(float(run.epoch[-1]) for run in runs.values())
    errors.set(xlabel=text("epoch"), ylabel=text("train_error"), xlim=(0, last or 1), ylim=(0, 100))
    errors.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(named) > 1 or alone is not None:
        errors.legend(list(named.values()), list(named), loc=_free_place(list(runs.values()), last))
    return ax


_Place = Literal["upper right", "center right", "lower right"]


def _free_place(runs: Sequence[History], last: float) -> _Place:
    """Where at the right border a legend is farthest from all errors, those to come included, so that it stands still.

    A plain net that learns nothing stays at 90 %, where the errors of others leave most room.
    """
    epochs = np.linspace(last / 3, last, 50)
    seen = [100 * np.interp(epochs[epochs <= run.epoch[-1]], run.epoch, run.train_error) for run in runs]
    errors = np.concatenate(seen)
    middles: dict[_Place, float] = {"upper right": 85, "center right": 50, "lower right": 15}
    return max(middles, key=lambda place: np.abs(errors - middles[place]).min(initial=100))


def _error_line(ax: Axes, run: History, step: float, place: int, rest: bool) -> None:
    look = look_of(place)
    shown: dict[str, Any] = {"linestyle": look.linestyle, "linewidth": points(1.2), "clip_on": False}
    epoch, error = np.asarray(run.epoch, float), 100 * run.train_error
    if rest:
        ax.plot(epoch, error, color=paler(look.color, 0.35), **shown)
    now = float(np.interp(step, run.steps, epoch))
    past = epoch <= now
    tip = float(np.interp(now, epoch, error))
    ax.plot([*epoch[past], now], [*error[past], tip], color=look.color, **shown)
    ax.plot([now], [tip], look.marker, color=look.color, markerfacecolor=look.line()["markerfacecolor"], clip_on=False)


def gradient_limits(comparisons: Sequence[Comparison]) -> tuple[float, float]:
    """Limits of an axis that holds the gradients of all these comparisons, so that it can stand still."""
    values = [
        np.maximum(trace[comparison.quantity], smallest_subnormal(trace.dtype)).ravel()  # where zeros are marked
        for comparison in comparisons
        for trace in comparison.traces.values()
    ]
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    return (float(finite.min()) / 2, float(finite.max()) * 2) if len(finite) else (0.1, 10.0)


def training_film(
    gradients: Mapping[float, Comparison], runs: Mapping[str, History], *, seconds: float | None = None
) -> Film:
    """A training step by step: each frame is a :func:`training_frame` with the verdicts of that step above it.

    ``gradients`` has the gradients of all ``runs`` by optimiser step. Where there are more than 60 steps, evenly many
    are left out; the first and the last are not. ``seconds``: how long it runs, by default about six.

    Raises ValueError where there is no step, and for seconds that are not positive.
    """
    if not gradients:
        raise ValueError("a film of a training needs the gradients of at least one step; got none")
    check_seconds(seconds)
    pace = pace_of(min(len(gradients), MOST_FRAMES), seconds)
    kept = np.unique(np.linspace(0, len(gradients) - 1, MOST_FRAMES).round().astype(int))
    steps = np.array(list(gradients))[kept].tolist()
    figure = new_figure(DOUBLE_MM, HEIGHT_MM)
    with style():
        ax, errors = figure.subplots(1, 2, width_ratios=(2, 1))
        limits = gradient_limits([gradients[step] for step in steps])
        last = max(float(run.steps[-1]) for run in runs.values())
        sayings = [_saying(gradients[step], step, last, ax) for step in steps]
        words = figure.suptitle("", x=0.01, ha="left", fontsize=points(TYPE), fontweight="normal", linespacing=1.35)
    room = max(map(len, sayings))

    def show(place: int) -> None:
        for axes in (ax, errors):
            axes.clear()
        training_frame(gradients[steps[place]], runs, steps[place], ax=ax, errors=errors, limits=limits)
        lines = sayings[place]
        words.set_text("\n".join(lines + [" "] * (room - len(lines))))

    return Film(figure, show, [*[pace] * (len(steps) - 1), END], alt="\n".join(sayings[-1]))


def _saying(comparison: Comparison, step: float, last: float, ax: Axes) -> list[str]:
    verdicts = [f"{text(name)}: {verdict(judged)}" for name, judged in comparison.verdicts.items()]
    return [
        line
        for words in (text("film:step", step=round(step), last=round(last)), *verdicts)
        for line in in_lines(words, ax, TYPE)
    ]
