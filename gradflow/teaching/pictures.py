"""Pictures for the last line of a notebook's cell: sheets of panels, results in a row, the book's recorded figures."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots
from gradflow.figures import CATALOGUE, caption
from gradflow.plots.look import style_of
from gradflow.results import Result, load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT_MM = 62.0
ALONE_MM = 1.3 * plots.SINGLE_MM
"""Width of a figure of one panel."""
_MARKERS = 10
"""On a line, at most about."""


class _Picture(ABC):
    """Something to draw, and words that stand for it where no picture can be seen."""

    @abstractmethod
    def draw(self) -> Figure:
        """The figure, for the current page (see :func:`gradflow.plots.style`)."""

    def words_below(self) -> str:
        """What is to be read below the picture: nothing where its own labels say it all."""
        return ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        with plots.on_screen():
            picture = base64.b64encode(plots.render(self.draw(), "svg")).decode()
        words = escape(repr(self))
        shown = f'<img alt="{words.splitlines()[0]}" src="data:image/svg+xml;base64,{picture}"/>'
        if below := escape(self.words_below()):
            shown += f'<p style="white-space: pre-line">{below}</p>'
        return {"text/plain": repr(self), "text/html": shown}


class Sheet(_Picture):
    """A figure of one to three panels in a row for a cell to draw into, in gradflow's look.

    Args:
        panels: how many; ``axes`` has one for each.
        height_mm: of the figure, in millimetres of a book's page.
        sharey: whether all panels have one vertical axis, with its name at the left one only.
        titles: of the panels.

    Raises:
        ValueError: there are no panels, or more than three, or not as many titles.
    """

    def __init__(
        self, panels: int = 1, *, height_mm: float = HEIGHT_MM, sharey: bool = False, titles: Sequence[str] = ()
    ) -> None:
        _one_to_three(panels)
        if titles and len(titles) != panels:
            raise ValueError(f"expected a title for each of {panels} panels, got {len(titles)}")
        with plots.on_screen():
            self.figure, axes = _grid(panels, height_mm, sharey)
            for ax, title in zip(axes, titles, strict=False):
                ax.set_title(title)
        self.axes = tuple(axes)
        self._words = ""

    def __repr__(self) -> str:
        return self._words or "; ".join(map(_words_of, self.axes))

    def draw(self) -> Figure:
        """The figure, for the page on which it was made."""
        if not self._words:
            # Fitting takes away labels that a neighbour has, and fitting twice would move what has its place.
            self._words = repr(self)
            plots.fitted(self.figure)
        return self.figure

    def lines(self, ax: Axes, series: Mapping[str, np.ndarray], looks: Sequence[int] = (), **settings: Any) -> None:
        """Draw a line for each of ``series`` against 0, 1, 2 …

        Args:
            ax: one of ``axes``.
            series: the values, by the name in the legend.
            looks: the places in the library's row of looks; by default one after the other.
            settings: of the axes, as ``Axes.set`` has them.
        """
        with style_of(self.figure):
            for place, (name, values) in enumerate(series.items()):
                look = plots.look_of(looks[place] if looks else place)
                ax.plot(values, **look.line(), label=name, markevery=max(1, len(values) // _MARKERS))
            ax.set(**settings)

    def legend(self) -> None:
        """One legend above all panels in place of their own."""
        plots.shared_legend(self.figure, self.axes)


class SideBySide(_Picture):
    """Results in one row of panels, each drawn as its own ``plot`` draws it, with one legend for all.

    Args:
        results: the results, by the title of their panel; the verdicts of comparisons stand below.
        keywords: for every ``plot``.

    Raises:
        ValueError: there are no results, or more than three.
    """

    def __init__(self, results: Mapping[str, Result], **keywords: Any) -> None:
        _one_to_three(len(results))
        self.results, self.keywords = dict(results), keywords

    def __repr__(self) -> str:
        return self.words_below() or " | ".join(self.results)

    def words_below(self) -> str:
        """The verdicts of comparisons."""
        return "\n".join(
            f"{title}, {name} {verdict}"
            for title, result in self.results.items()
            for name, verdict in getattr(result, "verdicts", {}).items()
        )

    def draw(self) -> Figure:
        """The figure, for the current page (see :func:`gradflow.plots.style`)."""
        figure, axes = _grid(len(self.results), HEIGHT_MM)
        with plots.style():
            for ax, (title, result) in zip(axes, self.results.items(), strict=True):
                result.plot(ax=ax, **self.keywords)
                ax.set_title(title)
        plots.shared_legend(figure, axes)
        return plots.fitted(figure)


class Recorded(_Picture):
    """A book figure as it was recorded, with its caption.

    Args:
        name: of the figure, as in ``gradflow figures``.
        folder: where its numbers lie, as ``data/NAME.json``; by default the repository's, seen from ``notebooks/``.

    Raises:
        ValueError: there is no figure of that name.
        FileNotFoundError: its numbers are not there.
    """

    def __init__(self, name: str, folder: str | Path = "../figures") -> None:
        if name not in CATALOGUE:
            raise ValueError(f"name must be one of {', '.join(CATALOGUE)}; got name={name!r}")
        path = Path(folder) / "data" / f"{name}.json"
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; pass the folder that holds the recorded figures")
        self.name = name
        self.numbers: Result = load(path)

    def __repr__(self) -> str:
        return caption(self.name, self.numbers)

    def words_below(self) -> str:
        """The caption."""
        return repr(self)

    def draw(self) -> Figure:
        """The figure, for the current page (see :func:`gradflow.plots.style`)."""
        return CATALOGUE[self.name].draw(self.numbers)


def _one_to_three(panels: int) -> None:
    if not 1 <= panels <= 3:
        raise ValueError(f"expected one to three results or panels side by side, got {panels}")


def _grid(panels: int, height_mm: float, sharey: bool = False) -> tuple[plots.PageFigure, list[Axes]]:
    if panels > 1:
        return plots.panel_grid(panels, row_mm=height_mm, sharey=sharey)
    figure = plots.new_figure(ALONE_MM, height_mm)
    return figure, [figure.subplots()]


def _words_of(ax: Axes) -> str:
    """What a panel shows, from its title and labels."""
    title = "".join(ax.get_title(loc=loc) for loc in ("left", "center", "right"))
    shown = f"{ax.get_ylabel()} against {ax.get_xlabel()}"
    return " ".join((f"{title}: {shown}" if title else shown).split())
