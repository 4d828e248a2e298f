"""For which page figures are drawn, as the command line is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradflow.cli.console import check

if TYPE_CHECKING:
    from gradflow.plots.page import Page

WIDTH = (
    "Width of the pictures: single (84 mm), double (174 mm) or a length in mm, cm, in or pt (72.27 to the inch, as TeX "
    "has them), such as 12cm; by default what is usual for each figure."
)
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "in": 25.4, "pt": 25.4 / 72.27}
_LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(mm|cm|in|pt)")


def page_of(width: str | None, context: str, grey: bool, lang: str) -> Page:
    """The page for the options of a command. Raises ValueError for a mistake in one of them."""
    from gradflow.plots.page import CONTEXTS, LANGUAGES, Page

    check("--context", [context], CONTEXTS)
    check("--lang", [lang], LANGUAGES)
    try:
        return Page(width_mm=width_mm(width), context=context, grey=grey, language=lang)
    except ValueError as error:
        raise ValueError(f"--width {width}: {error}") from error


def width_mm(width: str | None) -> float | None:
    """A width in millimetres, to a hundredth. Raises ValueError for what is no name and no length with its unit."""
    from gradflow.plots import DOUBLE_MM, SINGLE_MM

    if width is None or width in ("single", "double"):
        return {None: None, "single": SINGLE_MM, "double": DOUBLE_MM}[width]
    length = _LENGTH.fullmatch(width.strip())
    if length is None:
        raise ValueError(f"a width is single, double or a length in mm, cm, in or pt, such as 84mm; got {width!r}")
    return round(float(length[1]) * _MILLIMETRES[length[2]], 2)
