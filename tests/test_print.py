"""Every book figure on several pages, artist by artist: what a printer and a reader with good eyes would object to."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from PIL import Image

import gradflow
from gradflow import figures, plots

DATA = Path(__file__).parent.parent / "figures" / "data"


class Sheet(NamedTuple):
    """A page, and what must come out: the width in mm and how much larger than in a book everything is."""

    asked: dict[str, Any]
    width_mm: float
    scale: float = 1.0


PAGES = {
    "book-84-mm-grey": Sheet({"width_mm": 84.0, "grey": True}, 84.0),
    "lecture-grey": Sheet({"context": "lecture", "grey": True}, 174 * 1.946, 2.4),
    "book-174-mm": Sheet({}, 174.0),
}
LEAST_TYPE, LEAST_LINE = 6.0, 0.5
"""Points at final size in a book."""
STRIPS = ("why-rms", "shattering")
"""Figures with panels that show little more than where something jumps, and may be low."""
HIGHER = (
    *("degradation", "weight-drift", "degradation-anatomy", "lambda-product"),
    *("forward-signal", "shattering", "loss-shape"),
)
"""Figures whose panels need more than the height of a slide: seven, as the README says."""

# Some tests look at the first pages only: a start of the same list, so that pytest draws each figure once for all.
EACH = [(page, name) for page in PAGES for name in figures.CATALOGUE]
NARROW = EACH[: len(figures.CATALOGUE)]
GREY = EACH[: 2 * len(figures.CATALOGUE)]


def only(chosen: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("drawn", chosen, indirect=True, ids="-".join)


class Drawn(NamedTuple):
    """A figure that is laid out on a page, and all that is drawn of it."""

    page: Sheet
    name: str
    figure: Figure
    artists: list[Artist]

    @property
    def words(self) -> list[Text]:
        return [one for one in self.artists if isinstance(one, Text) and one.get_text().strip()]

    @property
    def panels(self) -> list[Axes]:
        return [ax for ax in self.figure.axes if ax.axison]


@pytest.fixture(scope="module", params=EACH, ids="-".join)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    """A figure on a page."""
    kind, name = request.param
    page = PAGES[kind]
    with plots.style(**page.asked):
        figure = figures.CATALOGUE[name].draw(gradflow.load(DATA / f"{name}.json"))
        figure.draw_without_rendering()
        # Still in its look, as the number of ticks depends on the size of their type.
        return Drawn(page, name, figure, list(seen(figure)))


def seen(artist: Artist) -> Iterator[Artist]:
    """All that is drawn of an artist: what is inside something invisible is not."""
    if not artist.get_visible():
        return
    yield artist
    for child in _inside(artist):
        yield from seen(child)


def _inside(artist: Artist) -> list[Artist]:
    if isinstance(artist, Axes) and not artist.axison:
        return [artist.get_legend()] if artist.get_legend() else []
    if isinstance(artist, Axis):
        low, high = sorted(artist.get_view_interval())
        ticks = [*artist.get_major_ticks(), *artist.get_minor_ticks()]
        width = 1e-9 * (high - low)
        shown = [tick for tick in ticks if low - width <= tick.get_loc() <= high + width]
        return [artist.label, artist.offsetText, *shown]
    if isinstance(artist, Annotation):
        return [artist.arrow_patch] if artist.arrow_patch else []
    return artist.get_children()


def box(text: Text) -> Bbox:
    """Where the words are, without the line that may lead to them."""
    return Text.get_window_extent(text)


def strokes(artist: Artist) -> list[float]:
    """The widths in points of the lines that an artist draws."""
    if isinstance(artist, Line2D):
        if not len(artist.get_xdata()):
            return []
        line = [artist.get_linewidth()] if artist.get_linestyle() != "None" else []
        marked = artist.get_marker() not in ("None", "", " ", None)
        return line + ([artist.get_markeredgewidth()] if marked else [])
    if isinstance(artist, (Patch, Collection)):
        widths = np.atleast_1d(artist.get_linewidth())
        edges = to_rgba_array(artist.get_edgecolor())
        return [float(width) for width in widths if width > 0 and len(edges) and edges[:, 3].any()]
    return []


def colors(artist: Artist) -> np.ndarray:
    """All colours of an artist, rows of red, green, blue and alpha."""
    if isinstance(artist, Line2D):
        found = [artist.get_color()]
        if artist.get_marker() not in ("None", "", " ", None):
            found += [artist.get_markerfacecolor(), artist.get_markeredgecolor()]
        return np.vstack([to_rgba_array(one) for one in found])
    if isinstance(artist, Text):
        return to_rgba_array(artist.get_color())
    if isinstance(artist, (Patch, Collection)):
        return np.vstack([to_rgba_array(artist.get_facecolor()), to_rgba_array(artist.get_edgecolor())])
    return np.empty((0, 4))


def luminance(color: Any) -> float:
    """Relative luminance of a colour, WCAG 2.1."""
    channels = to_rgba_array(color)[0, :3]
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_the_size_is_that_of_the_page(drawn: Drawn) -> None:
    assert drawn.figure.get_figwidth() * 25.4 == pytest.approx(drawn.page.width_mm, abs=1e-9)
    if drawn.page.asked.get("context") == "lecture":
        assert (drawn.figure.get_figheight() * 25.4 > 190.6) == (drawn.name in HIGHER)


def test_type_is_not_too_small(drawn: Drawn) -> None:
    """Exponents are smaller, as they are everywhere."""
    least = LEAST_TYPE * drawn.page.scale
    small = {one.get_text(): one.get_fontsize() for one in drawn.words if one.get_fontsize() < least - 1e-9}
    assert not small


def test_lines_are_not_too_thin(drawn: Drawn) -> None:
    found = [(width, artist) for artist in drawn.artists for width in strokes(artist)]
    assert len(found) > 10
    assert not [one for one in found if one[0] < LEAST_LINE * drawn.page.scale - 1e-9]


def test_nothing_is_transparent_and_grey_is_grey(drawn: Drawn) -> None:
    for artist in drawn.artists:
        assert artist.get_alpha() in (None, 1), artist
        found = colors(artist)
        assert set(found[:, 3]) <= {0.0, 1.0}, artist
        if drawn.page.asked.get("grey"):
            shown = found[found[:, 3] > 0]
            assert np.ptp(shown[:, :3], axis=1) == pytest.approx(0), artist


def test_no_words_are_cut_off(drawn: Drawn) -> None:
    frame = drawn.figure.bbox.padded(0.5)
    for one in (*drawn.words, *(one for one in drawn.artists if isinstance(one, Legend))):
        inside = box(one) if isinstance(one, Text) else one.get_window_extent()
        assert frame.x0 <= inside.x0, one
        assert inside.x1 <= frame.x1, one
        assert frame.y0 <= inside.y0, one
        assert inside.y1 <= frame.y1, one


def test_no_words_overlap(drawn: Drawn) -> None:
    slack = 0.3 * drawn.page.scale / 25.4 * drawn.figure.dpi
    boxes = [(one.get_text(), box(one)) for one in drawn.words]
    together = []
    for (one, first), (other, second) in combinations(boxes, 2):
        common = Bbox.intersection(first, second)
        if common is not None and min(common.width, common.height) > slack:
            together.append((one, other))
    assert not together


def test_panels_are_large_enough_to_be_read(drawn: Drawn) -> None:
    millimetre = drawn.page.scale * drawn.figure.dpi / 25.4
    lowest = 8 if drawn.name in STRIPS else 18
    for ax in drawn.panels:
        size = ax.get_window_extent()
        assert size.width / millimetre > 20, ax.get_title(loc="left")
        assert size.height / millimetre > lowest, ax.get_title(loc="left")
    widths = [ax.get_position().width for ax in drawn.figure.axes]
    assert max(widths) < 1.3 * min(widths), "none is squeezed by its neighbours"


@only(GREY)
def test_lines_are_told_apart_without_colour(drawn: Drawn) -> None:
    """By dashes, marker or width, or else by grey; and none is so pale that it gets lost on white."""
    for ax in drawn.panels:
        lines = [one for one in ax.get_lines() if len(one.get_xdata()) and not one.get_label().startswith("_")]
        for one in lines:
            assert 1.05 / (luminance(one.get_color()) + 0.05) >= 3, one.get_label()
        for one, other in combinations(lines, 2):
            alike = _form(one) == _form(other) and one.get_label() != other.get_label()
            assert not alike or abs(luminance(one.get_color()) - luminance(other.get_color())) > 0.2, (one, other)


def _form(line: Line2D) -> tuple[Any, ...]:
    hollow = line.get_markerfacecolor() in ("white", "none")
    return str(line._dash_pattern), line.get_marker(), hollow, line.get_linewidth()


@only(NARROW)
def test_the_pdf_has_the_width_and_fonts_that_stay_text(drawn: Drawn) -> None:
    pdf = plots.render(drawn.figure, "pdf")
    (width,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ", pdf)
    assert float(width) == pytest.approx(84 / 25.4 * 72, abs=0.01)
    assert b"/CIDFontType2" in pdf or b"/Type42" in pdf
    assert b"/Type3" not in pdf
    assert set(re.findall(rb"/(?:CA|ca) ([\d.]+)", pdf)) <= {b"1", b"0"}


@pytest.mark.parametrize("more", [{}, {"bbox_inches": "tight"}])
def test_a_figure_that_matplotlib_saves_is_as_fit_for_print(more: dict[str, Any]) -> None:
    """With savefig() of the figure itself, under settings of the user's."""
    figure = gradflow.load(DATA / "fc-flow.json").parts["50"].plot(plots.new_figure().subplots()).figure
    pdf, png, svg = (io.BytesIO() for _ in range(3))
    with mpl.rc_context({"pdf.fonttype": 3, "savefig.dpi": 50, "svg.fonttype": "none", "savefig.transparent": True}):
        figure.savefig(pdf, format="pdf", **more)
        figure.savefig(svg, format="svg", **more)
        figure.savefig(png, format="png", dpi=123, **more)
        assert mpl.rcParams["savefig.dpi"] == 50
    assert b"/Type3" not in pdf.getvalue()
    assert b"/Type42" in pdf.getvalue() or b"/CIDFontType2" in pdf.getvalue()
    assert b"<text" not in svg.getvalue()
    picture = Image.open(png)
    assert picture.info["dpi"] == pytest.approx((123, 123), rel=1e-3)
    assert picture.getpixel((0, 0))[3] == 255, "paper is white, not transparent"


def test_axes_put_anywhere_are_in_the_look() -> None:
    figure = plots.new_figure()
    with mpl.rc_context({"axes.linewidth": 9}):
        for ax in (figure.subplots(), figure.add_axes((0.5, 0.5, 0.2, 0.2)), figure.subplot_mosaic("ab")["b"]):
            assert ax.spines["left"].get_linewidth() == 0.6
            assert not ax.spines["top"].get_visible()
