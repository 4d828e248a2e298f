"""The catalogue of book figures: for each name, how to compute its numbers, draw them, and state them in a caption.

One file per family of figures; each ends with its ``FIGURES``. What is written of a figure is in :mod:`exporting`.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from tqdm import tqdm

from gradflow.figures import (
    anatomy,
    checking,
    exporting,
    flow,
    landscape,
    lesions,
    published,
    shattering,
    training,
    units,
    variants,
)
from gradflow.figures.book import BookFigure
from gradflow.figures.computing import check_fuller, computed
from gradflow.figures.exporting import FORMATS, STANDARD
from gradflow.files import write_whole
from gradflow.plots.look import KINDS_OF_FILE
from gradflow.plots.page import Page, turned_to
from gradflow.results import Result, load

CATALOGUE: dict[str, BookFigure] = {
    **flow.FIGURES,
    **training.FIGURES,
    **anatomy.FIGURES,
    **units.FIGURES,
    **variants.FIGURES,
    **shattering.FIGURES,
    **lesions.FIGURES,
    **landscape.FIGURES,
    **published.FIGURES,
}
RECORDED = (Path("figures", "data"), Path(__file__).parents[2] / "figures" / "data")
"""Where the recorded numbers of the book figures may be: here, and in the checkout that gradflow is run from."""


def make(
    name: str,
    folder: Path,
    formats: tuple[str, ...] = FORMATS,
    *,
    from_data: bool = False,
    full: bool = False,
    page: Page = STANDARD,
    data: Path | None = None,
) -> list[Path]:
    """Compute a figure (or, with ``from_data``, read its numbers), write all its files, and return their paths.

    Written are ``folder/data/NAME.json``, ``folder/NAME.pdf`` and so on, ``NAME.csv`` with the numbers as one table and
    ``NAME.tex`` with a figure environment. ``page``: for which page to draw. ``data``: the folder with the numbers;
    otherwise ``folder/data``, and what is not there is taken from the ``RECORDED`` ones. ``full``: with as many seeds
    as the book has, where a live run would take fewer; and train what is otherwise only drawn from recorded numbers,
    each run kept in ``folder/../runs/PLAN`` so that the same call goes on after an interruption. A live run never
    replaces numbers from more seeds or from another plan, and pictures for another page never the standard ones.

    Raises KeyError for an unknown name, FileNotFoundError when there are no numbers to draw, no LaTeX for pgf or no
    font for Chinese, ValueError when numbers cannot be read or are another figure's, FileExistsError where something
    would be replaced.
    """
    figure, stored = CATALOGUE[name], folder / "data" / f"{name}.json"
    exporting.check_possible(formats, page)
    exporting.check_free(name, folder, page)
    source = _source(name, folder, data) if from_data or (figure.recorded and not full) else None
    if source:
        numbers = cast(Result, load(source))
        _note_source(name, source, stored, trained=not from_data)
    else:
        seeds = figure.seeds and (figure.seeds.book if full else figure.seeds.live)
        check_fuller(figure, stored, seeds)
        numbers = computed(figure, seeds, folder.absolute().parent / "runs")
        numbers.save(stored)
    with exporting.numbers_read_from(name, source) if source else nullcontext():
        files = exporting.contents(name, figure, numbers, formats, page, folder)
    if source:
        _copy(source, stored)
    for file, content in files.items():
        write_whole(folder / file, content)
    return [stored, *(folder / file for file in files)]


def is_at_hand(name: str, folder: Path, data: Path | None = None) -> bool:
    """Whether a figure can be made without hours of training: computed, or drawn from numbers that are there."""
    return not CATALOGUE[name].recorded or _found(name, folder, data) is not None


def drawn_in(folder: Path) -> list[str]:
    """The figures of which a folder holds anything: a picture, a table, a .tex or the numbers."""
    kinds = (*KINDS_OF_FILE, "csv", "tex")

    def files(name: str) -> list[Path]:
        return [folder / "data" / f"{name}.json", *(folder / f"{name}.{kind}" for kind in kinds)]

    return [name for name in CATALOGUE if any(file.exists() for file in files(name))]


def check(
    name: str,
    folder: Path,
    formats: tuple[str, ...] = FORMATS,
    *,
    full: bool = False,
    page: Page | None = None,
    data: Path | None = None,
) -> list[str]:
    """What of a figure's files is not what its numbers give with this code; nothing where all matches.

    ``page``: the one it must be drawn for; by default the one it was drawn for, as its .tex says. ``full``: compute
    the numbers anew, too, with as many seeds as are recorded, and say where they differ; but for figures that take
    hours. Nothing is written. Raises KeyError for an unknown name, FileNotFoundError where LaTeX for
    pgf or a font for Chinese is not installed.
    """
    figure, drawn = CATALOGUE[name], exporting.recorded_page(name, folder)
    page = page or drawn or STANDARD
    exporting.check_possible(formats, page)
    stored = (data or folder / "data") / f"{name}.json"
    if not stored.exists():
        return [f"{stored} is missing: {_gives_numbers(name, folder, page, data)}"]
    if drawn and exporting.options_of(drawn) != exporting.options_of(page):
        return [f"drawn by `{exporting.command(name, drawn)}`, checked {_with_options(page)}"]
    try:
        numbers = cast(Result, load(stored))
        with exporting.numbers_read_from(name, stored):
            found = checking.mismatches(name, figure, numbers, formats, page, folder)
    except ValueError as error:
        return [str(error)]
    return found + (checking.recomputed_mismatches(figure, numbers) if full and not figure.recorded else [])


def _gives_numbers(name: str, folder: Path, page: Page, data: Path | None) -> str:
    if data:
        return "--data must name the folder that holds it"
    out = [] if folder == exporting.folder_for(page) else ["--out", shlex.quote(str(folder))]
    return f"{' '.join(['gradflow figures', name, *exporting.options_of(page), *out])} computes it"


def _with_options(page: Page) -> str:
    options = exporting.options_of(page)
    return f"with {' '.join(options)}" if options else "without these options"


def _found(name: str, folder: Path, data: Path | None) -> Path | None:
    places = [data] if data else [folder / "data", *RECORDED]
    return next((place / f"{name}.json" for place in places if (place / f"{name}.json").exists()), None)


def _source(name: str, folder: Path, data: Path | None) -> Path:
    found = _found(name, folder, data)
    if found:
        return found
    full = "--full " if CATALOGUE[name].recorded else ""
    takes = " (which trains for hours)" if full else ""
    raise FileNotFoundError(
        f"{(data or folder / 'data') / f'{name}.json'} does not exist; run `gradflow figures {name} {full}--out "
        f"{folder}` to compute it{takes}, or give --data FOLDER for a copy of the recorded numbers, which are in "
        "figures/data of gradflow's repository"
    )


def _note_source(name: str, source: Path, stored: Path, trained: bool) -> None:
    if trained:
        note = f"{name}: drawn from {source}; --full trains its networks anew, which takes hours"
        tqdm.write(note, sys.stderr)
    elif source != stored:
        tqdm.write(f"{name}: numbers from {source}", sys.stderr)


def _copy(source: Path, target: Path) -> None:
    """Put numbers beside the pictures that are drawn from them, so that a folder can be redrawn by itself."""
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        write_whole(target, content)


def caption(name: str, numbers: Result) -> str:
    """The caption of a figure in the language of the page, its numbers taken from the result it shows."""
    return exporting.caption_of(name, CATALOGUE[name], numbers)


def gallery(folder: Path, page: Page = STANDARD) -> Path:
    """Write ``folder/README.md``: every figure whose numbers are in ``folder/data``, with its caption.

    Each is described for the page its .tex says it was drawn for, or else for ``page``. Where not all are for the same,
    the command is with those that are not standard.
    """
    names = [name for name in CATALOGUE if (folder / "data" / f"{name}.json").exists()]
    pages = {name: exporting.recorded_page(name, folder) or page for name in names}
    asked = {tuple(exporting.options_of(one)) for one in (pages.values() or [page])}
    common = next(iter(asked)) if len(asked) == 1 else ()
    drawn_by = f"Drawn by `{' '.join(['gradflow figures', *common])}`"
    drawn_by += ", unless another command is named" if len(asked) > 1 else ""
    parts = [f"# Figures\n\n{drawn_by}; each caption is computed from the numbers in `data/`.\n"]
    for name, one in pages.items():
        own = tuple(exporting.options_of(one)) != common
        said = [f"Drawn by `{exporting.command(name, one)}`."] if own else []
        parts.append("\n\n".join([f"## {name}", _shown(name, folder), *said, _described(name, folder, one)]) + "\n")
    path = folder / "README.md"
    write_whole(path, "\n".join(parts).encode())
    return path


def _described(name: str, folder: Path, page: Page) -> str:
    """The caption; where numbers cannot be read, what is wrong with them, as the other figures need their page."""
    stored = folder / "data" / f"{name}.json"
    try:
        numbers = cast(Result, load(stored))
        with turned_to(page), exporting.numbers_read_from(name, Path("data", stored.name)):
            return caption(name, numbers)
    except ValueError as error:
        return f"No caption: {error}"


def _shown(name: str, folder: Path) -> str:
    """A figure for a page in Markdown: the picture if there is one that a browser shows, and links to its files."""
    picture = next((f"{name}.{kind}" for kind in ("png", "svg") if (folder / f"{name}.{kind}").exists()), None)
    kinds = [kind for kind in ("pdf", "svg", "png", "pgf", "csv", "tex") if (folder / f"{name}.{kind}").exists()]
    links = [f"[{kind}]({name}.{kind})" for kind in kinds] + [f"[json](data/{name}.json)"]
    return "\n\n".join([*([f"![{name}]({picture})"] if picture else []), " ".join(links)])
