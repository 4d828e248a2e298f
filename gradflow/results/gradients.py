"""Gradients by layer: what :func:`gradflow.trace` and :func:`gradflow.compare` give.

Letters: S steps or seeds, L layers, Q quantities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow.quantiles import quantile
from gradflow.results.base import Result, count, number, text_table, unseen_note
from gradflow.verdicts import NO_NORMS, Verdict, judge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradflow.plots import Film

HISTOGRAM_EDGES = np.arange(-50.0, 50.5, 0.5)
"""Bin edges of log10|g|; zeros are counted in the first bin, anything beyond the last edge in the last."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Trace(Result):
    """Norms by step, layer and quantity, as recorded by :func:`gradflow.trace`.

    ``values`` has shape (S, L, Q), NaN where nothing was measured; ``nonfinite`` counts NaN and infinite elements in
    the same shape; ``shapes`` are the layers' output shapes, batch included; ``sizes`` (L, Q) the elements measured;
    ``dtypes`` (L) the dtype each layer's numbers were computed in. ``unseen`` names selected layers from which nothing
    came. ``histograms``, if asked for, has shape (S, L, Q, bins) over log10|g| with ``HISTOGRAM_EDGES``.
    ``trace["output_grad"]`` gives the (S, L) values of one quantity.
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

    def at(self, place: int) -> Trace:
        """The trace of one step only, the one at ``place``. Raises IndexError where there is none."""
        place = range(self.steps)[place]
        here = slice(place, place + 1)
        counts = None if self.histograms is None else self.histograms[here]
        return replace(self, values=self.values[here], nonfinite=self.nonfinite[here], histograms=counts)

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
        size = f"{count(self.steps, 'step')}, {count(len(self.layers), 'layer')}"
        title = f"Trace: {_listed(self.norm, self.quantities)}; {size}"
        if not self.steps:
            return title + unseen_note(self.unseen)
        columns = [[number(value) for value in self.median(quantity)] for quantity in self.quantities]
        over = "median over steps" if self.steps > 1 else "one step"
        table = text_table(("layer", *self.quantities), (self.layers, *columns))
        return f"{title} ({over})\n{table}{unseen_note(self.unseen)}"


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
        """For each model: vanishes, explodes or steady toward the input, computed from the median over repeats.

        Empty for a quantity that is no norm, such as a fraction of dead units.
        """
        if self.quantity in NO_NORMS:
            return {}
        return {name: trace.verdict(self.quantity) for name, trace in self.traces.items()}

    def plot(self, ax: Axes | None = None, **keywords: Any) -> Axes:
        from gradflow import plots
        from gradflow.plots.panels import clear_legend

        drawn = plots.gradient_flow(self, ax=ax, **keywords)
        return drawn if ax is not None else clear_legend(drawn)

    def animate(self, *others: Comparison, titles: Sequence[str] | None = None, seconds: float | None = None) -> Film:
        """A film of the backward pass, layer by layer from the loss to the input, that a notebook plays.

        ``others`` follow one after the other, such as deeper nets or later steps of a training; what came before stays
        as pale lines. ``titles`` (one each) say which is which, by default the number of layers where it differs;
        ``seconds`` is how long each wave runs. ``.save("x.gif")``, ``"x.html"`` and ``"x.mp4"`` write the film. It is
        drawn for a notebook unless :func:`gradflow.plots.style` says otherwise. Raises ValueError as
        :func:`gradflow.plots.gradient_film` does.
        """
        from gradflow import plots

        with plots.on_screen():
            return plots.gradient_film((self, *others), titles=titles, seconds=seconds)

    def _columns(self) -> dict[str, Any]:
        rows = [
            (name, repeat, layer, value)
            for name, trace in self.traces.items()
            for repeat, row in enumerate(self.values(name))
            for layer, value in zip(trace.layers, row, strict=True)
        ]
        return dict(zip(("model", "repeat", "layer", self.quantity), zip(*rows, strict=True), strict=True))

    def heading(self) -> str:
        from gradflow.plots.labels import norm_of

        return f"{norm_of(self.norm, self.quantity)}: {', '.join(self.traces)}"

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
            columns.append([number(found[layer]) if layer in found else "–" for layer in layers])
        for name, ratios in self.ratio.items():
            header.append("ratio" if len(self.ratio) == 1 else f"ratio {name}")
            columns.append([f"{ratios[layer]:.3g}" if layer in ratios else "–" for layer in layers])
        repeats = f", median of {self.repeats}" if self.repeats > 1 else ""
        batch, reduction = self.provenance.get("batch"), self.provenance.get("reduction")
        loss = f", loss reduction {reduction}" if reduction else ""
        setting = f" (batch {batch}, {self.provenance.get('mode')} mode{loss}{repeats})" if batch else ""
        verdicts = "".join(f"\n{name}: {verdict}" for name, verdict in self.verdicts.items())
        unseen = "".join(
            f"\n{name}{unseen_note(trace.unseen, ' has ')}" for name, trace in self.traces.items() if trace.unseen
        )
        title = f"{_listed(self.norm, (self.quantity,))}{setting}"
        return f"{title}\n{text_table(header, columns)}{verdicts}{self._unmatched()}{unseen}"


def _listed(norm: str, quantities: Sequence[str]) -> str:
    """The quantities by name, those that are norms as such: "rms of output_grad, weight; dead"."""
    measured = ", ".join(quantity for quantity in quantities if quantity not in NO_NORMS)
    others = ", ".join(quantity for quantity in quantities if quantity in NO_NORMS)
    return "; ".join([f"{norm} of {measured}"] * bool(measured) + [others] * bool(others))
