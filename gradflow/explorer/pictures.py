"""From numbers to a figure: for the screen, where it has to be quick, and for a book."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gradflow import plots
from gradflow.explorer.states import State
from gradflow.explorer.words import word
from gradflow.files import write_whole
from gradflow.results import Comparison, GradientSplit, History, PathSpectrum, Result, Study, Trace
from gradflow.results.base import power
from gradflow.verdicts import smallest_subnormal

SIZE_MM = (plots.DOUBLE_MM, 92.0)
FORMATS = ("pdf", "svg", "png")
_DPI = 125
_LINE = 130
"""Characters in a line across the figure."""


def draw(state: State, result: Any, *, figure: Figure | None = None) -> Figure:
    """The picture of a state's numbers, in a new figure of book width, or in ``figure`` instead of what was there."""
    with plots.style():
        if figure is None:
            figure = plots.new_figure(*SIZE_MM)
        for ax in list(figure.axes):  # clear() would make all their ticks anew first
            ax.remove()
        _TABS[state.tab](figure, state, result)
    return figure


def summary(state: State, result: Any) -> list[str]:
    """What the numbers say, in sentences."""
    if isinstance(result, Comparison):
        return [f"{name}: {verdict}" for name, verdict in result.verdicts.items()]
    if isinstance(result, GradientSplit):
        parts = {part: power(float(result.median(part)[0])) for part in ("shortcut", "residual", "whole")}
        return [word("unit_0", **parts)]
    if isinstance(result, PathSpectrum):
        return [_lengths(result)]
    return [
        word("ends", kind=kind, error=100 * history.train_error[-1], steps=history.steps[-1])
        for kind, history in _histories(result).items()
    ]


def save(state: State, result: Result, name: str | Path) -> list[Path]:
    """Write the figure in book quality (``name``.pdf, .svg, .png) and its numbers (.json), and return the paths.

    Raises ValueError for an empty name, OSError as the disk does.
    """
    path = Path(name).expanduser().absolute()
    if not str(name).strip() or not path.name:
        raise ValueError(word("no_name"))
    figure = draw(state, result)
    paths = [path.with_name(f"{path.name}.{kind}") for kind in (*FORMATS, "json")]
    for target in paths[:-1]:
        write_whole(target, plots.render(figure, target.suffix[1:]))
    result.save(paths[-1])
    return paths


class Screen:
    """One figure that is drawn over and over for the screen.

    What makes drawing slow is done once: parsing the tick labels, which the kept canvas remembers, and finding room for
    all labels, for which fixed margins are enough here. They also keep the axes where they are from picture to picture.
    """

    def __init__(self) -> None:
        width, height = SIZE_MM
        no_layout: Any = "none"
        self._figure = Figure(figsize=(width / 25.4, height / 25.4), dpi=_DPI, layout=no_layout)
        self._canvas = FigureCanvasAgg(self._figure)

    def png(self, state: State, result: Result) -> bytes:
        """The picture of a state as the bytes of a PNG file."""
        with plots.style():
            draw(state, result, figure=self._figure)
            lines = max(3, 1 + self._figure.get_suptitle().count("\n"))
            self._figure.subplots_adjust(left=0.085, right=0.985, bottom=0.125, top=0.98 - 0.035 * lines, wspace=0.22)
            self._canvas.draw()
        buffer = io.BytesIO()
        pixels = np.asarray(self._canvas.buffer_rgba())[..., :3]
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", compress_level=1)
        return buffer.getvalue()


# ── one function per tab ──


def _flow(figure: Figure, state: State, result: Comparison) -> None:
    ax = figure.subplots()
    plots.gradient_flow(result, ax=ax)
    _title(figure, summary(state, result))


def _split(figure: Figure, state: State, result: GradientSplit) -> None:
    left, right = figure.subplots(1, 2)
    plots.split_lines(result, ax=left)
    plots.signal_lines(result, ax=right)
    _title(figure, summary(state, result))


def _paths(figure: Figure, state: State, result: PathSpectrum) -> None:
    left, right = figure.subplots(1, 2)
    plots.path_lengths(result, ax=left)
    plots.gradient_per_path(result, ax=right)
    _title(figure, summary(state, result))


def _replay(figure: Figure, state: State, result: Study) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    run = result.histories[0]
    place = max(0, int(np.searchsorted(_steps(run), state.step, side="right")) - 1)
    step, shown = _steps(run)[place], _at(place, result)
    plots.gradient_flow(shown, ax=left, theory=False)
    left.set_ylim(*_range(result))
    plots.error_curves(result, "train_error", ax=right, thickness=1)
    right.axvline(np.interp(step, run.steps, run.epoch), color="#333333", linewidth=0.8)
    _title(figure, [word("at_step", step=step, last=run.steps[-1]), *summary(state, shown)])


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
    text = "\n".join(fill(line, _LINE) for line in lines)
    figure.suptitle(text, x=0.01, ha="left", va="top", fontsize=7, fontweight="normal")


def _histories(study: Study) -> dict[str, History]:
    return {setting["kind"]: run for setting, run in zip(study.settings, study.histories, strict=True)}


def _steps(history: History) -> np.ndarray:
    assert history.traced_steps is not None
    return history.traced_steps


def _trace(history: History) -> Trace:
    assert history.trace is not None
    return history.trace


def _at(place: int, study: Study) -> Comparison:
    """The gradients of all nets at one traced step of their training."""
    here = slice(place, place + 1)
    traces = {
        kind: replace(_trace(run), values=_trace(run).values[here], nonfinite=_trace(run).nonfinite[here])
        for kind, run in _histories(study).items()
    }
    return Comparison(traces=traces, quantity="output_grad", norm="rms")


def _range(study: Study) -> tuple[float, float]:
    """Limits of an axis that holds every gradient of a training, so that it stands still in the replay."""
    values = np.concatenate([_trace(run).values.ravel() for run in study.histories])
    floor = smallest_subnormal(_trace(study.histories[0]).dtype)  # where zeros are marked
    values = np.maximum(values[np.isfinite(values)], floor)
    return (float(values.min()) / 2, float(values.max()) * 2) if len(values) else (0.1, 10.0)
