"""From numbers to a figure: for the screen, where it has to be quick, and for a book."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gradflow import plots
from gradflow.explorer.states import State
from gradflow.explorer.words import word
from gradflow.files import write_whole
from gradflow.plots.look import PageFigure, look_of
from gradflow.plots.page import points, turned_to
from gradflow.results import Comparison, GradientSplit, History, PathSpectrum, Result, Study, Trace
from gradflow.results.base import power
from gradflow.verdicts import smallest_subnormal

SIZE_MM = (plots.DOUBLE_MM, 92.0)
FORMATS = ("pdf", "svg", "png")
SCREEN_PX = (890, 500)
"""The size on the screen in CSS pixels."""
_DENSITY = 2.0
"""Pixels of the picture for one of CSS: sharp on screens of high density, made smaller by the browser on others."""
_SCREEN_MM = 220.0
"""A width in millimetres at which the notebook's type has 14 CSS pixels, as the text around it has."""
_LETTERS = 0.747
"""Letters in a line for each millimetre of a book."""


def draw(state: State, result: Any, *, figure: PageFigure | None = None) -> PageFigure:
    """The picture of a state's numbers, in a new figure of book width, or in ``figure`` instead of what was there."""
    if figure is None:
        figure = plots.new_figure(*SIZE_MM)
    with turned_to(figure.page), plots.style():
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
    stopped = {failure["setting"]["kind"]: failure["message"] for failure in result.failures}
    ends = [
        word("ends", kind=kind, error=100 * history.train_error[-1], steps=history.steps[-1])
        for kind, history in _histories(result).items()
        if kind not in stopped
    ]
    return [*ends, *(word("stopped", kind=kind, reason=reason) for kind, reason in stopped.items())]


def save(state: State, result: Result, name: str | Path) -> list[Path]:
    """Write the figure in book quality (``name``.pdf, .svg, .png) and its numbers (.json), and return the paths.

    Folders are made; an ending of one of these kinds is not part of the name. Raises ValueError for an empty name,
    OSError as the disk does.
    """
    text = str(name).strip()
    if Path(text).name in ("", "..") or text.endswith(("/", "\\")):
        raise ValueError(word("no_name"))
    path = Path(text).expanduser().absolute()
    if path.suffix[1:] in (*FORMATS, "json"):
        path = path.with_suffix("")
    with plots.style("book"):
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
        draw(state, result, figure=self._figure)
        lines = max(3, 1 + self._figure.get_suptitle().count("\n"))
        self._figure.subplots_adjust(left=0.095, right=0.985, bottom=0.135, top=0.955 - 0.037 * lines, wspace=0.24)
        self._canvas.draw()
        return _png(np.asarray(self._canvas.buffer_rgba())[..., :3])


def _png(pixels: np.ndarray) -> bytes:
    """The PNG file of pixels (height, width, 3) of uint8, in a third of the time of Pillow, which tries filters."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each row begins with its filter: none
    for color in range(3):  # three long copies are quicker than one of many triples
        rows[:, 1 + color :: 3] = pixels[..., color]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits of red, green and blue
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows.data, 1), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


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
    run = max(result.histories, key=lambda history: len(_steps(history)))  # one that did not diverge
    step = int(_steps(run)[_place(run, state.step)])
    shown = _at(state.step, result)
    # A net that is left alone has the look it has beside the other.
    alone = look_of(1).line() if list(shown.traces) == ["residual"] else {}
    plots.gradient_flow(shown, ax=left, theory=False, **alone)
    left.set_ylim(*_range(result))
    plots.error_curves(result, "train_error", ax=right, thickness=1)
    right.axvline(np.interp(step, run.steps, run.epoch), color="#333333", linewidth=points(0.8))
    stopped = summary(state, result)[-len(result.failures) :] if result.failures else []
    _title(figure, [word("at_step", step=step, last=run.steps[-1]), *_standing(state.step, result, shown), *stopped])


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


def _histories(study: Study) -> dict[str, History]:
    return {setting["kind"]: run for setting, run in zip(study.settings, study.histories, strict=True)}


def _steps(history: History) -> np.ndarray:
    assert history.traced_steps is not None
    return history.traced_steps


def _trace(history: History) -> Trace:
    assert history.trace is not None
    return history.trace


def _standing(step: int, study: Study, shown: Comparison) -> list[str]:
    """The verdict on each net; with its step for one that stands still because its training ended before."""
    found = []
    for kind, run in _histories(study).items():
        last = int(_steps(run)[-1])
        ended = last < step and kind in {failure["setting"]["kind"] for failure in study.failures}
        found.append(word("verdict_then" if ended else "verdict", kind=kind, verdict=shown.verdicts[kind], step=last))
    return found


def _place(history: History, step: int) -> int:
    """Where the last traced step up to this one stands; the last of all where the training ended before."""
    return max(0, int(np.searchsorted(_steps(history), step, side="right")) - 1)


def _at(step: int, study: Study) -> Comparison:
    """The gradients of all nets at one traced step of their training."""
    traces = {kind: _trace(run).at(_place(run, step)) for kind, run in _histories(study).items()}
    return Comparison(traces=traces, quantity="output_grad", norm="rms")


def _range(study: Study) -> tuple[float, float]:
    """Limits of an axis that holds every gradient of a training, so that it stands still in the replay."""
    values = np.concatenate([_trace(run).values.ravel() for run in study.histories])
    floor = smallest_subnormal(_trace(study.histories[0]).dtype)  # where zeros are marked
    values = np.maximum(values[np.isfinite(values)], floor)
    return (float(values.min()) / 2, float(values.max()) * 2) if len(values) else (0.1, 10.0)
