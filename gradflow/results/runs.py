"""Training: what :func:`gradflow.fit` and :func:`gradflow.study` give.

Letters: E epochs, K evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow.results.base import Result, count, number, text_table
from gradflow.results.gradients import Comparison, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradflow.plots import Film

_MOST_RUNS = 6
"""As many as there are looks of lines."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class History(Result):
    """A training run: loss and error on train and test after each epoch, from :func:`gradflow.fit`.

    ``epoch`` and ``steps`` (K,) say after how many epochs and optimiser steps the curves (K,) were taken, the first
    before training. Losses are means over the samples; errors are fractions. ``learning_rate`` (E,) is the rate of the
    last step of each epoch. ``trace`` holds the per-layer trace if one was asked for, at the steps ``traced_steps``.
    """

    epoch: np.ndarray
    steps: np.ndarray
    train_loss: np.ndarray
    train_error: np.ndarray
    test_loss: np.ndarray
    test_error: np.ndarray
    learning_rate: np.ndarray
    trace: Trace | None = None
    traced_steps: np.ndarray | None = None

    @property
    def epochs(self) -> int:
        """Number of finished epochs E."""
        return len(self.learning_rate)

    @property
    def seconds(self) -> float | None:
        """Wall time of the run in seconds, where known; not part of equality."""
        return self.provenance.get("run", {}).get("seconds")

    def steps_to(self, error: float) -> float:
        """Optimiser steps until the curves first show a training error of at most ``error``; infinity if they never
        do."""
        reached = np.flatnonzero(self.train_error <= error)
        return float(self.steps[reached[0]]) if len(reached) else float("inf")

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.learning_curves(self, ax=ax, **keywords)

    def animate(self, *, quantity: str | None = None, seconds: float | None = None) -> Film:
        """A film of the training: the gradient by layer at each traced step, with the training error so far.

        ``quantity`` is one that was traced, by default the first; ``seconds`` is how long the film runs. See
        :meth:`Comparison.animate` for what can be done with it. Raises ValueError for a history without a trace.
        """
        from gradflow import plots

        with plots.on_screen():
            runs = {plots.labels.text("film:net"): self}
            return plots.training_film(gradients_by_step(runs, quantity), runs, seconds=seconds)

    def _columns(self) -> dict[str, Any]:
        names = ("epoch", "steps", "train_loss", "train_error", "test_loss", "test_error")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        columns = [[number(value) for value in column] for column in self._columns().values()]
        title = f"History: {count(self.epochs, 'epoch')}, {int(self.steps[-1])} steps"
        return f"{title}\n{text_table([name.replace('_', ' ') for name in self._columns()], columns)}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Study(Result):
    """Training runs over a grid of settings, from :func:`gradflow.study`.

    ``settings[i]`` says what ``histories[i]`` was trained with, for example depth, kind and seed. ``failures`` are runs
    of a study in a folder that ended with an exception: each a ``setting``, the exception's type ``error``, its
    ``message``, and the optimiser ``step`` it names, or None.
    """

    settings: tuple[Mapping[str, Any], ...]
    histories: tuple[History, ...]
    failures: tuple[Mapping[str, Any], ...] = ()

    def select(self, **wanted: Any) -> list[History]:
        """The histories whose settings agree with all keywords, in order. Raises KeyError if there is none."""
        return list(self.subset(**wanted).histories)

    def subset(self, **wanted: Any) -> Study:
        """The part of the study whose settings agree with all keywords. Raises KeyError if there is none."""
        pairs = zip(self.settings, self.histories, strict=True)
        found = [pair for pair in pairs if _agrees(pair[0], wanted)]
        if not found:
            raise KeyError(f"no run with {wanted}; settings are {[dict(setting) for setting in self.settings]}")
        settings, histories = zip(*found, strict=True)
        failures = tuple(one for one in self.failures if _agrees(one["setting"], wanted))
        return Study(settings=settings, histories=histories, failures=failures, provenance=self.provenance)

    def final(self, what: str = "test_error", **wanted: Any) -> np.ndarray:
        """The last value of a curve for each selected run, shape (runs,)."""
        return np.array([getattr(run, what)[-1] for run in self.select(**wanted)])

    def is_drawn(self) -> bool:
        return all({"depth", "kind"} <= setting.keys() for setting in self.settings)

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        if not self.is_drawn():
            raise ValueError("a study is drawn by depth and kind; this one has other settings: use to_frame()")
        from gradflow import plots
        from gradflow.plots.panels import legend_of_drawn

        return legend_of_drawn(ax=plots.error_by_depth(self, ax=ax, **keywords))

    def animate(self, *, quantity: str | None = None, seconds: float | None = None, **wanted: Any) -> Film:
        """A film of the trainings, all in one picture: :meth:`History.animate` for several runs.

        ``wanted`` narrows the study, such as ``depth=56, seed=0``. Raises KeyError if no run is left, ValueError for
        more than six, and for one without a trace.
        """
        from gradflow import plots

        runs = self.subset(**wanted).named() if wanted else self.named()
        if len(runs) > _MOST_RUNS:
            raise ValueError(
                f"expected at most {_MOST_RUNS} runs in one film, got {len(runs)}: choose some by their settings, such "
                "as study.animate(depth=20, seed=0)"
            )
        with plots.on_screen():
            return plots.training_film(gradients_by_step(runs, quantity), runs, seconds=seconds)

    def named(self) -> dict[str, History]:
        """The histories by what tells them apart, such as "plain", or "plain, depth 8, seed 1"; plain ones first."""
        apart = [key for key in self._keys() if len({repr(setting.get(key)) for setting in self.settings}) > 1]
        runs: dict[str, History] = {}
        for setting, run in zip(self.settings, self.histories, strict=True):
            parts = [str(setting[key]) if key == "kind" else f"{key} {setting.get(key)}" for key in apart]
            name = ", ".join(parts) or str(setting.get("kind", len(runs)))
            runs[name if name not in runs else f"{name} ({len(runs)})"] = run
        return dict(sorted(runs.items(), key=lambda one: not one[0].startswith("plain")))

    def _keys(self) -> list[str]:
        return list(dict.fromkeys(key for setting in self.settings for key in setting))

    def _columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {name: [setting.get(name) for setting in self.settings] for name in self._keys()}
        for curve in ("train_error", "test_error"):
            columns[curve] = [float(getattr(run, curve)[-1]) for run in self.histories]
        return columns

    def __repr__(self) -> str:
        columns = self._columns()
        table = text_table(list(columns), [[_cell(value) for value in column] for column in columns.values()])
        failed = [f"failed: {_told(one['setting'])}: {one['error']}: {one['message']}" for one in self.failures]
        more = f", {len(failed)} more failed" if failed else ""
        return "\n".join([f"Study: {count(len(self.histories), 'run')}{more}", table, *failed])


def gradients_by_step(runs: Mapping[str, History], quantity: str | None = None) -> dict[float, Comparison]:
    """The gradients of several nets side by side at each optimiser step at which one of them was traced.

    A net that was not traced at a step is shown as it was when it last was, or else when it first was. ``quantity`` is
    by default the first that was traced. Raises ValueError where a run has no trace, or not of this quantity.
    """
    traced = {name: _traced(name, run, quantity) for name, run in runs.items()}
    steps = sorted({float(step) for _, places in traced.values() for step in places})
    found = {}
    for step in steps:
        now = {name: max(0, int(np.searchsorted(places, step, "right")) - 1) for name, (_, places) in traced.items()}
        traces = {name: trace.at(now[name]) for name, (trace, _) in traced.items()}
        first = next(iter(traces.values()))
        found[step] = Comparison(traces=traces, quantity=quantity or first.quantities[0], norm=first.norm)
    return found


def _traced(name: str, run: History, quantity: str | None) -> tuple[Trace, np.ndarray]:
    if run.trace is None or run.traced_steps is None or not run.trace.steps:
        raise ValueError(f"the run {name!r} has no trace; record one with fit(..., trace_every=10)")
    wanted = quantity or run.trace.quantities[0]
    if wanted not in run.trace.quantities:
        raise ValueError(f"quantity must be one of {', '.join(run.trace.quantities)}; got {quantity!r}")
    return run.trace, run.traced_steps


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _agrees(setting: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(setting.get(key) == value for key, value in wanted.items())


def _told(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items())
