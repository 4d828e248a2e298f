"""What all tests share: no window, one thread, and results made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from gradflow import figures, plots
from gradflow.figures.book import BookFigure, Seeds
from gradflow.plots.fonts import ChineseFont, chinese_font
from gradflow.results import Comparison, History, Panels, Study, Table, Trace

mpl.use("Agg")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    """Every test starts from the same random numbers and leaves the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def trace_of(values: Any, **fields: Any) -> Trace:
    """A Trace of one quantity from values (S, L), or of several from (S, L, Q)."""
    values = np.asarray(values, dtype=float)
    values = values if values.ndim == 3 else values[:, :, None]
    _, layers, quantities = values.shape
    given = {
        "layers": tuple(f"fc{number}" for number in range(1, layers + 1)),
        "shapes": ((4, 8),) * layers,
        "quantities": ("output_grad", "weight_grad", "activation")[:quantities],
        "norm": "rms",
        "values": values,
        "nonfinite": np.where(np.isfinite(values), 0, 1),
        "sizes": np.full((layers, quantities), 32),
        "dtypes": ("float32",) * layers,
    }
    return Trace(**{**given, **fields})


def comparison_of(theory: Any = None, **values: Any) -> Comparison:
    """A Comparison of models by name from their values (S, L) or traces."""
    traces = {name: value if isinstance(value, Trace) else trace_of(value) for name, value in values.items()}
    return Comparison(traces=traces, quantity="output_grad", norm="rms", theory=theory or {})


def history_of(train_error: Any = (0.9, 0.5, 0.25), **fields: Any) -> History:
    """A History whose test error is .05 above the training error."""
    train = np.array(train_error, dtype=float)
    epoch = np.arange(len(train))
    given = {
        "epoch": epoch,
        "steps": 10 * epoch,
        "train_loss": 2 * train,
        "train_error": train,
        "test_loss": 3 * train,
        "test_error": train + 0.05,
        "learning_rate": np.full(len(train) - 1, 0.1),
    }
    return History(**{**given, **fields})


def study_of() -> Study:
    """Plain and residual nets of depth 8 and 20, two seeds each; only plain-20 stays above an error of 50 %."""
    settings, histories = [], []
    for kind in ("plain", "residual"):
        for depth in (8, 20):
            for seed in (0, 1):
                settings.append({"kind": kind, "depth": depth, "seed": seed})
                last = 0.6 if (kind, depth) == ("plain", 20) else 0.01 * depth
                histories.append(history_of((0.9, last + 0.1, last + 0.02 * seed)))
    return Study(settings=tuple(settings), histories=tuple(histories), provenance={"threads": 1})


@cache
def _analyses() -> dict[str, Any]:
    """One result of every analysis of units, of tiny nets."""
    import gradflow
    from gradflow.measure.landscape import loss_slice
    from gradflow.measure.shattering import gradient_correlation, input_gradients
    from gradflow.models import cost, fc_stack

    net = fc_stack(8, 4, shortcut=0.5, in_features=3, out_features=2)
    data = (torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1]))
    along = input_gradients({"plain": fc_stack(4, 4, in_features=1, out_features=1)})
    return {
        "GradientSplit": gradflow.split(net, data),
        "PathSpectrum": gradflow.path_spectrum(net, data, sampled=2),
        "Lesion": gradflow.lesion(net, data, plain=fc_stack(8, 4, in_features=3, out_features=2), draws=2),
        "LossSlice": loss_slice(net, data, steps=3, directions=2),
        "InputGradients": along,
        "Autocorrelation": along.autocorrelation(range(4)),
        "GradientCorrelation": gradient_correlation(net, data),
        "Cost": cost(net),
    }


def one_of_each() -> dict[str, Any]:
    """One result of every kind, with everything filled in that may be missing."""
    whole = trace_of(
        np.random.default_rng(0).lognormal(size=(3, 5, 2)),
        histograms=np.arange(3 * 5 * 2 * 4).reshape(3, 5, 2, 4),
        unseen=("fc6",),
        provenance={"seed": 0, "versions": {"torch": "2.13", "none": None}, "run": {"time": "now"}},
    )
    return {
        "Trace": whole,
        "Comparison": comparison_of({"plain": np.geomspace(1e-4, 1, 5)}, plain=whole, residual=2 * np.ones((3, 5))),
        "History": history_of(trace=whole, traced_steps=np.array([0, 5, 10])),
        "Study": study_of(),
        "Table": Table(columns={"name": ("a", "b"), "x": np.array([1.5, np.nan]), "n": np.array([1, 2])}),
        "Panels": Panels(parts={"left": whole, "right": study_of()}),
        **_analyses(),
    }


@pytest.fixture(scope="session")
def make_trace() -> Callable[..., Trace]:
    return trace_of


@pytest.fixture(scope="session")
def make_comparison() -> Callable[..., Comparison]:
    return comparison_of


@pytest.fixture(scope="session")
def make_history() -> Callable[..., History]:
    return history_of


@pytest.fixture
def make_study() -> Callable[[], Study]:
    return study_of


@pytest.fixture
def each_kind() -> dict[str, Any]:
    return one_of_each()


@pytest.fixture
def chinese() -> ChineseFont:
    """The font for Chinese; where none is installed the test is skipped."""
    try:
        return chinese_font()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds with which a figure was computed, which for the test is all there is in the catalogue: "one"."""
    seeds_of: list[int] = []

    def compute(seeds: int) -> Table:
        seeds_of.append(seeds)
        return Table(columns={"number": np.arange(3.0) + 1e-9 * (len(seeds_of) - 1)}, provenance={"threads": 1})

    def draw(numbers: Table) -> Figure:
        picture = plots.new_figure()
        picture.subplots().plot(np.asarray(numbers["number"]).round(3))
        return picture

    facts = {"caption": "words"}
    monkeypatch.setattr(figures, "CATALOGUE", {"one": BookFigure(compute, draw, lambda _: facts, Seeds(3, 3))})
    return seeds_of
