"""From numbers to a figure: for the screen, where it has to be quick, and for a book."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gradflow import plots
from gradflow.explorer.replays import KINDS
from gradflow.explorer.states import State
from gradflow.explorer.words import word
from gradflow.files import write_whole
from gradflow.plots.look import PageFigure, style_of
from gradflow.plots.page import points
from gradflow.results import Comparison, GradientSplit, PathSpectrum, Result, Study
from gradflow.results.base import power
from gradflow.results.runs import gradients_by_step

SIZE_MM = (plots.DOUBLE_MM, 92.0)
FORMATS = ("pdf", "svg", "png")
SCREEN_PX = (890, 430)
"""The size on the screen in CSS pixels."""
_DENSITY = 1.5
"""Pixels of the picture for one of CSS: sharp on screens of high density, made smaller by the browser on others."""
_SCREEN_MM = 220.0
"""A width in millimetres at which the notebook's type has 14 CSS pixels, as the text around it has."""
_LETTERS = 0.747
"""Letters in a line for each millimetre of a book."""


def draw(state: State, result: Any) -> PageFigure:
    """The picture of a state's numbers with what they say above it, in a new figure of book width."""
    figure = plots.new_figure(*SIZE_MM)
    with style_of(figure):
        _TABS[state.tab](figure, state, result)
        _title(figure, summary(state, result))
    return figure


def summary(state: State, result: Any) -> list[str]:
    """What the numbers say, in sentences; of a training what they say at the state's step, and how it ends."""
    if isinstance(result, Comparison):
        return [word("verdict", kind=name, verdict=verdict) for name, verdict in result.verdicts.items()]
    if isinstance(result, GradientSplit):
        parts = {part: power(float(result.median(part)[0])) for part in ("shortcut", "residual", "whole")}
        return [word("unit_0", **parts)]
    if isinstance(result, PathSpectrum):
        return [_lengths(result)]
    step, shown = _moment(state.step, result)
    stopped = {failure["setting"]["kind"]: failure["message"] for failure in result.failures}
    runs = result.named()
    now = word("at_step", step=round(step), last=max(run.steps[-1] for run in runs.values()))
    ends = [
        word("ends", kind=kind, error=100 * run.train_error[-1], steps=run.steps[-1])
        for kind, run in runs.items()
        if kind not in stopped
    ]
    reasons = [word("stopped", kind=kind, reason=reason) for kind, reason in stopped.items()]
    return [now, *_standing(step, result, shown), *filter(None, ["; ".join(ends)]), *reasons]


def save(state: State, result: Result, name: str | Path) -> list[Path]:
    """Write the figure in book quality (``name``.pdf, .svg, .png) and its numbers (.json), and return the paths.

    Folders are made; an ending of one of these kinds is not part of the name; files of that name are replaced. Raises
    ValueError for an empty name, OSError as the disk does.
    """
    *pictures, numbers = paths = paths_of(name)
    with plots.style("book"):
        figure = draw(state, result)
    for path in pictures:
        write_whole(path, plots.render(figure, path.suffix[1:]))
    result.save(numbers)
    return paths


def paths_of(name: str | Path) -> list[Path]:
    """The files of a saved figure. Raises ValueError for an empty name."""
    text = str(name).strip()
    if Path(text).name in ("", "..") or text.endswith(("/", "\\")):
        raise ValueError(word("no_name"))
    path = Path(text).expanduser().absolute()
    if path.suffix[1:] in (*FORMATS, "json"):
        path = path.with_suffix("")
    return [path.with_name(f"{path.name}.{kind}") for kind in (*FORMATS, "json")]


class Screen:
    """One figure that is drawn over and over for the screen, where what the numbers say stands beside it as text.

    What makes drawing slow is done once: parsing the tick labels, which the kept canvas remembers, and finding room for
    all labels, for which fixed margins are enough here. They also keep the axes where they are from picture to picture.
    """

    def __init__(self) -> None:
        width, height = SCREEN_PX
        inches = _SCREEN_MM / 25.4
        no_layout: Any = "none"
        with plots.style("notebook"):
            self._figure = PageFigure(
                figsize=(inches, inches * height / width), dpi=_DENSITY * width / inches, layout=no_layout
            )
        self._canvas = FigureCanvasAgg(self._figure)

    def png(self, state: State, result: Result) -> bytes:
        """The picture of a state as the bytes of a PNG file."""
        with style_of(self._figure):
            for ax in list(self._figure.axes):  # clear() would make all their ticks anew first
                ax.remove()
            _TABS[state.tab](self._figure, state, result)
        self._figure.subplots_adjust(left=0.095, right=0.985, bottom=0.135, top=0.97, wspace=0.24)
        self._canvas.draw()
        file = io.BytesIO()
        # The file travels no further than to the browser: written quickly is better than small.
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(file, "png", compress_level=1)
        return file.getvalue()


# ── one function per tab ──


def _flow(figure: Figure, state: State, result: Comparison) -> None:
    ax = figure.subplots()
    plots.gradient_flow(result, ax=ax)


def _split(figure: Figure, state: State, result: GradientSplit) -> None:
    left, right = figure.subplots(1, 2)
    plots.split_lines(result, ax=left)
    plots.signal_lines(result, ax=right)


def _paths(figure: Figure, state: State, result: PathSpectrum) -> None:
    left, right = figure.subplots(1, 2)
    plots.path_lengths(result, ax=left)
    plots.gradient_per_path(result, ax=right)


def _replay(figure: Figure, state: State, result: Study) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    runs = result.named()
    step, shown = _moment(state.step, result)
    limits = plots.gradient_limits(list(gradients_by_step(runs, "output_grad").values()))
    place = KINDS.index(next(iter(runs)))  # a net that is left alone has the look it has beside the other
    plots.training_frame(shown, runs, step, ax=left, errors=right, limits=limits, rest=True, alone=place)


_TABS: dict[str, Callable[[Figure, State, Any], None]] = {
    "flow": _flow,
    "split": _split,
    "paths": _paths,
    "replay": _replay,
}


def _lengths(spectrum: PathSpectrum) -> str:
    try:
        low, high = spectrum.interval()
    except ValueError as error:  # nothing came through
        return str(error)
    return word("lengths", low=low, high=high, units=len(spectrum.units))


def _title(figure: Figure, lines: list[str]) -> None:
    """Sentences above all panels; a panel's own title would have to fit its width."""
    letters = int(_LETTERS * 25.4 * figure.get_figwidth() / points(1))
    text = "\n".join(fill(line, letters) for line in lines)
    figure.suptitle(text, x=0.01, ha="left", va="top", fontsize=points(7), fontweight="normal")


def _moment(step: int, study: Study) -> tuple[float, Comparison]:
    """The last traced step up to this one, and the gradients of all nets then.

    A net whose training ended before is shown as it was last.
    """
    moments = gradients_by_step(study.named(), "output_grad")
    now = max((moment for moment in moments if moment <= step), default=min(moments))
    return now, moments[now]


def _standing(step: float, study: Study, shown: Comparison) -> list[str]:
    """The verdict on each net; with its step for one that stands still because its training ended before."""
    stopped = {failure["setting"]["kind"] for failure in study.failures}
    found = []
    for kind, run in study.named().items():
        assert run.traced_steps is not None
        last = int(run.traced_steps[-1])
        ended = last < step and kind in stopped
        found.append(word("verdict_then" if ended else "verdict", kind=kind, verdict=shown.verdicts[kind], step=last))
    return found
