"""The catalogue of book figures: for each name, how to compute its numbers, draw them, and state them in a caption.

One file per family of figures; each ends with its ``FIGURES``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from gradflow import plots, storage
from gradflow.figures import anatomy, flow, landscape, lesions, shattering, training, units, variants
from gradflow.figures.book import BookFigure
from gradflow.plots.labels import text
from gradflow.results import Result, load

FORMATS = ("pdf", "svg", "png")
CATALOGUE: dict[str, BookFigure] = {
    **flow.FIGURES,
    **training.FIGURES,
    **anatomy.FIGURES,
    **units.FIGURES,
    **variants.FIGURES,
    **shattering.FIGURES,
    **lesions.FIGURES,
    **landscape.FIGURES,
}


def make(
    name: str, folder: Path, formats: tuple[str, ...] = FORMATS, *, from_data: bool = False, full: bool = False
) -> list[Path]:
    """Compute a figure (or, with ``from_data``, read its numbers), write numbers and pictures, and return the paths.

    ``full``: with as many seeds as the book has, where a live run would take fewer. Writes ``folder/data/NAME.json``
    and ``folder/NAME.pdf`` and so on; a live run never replaces numbers from more seeds. Raises KeyError for an unknown
    name, FileNotFoundError when ``from_data`` finds no numbers, ValueError when they cannot be read, FileExistsError
    where a live run would replace a fuller one.
    """
    figure, stored = CATALOGUE[name], folder / "data" / f"{name}.json"
    if from_data:
        if not stored.exists():
            raise FileNotFoundError(
                f"{stored} does not exist; run `gradflow figures {name} --out {folder}` to compute it"
            )
        numbers = load(stored)
    else:
        seeds = figure.seeds and (figure.seeds.book if full else figure.seeds.live)
        recorded = load(stored).provenance.get("seeds", 0) if seeds and stored.exists() else 0
        if seeds and recorded > seeds:
            raise FileExistsError(
                f"{stored} holds a run with {recorded} seeds, a live one has {seeds}: add --full to compute as many, "
                "--out for another folder, or --from-data to draw what is there"
            )
        numbers = _computed(figure, seeds).save(stored)
    with plots.style():
        picture = figure.draw(numbers)
    pictures = [folder / f"{name}.{kind}" for kind in formats]
    for path in pictures:
        storage.write_whole(path, plots.render(picture, path.suffix[1:]))
    return [stored, *pictures]


def _computed(figure: BookFigure, seeds: int | None) -> Result:
    """The numbers of a figure, with the versions, threads and seeds they were computed with."""
    from gradflow.measure.provenance import describe

    started = time.perf_counter()
    numbers = figure.compute(seeds) if seeds else figure.compute()
    described = describe(seconds=time.perf_counter() - started)
    if seeds:
        described["seeds"] = seeds
    return replace(numbers, provenance={**described, **numbers.provenance})


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
