"""Panels side by side, as many as the page is wide, and words that keep to the room they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from gradflow.plots.linebreaks import break_up, length_of
from gradflow.plots.look import DOUBLE_MM, PageFigure, in_look, new_figure, style_of
from gradflow.plots.page import current_page, points

_F = TypeVar("_F", bound=Figure)

_GAP, _OVERHANG, _ONE_LINE, _LOWEST = 4.0, 12.0, 14.0, 80.0
"""Points: between words of neighbours; by which a label may be longer than its axes; the height of a short legend; the
least height of axes that are made lower to fit a slide."""


def page_columns(most: int, *, panel_mm: float = 36.0) -> int:
    """How many panels that need ``panel_mm`` of a book's page fit side by side on the current one, at most ``most``."""
    return max(1, min(most, int(_room() / panel_mm)))


def panel_grid(
    count: int,
    *,
    row_mm: float = 62.0,
    panel_mm: float = 36.0,
    most: int = 3,
    tallest: float = 1.15,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[PageFigure, list[Axes]]:
    """A figure as wide as the page, and so many axes in rows of as many as fit.

    ``row_mm`` is the height of a row and ``panel_mm`` what a panel needs in width, both in millimetres of a book; no
    row is more than ``tallest`` times as high as a panel is wide. Cells that are left over have no axes to be seen:
    :func:`shared_legend` takes the first. Raises ValueError for less than one panel.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1; got count={count!r}")
    rows = -(-count // page_columns(min(most, count), panel_mm=panel_mm))
    columns = -(-count // rows)
    figure = new_figure(DOUBLE_MM, rows * min(row_mm, tallest * _room() / columns))
    cells = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).ravel().tolist()
    for cell in cells[count:]:
        cell.set_axis_off()
    return figure, cells[:count]


def shared_legend(figure: Figure, axes: Sequence[Axes], *, title: str | None = None) -> Legend:
    """One legend instead of those of some panels, each entry once: in a cell that is left over, or else above them."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
        own = ax.get_legend()
        if own is not None:
            own.remove()
    return add_legend(figure, list(entries.values()), list(entries), title=title)


def add_legend(
    figure: Figure,
    handles: Sequence[Any],
    labels: Sequence[str],
    *,
    title: str | None = None,
    columns: int | None = None,
    **keywords: Any,
) -> Legend:
    """A legend in a cell that :func:`panel_grid` left over, or above all panels in as many columns as fit.

    ``columns`` is the most there may be. Entries called " " only fill these columns up. A figure of gradflow's grows by
    the height of what is more than one line. ``keywords`` go to ``Figure.legend``.
    """
    # matplotlib counts the whitespace of a legend in its type, and its own sizes from the settings of the moment.
    with style_of(figure):
        free = next((ax for ax in figure.axes if not ax.axison and ax.get_legend() is None), None)
        rows = -(-len(labels) // (columns or len(labels)))
        by_row = [place for row in range(rows) for place in range(row, len(labels), rows)]
        filled = [place for place in by_row if labels[place].strip()]
        given = {"handles": [handles[k] for k in filled], "labels": [labels[k] for k in filled], "title": title}
        given |= keywords
        legend = free and _in_cell(figure, free, given)
        if legend is None and columns is not None:
            legend = _one_above(figure, {**given, "handles": handles, "labels": labels}, columns)
        return legend or _above(figure, given)


def _in_cell(figure: Figure, cell: Axes, given: dict[str, Any]) -> Legend | None:
    """The legend in a cell, its words broken where they are too long; None where it is too high."""
    legend = cell.legend(**given, loc="center")
    rows, columns = _grid(cell)
    _fit_legend(legend, figure.bbox.width / columns - points(3 * _GAP) * figure.dpi / 72)
    if legend.get_window_extent().height <= figure.bbox.height / rows:
        return legend
    legend.remove()
    return None


def _above(figure: Figure, given: dict[str, Any]) -> Legend:
    """A legend above all panels, in as many columns as fit."""
    count = len(given["labels"])
    for rows in range(1, count):
        legend = _one_above(figure, given, -(-count // rows))
        if legend is not None:
            return legend
    legend = _one_above(figure, given, 1, whole=False)
    assert legend is not None
    return legend


def _one_above(figure: Figure, given: dict[str, Any], columns: int, *, whole: bool = True) -> Legend | None:
    """A legend of so many columns above all panels; None where it is too wide, and its entries have to stay whole."""
    room = figure.bbox.width - points(_GAP) * figure.dpi / 72
    legend = figure.legend(**given, loc="outside upper center", ncols=columns)
    # The title may be longer than the entries.
    break_up(legend.get_title(), room - points(_GAP) * figure.dpi / 72)
    if whole and legend.get_window_extent().width > room:
        legend.remove()
        return None
    _fit_legend(legend, room)
    _grow(figure, legend.get_window_extent().height - points(_ONE_LINE) * figure.dpi / 72)
    return legend


@in_look
def legend_of_drawn(*, ax: Axes) -> Axes:
    """A legend of all that has a name and is to be seen, each name once: not of a line without points."""
    entries: dict[str, Any] = {}
    for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
        if _has_points(handle):
            entries.setdefault(label, handle)
    ax.legend(list(entries.values()), list(entries))
    return ax


def clear_legend(ax: Axes) -> Axes:
    """Move the legend of the only axes of a figure of gradflow's above them where it would lie on a line.

    The figure grows by what the legend needs. Legends of other figures, and of several panels, stay where they are.
    """
    figure, legend = ax.get_figure(root=True), ax.get_legend()
    if legend is None or not isinstance(figure, PageFigure) or len(figure.axes) > 1:
        return ax
    # A legend wider than its figure would leave no room for the axes.
    legend.set_in_layout(False)
    figure.draw_without_rendering()
    legend.set_in_layout(True)
    box = legend.get_window_extent()
    # Words of a legend that is too wide would be broken into lines, and these would need more room.
    if box.width > ax.bbox.width or _lies_on_line(box, ax):
        shared_legend(figure, [ax])
    return ax


def fitted(figure: _F) -> _F:
    """The figure with labels left out that a neighbour has too, and long titles, labels and legends broken into lines.

    What is not in the layout stays as it is. A figure of gradflow's grows by the height of the new lines, gets lower
    where a slide is and its panels stay large enough, and is laid out for good: another layout of the same would differ
    in the last digits.
    """
    shown = [ax for ax in figure.axes if ax.axison and ax.get_subplotspec() is not None]
    with style_of(figure):
        _leave_out_repeated(shown)
        where = mpl.rcParams["axes.titlelocation"]
        titles = {ax: ax.set_title(ax.get_title(loc=where), loc=where) for ax in shown}
        every = [word for ax in shown for word in (titles[ax], ax.xaxis.label, ax.yaxis.label)]
        words = [word for word in every if word.get_in_layout()]
        for word in words:
            word.set_in_layout(False)
        figure.draw_without_rendering()
        # All rooms before any word is broken, so that a row of equal labels is broken alike.
        rooms = {ax: (_title_room(ax), _label_room(ax, shown, "x")) for ax in shown}
        y_rooms = {ax: _label_room(ax, shown, "y") for ax in shown}
        more: dict[tuple[int, str], float] = {}
        for ax, (title_room, _) in rooms.items():
            row = _span(ax, "row").start
            x_room = min(one[1] for other, one in rooms.items() if _span(other, "row").start == row)
            for side, word, room in (("above", titles[ax], title_room), ("below", ax.xaxis.label, x_room)):
                more[row, side] = max(more.get((row, side), 0.0), break_up(word, room))
            legend = ax.get_legend()
            if legend is not None:
                _fit_legend(legend, ax.bbox.width)
        _grow(figure, sum(more.values()))
        if isinstance(figure, PageFigure) and _lowered(figure, shown):
            y_rooms = {ax: _label_room(ax, shown, "y") for ax in shown}
        for ax, room in y_rooms.items():
            if ax.yaxis.label in words:
                break_up(ax.yaxis.label, room)
        for word in words:
            word.set_in_layout(True)
        if isinstance(figure, PageFigure):
            _settle(figure)
    return figure


def _room() -> float:
    """The width of the current page in millimetres of a book's."""
    page = current_page()
    return page.width(DOUBLE_MM) / page.scale


def _grow(figure: Figure, pixels: float) -> None:
    if isinstance(figure, PageFigure) and pixels > 0:
        figure.set_figheight(figure.get_figheight() + pixels / figure.dpi)


def _lowered(figure: PageFigure, shown: Sequence[Axes]) -> bool:
    """Make a figure that is higher than its page as high as this, or as its panels need; whether it was."""
    height = figure.get_figheight()
    rows = {_span(ax, "row").start: ax for ax in shown}.values()
    spare = sum(max(0.0, ax.bbox.height / figure.dpi - points(_LOWEST) / 72) for ax in rows)
    lowered = max(figure.page.height_mm / 25.4, height - spare)
    if lowered >= height:
        return False
    figure.set_figheight(lowered)
    figure.draw_without_rendering()
    return True


def _grid(ax: Axes) -> tuple[int, int]:
    """Rows and columns of the grid that the axes stand in."""
    place = ax.get_subplotspec()
    assert place is not None
    rows, columns = place.get_gridspec().get_geometry()
    return rows, columns


def _span(ax: Axes, along: str) -> range:
    """The rows or columns of the grid that the axes take."""
    place = ax.get_subplotspec()
    assert place is not None
    return place.rowspan if along == "row" else place.colspan


def _settle(figure: Figure) -> None:
    """Lay out now, and round: the solver's last bits, and so the bytes of a file, depend on what was there before."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        left, bottom, width, height = (round(float(edge), 6) for edge in ax.get_position().bounds)
        ax.set_position((left, bottom, width, height))


def _leave_out_repeated(shown: Sequence[Axes]) -> None:
    """Labels on the outer panels only, where the inner ones have the same; numbers too where the axis is shared."""
    at = {(_span(ax, "row").start, _span(ax, "column").start): ax for ax in shown}
    names = {ax: (ax.get_xlabel(), ax.get_ylabel()) for ax in shown}
    rows: dict[int, list[tuple[Axes, Axes | None]]] = {}
    for (row, column), ax in at.items():
        left = at.get((row, column - 1))
        rows.setdefault(row, []).append((ax, at.get((row + 1, column))))
        if left is not None and names[left][1] == names[ax][1]:
            ax.set_ylabel("")
        if len(ax.get_shared_y_axes().get_siblings(ax)) > 1:
            ax.tick_params(axis="y", labelleft=left is None)
    for pairs in rows.values():
        repeated = all(below is not None and names[below][0] == names[ax][0] for ax, below in pairs)
        for ax, below in pairs:
            if repeated:
                ax.set_xlabel("")
            if len(ax.get_shared_x_axes().get_siblings(ax)) > 1:
                ax.tick_params(axis="x", labelbottom=below is None)


def _title_room(ax: Axes) -> float:
    """Pixels from the left edge of the axes to those beside, or to the edge of the figure."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    column = _span(ax, "column").stop
    beside = [one for one in figure.axes if one.get_subplotspec() is not None and _span(one, "column").start == column]
    edge = min((one.bbox.x0 for one in beside), default=figure.bbox.width)
    return edge - ax.bbox.x0 - points(2.5 * _GAP) * figure.dpi / 72


def _label_room(ax: Axes, shown: Sequence[Axes], axis: str) -> float:
    """Pixels for a label in the middle of an axis: little more than its length, to the neighbours' or the edge."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    point = points(figure.dpi / 72)
    across, edge = ("row", figure.bbox.width) if axis == "x" else ("column", figure.bbox.height)

    def middle(one: Axes) -> float:
        return (one.bbox.x0 + one.bbox.x1) / 2 if axis == "x" else (one.bbox.y0 + one.bbox.y1) / 2

    length = (ax.bbox.width if axis == "x" else ax.bbox.height) + _OVERHANG * point
    rooms = [length, 2 * middle(ax), 2 * (edge - middle(ax))]
    for one in shown:
        label = getattr(one, f"{axis}axis").label
        if one is not ax and label.get_text() and _span(one, across).start == _span(ax, across).start:
            apart = abs(middle(one) - middle(ax)) - _GAP * point
            # Half of the distance, and what a short neighbour leaves of its half.
            rooms.append(max(apart, 2 * apart - length_of(label, label.get_text())))
    return min(rooms)


def _fit_legend(legend: Legend, room: float) -> None:
    """Break the words of a legend of one column into lines if it is wider than ``room`` pixels."""
    box = legend.get_window_extent()
    if box.width <= room:
        return
    entries = legend.get_texts()
    handle = box.width - max(word.get_window_extent().width for word in (*entries, legend.get_title()))
    for word in (*entries, legend.get_title()):
        break_up(word, room - handle)


def _has_points(handle: Any) -> bool:
    line = handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle
    return not isinstance(line, Line2D) or np.size(line.get_xdata()) > 0


def _lies_on_line(box: Bbox, ax: Axes) -> bool:
    """Whether a line, a marker or a bar is drawn in the box, which is in pixels."""
    for line in ax.get_lines():
        path = line.get_transform().transform_path(line.get_path())
        if line.get_linestyle() != "None" and np.size(line.get_xdata()) and path.intersects_bbox(box, filled=False):
            return True
        size = line.get_markersize() if line.get_marker() not in ("", "None", None) else 0.0
        if size and box.padded(size / 2 * ax.figure.dpi / 72).count_contains(path.vertices):
            return True
    bars = [bar for bar in ax.collections if isinstance(bar, LineCollection)]
    paths = [bar.get_transform().transform_path(path) for bar in bars for path in bar.get_paths()]
    return any(path.intersects_bbox(box, filled=False) for path in paths)
