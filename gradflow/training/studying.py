"""study(): the same training over a grid of settings."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from tqdm import tqdm

from gradflow.data import Samples, Split
from gradflow.measure.provenance import describe
from gradflow.results import History, Study
from gradflow.seeding import seeded
from gradflow.seeding import threads as use_threads
from gradflow.training.fitting import fit
from gradflow.training.recipes import Recipe, lecture_digits

Grid = Mapping[str, Sequence[Any]]

_OF_RECIPE = {field.name for field in dataclasses.fields(Recipe)}
_OF_FIT = {"evaluate_every", "trace_every", "quantities", "layers"}


def study(
    build: Callable[..., nn.Module],
    grid: Grid | Sequence[Grid],
    data: Split | tuple[Samples, Samples],
    recipe: Recipe = lecture_digits,
    *,
    jobs: int = 1,
    threads: int = 1,
    progress: bool = True,
) -> Study:
    """Train one network for every setting of a grid, for example depth × kind × seed.

    grid: values by name, e.g. ``{"depth": (8, 20), "kind": ("plain", "residual"), "seed": (0, 1, 2)}``, or several such
    grids one after the other. Names of the recipe's fields (epochs, lr, …) change the recipe; those of options of
    :func:`gradflow.fit` (evaluate_every, trace_every, quantities, layers) go there; "seed" seeds the weights and the
    order of the batches; all others go to ``build``. jobs: processes side by side; threads: torch threads of each,
    recorded because they decide the last bits of the numbers. Raises ValueError for an empty grid, and what ``build``
    and ``fit`` raise.
    """
    grids = [grid] if isinstance(grid, Mapping) else list(grid)
    if not grids or not all(one and all(len(values) for values in one.values()) for one in grids):
        raise ValueError(f"grid needs at least one value for each name; got {grid!r}")
    settings = [dict(zip(one, values, strict=True)) for one in grids for values in itertools.product(*one.values())]
    started = time.perf_counter()
    with tqdm(total=len(settings), desc="study", unit="run", leave=False, disable=not progress) as bar:
        histories = []
        for history in _runs(build, settings, data, recipe, jobs, threads):
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
) -> Any:
    """The histories in the order of the settings, as they are finished."""
    if jobs == 1:
        return (_run(build, setting, data, recipe, threads) for setting in settings)
    from joblib import Parallel, delayed

    return Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_run)(build, setting, data, recipe, threads) for setting in settings
    )


def _run(
    build: Callable[..., nn.Module],
    setting: dict[str, Any],
    data: Split | tuple[Samples, Samples],
    recipe: Recipe,
    threads: int,
) -> History:
    """One training run with its own seed and number of threads."""
    seed = setting.get("seed", 0)
    changes = {name: value for name, value in setting.items() if name in _OF_RECIPE}
    options = {name: value for name, value in setting.items() if name in _OF_FIT}
    arguments = {name: setting[name] for name in setting.keys() - changes.keys() - options.keys() - {"seed"}}
    with use_threads(threads):
        with seeded(seed):
            model = build(**arguments)
        return fit(model, data, dataclasses.replace(recipe, **changes), seed=seed, progress=False, **options)
