"""Films of gradients that flow backward layer by layer, in one comparison or in several one after the other."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from gradflow.plots.film import Film
from gradflow.plots.flow import gradient_flow
from gradflow.plots.labels import listed, norm_of, text, verdict
from gradflow.plots.look import DOUBLE_MM, INK, PageFigure, look_of, new_figure, number_layers, paler, style
from gradflow.plots.page import points

if TYPE_CHECKING:
    from gradflow.results import Comparison

HEIGHT_MM = 79.4
"""With the width of two columns it becomes a slide of 16:9 in the context "lecture"."""

MOST_FRAMES = 60
_FASTEST, _SLOWEST = 0.1, 0.6
"""Seconds that a frame may last at least, and at most unless it is the end of a wave."""

END = 3.0
"""Seconds for reading what a wave has left behind."""

_NAME_HEIGHT = 0.06
"""Of a line of small print, as a part of the axis."""

TYPE = 7.0
"""Size of the words above the axes, in points of a book."""


def gradient_film(
    comparisons: Sequence[Comparison], *, titles: Sequence[str] | None = None, seconds: float | None = None
) -> Film:
    """The backward pass of one comparison, or of several one after the other, layer by layer from loss to input.

    All axes stand still. What is behind the wave is :func:`gradient_flow`; when it has reached the input, the closed
    form and the verdicts appear, and earlier comparisons stay as pale lines. ``titles``: by default the number of
    layers where it differs. ``seconds``: how long each wave runs, by default about six.

    Raises TypeError for what is no comparison; ValueError for an empty sequence, for comparisons of different
    quantities or norms, for another number of titles, for seconds that are not positive, and where some comparisons
    number their layers and others, of nets with different numbers of layers, cannot.
    """
    titles = _titles(comparisons, titles)
    check_seconds(seconds)
    figure = new_figure(DOUBLE_MM, HEIGHT_MM)
    with style():
        stage = _Stage(figure, comparisons, titles)
        shots = stage.shots(max(2, MOST_FRAMES // len(comparisons) - 1))
        pace = pace_of(sum(front is not None for _, front in shots) / len(comparisons), seconds)
        alt = "\n".join(line for wave in stage.waves for line in wave.ending)
    return Film(
        figure,
        lambda place: stage.show(*shots[place]),
        [END if front is None else pace for _, front in shots],
        alt=alt,
    )


def _titles(comparisons: Sequence[Comparison], titles: Sequence[str] | None) -> list[str]:
    """A title for each comparison, empty where there is nothing to tell apart."""
    if not comparisons:
        raise ValueError("a film of gradients needs at least one comparison; got none")
    for one in comparisons:
        if not hasattr(one, "traces"):
            raise TypeError(f"a film of gradients takes comparisons, from gradflow.compare; got {type(one).__name__}")
    asked = dict.fromkeys(norm_of(one.norm, one.quantity) for one in comparisons)
    if len(asked) > 1:
        raise ValueError(f"expected comparisons of one quantity by one norm; got {', '.join(asked)}")
    numbered = {_is_numbered(comparison) for comparison in comparisons}
    if len(numbered) > 1:
        raise ValueError(
            "expected comparisons of nets with equal numbers of layers each, or none such; got both: those with "
            "different numbers are drawn by relative depth, the others by layer"
        )
    if titles is not None:
        if len(titles) != len(comparisons):
            raise ValueError(f"expected a title for each of {len(comparisons)} comparisons; got {len(titles)}")
        return list(titles)
    depths = [_depth(comparison) for comparison in comparisons]
    return [text("layers_panel", layers=depth) if len(set(depths)) > 1 else "" for depth in depths]


def _depth(comparison: Comparison) -> int:
    return max(len(trace.layers) for trace in comparison.traces.values())


def _is_numbered(comparison: Comparison) -> bool:
    return len({len(trace.layers) for trace in comparison.traces.values()}) == 1


def check_seconds(seconds: float | None) -> None:
    """Raise ValueError unless ``seconds`` is None or positive and finite."""
    if seconds is not None and not 0 < seconds < np.inf:
        raise ValueError(f"seconds must be positive; got seconds={seconds!r}")


def pace_of(frames: float, seconds: float | None) -> float:
    """Seconds for each of so many frames, where all of them are to take ``seconds`` (None: about six)."""
    return float(np.clip(6 / frames, _FASTEST, _SLOWEST)) if seconds is None else seconds / frames


class _Stage:
    """The axes of a film of gradients, with every wave that runs over them."""

    def __init__(self, figure: PageFigure, comparisons: Sequence[Comparison], titles: Sequence[str]) -> None:
        self.ax: Axes = figure.subplots()
        self.waves = [_Wave(self.ax, *one) for one in zip(comparisons, titles, strict=True)]
        self.ax.set(xlim=self.ax.get_xlim(), ylim=self.ax.get_ylim())
        deepest = max(map(_depth, comparisons))
        if _is_numbered(comparisons[0]):
            number_layers(self.ax, deepest)
        self.front = self.ax.axvline(0, color="#AAAAAA", linewidth=points(0.8), zorder=0.5)
        self.words = self.ax.set_title("", fontsize=points(TYPE), fontweight="normal", linespacing=1.35)
        named: list[float] = []
        for wave in self.waves:
            wave.add_rings(self.ax)
            wave.add_name(self.ax, named)
        self._name_once()
        # Room for the longest ending, while the layout is found.
        self.room = max(len(wave.ending) for wave in self.waves)

    def _name_once(self) -> None:
        """One legend for all waves: each name once, as in the last wave that has it."""
        found: dict[str, Any] = {}
        for wave in self.waves:
            for one in (*wave.lines, *wave.theory):
                if not one.label.startswith("_"):
                    found[one.label] = one.line
        self.ax.legend(list(found.values()), list(found))

    def shots(self, most: int) -> list[tuple[int, float | None]]:
        """What is seen in each frame: which wave, and how far it has come (None: to the end)."""
        found: list[tuple[int, float | None]] = []
        for place, wave in enumerate(self.waves):
            every = -(-len(wave.places) // most)
            # Counted from the input, so that the last step is as long as the others and the first one shows the start.
            found += [(place, float(front)) for front in wave.places[::every][::-1]]
            found.append((place, None))
        return found

    def show(self, place: int, front: float | None) -> None:
        for number, wave in enumerate(self.waves):
            wave.appear(front, here=number == place, past=number < place)
        self.front.set_visible(front is not None)
        if front is not None:
            self.front.set_xdata([front, front])
        wave = self.waves[place]
        words = wave.ending if front is None else [wave.progress(front)]
        self.words.set_text("\n".join(words + [""] * (self.room - len(words))))


class _Drawn(NamedTuple):
    """A line as it was drawn."""

    line: Line2D
    x: np.ndarray
    y: np.ndarray
    color: Any
    marker: Any

    @property
    def label(self) -> str:
        return str(self.line.get_label())

    def pale(self, past: bool) -> None:
        """Pale and without markers, unless it consists of markers alone; or again as it was."""
        self.line.set_color(paler(self.color, 0.4) if past else self.color)
        self.line.set_marker("" if past and self.line.get_linestyle() != "None" else self.marker)


class _Wave:
    """One comparison in a film: its lines and bands, of which only what the gradient has passed is seen."""

    def __init__(self, ax: Axes, comparison: Comparison, title: str) -> None:
        before = set(ax.get_children())
        gradient_flow(comparison, ax=ax)
        new = [artist for artist in ax.get_children() if artist not in before]
        drawn = [_drawn(artist) for artist in new if isinstance(artist, Line2D)]
        closed = (text("theory"), "_theory")
        self.theory = [one for one in drawn if one.label in closed]
        self.lines = [one for one in drawn if one.label not in closed]
        self.bands = [artist for artist in new if isinstance(artist, Collection)]
        self.comparison, self.title, self.numbered = comparison, title, _is_numbered(comparison)
        self.depth = _depth(comparison)
        self.places = self._x(self.depth)
        verdicts = [f"{text(name)}: {verdict(judged)}" for name, judged in comparison.verdicts.items()]
        self.ending = [line for words in (title, *verdicts) for line in in_lines(words, ax, TYPE)]
        self.rings: list[tuple[Line2D, np.ndarray, np.ndarray]] = []
        self.name: Text | None = None

    def _x(self, layers: int) -> np.ndarray:
        """Where :func:`gradient_flow` puts the layers."""
        return np.arange(layers) + 1.0 if self.numbered else np.arange(layers) / max(layers - 1, 1)

    def add_rings(self, ax: Axes) -> None:
        """For each model a ring around the point that the wave has just reached."""
        for number, trace in enumerate(self.comparison.traces.values()):
            values = trace.median(self.comparison.quantity)
            shown: dict[str, Any] = {"markerfacecolor": "none", "linestyle": "none", "zorder": 20, "label": "_front"}
            size: dict[str, Any] = {"markersize": points(8), "markeredgewidth": points(1.2)}
            (ring,) = ax.plot([], [], "o", color=look_of(number).color, **size, **shown)
            self.rings.append(
                (ring, self._x(len(values)), np.where(np.isfinite(values) & (values > 0), values, np.nan))
            )

    def add_name(self, ax: Axes, named: list[float]) -> None:
        """The title at the input's end of the first model's line, unless it would hide one that is ``named``."""
        _, x, y = self.rings[0]
        known = np.flatnonzero(np.isfinite(y))
        if not self.title or not len(known):
            return
        first, last = known[0], known[-1]
        height = float(ax.transLimits.transform((x[first], np.log10(y[first])))[1])
        if any(abs(height - other) < _NAME_HEIGHT for other in named):
            return
        named.append(height)
        # On the side to which the line does not go.
        place = (
            {"va": "top", "xytext": (0, points(-4))}
            if y[first] < y[last]
            else {"va": "bottom", "xytext": (0, points(4))}
        )
        shown: dict[str, Any] = {"textcoords": "offset points", "fontsize": points(6.5), "color": INK, **place}
        self.name = ax.annotate(self.title, (x[first], y[first]), **shown)
        self.name.set_in_layout(False)

    def appear(self, front: float | None, *, here: bool, past: bool) -> None:
        """Show what lies behind the front (None: all of it); pale where it is ``past``, nothing where it is to come."""
        reached = front if here and front is not None else -np.inf if here or past else np.inf
        for one in self.lines:
            one.line.set_ydata(np.where(_is_behind(one.x, reached), one.y, np.nan))
            one.pale(past)
        for one in self.theory:
            one.line.set_visible(here and front is None)
        for band in self.bands:
            band.set_visible(here)
            _cut(band, reached)
        for ring, x, y in self.rings:
            newest = np.flatnonzero(_is_behind(x, reached) & here)[: int(front is not None)]
            ring.set_data(x[newest], y[newest])
        if self.name is not None:
            self.name.set_visible(past)

    def progress(self, front: float) -> str:
        if self.numbered:
            words = text("film:backward", layer=round(front), layers=self.depth)
        else:
            words = text("film:backward_relative", place=front)
        return listed((self.title, words)) if self.title else words


def _is_behind(x: np.ndarray, front: float) -> np.ndarray:
    return np.asarray(x >= front - 1e-9)


def _drawn(line: Line2D) -> _Drawn:
    x, y = (np.array(values, float) for values in line.get_data())
    return _Drawn(line, x, y, line.get_color(), line.get_marker())


def _cut(band: Collection, front: float) -> None:
    """Show only what lies behind the front."""
    ax = band.axes
    assert ax is not None
    low, high = ax.get_xlim()
    start = float(np.clip(front, low, high))
    band.set_clip_path(Rectangle((start, 0), high - start, 1, transform=ax.get_xaxis_transform()))


def in_lines(words: str, ax: Axes, size: float) -> list[str]:
    """Words in lines that are no wider than the figure; ``size`` is that of the type, in points of a book."""
    figure = ax.get_figure(root=True)
    if figure is None or not words:
        return []
    ems = 0.88 * 72 * figure.get_figwidth() / points(size)
    wide = np.mean([unicodedata.east_asian_width(letter) in "WF" for letter in words])
    return wrap(words, int(ems / (0.56 + 0.46 * wide)))
