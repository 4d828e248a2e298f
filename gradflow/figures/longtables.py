"""The numbers of a figure as one long table, for R, pgfplots or a spreadsheet.

A row is a point of the figure: first panel, model, layer, step …, then what was measured there. Where a figure shows
medians and bands over repeats, the table has these; single repeats are in the .json. What a row does not have is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from gradflow.quantiles import quantile
from gradflow.results import (
    Autocorrelation,
    Comparison,
    GradientSplit,
    History,
    InputGradients,
    Lesion,
    LossSlice,
    Panels,
    PathSpectrum,
    Result,
    Study,
    Table,
    Trace,
)

Row = Mapping[str, Any]
_CURVES = ("train_loss", "train_error", "test_loss", "test_error")


def long_table(result: Result) -> bytes:
    """The text of a .csv file: UTF-8, one line of names, commas, every number with all its digits; nan, inf and -inf
    are written so.

    Raises TypeError for a result that is no table.
    """
    rows = list(rows_of(result))
    names = list(dict.fromkeys(name for row in rows for name in row))
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return written.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # str() of a NumPy number has as many digits as it takes to get the same number back.
    return str(value)


@singledispatch
def rows_of(result: Result) -> Iterator[Row]:
    """The rows of a result's long table, by class."""
    raise TypeError(f"a {type(result).__name__} has no long table; use to_frame()")


@rows_of.register
def _(result: Panels) -> Iterator[Row]:
    for name, part in _parts(result.parts):
        for row in rows_of(part):
            yield {"panel": name, **row}


def _parts(parts: Mapping[str, Any]) -> Iterator[tuple[str, Result]]:
    """Every result inside, also those of panels in panels and of rows of results, with the way to it."""
    for name, part in parts.items():
        inner = part.parts if isinstance(part, Panels) else None
        if isinstance(part, tuple):
            inner = {str(place): one for place, one in enumerate(part)}
        if inner is None:
            yield name, part
        else:
            yield from ((f"{name}/{further}", one) for further, one in _parts(inner))


@rows_of.register
def _(result: Table) -> Iterator[Row]:
    yield from _transposed(result.columns)


@rows_of.register
def _(result: Trace) -> Iterator[Row]:
    for step, values in enumerate(result.values):
        for layer, name in enumerate(result.layers):
            measured = dict(zip(result.quantities, values[layer], strict=True))
            yield {"step": step, "layer": layer + 1, "name": name, **measured}


@rows_of.register
def _(result: Comparison) -> Iterator[Row]:
    for model, trace in result.traces.items():
        columns: dict[str, Any] = {
            "layer": np.arange(1, len(trace.layers) + 1),
            "name": trace.layers,
            "elements": trace.sizes[:, trace.quantities.index(result.quantity)],
            **_middle("", result.values(model)),
        }
        if model in result.theory:
            columns["theory"] = _through_last(result.theory[model], columns["median"])
        fixed = {"model": model, "norm": result.norm, "quantity": result.quantity}
        yield from ({**fixed, **row} for row in _transposed(columns))


def _through_last(relative: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """A closed form put through the measurement at the last layer that it covers, as it is drawn."""
    last = np.flatnonzero(np.isfinite(relative) & (relative > 0))[-1]
    return np.asarray(relative / relative[last] * measured[last])


@rows_of.register
def _(result: History) -> Iterator[Row]:
    for place, (epoch, step) in enumerate(zip(result.epoch, result.steps, strict=True)):
        curves = {name: getattr(result, name)[place] for name in _CURVES}
        done = round(float(epoch))
        rate = result.learning_rate[done - 1] if 0 < done == epoch <= result.epochs else None
        yield {"epoch": epoch, "step": step, **curves, "learning_rate": rate}
    if result.trace is not None and result.traced_steps is not None:
        for row in rows_of(result.trace):
            yield {**row, "step": result.traced_steps[row["step"]]}


@rows_of.register
def _(result: Study) -> Iterator[Row]:
    for setting, history in zip(result.settings, result.histories, strict=True):
        yield from ({**setting, **row} for row in rows_of(history) if "layer" not in row)
    groups: dict[str, list[int]] = {}
    for place, history in enumerate(result.histories):
        if history.trace is not None:
            groups.setdefault(repr(_without_seed(result.settings[place])), []).append(place)
    for places in groups.values():
        setting = _without_seed(result.settings[places[0]])
        yield from ({**setting, **row} for row in _traced([result.histories[place] for place in places]))


def _without_seed(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name != "seed"}


def _traced(histories: Sequence[History]) -> Iterator[Row]:
    """Median and range over seeds of what was traced, by step and layer."""
    first = histories[0].trace
    steps = histories[0].traced_steps
    assert first is not None
    assert steps is not None
    values = np.stack([history.trace.values for history in histories if history.trace is not None])
    middle, low, high = (quantile(values, q) for q in (0.5, 0, 1))
    for place, layer in np.ndindex(first.values.shape[:2]):
        found: dict[str, Any] = {"step": steps[place], "layer": layer + 1, "name": first.layers[layer]}
        for at, name in enumerate(first.quantities):
            here = (place, layer, at)
            found |= {name: middle[here], f"{name}_low": low[here], f"{name}_high": high[here]}
        yield found


@rows_of.register
def _(result: GradientSplit) -> Iterator[Row]:
    columns: dict[str, Any] = {
        "place": np.arange(len(result.units) + 1),
        "unit": (*result.units, "output"),
        "log10_product": quantile(result.log10_product, 0.5),
    }
    for part in ("shortcut", "residual", "whole"):
        columns |= _middle(f"log10_{part}_", result.relative(part))
    columns |= {f"log10_{part}_theory": values for part, values in result.theory.items()}
    with np.errstate(invalid="ignore"):
        for part in ("signal", "carried", "summed"):
            columns |= _middle(f"log10_{part}_", getattr(result, f"log10_{part}") - result.log10_signal[:, :1])
        branch = _middle("log10_branch_over_signal_", result.log10_branch - result.log10_signal[:, :-1])
    columns |= {name: [*values, None] for name, values in branch.items()}
    yield from _transposed(columns)
    counts = result.ratio_counts[0]
    shown = np.flatnonzero(counts)
    for place in range(shown[0], shown[-1] + 1) if len(shown) else ():
        low, high = result.ratio_edges[place : place + 2]
        yield {"place": 0, "unit": result.units[0], "ratio_from": low, "ratio_to": high, "count": counts[place]}


@rows_of.register
def _(result: PathSpectrum) -> Iterator[Row]:
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.log10(result.whole)[:, None]
        columns = {
            "length": result.lengths,
            "log10_paths": result.log10_counts,
            **_middle("rms_", result.values),
            **_middle("share_", result.shares),
            **_middle("log10_mean_path_over_whole_", result.log10_per_path - whole),
        }
        if result.single is not None:
            along = (np.log10(result.single) - whole[:, :, None]).transpose(0, 2, 1)
            columns["log10_single_path_over_whole"] = quantile(along.reshape(-1, len(result.lengths)), 0.5)
    if result.theory is not None:
        columns["log10_theory"] = result.theory
    yield from _transposed(columns)


@rows_of.register
def _(result: Lesion) -> Iterator[Row]:
    for net, one in (("model", result), ("plain", result.plain)):
        if one is not None:
            yield from ({"net": net, **row} for row in _lesions(one))


def _lesions(result: Lesion) -> Iterator[Row]:
    yield {"lesion": "none", "count": 0, "error": result.error}
    for place, unit in enumerate(result.units):
        at = {"lesion": "one", "count": 1, "unit": unit, "changes_size": result.changes_size[place]}
        yield {**at, "error": result.without_one[place]}
    for place, draw in np.ndindex(result.without_several.shape):
        error = result.without_several[place, draw]
        yield {"lesion": "several", "count": result.removed[place], "draw": draw, "error": error}
    for swaps, tau, error in zip(result.swaps, result.tau, result.reordered, strict=True):
        yield {"lesion": "swaps", "count": swaps, "tau": tau, "error": error}


@rows_of.register
def _(result: LossSlice) -> Iterator[Row]:
    for at in np.ndindex(result.loss.shape):
        places = {name: result.alphas[one] for name, one in zip(("alpha", "alpha_2"), at, strict=False)}
        yield {**places, "loss": result.loss[at], "error": None if result.error is None else result.error[at]}


@rows_of.register
def _(result: InputGradients) -> Iterator[Row]:
    for model, rows in result.gradients.items():
        for seed, place in np.ndindex(rows.shape):
            yield {"model": model, "seed": seed, "x": result.x[place], "gradient": rows[seed, place]}


@rows_of.register
def _(result: Autocorrelation) -> Iterator[Row]:
    for model in result.values:
        columns = {"lag": result.lags, "autocorrelation": result.mean(model), "standard_error": result.error(model)}
        yield from ({"model": model, **row} for row in _transposed(columns))


def _middle(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Median and quartiles over the repeats of (S, …)."""
    quantiles = {"median": 0.5, "lower_quartile": 0.25, "upper_quartile": 0.75}
    return {f"{name}{word}": quantile(values, q) for word, q in quantiles.items()}


def _transposed(columns: Mapping[str, Any]) -> Iterator[Row]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))
