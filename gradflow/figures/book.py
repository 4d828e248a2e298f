"""What a book figure is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gradflow.plots.labels import named, text
from gradflow.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Seeds(NamedTuple):
    """With how many seeds a figure's nets are trained: for the book, and live, where nobody wants to wait."""

    book: int
    live: int


def mode_and_dtype(provenance: Mapping[str, Any]) -> dict[str, str]:
    """In which mode and dtype the networks of a result were run, in the words of the page."""
    if not {"mode", "dtype"} <= provenance.keys():
        return dict.fromkeys(("mode", "dtype"), text("not_recorded"))
    return {"mode": named("mode", provenance["mode"]), "dtype": provenance["dtype"]}


@dataclass(frozen=True)
class BookFigure:
    """One figure: ``compute()`` makes its numbers, ``draw(numbers)`` the picture, ``facts(numbers)`` what the caption
    states.

    With ``seeds``, ``compute(n)`` takes their number. With ``recorded``, the name of a plan of
    :mod:`gradflow.training.plans` that takes hours, ``compute(plan, folder)`` trains what that folder does not hold
    yet of the plan, and the figure is drawn from its recorded numbers unless it is asked for in full.
    """

    compute: Callable[..., Result]
    draw: Callable[[Any], Figure]
    facts: Callable[[Any], Mapping[str, object]]
    seeds: Seeds | None = None
    recorded: str | None = None
