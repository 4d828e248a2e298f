"""study(): the same training over a grid of settings."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from gradflow.data import Samples, Split
from gradflow.measure.provenance import describe
from gradflow.results import History, Study
from gradflow.seeding import seeded
from gradflow.training.fitting import fit
from gradflow.training.recipes import Recipe, lecture_digits


def study(
    build: Callable[..., nn.Module],
    grid: Mapping[str, Sequence[Any]],
    data: Split | tuple[Samples, Samples],
    recipe: Recipe = lecture_digits,
    *,
    jobs: int = 1,
    threads: int = 1,
    progress: bool = True,
    **fit_options: Any,
) -> Study:
    """Train ``build(**setting)`` for every setting of a grid, for example depth × kind × seed.

    grid: values by name, e.g. ``{"depth": (8, 20), "kind": ("plain", "residual"), "seed": (0, 1, 2)}``. "seed" is not
    passed to ``build``: it seeds the weights and the order of the batches (0 if absent). jobs: processes side by side;
    threads: torch threads of each, recorded because they decide the last bits of the numbers. Further options go to
    :func:`gradflow.fit`. Raises ValueError for an empty grid, and what ``build`` and ``fit`` raise.
    """
    if not grid or not all(len(values) for values in grid.values()):
        raise ValueError(f"grid needs at least one value for each name; got {dict(grid)}")
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    started = time.perf_counter()
    with tqdm(total=len(settings), desc="study", unit="run", disable=not progress) as bar:
        histories = []
        for history in _runs(build, settings, data, recipe, jobs, threads, fit_options):
            histories.append(history)
            bar.update()
    return Study(
        settings=tuple(settings),
        histories=tuple(histories),
        provenance=describe(seconds=time.perf_counter() - started, threads=threads),
    )


def _runs(
    build: Callable[..., nn.Module],
    settings: list[dict[str, Any]],
    data: Split | tuple[Samples, Samples],
    recipe: Recipe,
    jobs: int,
    threads: int,
    options: dict[str, Any],
) -> Any:
    """The histories in the order of the settings, as they are finished."""
    if jobs == 1:
        return (_run(build, setting, data, recipe, threads, options) for setting in settings)
    from joblib import Parallel, delayed

    return Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_run)(build, setting, data, recipe, threads, options) for setting in settings
    )


def _run(
    build: Callable[..., nn.Module],
    setting: dict[str, Any],
    data: Split | tuple[Samples, Samples],
    recipe: Recipe,
    threads: int,
    options: dict[str, Any],
) -> History:
    """One training run with its own seed and number of threads."""
    arguments = dict(setting)
    seed = arguments.pop("seed", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with seeded(seed):
            model = build(**arguments)
        return fit(model, data, recipe, seed=seed, progress=False, **options)
    finally:
        torch.set_num_threads(before)
