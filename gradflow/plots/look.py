"""One look for all figures, sizes in millimetres, and files that come out the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, wraps
from importlib import resources
from typing import Any, NamedTuple, TypeVar, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gradflow.plots.page import Page, current_page, file_settings, turned_to, writing_with

SINGLE_MM, DOUBLE_MM = 84.0, 174.0
"""Widths of figures set in one and in two columns."""

# Without dates and program versions, so that the same numbers give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
KINDS_OF_FILE = ("pdf", "svg", "png", "pgf")
"""What :func:`render` writes."""


class Look(NamedTuple):
    """How the lines of one model are drawn: told apart by colour, by dashes and by marker."""

    color: str
    linestyle: str
    marker: str
    filled: bool

    def line(self) -> dict[str, Any]:
        """Keywords for ``Axes.plot``."""
        face = self.color if self.filled else "white"
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker, "markerfacecolor": face}


# Okabe & Ito's colours, safe for colour-blind readers; ordered so that neighbours differ in grey as well.
LOOKS = (
    Look("#D55E00", "--", "o", False),
    Look("#0B4F8A", "-", "s", True),
    Look("#009E73", "-.", "^", False),
    Look("#8C3C74", ":", "D", True),
    Look("#B07A00", (0, (5, 1, 1, 1, 1, 1)), "v", False),  # type: ignore[arg-type]
    Look("#4A9CC9", "-", "P", True),
)
_FURTHER = ("p", "h", "<", "*", ">", "X")
# The same order of light and dark, none so pale that it has less than three times the contrast of white paper.
_GREYS = ("#757575", "#141414", "#929292", "#474747", "#838383", "#5C5C5C")
THEORY: dict[str, Any] = {"color": "#333333", "linestyle": (0, (1, 1.2)), "marker": ""}
"""Closed forms: fine dots, always in the same dark grey."""
INK = "#333333"


def look_of(place: int) -> Look:
    """The look of the model at a place in the legend; the first is the plain one.

    From the seventh on, colours come back with other markers, open where they were filled.
    """
    look = LOOKS[place % len(LOOKS)]
    if place // len(LOOKS) % 2:
        look = look._replace(marker=_FURTHER[place % len(LOOKS)], filled=not look.filled)
    return look._replace(color=_GREYS[place % len(LOOKS)]) if current_page().grey else look


def model_color(name: str) -> str:
    """The colour of the plain or of the residual net."""
    return look_of(0 if name == "plain" else 1).color


def number_layers(ax: Axes, layers: int) -> None:
    """Ticks at layer 1 and at round numbers up to the last layer."""
    every = next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if layers / step <= 8), 500)
    ax.set_xticks([1, *range(max(every, 2), layers + 1, every)])


def tint(color: str, strength: float = 0.22) -> tuple[float, float, float]:
    """An opaque pale version of a colour, for bands: transparency prints badly."""
    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(color))
    return red, green, blue


def paler(color: str, strength: float) -> tuple[float, float, float]:
    """An opaque pale version of a colour, for lines: in grey none so pale that it gets lost on white paper."""
    shade = tint(color, strength)
    palest = to_rgb(_GREYS[2])
    return min(shade, palest) if current_page().grey else shade


_NO_LOOK = (
    *("backend", "interactive", "toolbar", "timezone", "date.epoch", "docstring", "savefig.directory", "tk.", "webagg"),
    *("figure.max_open_warning", "figure.raise_window"),
)
"""How the names of settings begin that :func:`matplotlib.rcdefaults` leaves alone too: how windows behave, and whether
they are open, which a notebook switches on with its first figure."""
_LENGTHS = ("size", "width", "pad")
_OTHERS = {"xtick.major.pad": 3.5, "ytick.major.pad": 3.5, "axes.labelpad": 4.0}
"""Lengths in points that the look leaves as matplotlib has them, but that grow with the type."""


@contextmanager
def style(
    context: str | None = None,
    *,
    width_mm: float | None = None,
    grey: bool | None = None,
    language: str | None = None,
) -> Iterator[None]:
    """Draw in gradflow's look inside the block; matplotlib's settings are as before after it.

    ``context``: "book" (7-point type), "notebook" (larger, for a screen) or "lecture" (large type for projectors);
    ``width_mm``: the width of new figures, instead of the usual one; ``grey``: without colour; ``language``: "en" or
    "zh". What is not given is as in the surrounding block, and without one as in a book.

    Raises ValueError for a context, width or language that does not exist, FileNotFoundError for Chinese where no
    font is installed for it.
    """
    given: dict[str, Any] = {"context": context, "width_mm": width_mm, "grey": grey, "language": language}
    page = replace(current_page(), **{name: value for name, value in given.items() if value is not None})
    chinese = _chinese_settings() if page.language == "zh" else {}
    settings: dict[str, Any] = {**_settings(page.scale), **chinese, **file_settings()}
    there: Any = mpl.rcParams
    before = {name: there._get(name) for name in settings}
    try:
        _set(settings)
        with turned_to(page):
            yield
    finally:
        _set(before)


def _set(settings: Mapping[str, Any]) -> None:
    """Give matplotlib settings that are valid; ``rc_context`` and ``rcdefaults`` would check them all each time."""
    there: Any = mpl.rcParams
    for name, value in settings.items():
        if there._get(name) is not value:
            there._set(name, value)


def _chinese_settings() -> dict[str, Any]:
    from gradflow.plots.fonts import chinese_font

    font = chinese_font()
    # matplotlib writes a font of PostScript outlines as Type 42 into a PDF that not every program reads.
    return {
        "font.family": ["sans-serif", font.name],
        "pdf.fonttype": 42 if font.truetype else 3,
        # The fonts that every program reads have no bold, and bold Latin letters among thin characters look wrong.
        "axes.titleweight": "normal",
    }


@contextmanager
def on_screen() -> Iterator[None]:
    """Draw for the page of a notebook, unless a block of :func:`style` around says which page it is."""
    with style("notebook" if current_page().context is None else None):
        yield


@lru_cache
def _settings(scale: float) -> dict[str, Any]:
    """All settings for a page: matplotlib's and those of the look, with lengths in points enlarged by ``scale``."""
    usual: Any = mpl.rcParamsDefault
    defaults = {name: usual._get(name) for name in usual if not name.startswith(_NO_LOOK)}
    with resources.as_file(resources.files("gradflow.plots") / "gradflow.mplstyle") as path:
        settings: dict[str, Any] = dict(mpl.rc_params_from_file(path, use_default_template=False)) | _OTHERS
    for name, value in settings.items():
        # The pads of a legend count in type sizes, so they grow by themselves.
        if name.endswith(_LENGTHS) and isinstance(value, (int, float)) and name != "legend.borderaxespad":
            settings[name] = value * scale
    return defaults | settings


class PageFigure(Figure):
    """A figure that is drawn in gradflow's look wherever it is shown, for the page that it was made on."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.page = current_page()
        with style():
            super().__init__(*arguments, **keywords)

    def add_subplot(self, *arguments: Any, **keywords: Any) -> Any:
        with style_of(self):
            return super().add_subplot(*arguments, **keywords)

    def add_axes(self, *arguments: Any, **keywords: Any) -> Any:
        with style_of(self):
            return super().add_axes(*arguments, **keywords)

    def draw(self, renderer: Any) -> None:
        # matplotlib makes ticks when it draws them, with the settings of that moment.
        with style_of(self):
            super().draw(renderer)

    def savefig(self, *arguments: Any, **keywords: Any) -> None:
        # A file's kind of fonts and its pixels are decided outside of draw().
        with style_of(self):
            super().savefig(*arguments, **keywords)


def page_of(figure: Figure | None) -> Page:
    """The page that a figure was made on; the current one for a figure that is not gradflow's."""
    return figure.page if isinstance(figure, PageFigure) else current_page()


@contextmanager
def style_of(figure: Figure | None) -> Iterator[None]:
    """Draw in gradflow's look inside the block, for the page that a figure was made on."""
    with turned_to(page_of(figure)), style():
        yield


def new_figure(width_mm: float = SINGLE_MM, height_mm: float = 60.0) -> PageFigure:
    """An empty figure that no window or notebook holds on to.

    The size is that in a book, in millimetres; :func:`style` says by how much it is larger, or how wide it has to be.
    """
    return PageFigure(figsize=_inches(width_mm, height_mm))


def _inches(width_mm: float, height_mm: float) -> tuple[float, float]:
    page = current_page()
    return page.width(width_mm) / 25.4, height_mm * page.scale / 25.4


def axes_or_new(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure that a notebook shows."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    _, new = pyplot.subplots(figsize=_inches(SINGLE_MM, 60.0), FigureClass=PageFigure)
    return new


_Draw = TypeVar("_Draw", bound=Callable[..., Any])


def in_look(draw: _Draw) -> _Draw:
    """Let a function with a keyword ``ax`` draw in gradflow's look where the figure is gradflow's.

    That is, into the new figure that it makes without ``ax``, and into those of :func:`new_figure`. Axes of the
    user's own are drawn into with the user's settings.
    """

    @wraps(draw)
    def drawn(*args: Any, ax: Axes | None = None, **keywords: Any) -> Any:
        figure = None if ax is None else ax.get_figure(root=True)
        if figure is not None and not isinstance(figure, PageFigure):
            return draw(*args, ax=ax, **keywords)
        with style_of(figure):
            return draw(*args, ax=ax, **keywords)

    return cast(_Draw, drawn)


def render(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of a pdf, svg, png or pgf file; equal numbers give equal bytes with the same matplotlib.

    Fonts are embedded as Type 42, in an svg as outlines; a pgf is set by LaTeX in the fonts of the document it is put
    into, and its bytes depend on the LaTeX that measures its labels. Raises ValueError for another kind, for pgf
    FileNotFoundError where no LaTeX is installed and RuntimeError where it fails.
    """
    if kind not in KINDS_OF_FILE:
        raise ValueError(f"kind must be one of {', '.join(KINDS_OF_FILE)}; got {kind!r}")
    if kind == "pgf":
        from gradflow.plots.pgf import pgf_bytes, pgf_settings

        language = page_of(figure).language
        with writing_with(pgf_settings(language)), style_of(figure):
            return pgf_bytes(figure, language)
    buffer = io.BytesIO()
    with style_of(figure):
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()
