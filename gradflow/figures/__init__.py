"""The catalogue of book figures: for each name, how to compute its numbers, draw them, and state them in a caption.

One file per family of figures; each ends with its ``FIGURES``. What is written of a figure is in :mod:`exporting`.
"""

from __future__ import annotations

import sys
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
    font for Chinese, ValueError when numbers cannot be read, FileExistsError where something would be replaced.
    """
    figure, stored = CATALOGUE[name], folder / "data" / f"{name}.json"
    exporting.check_possible(formats, page)
    exporting.check_free(name, folder, page)
    if from_data or (figure.recorded and not full):
        source = _source(name, folder, data)
        numbers = cast(Result, load(source))
        _note_source(name, source, stored, trained=not from_data)
        _copy(source, stored)
    else:
        seeds = figure.seeds and (figure.seeds.book if full else figure.seeds.live)
        check_fuller(figure, stored, seeds)
        numbers = computed(figure, seeds, folder.absolute().parent / "runs")
        numbers.save(stored)
    files = exporting.contents(name, figure, numbers, formats, page, folder)
    for file, content in files.items():
        write_whole(folder / file, content)
    return [stored, *(folder / file for file in files)]


def is_at_hand(name: str, folder: Path, data: Path | None = None) -> bool:
    """Whether a figure can be made without hours of training: computed, or drawn from numbers that are there."""
    return not CATALOGUE[name].recorded or _found(name, folder, data) is not None


def check(
    name: str,
    folder: Path,
    formats: tuple[str, ...] = FORMATS,
    *,
    full: bool = False,
    page: Page = STANDARD,
    data: Path | None = None,
) -> list[str]:
    """What of a figure's files is not what its numbers give with this code; nothing where all matches.

    ``full``: compute the numbers anew, too, with as many seeds as are recorded, and say where they differ; but for
    figures that take hours. Nothing is written. Raises KeyError for an unknown name, FileNotFoundError where LaTeX for
    pgf or a font for Chinese is not installed.
    """
    figure = CATALOGUE[name]
    exporting.check_possible(formats, page)
    stored = (data or folder / "data") / f"{name}.json"
    if not stored.exists():
        return [f"{stored} is missing: gradflow figures {name} computes it"]
    try:
        numbers = cast(Result, load(stored))
    except ValueError as error:
        return [str(error)]
    found = checking.mismatches(name, figure, numbers, formats, page, folder)
    return found + (checking.recomputed_mismatches(figure, numbers) if full and not figure.recorded else [])


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
    """Write ``folder/README.md``: every figure whose numbers are in ``folder/data``, with its caption."""
    drawn_by = " ".join(["gradflow figures", *exporting.options_of(page)])
    parts = [f"# Figures\n\nDrawn by `{drawn_by}`; each caption is computed from the numbers in `data/`.\n"]
    with turned_to(page):
        for name in CATALOGUE:
            stored = folder / "data" / f"{name}.json"
            if stored.exists():
                parts.append(f"## {name}\n\n{_shown(name, folder)}\n\n{caption(name, load(stored))}\n")
    path = folder / "README.md"
    write_whole(path, "\n".join(parts).encode())
    return path


def _shown(name: str, folder: Path) -> str:
    """A figure for a page in Markdown: the picture if there is one that a browser shows, and links to its files."""
    picture = next((f"{name}.{kind}" for kind in ("png", "svg") if (folder / f"{name}.{kind}").exists()), None)
    kinds = [kind for kind in ("pdf", "svg", "png", "pgf", "csv", "tex") if (folder / f"{name}.{kind}").exists()]
    links = [f"[{kind}]({name}.{kind})" for kind in kinds] + [f"[json](data/{name}.json)"]
    return "\n\n".join([*([f"![{name}]({picture})"] if picture else []), " ".join(links)])
