"""The files of a figure: pictures in every format, its numbers as .csv, and a figure environment for LaTeX."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradflow import plots
from gradflow.figures.book import BookFigure
from gradflow.figures.longtables import long_table
from gradflow.plots.labels import text
from gradflow.plots.latex import in_latex, tex_engine
from gradflow.plots.look import KINDS_OF_FILE
from gradflow.plots.page import Page, turned_to
from gradflow.results import Result

FORMATS = ("pdf", "svg", "png")
"""The formats in which every figure of the repository is there."""

STANDARD = Page(context="book")
"""The page of the repository's figures: a book's, in colour, in English, each figure of its usual width."""

_INCLUDED = ("pdf", "pgf", "png", "svg")
"""Which picture the .tex file takes: the first of these that is there."""

_COMMAND = re.compile(
    r"% gradflow figures (?P<name>\S+) --from-data(?: --width (?P<width>[\d.]+)mm)?(?: --context (?P<context>\w+))?"
    r"(?P<grey> --grey)?(?: --lang (?P<lang>\w+))?"
)


def options_of(page: Page) -> list[str]:
    """The options of ``gradflow figures`` that ask for a page; none for the standard one."""
    return [
        *([f"--width {page.width_mm:g}mm"] if page.width_mm else []),
        *([f"--context {page.context}"] if page.context not in (None, STANDARD.context) else []),
        *(["--grey"] if page.grey else []),
        *([f"--lang {page.language}"] if page.language != STANDARD.language else []),
    ]


def command(name: str, page: Page) -> str:
    """What draws a figure for a page from its numbers."""
    return " ".join(["gradflow figures", name, "--from-data", *options_of(page)])


def recorded_page(name: str, folder: Path) -> Page | None:
    """The page for which the figure in a folder was drawn, as its .tex says; None where that says nothing."""
    path = folder / f"{name}.tex"
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if path.exists() else ""
    found = _COMMAND.fullmatch(first)
    if found is None or found["name"] != name:
        return None
    try:
        width = float(found["width"]) if found["width"] else None
        return Page(found["context"] or STANDARD.context, width, bool(found["grey"]), found["lang"] or "en")
    except ValueError:
        return None


@contextmanager
def numbers_read_from(name: str, path: Path) -> Iterator[None]:
    """Turn what numbers of another figure bring about in this block into a ValueError that names their file."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} does not hold the numbers of {name} ({said})") from error


def folder_for(page: Page) -> Path:
    """The folder for figures where none is given: ``figures``, for another page than the standard one one inside it,
    such as ``figures/84mm-grey``."""
    named = [option.split()[-1].removeprefix("--") for option in options_of(page)]
    return Path("figures", *["-".join(named)] if named else [])


def check_possible(formats: Collection[str], page: Page) -> None:
    """Raise FileNotFoundError where LaTeX for pgf, or a font for Chinese, is not installed."""
    if "pgf" in formats:
        tex_engine(page.language)
    with turned_to(page), plots.style():
        pass


def check_free(name: str, folder: Path, page: Page) -> None:
    """Raise FileExistsError where pictures for another page would replace standard ones."""
    described = folder / f"{name}.tex"
    pictures = any((folder / f"{name}.{kind}").exists() for kind in KINDS_OF_FILE)
    if not options_of(page) or not pictures:
        return
    if not described.exists() or described.read_bytes().splitlines()[:1] == [f"% {command(name, STANDARD)}".encode()]:
        raise FileExistsError(
            f"{folder} holds {name} as it is without {' '.join(options_of(page))}: give another folder with --out, "
            f"or leave --out away for {folder_for(page)}"
        )


def contents(
    name: str, figure: BookFigure, numbers: Result, formats: Collection[str], page: Page, folder: Path
) -> dict[str, bytes]:
    """What the files of a figure hold, by their names: the pictures, the .csv and the .tex.

    The .tex takes the best of the pictures to come and of those that are in ``folder`` already.
    """
    with turned_to(page), plots.style():
        caption, picture = caption_of(name, figure, numbers), figure.draw(numbers)
    files = {f"{name}.{kind}": plots.render(picture, kind) for kind in formats}
    there = [kind for kind in _INCLUDED if kind in formats or (folder / f"{name}.{kind}").exists()]
    files[f"{name}.csv"] = long_table(numbers)
    files[f"{name}.tex"] = _environment(
        name, caption, 25.4 * picture.get_figwidth(), there[0] if there else "pdf", page
    ).encode()
    return files


def caption_of(name: str, figure: BookFigure, numbers: Result) -> str:
    """The caption of a figure in the language of the page, its numbers taken from the result it shows."""
    return text(f"caption:{name}", **figure.facts(numbers))


def _environment(name: str, caption: str, width_mm: float, kind: str, page: Page) -> str:
    """A figure environment, over two columns where the picture is wider than one."""
    kind_of_float = "figure*" if width_mm > plots.SINGLE_MM + 0.01 else "figure"
    width = f"{round(width_mm, 2):g}mm"
    picture, package = {
        "pgf": (rf"\input{{{name}.pgf}}", "pgf"),
        "svg": (rf"\includesvg[width={width}]{{{name}.svg}}", "svg"),
    }.get(kind, (rf"\includegraphics[width={width}]{{{name}.{kind}}}", "graphicx"))
    needs = [rf"\usepackage{{{package}}}", *([r"\usepackage{xeCJK} and xelatex"] if page.language == "zh" else [])]
    lines = textwrap.wrap(rf"\caption{{{in_latex(caption)}}}", 116, break_long_words=False, break_on_hyphens=False)
    body = [r"\centering", picture, *lines, rf"\label{{fig:{name}}}"]
    return "\n".join(
        [
            f"% {command(name, page)}",
            f"% needs {', '.join(needs)}",
            rf"\begin{{{kind_of_float}}}",
            *(f"  {line}" for line in body),
            rf"\end{{{kind_of_float}}}",
            "",
        ]
    )
