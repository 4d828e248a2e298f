"""Whether the files of a figure are what its numbers give with this code, and its numbers what the code computes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from gradflow.figures import exporting
from gradflow.figures.book import BookFigure
from gradflow.figures.computing import computed
from gradflow.plots.page import Page, turned_to
from gradflow.results import Result


def mismatches(
    name: str, figure: BookFigure, numbers: Result, formats: tuple[str, ...], page: Page, folder: Path
) -> list[str]:
    """What is wrong with the pictures, the .csv, the .tex and the caption of a figure in a folder; nothing written."""
    given = exporting.contents(name, figure, numbers, formats, page, folder)
    missing = [file for file in given if not (folder / file).exists()]
    other = [file for file in given if file not in missing and (folder / file).read_bytes() != given[file]]
    pictures = [file for file in other if file.rpartition(".")[2] in formats]
    texts = [file for file in other if file not in pictures]
    if missing and f"{name}.tex" in texts and _takes_another_picture(name, figure, numbers, page, folder):
        texts.remove(f"{name}.tex")
    found = [f"{_listed(missing)} missing"] if missing else []
    found += [f"{_listed(pictures)} not {_reason(name, numbers)}"] if pictures else []
    found += [f"{_listed(texts)} not what data/{name}.json gives with this code"] if texts else []
    return found + _readme_mismatch(name, figure, numbers, page, folder)


def _takes_another_picture(name: str, figure: BookFigure, numbers: Result, page: Page, folder: Path) -> bool:
    """Whether the .tex is right for the pictures that are there, without those that are missing."""
    file = f"{name}.tex"
    return exporting.contents(name, figure, numbers, (), page, folder)[file] == (folder / file).read_bytes()


def _reason(name: str, numbers: Result) -> str:
    recorded = numbers.provenance.get("versions", {}).get("matplotlib")
    if recorded in (None, mpl.__version__):
        return f"what data/{name}.json gives with this code"
    return (
        f"to be compared: recorded with matplotlib {recorded}, this is {mpl.__version__}, and the same bytes are "
        "promised for the same version only"
    )


def _readme_mismatch(name: str, figure: BookFigure, numbers: Result, page: Page, folder: Path) -> list[str]:
    readme = folder / "README.md"
    if not readme.exists():
        return ["README.md is missing"]
    with turned_to(page):
        caption = exporting.caption_of(name, figure, numbers)
    shown = caption in readme.read_text(encoding="utf-8")
    return [] if shown else [f"the caption in README.md is not what data/{name}.json gives with this code"]


def recomputed_mismatches(figure: BookFigure, numbers: Result) -> list[str]:
    """Where numbers that are computed anew, with as many seeds and threads, differ from the recorded ones."""
    from gradflow.seeding import threads

    there = numbers.provenance
    with tempfile.TemporaryDirectory() as folder, threads(there.get("threads", 1)):
        anew = computed(figure, there.get("seeds"), Path(folder))
    apart = dict(_differences(_fields(numbers), _fields(anew), ""))
    if not apart:
        return []
    worst = max(apart, key=lambda place: apart[place])
    by = f" by up to {apart[worst]:.1g} of the largest number" if np.isfinite(apart[worst]) else ""
    versions = (result.provenance.get("versions", {}).get("torch") for result in (numbers, anew))
    return [f"computed anew {worst}{by} differs (torch {' then, '.join(map(str, versions))} now)"]


def _fields(result: Result) -> dict[str, Any]:
    return {name: value for name, value in result.stored()[1].items() if name != "provenance"}


def _differences(one: Any, other: Any, place: str) -> Iterator[tuple[str, float]]:
    """Where two values differ, and by how much of the largest number there; infinity where they are of two kinds."""
    if isinstance(one, Result) and type(one) is type(other):
        yield from _differences(_fields(one), _fields(other), place)
    elif isinstance(one, Mapping) and isinstance(other, Mapping) and list(one) == list(other):
        for name in one:
            yield from _differences(one[name], other[name], f"{place}/{name}".lstrip("/"))
    elif isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{place}/{at}")
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        apart = _apart(one, other)
        if apart:
            yield place, apart
    elif one != other and not (one != one and other != other):
        yield place, float("inf")


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return float("inf")
    if np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f"):
        return 0.0
    if one.dtype.kind not in "iuf" or not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return float("inf")
    known = np.isfinite(one)
    largest = float(np.abs(one[known]).max()) or 1.0
    # Infinities of the other sign, where all that is finite is the same.
    return float(np.abs(one[known] - other[known]).max()) / largest or float("inf")


def _listed(files: list[str]) -> str:
    *others, last = files
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"
