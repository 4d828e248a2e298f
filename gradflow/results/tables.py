"""Numbers that are neither a trace nor a training run, and several results in one figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradflow.results.base import Result, number, text_table


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Table(Result):
    """Named columns of equal length, for numbers that are neither a trace nor a training run."""

    has_picture = False

    columns: Mapping[str, np.ndarray | tuple[str, ...]]

    def __getitem__(self, column: str) -> Any:
        return self.columns[column]

    def _columns(self) -> dict[str, Any]:
        return dict(self.columns)

    def __repr__(self) -> str:
        cells = [[x if isinstance(x, str) else number(x) for x in column] for column in self.columns.values()]
        return text_table(list(self.columns), cells)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Panels(Result):
    """Several results drawn in one figure, by the name of their panel."""

    has_picture = False

    parts: Mapping[str, Any]

    def __getitem__(self, panel: str) -> Any:
        return self.parts[panel]

    def __repr__(self) -> str:
        return "\n\n".join(f"[{name}]\n{part!r}" for name, part in self.parts.items())
