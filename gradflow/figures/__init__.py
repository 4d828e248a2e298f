"""The catalogue of book figures: for each name, how to compute its numbers, draw them, and state them in a caption.

One file per family of figures; each ends with its ``FIGURES``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from gradflow import plots, storage
from gradflow.figures import flow, training
from gradflow.figures.book import BookFigure
from gradflow.plots.labels import text
from gradflow.results import Result, load

FORMATS = ("pdf", "svg", "png")
CATALOGUE: dict[str, BookFigure] = {**flow.FIGURES, **training.FIGURES}


def make(name: str, folder: Path, formats: tuple[str, ...] = FORMATS, *, from_data: bool = False) -> list[Path]:
    """Compute a figure (or, with ``from_data``, read its numbers), write numbers and pictures, and return the paths.

    Writes ``folder/data/NAME.json`` and ``folder/NAME.pdf`` and so on. Raises KeyError for an unknown name,
    FileNotFoundError when ``from_data`` finds no numbers, ValueError when they cannot be read.
    """
    figure, stored = CATALOGUE[name], folder / "data" / f"{name}.json"
    if from_data and not stored.exists():
        raise FileNotFoundError(f"{stored} does not exist; run `gradflow figures {name} --out {folder}` to compute it")
    numbers = load(stored) if from_data else _computed(figure).save(stored)
    with plots.style():
        picture = figure.draw(numbers)
    pictures = [folder / f"{name}.{kind}" for kind in formats]
    for path in pictures:
        storage.write_whole(path, plots.render(picture, path.suffix[1:]))
    return [stored, *pictures]


def _computed(figure: BookFigure) -> Result:
    """The numbers of a figure, with the versions and threads they were computed with."""
    from gradflow.measure.provenance import describe

    started = time.perf_counter()
    numbers = figure.compute()
    return replace(numbers, provenance={**describe(seconds=time.perf_counter() - started), **numbers.provenance})


def caption(name: str, numbers: Result) -> str:
    """The caption of a figure, its numbers taken from the result it shows."""
    return text(f"caption:{name}", **CATALOGUE[name].facts(numbers))


def gallery(folder: Path) -> Path:
    """Write ``folder/README.md``: every figure whose numbers are in ``folder/data``, with its caption."""
    parts = ["# Figures\n\nDrawn by `gradflow figures`; each caption is computed from the numbers in `data/`.\n"]
    for name in CATALOGUE:
        stored = folder / "data" / f"{name}.json"
        if stored.exists():
            parts.append(f"## {name}\n\n![{name}]({name}.png)\n\n{caption(name, load(stored))}\n")
    path = folder / "README.md"
    storage.write_whole(path, "\n".join(parts).encode())
    return path
