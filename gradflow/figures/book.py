"""What a book figure is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradflow.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class BookFigure:
    """One figure: ``compute()`` makes its numbers, ``draw(numbers)`` the picture, ``facts(numbers)`` what the caption
    states."""

    compute: Callable[[], Result]
    draw: Callable[[Any], Figure]
    facts: Callable[[Any], Mapping[str, object]]
