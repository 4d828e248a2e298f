"""study(): the same training over a grid of settings, here or on a cluster, and kept in a folder."""

from __future__ import annotations

import inspect
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn
from tqdm import tqdm

from gradflow.data import Samples, Split
from gradflow.measure.provenance import describe
from gradflow.results import History, Study
from gradflow.seeding import seeded
from gradflow.seeding import threads as use_threads
from gradflow.training.checking import check_recipe
from gradflow.training.fitting import fit
from gradflow.training.folders import Failure, RunFolder, check_plain, checksums, folder_name, name_of
from gradflow.training.processes import chosen_device
from gradflow.training.recipes import RECIPES, Recipe, lecture_digits

Grid = Mapping[str, Sequence[Any]]
Data = Split | tuple[Samples, Samples] | Callable[[], Split]
Count = int | Literal["auto"]
_OURS = ("model", "data", "recipe", "seed", "checkpoint", "resume", "progress")
_OF_FIT = {name: option.default for name, option in inspect.signature(fit).parameters.items() if name not in _OURS}
_OF_PLACE = {"device", "checkpoint_every", "compile"}
"""Options of fit that say where and how fast a run is trained, not what it is."""
_OF_RECIPE = {field.name for field in fields(Recipe)}

_PATIENCE = 0.5
"""Seconds between two looks at what other processes train."""

_log = logging.getLogger(__name__)


def study(
    build: Callable[..., nn.Module],
    grid: Grid | Sequence[Grid],
    data: Data,
    recipe: Recipe = lecture_digits,
    *,
    folder: str | Path | None = None,
    jobs: Count = 1,
    threads: Count = 1,
    cluster: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Study:
    """Train one network for every setting of a grid, for example depth × kind × seed.

    grid: values by name, e.g. ``{"depth": (8, 20), "kind": ("plain", "residual"), "seed": (0, 1, 2)}``, or several such
    grids one after the other. "recipe" takes names of :data:`gradflow.recipes.RECIPES`; names of a recipe's fields
    (epochs, lr, …) change it; those of options of :func:`gradflow.fit` (evaluate_every, precision, …) go there; "seed"
    seeds the weights and the order of the batches; all others go to ``build``. ``options`` of fit hold for all runs.
    data: as for fit, or a function without arguments that gives it, which each process calls once.
    folder: keep each run in a folder of its own there, and the whole as ``study.json``. The same call, later or at the
    same time from another process, loads what is finished, goes on with what was interrupted, tries again what failed,
    and waits for what others are training, to load it or, if they die, to go on with it. A run that fails is then
    listed in ``Study.failures`` and does not end the study.
    jobs: processes side by side; threads: torch threads of each, which decide the last bits of the numbers; "auto"
    fills the cores this process may use, with runs first. cluster: the address of a Dask scheduler, whose workers (one
    thread each) take the runs instead; with a ``folder`` that all can reach, a run whose worker dies goes on elsewhere.

    Raises ValueError for an empty grid, a folder that holds other runs, and other bad choices; TypeError for a setting
    without a sequence of values and for unknown options; ImportError for a cluster without Dask; RuntimeError if every
    run failed; without a folder whatever ``build`` and ``fit`` raise.
    """
    settings, started = _settings(grid), time.perf_counter()
    check_recipe(recipe)
    _check_options(options, settings)
    if cluster is None and options.get("device") is not None:
        chosen_device(options["device"])
    jobs, threads = _division(jobs, threads, cluster, len(settings), options.get("device"))
    in_parallel = jobs > 1 or cluster is not None
    workers = _cluster(cluster) if cluster is not None else _processes(jobs) if jobs > 1 else nullcontext()
    source = _Source(data)
    runs = [_run_of(build, setting, source, recipe, options, threads) for setting in settings]
    try:
        if folder is not None:
            runs = _kept(runs, Path(folder).absolute(), source)
        if in_parallel:
            source.forget()  # from here on only the workers need it
        with workers, tqdm(total=len(runs), desc="study", unit="run", leave=False, disable=not progress) as bar:
            outcomes = _outcomes(runs, bar, in_parallel)
    except KeyboardInterrupt as stop:
        if folder is None:
            raise
        raise KeyboardInterrupt(f"the study was stopped; the same call goes on from {folder}") from stop
    finally:
        source.forget()
    result = _assembled(settings, outcomes, describe(seconds=time.perf_counter() - started, threads=threads))
    return result if folder is None else result.save(Path(folder) / "study.json")


# ── all runs ──


def _outcomes(runs: list[_Run], bar: tqdm[Any], in_parallel: bool) -> list[History | Failure]:
    """What became of each run, in order: first our own work, then that of other processes, or what they left."""
    found: dict[int, History | Failure] = {}
    left = list(range(len(runs)))
    if in_parallel:
        left.sort(key=lambda place: -runs[place].length)  # else the longest keeps one process busy alone at the end
    while True:
        for place, outcome in _attempts(runs, left, in_parallel):
            if outcome is None:
                continue
            found[place] = outcome
            bar.update()
            if not isinstance(outcome, History):
                _log.warning("the run %s failed: %s: %s", runs[place].setting, outcome["error"], outcome["message"])
        left = [place for place in left if place not in found]
        if not left:
            return [found[place] for place in range(len(runs))]
        bar.set_postfix_str(f"waiting for {len(left)} in other processes")
        time.sleep(_PATIENCE)


def _attempts(runs: list[_Run], places: list[int], in_parallel: bool) -> Iterator[tuple[int, History | Failure | None]]:
    """What becomes of some of the runs, as they are finished."""
    if not in_parallel:
        yield from (_attempt(place, runs[place]) for place in places)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(return_as="generator_unordered", batch_size=1)
    yield from parallel(delayed(_attempt)(place, runs[place]) for place in places)


def _attempt(place: int, run: _Run) -> tuple[int, History | Failure | None]:
    return place, run.train() if run.folder is None else run.folder.outcome(run.train)


def _assembled(settings: list[dict[str, Any]], outcomes: list[History | Failure], provenance: dict[str, Any]) -> Study:
    """The study of what was trained. Raises RuntimeError if that is nothing."""
    pairs = list(zip(settings, outcomes, strict=True))
    trained = [(setting, outcome) for setting, outcome in pairs if isinstance(outcome, History)]
    failures = [{"setting": setting, **outcome} for setting, outcome in pairs if not isinstance(outcome, History)]
    if not trained:
        first = failures[0]
        raise RuntimeError(f"every run failed; the first, {first['setting']}: {first['error']}: {first['message']}")
    return Study(
        settings=tuple(setting for setting, _ in trained),
        histories=tuple(history for _, history in trained),
        failures=tuple(failures),
        provenance=provenance,
    )


# ── one run ──

_LOADED: dict[str, Any] = {}
"""The data of the study this process works for, by its key."""


class _Source:
    """The data, or a function that gives it, which every process that needs it calls once."""

    def __init__(self, given: Data) -> None:
        self.given, self.key = given, uuid.uuid4().hex

    def load(self) -> Any:
        if not callable(self.given):
            return self.given
        if self.key not in _LOADED:
            _LOADED.clear()
            _LOADED[self.key] = self.given()
        return _LOADED[self.key]

    def forget(self) -> None:
        _LOADED.pop(self.key, None)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Run:
    """One run of a study, as it travels to the process that trains it."""

    build: Callable[..., nn.Module]
    setting: dict[str, Any]
    arguments: dict[str, Any]
    source: _Source
    recipe: Recipe
    options: dict[str, Any]
    threads: int
    folder: RunFolder | None = None

    def train(self, **checkpoint: Any) -> History:
        """Build the network and train it, with its own seed and number of threads."""
        seed, data = self.setting.get("seed", 0), self.source.load()
        with use_threads(self.threads):
            with seeded(seed):
                model = self.build(**self.arguments)
            return fit(model, data, self.recipe, seed=seed, progress=False, **self.options, **checkpoint)

    @property
    def length(self) -> float:
        """Roughly how long it takes, beside the others."""
        depth = self.setting.get("depth")
        return self.recipe.epochs * (depth if isinstance(depth, (int, float)) else 1)


def _run_of(
    build: Callable[..., nn.Module],
    setting: dict[str, Any],
    source: _Source,
    recipe: Recipe,
    options: Mapping[str, Any],
    threads: int,
) -> _Run:
    """The run of a setting, whose names are dealt out to the recipe, to fit and to ``build``."""
    name = setting.get("recipe")
    if name is not None and name not in RECIPES:
        raise ValueError(f"recipe in a grid must be one of {', '.join(RECIPES)}; got {name!r}")
    changes = {name: value for name, value in setting.items() if name in _OF_RECIPE}
    return _Run(
        build=build,
        setting=setting,
        arguments={key: setting[key] for key in setting if key not in {"seed", "recipe", *_OF_RECIPE, *_OF_FIT}},
        source=source,
        recipe=replace(recipe if name is None else RECIPES[name], **changes),
        options={**options, **{name: value for name, value in setting.items() if name in _OF_FIT}},
        threads=threads,
    )


def _kept(runs: list[_Run], folder: Path, source: _Source) -> list[_Run]:
    """The runs, each with its folder. Raises ValueError if one of these was made for another run."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must be a folder; {folder} is a file")
    data = checksums(source.load())
    kept = []
    for run in runs:
        check_plain(run.setting)
        path = folder / folder_name(run.setting)
        whole = {
            "setting": run.setting,
            "build": name_of(run.build),
            "recipe": run.recipe.described(),
            "options": {name: run.options.get(name, _OF_FIT[name]) for name in _OF_FIT if name not in _OF_PLACE},
            "data": data,
        }
        kept.append(replace(run, folder=RunFolder.at(path, whole)))
    return kept


# ── where the runs are trained ──


def _processes(jobs: int) -> Any:
    from joblib import parallel_config

    return parallel_config("loky", n_jobs=jobs)


def _cluster(address: str) -> Any:
    """Let joblib work on a Dask cluster inside the block."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("cluster= needs Dask: pip install 'gradflow-toolkit[cluster]'") from error
    from joblib import parallel_config

    @contextmanager
    def connected() -> Iterator[None]:
        with Client(address, set_as_default=False) as client:
            crowded = {name: count for name, count in client.nthreads().items() if count != 1}
            if crowded:
                raise ValueError(
                    "two runs in one process would share its random numbers: start each Dask worker with --nthreads 1; "
                    f"got {crowded}"
                )
            with parallel_config("dask", n_jobs=-1, client=client):
                yield

    return connected()


def _division(jobs: Count, threads: Count, cluster: str | None, runs: int, device: Any) -> tuple[int, int]:
    """Processes, and threads of each, that fit the cores this process may use: runs side by side before threads."""
    for name, count in (("jobs", jobs), ("threads", threads)):
        if count != "auto" and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise ValueError(f'{name} must be a whole number of at least 1, or "auto"; got {name}={count!r}')
    if cluster is not None and jobs != 1:
        raise ValueError(f"a cluster has as many jobs as it has workers: leave out jobs; got jobs={jobs!r}")
    if jobs == "auto":
        on_gpu = device is not None and chosen_device(device).type == "cuda"
        jobs = 1 if on_gpu else max(1, min(runs, _cores() // (threads if isinstance(threads, int) else 1)))
    if threads == "auto":
        threads = 1 if cluster is not None else max(1, _cores() // int(jobs))
    return int(jobs), int(threads)


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


# ── what is checked before any work ──


def _settings(grid: Grid | Sequence[Grid]) -> list[dict[str, Any]]:
    """Every setting of one grid, or of several one after the other."""
    grids = list(grid) if isinstance(grid, Iterable) and not isinstance(grid, Mapping) else [grid]
    if not all(isinstance(one, Mapping) for one in grids):
        raise TypeError(f'grid must be a dict, e.g. {{"depth": (8, 20)}}, or a list of dicts; got {grid!r}')
    plain = [{name: _values(name, values) for name, values in one.items()} for one in grids]
    if not plain or not all(one and all(one.values()) for one in plain):
        raise ValueError(f"grid needs at least one value for each name; got {grid!r}")
    return [dict(zip(one, values, strict=True)) for one in plain for values in itertools.product(*one.values())]


def _values(name: str, values: Any) -> list[Any]:
    """The values of a setting, those of an array as plain numbers. Raises TypeError for one value, a string, a set."""
    if getattr(values, "ndim", 0) > 0:
        return list(values.tolist())
    is_text = isinstance(values, (str, bytes))
    if isinstance(values, Sequence) and not is_text:
        return list(values)
    instead = "make it a list" if isinstance(values, Iterable) and not is_text else f"write {name}=[{values!r}]"
    raise TypeError(f"grid must map each setting to a sequence of values; got {name}={values!r}: {instead}")


def _check_options(options: Mapping[str, Any], settings: list[dict[str, Any]]) -> None:
    unknown = sorted(options.keys() - _OF_FIT.keys())
    if unknown:
        raise TypeError(f"options of fit for all runs are {', '.join(_OF_FIT)}; got {', '.join(unknown)}")
    for name in ("checkpoint", "resume", "progress"):
        if any(name in setting for setting in settings):
            raise ValueError(f"{name} cannot be in a grid; folder= keeps and resumes the runs")
