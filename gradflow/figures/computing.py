"""The numbers of a figure: computed, and never in the place of fuller ones."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradflow.figures.book import BookFigure
from gradflow.results import Result, load


def computed(figure: BookFigure, seeds: int | None, runs: Path) -> Result:
    """The numbers of a figure, with versions, threads and the seeds or plan they were computed with.

    A plan keeps each of its runs in ``runs/PLAN``, so that the same call goes on after an interruption.
    """
    if figure.recorded:
        return _described(figure, {"plan": figure.recorded}, runs / figure.recorded)
    return _described(figure, {"seeds": seeds} if seeds else {})


def _described(figure: BookFigure, decided: dict[str, Any], *more: object) -> Result:
    from gradflow.measure.provenance import describe

    started = time.perf_counter()
    numbers = figure.compute(*decided.values(), *more)
    described = describe(seconds=time.perf_counter() - started, **decided)
    return replace(numbers, provenance={**described, **numbers.provenance})


def check_fuller(figure: BookFigure, stored: Path, seeds: int | None) -> None:
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
