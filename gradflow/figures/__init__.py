"""The catalogue of book figures: for each name, how to compute its numbers, draw them, and state them in a caption.

One file per family of figures; each ends with its ``FIGURES``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gradflow import plots
from gradflow.figures import anatomy, flow, landscape, lesions, published, shattering, training, units, variants
from gradflow.figures.book import BookFigure
from gradflow.files import write_whole
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
    **published.FIGURES,
}


def make(
    name: str, folder: Path, formats: tuple[str, ...] = FORMATS, *, from_data: bool = False, full: bool = False
) -> list[Path]:
    """Compute a figure (or, with ``from_data``, read its numbers), write numbers and pictures, and return the paths.

    ``full``: with as many seeds as the book has, where a live run would take fewer; and train what is otherwise only
    drawn from recorded numbers, each run kept in ``folder/../runs/PLAN`` so that the same call goes on after an
    interruption. Writes ``folder/data/NAME.json`` and ``folder/NAME.pdf`` and so on; a live run never replaces numbers
    from more seeds or from another plan. Raises KeyError for an unknown name, FileNotFoundError when there are no
    numbers to draw, ValueError when they cannot be read, FileExistsError where a run would replace a fuller one.
    """
    figure, stored = CATALOGUE[name], folder / "data" / f"{name}.json"
    if from_data or (figure.recorded and not full):
        numbers = _stored(name, stored)
        if not from_data:
            tqdm.write(f"{name}: drawn from {stored}; --full trains its networks anew, which takes hours", sys.stderr)
    else:
        seeds = figure.seeds and (figure.seeds.book if full else figure.seeds.live)
        _check_fuller(figure, stored, seeds)
        if figure.recorded:
            runs = folder.absolute().parent / "runs" / figure.recorded
            numbers = _computed(figure, {"plan": figure.recorded}, runs)
        else:
            numbers = _computed(figure, {"seeds": seeds} if seeds else {})
        numbers.save(stored)
    with plots.style():
        picture = figure.draw(numbers)
    pictures = [folder / f"{name}.{kind}" for kind in formats]
    for path in pictures:
        write_whole(path, plots.render(picture, path.suffix[1:]))
    return [stored, *pictures]


def is_at_hand(name: str, folder: Path) -> bool:
    """Whether a figure can be made without hours of training: computed, or drawn from numbers that are there."""
    return not CATALOGUE[name].recorded or (folder / "data" / f"{name}.json").exists()


def _stored(name: str, path: Path) -> Result:
    if path.exists():
        return load(path)
    full = "--full " if CATALOGUE[name].recorded else ""
    takes = " (which trains for hours)" if full else ""
    raise FileNotFoundError(
        f"{path} does not exist; run `gradflow figures {name} {full}--out {path.parent.parent}` to compute it{takes}"
    )


def _check_fuller(figure: BookFigure, stored: Path, seeds: int | None) -> None:
    """Raise FileExistsError where the numbers that are there took more than those to come will take."""
    if not stored.exists() or not (seeds or figure.recorded):
        return
    there = load(stored).provenance
    if seeds and there.get("seeds", 0) > seeds:
        raise FileExistsError(
            f"{stored} holds a run with {there['seeds']} seeds, a live one has {seeds}: add --full to compute as many, "
            "--out for another folder, or --from-data to draw what is there"
        )
    if figure.recorded and there.get("plan", figure.recorded) != figure.recorded:
        raise FileExistsError(
            f"{stored} holds the plan {there['plan']}, --full would run {figure.recorded}: give --out for another "
            "folder, or --from-data to draw what is there"
        )


def _computed(figure: BookFigure, decided: dict[str, Any], *more: object) -> Result:
    """The numbers of a figure, with versions, threads and the seeds or plan they were computed with."""
    from gradflow.measure.provenance import describe

    started = time.perf_counter()
    numbers = figure.compute(*decided.values(), *more)
    described = describe(seconds=time.perf_counter() - started, **decided)
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
    write_whole(path, "\n".join(parts).encode())
    return path
