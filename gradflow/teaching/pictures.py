"""Pictures for the last line of a notebook's cell: several results in a row, and the book's recorded figures."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow import plots
from gradflow.figures import CATALOGUE, caption
from gradflow.results import Result, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT_MM = 62.0


class _Picture(ABC):
    """Something to draw with words to it, which are its ``repr``."""

    @abstractmethod
    def draw(self) -> Figure:
        """The figure."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        with plots.style():
            picture = base64.b64encode(plots.render(self.draw(), "svg")).decode()
        words = escape(repr(self))
        image = f'<img alt="{words.splitlines()[0]}" src="data:image/svg+xml;base64,{picture}"/>'
        return {"text/plain": repr(self), "text/html": f'{image}<p style="white-space: pre-line">{words}</p>'}


class SideBySide(_Picture):
    """Results in one row of panels, each drawn as its own ``plot`` draws it, with one legend for all.

    Args:
        results: the results, by the title of their panel; the verdicts of comparisons stand below.
        keywords: for every ``plot``.

    Raises:
        ValueError: there are no results, or more than three.
    """

    def __init__(self, results: Mapping[str, Result], **keywords: Any) -> None:
        if not 1 <= len(results) <= 3:
            raise ValueError(f"expected one to three results side by side, got {len(results)}")
        self.results, self.keywords = dict(results), keywords

    def __repr__(self) -> str:
        verdicts = [
            f"{title}, {name} {verdict}"
            for title, result in self.results.items()
            for name, verdict in getattr(result, "verdicts", {}).items()
        ]
        return "\n".join(verdicts) or " | ".join(self.results)

    def draw(self) -> Figure:
        """The figure; its look is the current one, see :func:`gradflow.plots.style`."""
        figure = plots.new_figure(plots.DOUBLE_MM, HEIGHT_MM)
        axes = figure.subplots(1, len(self.results), squeeze=False)[0]
        for ax, (title, result) in zip(axes, self.results.items(), strict=True):
            result.plot(ax=ax, **self.keywords)
            ax.set_title(title)
            if ax.get_legend() is not None:
                ax.get_legend().remove()
        plots.shared_legend(figure, axes)
        return figure


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

    def draw(self) -> Figure:
        """The figure; its look is the current one, see :func:`gradflow.plots.style`."""
        return CATALOGUE[self.name].draw(self.numbers)
