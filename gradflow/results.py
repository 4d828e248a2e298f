"""The border between tensors and numbers: frozen results that hold arrays and say where they came from.

Letters: S steps or seeds, L layers, Q quantities, E epochs.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from gradflow import storage
from gradflow.verdicts import Verdict, judge

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PICTURES = (".pdf", ".svg", ".png")
HISTOGRAM_EDGES = np.arange(-50.0, 50.5, 0.5)
"""Bin edges of log10|g|; zeros are counted in the first bin, anything beyond the last edge in the last."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result:
    """What every result can do: compare, save, draw, and become a table.

    ``provenance`` tells versions, seed, dtype, device, threads, mode, batch and loss; its ``run`` part (time, machine,
    seconds) is ignored by ``==``.
    """

    provenance: Mapping[str, Any] = field(default_factory=dict)

    kinds: ClassVar[dict[str, type[Result]]] = {}

    def __init_subclass__(cls) -> None:
        Result.kinds[cls.__name__] = cls

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Result):
            return NotImplemented
        return _same(self._compared(), other._compared())

    __hash__ = None  # type: ignore[assignment]

    def _compared(self) -> dict[str, Any]:
        fields = dict(self.stored()[1])
        fields["provenance"] = {key: value for key, value in self.provenance.items() if key != "run"}
        return fields

    def stored(self) -> tuple[str, dict[str, Any]]:
        """The name of the result's class and its fields, as they are saved."""
        return type(self).__name__, {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def save(self, path: str | Path) -> Self:
        """Save the numbers (``.json``) or the picture (``.pdf``, ``.svg``, ``.png``) and return the result itself.

        A JSON file that already holds an equal result is left untouched. Raises ValueError for another ending.
        """
        path = Path(path)
        if path.suffix == ".json":
            if not self._is_saved_in(path):
                storage.write_whole(path, storage.dumps(*self.stored()))
        elif path.suffix in PICTURES:
            storage.write_whole(path, self._picture(path.suffix[1:]))
        else:
            raise ValueError(f"path must end in .json, .pdf, .svg or .png; got {path.name!r}")
        return self

    def _is_saved_in(self, path: Path) -> bool:
        try:
            return path.exists() and load(path) == self
        except ValueError:
            return False

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        """Draw the result into ``ax``, or into a new figure, and return the axes."""
        raise TypeError(f"a {type(self).__name__} has no picture of its own; draw its parts, or use to_frame()")

    def to_frame(self) -> pd.DataFrame:
        """The numbers as a pandas DataFrame, one row per measured number. Raises ImportError without pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame() needs pandas: pip install 'gradflow-toolkit[notebooks]'") from error
        return pd.DataFrame(self._columns())

    def _columns(self) -> dict[str, Any]:
        raise TypeError(f"a {type(self).__name__} is not a table; use its parts")

    def _picture(self, kind: str) -> bytes:
        from gradflow import plots

        with plots.style():
            figure = plots.new_figure()
            self.plot(ax=figure.subplots())
        return plots.render(figure, kind)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._html()}

    def _html(self) -> str:
        picture = base64.b64encode(self._picture("svg")).decode()
        return (
            f'<img alt="{escape(type(self).__name__)}" src="data:image/svg+xml;base64,{picture}"/>'
            f"<pre>{escape(repr(self))}</pre>"
        )

    def to_html(self) -> str:
        """One self-contained HTML page with the figure and the text table; it needs no network."""
        title = f"gradflow {type(self).__name__}"
        return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>{self._html()}</html>'


def load(path: str | Path) -> Any:
    """Load any saved result; what comes back equals what was saved.

    Raises FileNotFoundError, or ValueError that says what is wrong with the file: truncated, from a later version of
    gradflow, or no gradflow result at all.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"load reads the .json of a result; got {path.name!r}")
    return _build(storage.Stored(*storage.loads(path.read_bytes(), path)), path)


def _build(value: Any, path: Path) -> Any:
    """Turn what was read from ``path`` into result objects, from the inside out."""
    if isinstance(value, dict):
        return {key: _build(item, path) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_build(item, path) for item in value)
    if not isinstance(value, storage.Stored):
        return value
    kind = Result.kinds.get(value.kind)
    if kind is None:
        raise ValueError(f"{path} holds a {value.kind!r}, which this gradflow does not know; it knows {list(Result.kinds)}")
    try:
        return kind(**_build(value.fields, path))
    except TypeError as error:
        raise ValueError(f"{path} does not hold the fields of a {value.kind}: {error}") from error


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Trace(Result):
    """Norms by step, layer and quantity, as recorded by :func:`gradflow.trace`.

    ``values`` has shape (S, L, Q), NaN where nothing was measured; ``nonfinite`` counts NaN and infinite elements in the
    same shape; ``shapes`` are the layers' output shapes, batch included; ``sizes`` (L, Q) the elements measured; ``dtypes`` (L) the dtype each layer's numbers were computed in.
    ``unseen`` names selected layers from which nothing came. ``histograms``, if asked for, has shape (S, L, Q, bins) over
    log10|g| with ``HISTOGRAM_EDGES``. ``trace["output_grad"]`` gives the (S, L) values of one quantity.
    """

    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    quantities: tuple[str, ...]
    norm: str
    values: np.ndarray
    nonfinite: np.ndarray
    sizes: np.ndarray
    dtypes: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    histograms: np.ndarray | None = None

    @property
    def steps(self) -> int:
        """Number of recorded steps S."""
        return len(self.values)

    def __getitem__(self, quantity: str) -> np.ndarray:
        return self.values[:, :, self._index(quantity)]

    def _index(self, quantity: str) -> int:
        if quantity not in self.quantities:
            raise KeyError(f"quantity must be one of {', '.join(self.quantities)}; got {quantity!r}")
        return self.quantities.index(quantity)

    def histogram(self, quantity: str) -> np.ndarray:
        """Counts of log10|g| for one quantity, shape (S, L, bins). Raises ValueError if none were recorded."""
        if self.histograms is None:
            raise ValueError("this trace has no histograms; record them with trace(..., histograms=True)")
        return self.histograms[:, :, self._index(quantity)]

    def median(self, quantity: str) -> np.ndarray:
        """Median over the steps, shape (L,)."""
        return quantile(self[quantity], 0.5)

    @property
    def dtype(self) -> str:
        """The least precise dtype among the layers: its floor is the one met first."""
        present = set(self.dtypes)
        return next((name for name in ("float16", "bfloat16", "float32") if name in present), "float64")

    @property
    def body(self) -> np.ndarray:
        """Which layers give the same kind of output as the first, shape (L,) of bool.

        A head behind global pooling is not among them: pooling over H × W positions divides the gradient by H·W, which
        says nothing about how it travels through the layers.
        """
        return np.array([len(shape) == len(self.shapes[0]) for shape in self.shapes], dtype=bool)

    def verdict(self, quantity: str | None = None) -> Verdict:
        """What the median of a gradient quantity (by default the first) does toward the input, over the ``body``."""
        return judge(self.median(quantity or self.quantities[0])[self.body], self.dtype)

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.trace_lines(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        steps, layers, quantities = np.indices(self.values.shape).reshape(3, -1)
        return {
            "step": steps,
            "layer": np.array(self.layers, dtype=object)[layers],
            "quantity": np.array(self.quantities, dtype=object)[quantities],
            "value": self.values.ravel(),
            "nonfinite": self.nonfinite.ravel(),
        }

    def __repr__(self) -> str:
        title = f"Trace: {self.norm} of {', '.join(self.quantities)}; {_times(self.steps, 'step')}, {_times(len(self.layers), 'layer')}"
        if not self.steps:
            return title + _unseen(self.unseen)
        columns = [[_number(value) for value in self.median(quantity)] for quantity in self.quantities]
        over = "median over steps" if self.steps > 1 else "one step"
        return f"{title} ({over})\n{_text_table(('layer', *self.quantities), (self.layers, *columns))}{_unseen(self.unseen)}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Comparison(Result):
    """The gradient by layer of two or more models on the same batch, from :func:`gradflow.compare`.

    ``traces`` maps a model's name to its :class:`Trace` with one step per repeat; the first model is the one others are
    compared with. ``theory`` maps a name to the predicted norm of each layer, shape (L,), relative to the last layer's,
    for models with a closed form.
    """

    traces: Mapping[str, Trace]
    quantity: str
    norm: str
    theory: Mapping[str, np.ndarray] = field(default_factory=dict)

    def values(self, model: str) -> np.ndarray:
        """Norms of one model, shape (repeats, L)."""
        return self.traces[model][self.quantity]

    @property
    def repeats(self) -> int:
        """Number of repeated measurements, each with fresh weights and a fresh batch."""
        return next(iter(self.traces.values())).steps

    @property
    def ratio(self) -> dict[str, dict[str, float]]:
        """``ratio[model][layer]``: median over repeats of this model's norm over the first model's.

        Layers present in both models only.
        """
        reference, *others = self.traces
        base = dict(zip(self.traces[reference].layers, self.values(reference).T, strict=True))
        ratios: dict[str, dict[str, float]] = {}
        for name in others:
            rows = dict(zip(self.traces[name].layers, self.values(name).T, strict=True))
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios[name] = {
                    layer: float(quantile(row / base[layer], 0.5)) for layer, row in rows.items() if layer in base
                }
        return ratios

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """For each model: vanishes, explodes or steady toward the input, computed from the median over repeats."""
        return {name: trace.verdict(self.quantity) for name, trace in self.traces.items()}

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.gradient_flow(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        rows = [
            (name, repeat, layer, value)
            for name, trace in self.traces.items()
            for repeat, row in enumerate(self.values(name))
            for layer, value in zip(trace.layers, row, strict=True)
        ]
        return dict(zip(("model", "repeat", "layer", self.quantity), zip(*rows, strict=True), strict=True))

    def _unmatched(self) -> str:
        reference, *others = self.traces
        known = set(self.traces[reference].layers)
        lines = []
        for name in others:
            here = set(self.traces[name].layers)
            for owner, extra in ((reference, known - here), (name, here - known)):
                if extra:
                    listed = ", ".join(sorted(extra)[:6]) + (", …" if len(extra) > 6 else "")
                    lines.append(f"\nonly in {owner}: {listed}")
        return "".join(dict.fromkeys(lines))

    def __repr__(self) -> str:
        layers = list(dict.fromkeys(layer for trace in self.traces.values() for layer in trace.layers))
        header, columns = ["layer"], [layers]
        for name, trace in self.traces.items():
            found = dict(zip(trace.layers, trace.median(self.quantity), strict=True))
            header.append(name)
            columns.append([_number(found[layer]) if layer in found else "–" for layer in layers])
        for name, ratios in self.ratio.items():
            header.append("ratio" if len(self.ratio) == 1 else f"ratio {name}")
            columns.append([f"{ratios[layer]:.3g}" if layer in ratios else "–" for layer in layers])
        repeats = f", median of {self.repeats}" if self.repeats > 1 else ""
        batch, reduction = self.provenance.get("batch"), self.provenance.get("reduction")
        setting = f" (batch {batch}, {self.provenance.get('mode')} mode, loss reduction {reduction}{repeats})" if batch else ""
        verdicts = "".join(f"\n{name}: {verdict}" for name, verdict in self.verdicts.items())
        unseen = "".join(f"\n{name}{_unseen(trace.unseen, ' has ')}" for name, trace in self.traces.items() if trace.unseen)
        return f"{self.norm} of {self.quantity}{setting}\n{_text_table(header, columns)}{verdicts}{self._unmatched()}{unseen}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class History(Result):
    """A training run: loss and error on train and test after each epoch, from :func:`gradflow.fit`.

    ``epoch`` and ``steps`` (K,) say after how many epochs and optimiser steps the curves (K,) were taken, the first
    before training. Losses are means over the samples; errors are fractions. ``learning_rate`` (E,) is the rate at the end
    of each epoch. ``trace`` holds the per-layer trace if one was asked for, at the steps ``traced_steps``.
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
        """Optimiser steps until the curves first show a training error of at most ``error``; infinity if they never do."""
        reached = np.flatnonzero(self.train_error <= error)
        return float(self.steps[reached[0]]) if len(reached) else float("inf")

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.learning_curves(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        names = ("epoch", "steps", "train_loss", "train_error", "test_loss", "test_error")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        columns = [[_number(value) for value in column] for column in self._columns().values()]
        title = f"History: {_times(self.epochs, 'epoch')}, {int(self.steps[-1])} steps"
        return f"{title}\n{_text_table([name.replace('_', ' ') for name in self._columns()], columns)}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Study(Result):
    """Training runs over a grid of settings, from :func:`gradflow.study`.

    ``settings[i]`` says what ``histories[i]`` was trained with, for example depth, kind and seed.
    """

    settings: tuple[Mapping[str, Any], ...]
    histories: tuple[History, ...]

    def select(self, **wanted: Any) -> list[History]:
        """The histories whose settings agree with all keywords, in order. Raises KeyError if there is none."""
        pairs = zip(self.settings, self.histories, strict=True)
        found = [run for setting, run in pairs if all(setting.get(key) == value for key, value in wanted.items())]
        if not found:
            raise KeyError(f"no run with {wanted}; settings are {[dict(setting) for setting in self.settings]}")
        return found

    def final(self, what: str = "test_error", **wanted: Any) -> np.ndarray:
        """The last value of a curve for each selected run, shape (runs,)."""
        return np.array([getattr(run, what)[-1] for run in self.select(**wanted)])

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots

        return plots.error_by_depth(self, ax=ax, **keywords)

    def _columns(self) -> dict[str, Any]:
        names = list(dict.fromkeys(key for setting in self.settings for key in setting))
        columns: dict[str, Any] = {name: [setting.get(name) for setting in self.settings] for name in names}
        for curve in ("train_error", "test_error"):
            columns[curve] = [float(getattr(run, curve)[-1]) for run in self.histories]
        return columns

    def __repr__(self) -> str:
        columns = self._columns()
        return f"Study: {_times(len(self.histories), 'run')}\n" + _text_table(list(columns), [list(map(str, c)) for c in columns.values()])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Table(Result):
    """Named columns of equal length, for numbers that are neither a trace nor a training run."""

    columns: Mapping[str, np.ndarray | tuple[str, ...]]

    def __getitem__(self, column: str) -> Any:
        return self.columns[column]

    def _columns(self) -> dict[str, Any]:
        return dict(self.columns)

    def __repr__(self) -> str:
        cells = [[x if isinstance(x, str) else _number(x) for x in column] for column in self.columns.values()]
        return _text_table(list(self.columns), cells)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Panels(Result):
    """Several results drawn in one figure, by the name of their panel."""

    parts: Mapping[str, Any]

    def __getitem__(self, panel: str) -> Any:
        return self.parts[panel]

    def __repr__(self) -> str:
        return "\n\n".join(f"[{name}]\n{part!r}" for name, part in self.parts.items())


def quantile(values: np.ndarray, q: float) -> np.ndarray:
    """Quantile over the first axis of (S, …) that leaves NaN out and gives NaN where nothing else is there."""
    values = np.asarray(values, dtype=float)
    found = np.full(values.shape[1:], np.nan)
    some = ~np.all(np.isnan(values), axis=0) if len(values) else np.zeros(values.shape[1:], dtype=bool)
    with np.errstate(invalid="ignore"):
        found[some] = np.nanquantile(values[:, some], q, axis=0, method="linear")
    return found if found.ndim else found[()]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or (a != a and b != b)


def _number(value: float) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    return f"{value:.3g}" if np.isfinite(value) and 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def _times(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _unseen(names: tuple[str, ...], start: str = "\n") -> str:
    return f"{start}nothing measured for: {', '.join(names)}" if names else ""


def _text_table(header: Any, columns: Any, most: int = 24) -> str:
    """Columns of text, first left and others right aligned; the middle of a long table becomes one line of dots."""
    rows = [tuple(header), *zip(*columns, strict=True)]
    if len(rows) > most + 1:
        rows = rows[: most // 2 + 1] + [("…",) * len(rows[0])] + rows[-(most // 2) :]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (str(cell) for cell in row)
        lines.append("  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]).rstrip())
    return "\n".join(lines)


