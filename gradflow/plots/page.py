"""What a figure is drawn for: how large its type is and how wide it is, in colour or in grey, in which language."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any, NamedTuple


class Context(NamedTuple):
    """How much larger than in a book the type (and every line) is, how much wider the figures, and how high in
    millimetres one may be where its panels stay large enough."""

    type: float
    width: float
    height_mm: float = math.inf


CONTEXTS = {
    "book": Context(1.0, 1.0),
    # A screen is read from twice as far as a book, so everything is enlarged.
    "notebook": Context(1.4, 1.4),
    # Two columns become the whole of a 16:9 slide, 13 1/3 inches, with type of 17 points, legible from the last row.
    "lecture": Context(2.4, 1.946, 190.5),
}
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Page:
    """Context (None: a book's, but a notebook's for what is shown in one), width in millimetres (None: what is usual
    for the figure), grey or colour, and language.

    Raises ValueError for a context, width or language that does not exist.
    """

    context: str | None = None
    width_mm: float | None = None
    grey: bool = False
    language: str = "en"

    def __post_init__(self) -> None:
        for name, value, known in (("context", self.context, CONTEXTS), ("language", self.language, LANGUAGES)):
            if value is not None and value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
        width = self.width_mm
        if width is not None and not (isinstance(width, Real) and 20 <= width <= 2000):
            raise ValueError(f"width_mm must be a number from 20 to 2000 (millimetres); got {width!r}")

    @property
    def scale(self) -> float:
        """Points on this page for one point in a book."""
        return self._enlarged.type

    def width(self, usual_mm: float) -> float:
        """The width in millimetres of a figure that has ``usual_mm`` in a book."""
        return self.width_mm or usual_mm * self._enlarged.width

    @property
    def height_mm(self) -> float:
        """The height in millimetres to keep to; infinity where the width is the reader's own."""
        return math.inf if self.width_mm else self._enlarged.height_mm

    @property
    def _enlarged(self) -> Context:
        return CONTEXTS[self.context or "book"]


_USUAL = Page()
_page: ContextVar[Page] = ContextVar("page", default=_USUAL)
_file: ContextVar[Mapping[str, Any]] = ContextVar("file", default=MappingProxyType({}))


def current_page() -> Page:
    """The page that is drawn on now: a book's, in colour and in English, unless a block says otherwise."""
    return _page.get()


@contextmanager
def turned_to(page: Page) -> Iterator[None]:
    """Draw and name things for this page inside the block."""
    token = _page.set(page)
    try:
        yield
    finally:
        _page.reset(token)


def file_settings() -> Mapping[str, Any]:
    """matplotlib's settings for the kind of file that is written now, beside those of the look."""
    return _file.get()


@contextmanager
def writing_with(settings: Mapping[str, Any]) -> Iterator[None]:
    """Add these settings of matplotlib's to the look inside the block."""
    token = _file.set(settings)
    try:
        yield
    finally:
        _file.reset(token)


def points(size: float) -> float:
    """A line width, marker or type size of a book, in points of the current page."""
    return size * current_page().scale
