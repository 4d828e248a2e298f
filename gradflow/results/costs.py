"""What a network costs: what :func:`gradflow.models.cost` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradflow.results.base import Result, number, text_table


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Cost(Result):
    """Parameters and arithmetic of each of L layers for one sample of ``input_shape``.

    ``layers`` are the names of the modules that own parameters or multiply, in the order of the model, ``types`` what
    they are, ``shapes`` the shape of one sample of their output, () where there is none. ``parameters`` (L,) are those
    a module owns itself; one that several share counts once. ``flops`` (L,): two for each multiply-add, of a
    convolution 2·C_in·K²·H·W·C_out, C_in that of one group (source chapter 15.6).
    """

    has_picture = False

    layers: tuple[str, ...]
    types: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    parameters: np.ndarray
    flops: np.ndarray
    input_shape: tuple[int, ...]

    @property
    def multiply_adds(self) -> np.ndarray:
        """Multiply-adds of each layer, (L,): what He15 calls FLOPs."""
        return np.asarray(self.flops // 2)

    @property
    def total_parameters(self) -> int:
        """Parameters of the whole network."""
        return int(self.parameters.sum())

    @property
    def total_multiply_adds(self) -> int:
        """Multiply-adds of the whole network."""
        return int(self.multiply_adds.sum())

    @property
    def total_flops(self) -> int:
        """FLOPs of the whole network."""
        return int(self.flops.sum())

    def _columns(self) -> dict[str, Any]:
        return {
            "layer": list(self.layers),
            "type": list(self.types),
            "output": list(self.shapes),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "flops": self.flops,
        }

    def __repr__(self) -> str:
        totals = (self.total_parameters, self.total_multiply_adds, self.total_flops)
        cells = zip(self.parameters, self.multiply_adds, self.flops, strict=True)
        rows = [[f"{value:,}" for value in row] for row in (*cells, totals)]
        columns = [
            (*self.layers, "total"),
            (*self.types, ""),
            (*map(_by, self.shapes), ""),
            *zip(*rows, strict=True),
        ]
        header = ("layer", "type", "output", "parameters", "multiply-adds", "FLOPs")
        return (
            f"Cost: {number(float(totals[1]))} multiply-adds = {number(float(totals[2]))} FLOPs for one sample of "
            f"{_by(self.input_shape)}, {totals[0]:,} parameters\n{text_table(header, columns)}\n"
            "counted are convolutions and matrix products; BatchNorm, activations, pooling and additions are left out"
        )


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "–"
