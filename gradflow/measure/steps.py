"""From the readings of many steps to the arrays of a Trace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradflow.measure import norms
from gradflow.measure.signals import OF_OUTPUT, Sample
from gradflow.results import HISTOGRAM_EDGES, Trace

OF_WEIGHTS = ("weight_grad", "weight", "update_ratio", "drift")
"""Quantities of a layer's weights, the same for every call of the layer."""


class Step:
    """What one backward pass (or one forward call) showed: for each reading the layer, the call (from 1) and the
    sample."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[int, int, Sample]] = []

    def add(self, layer: int, call: int, one: Sample) -> None:
        """Keep one sample of the ``call``-th call of a layer."""
        self.found.append((layer, call, one))

    def fetch(self) -> None:
        """Bring readings that still lie on a device to the host, all in two transfers."""
        waiting = [i for i, (_, _, one) in enumerate(self.found) if isinstance(one.reading.value, Tensor)]
        if not waiting:
            return
        readings = [self.found[i][2].reading for i in waiting]
        values = _together([reading.value for reading in readings])
        counts = _together([reading.nonfinite for reading in readings])
        for i, value, nonfinite in zip(waiting, values, counts, strict=True):
            layer, call, one = self.found[i]
            fetched = one.reading._replace(value=value, nonfinite=int(nonfinite))
            self.found[i] = (layer, call, one._replace(reading=fetched))

    def state(self) -> list[tuple[Any, ...]]:
        """The readings as numbers, text and tensors, which a checkpoint can hold."""
        self.fetch()
        return [
            (layer, call, one.quantity, *one.reading, one.dtype, None if one.counts is None else one.counts.cpu())
            for layer, call, one in self.found
        ]

    @classmethod
    def from_state(cls, state: Iterable[tuple[Any, ...]]) -> Step:
        """The step whose :meth:`state` this is."""
        step = cls()
        for layer, call, quantity, value, size, nonfinite, dtype, counts in state:
            step.add(layer, call, Sample(quantity, norms.Reading(value, size, nonfinite), dtype, counts))
        return step


def _together(scalars: list[Any]) -> list[float]:
    """Scalars, some of them on devices, as numbers."""
    device = next((scalar.device for scalar in scalars if isinstance(scalar, Tensor)), "cpu")
    return torch.stack([torch.as_tensor(scalar, dtype=torch.float64, device=device) for scalar in scalars]).tolist()


def assemble(
    steps: list[Step],
    layers: tuple[tuple[str, tuple[int, ...]], ...],
    order: Iterable[int],
    quantities: tuple[str, ...],
    *,
    norm: str,
    histograms: bool,
    provenance: Mapping[str, Any],
) -> Trace:
    """The Trace of these steps; ``layers`` are names and output shapes by index, ``order`` their indices as first
    called."""
    for step in steps:
        step.fetch()
    rows = _rows(steps, order)
    place = {row: index for index, row in enumerate(rows)}
    columns = {quantity: column for column, quantity in enumerate(quantities)}
    shape = (len(steps), len(rows), len(quantities))
    values, nonfinite = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    sizes = np.zeros(shape[1:], dtype=np.int64)
    counts = np.zeros((*shape, len(HISTOGRAM_EDGES) - 1), dtype=np.int64) if histograms else None
    dtypes: dict[int, tuple[int, str]] = {}
    for s, step in enumerate(steps):
        for (layer, call, quantity), samples in _grouped(step).items():
            row, column = place[layer, call], columns[quantity]
            parts = [(float(one.reading.value), one.reading.size) for one in samples]
            joined_by = OF_OUTPUT[quantity].norm if quantity in OF_OUTPUT else norm
            values[s, row, column] = norms.combine(parts, joined_by)
            nonfinite[s, row, column] = sum(one.reading.nonfinite for one in samples)
            sizes[row, column] = sum(one.reading.size for one in samples)
            dtype = str(samples[0].dtype).removeprefix("torch.")
            dtypes[row] = min(dtypes.get(row, (column, dtype)), (column, dtype))
            for one in samples:
                if counts is not None and one.counts is not None:
                    counts[s, row, column] += one.counts.cpu().numpy()
    _share_weights_between_calls(place, quantities, values, nonfinite, sizes)
    if "update_ratio" in quantities:
        updates = values[:, :, quantities.index("update_ratio")]
        updates[updates == 0] = np.nan
        np.log10(updates, out=updates)
    return Trace(
        layers=tuple(layers[layer][0] if call == 1 else f"{layers[layer][0]}@{call}" for layer, call in rows),
        shapes=tuple(layers[layer][1] for layer, _ in rows),
        quantities=quantities,
        norm=norm,
        values=values,
        nonfinite=nonfinite,
        sizes=sizes,
        dtypes=tuple(dtypes[row][1] for row in range(len(rows))),
        unseen=tuple(name for layer, (name, _) in enumerate(layers) if (layer, 1) not in place) if steps else (),
        histograms=counts,
        provenance=provenance,
    )


def _rows(steps: list[Step], order: Iterable[int]) -> list[tuple[int, int]]:
    """The (layer, call) pairs with a reading, as met in forward; a layer never called stands behind its elder
    neighbour."""
    met = {layer: place for place, layer in enumerate(order)}

    def position(row: tuple[int, int]) -> tuple[int, int, int]:
        layer, call = row
        elder = [place for other, place in met.items() if other < layer]
        return (call, met[layer], -1) if layer in met else (call, max(elder, default=-1), layer)

    return sorted({(layer, call) for step in steps for layer, call, _ in step.found}, key=position)


def _grouped(step: Step) -> dict[tuple[int, int, str], list[Sample]]:
    """The samples of each layer, call and quantity: several for an output of several tensors."""
    groups: dict[tuple[int, int, str], list[Sample]] = {}
    for layer, call, one in step.found:
        groups.setdefault((layer, call, one.quantity), []).append(one)
    return groups


def _share_weights_between_calls(
    place: Mapping[tuple[int, int], int], quantities: tuple[str, ...], *arrays: np.ndarray
) -> None:
    columns = [column for column, quantity in enumerate(quantities) if quantity in OF_WEIGHTS]
    for (layer, call), row in place.items():
        if call > 1 and (layer, 1) in place:
            for array in arrays:
                array[..., row, columns] = array[..., place[layer, 1], columns]
