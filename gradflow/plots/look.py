"""One look for all figures, sizes in millimetres, and files that come out the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

SINGLE_MM, DOUBLE_MM = 84.0, 174.0
"""Widths of figures set in one and in two columns."""

# Without dates and program versions, so that the same numbers give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


class Look(NamedTuple):
    """How the lines of one model are drawn: told apart by colour, by dashes and by marker."""

    color: str
    linestyle: str
    marker: str
    filled: bool

    def line(self) -> dict[str, Any]:
        """Keywords for ``Axes.plot``."""
        face = self.color if self.filled else "white"
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker, "markerfacecolor": face}


# Okabe & Ito's colours, safe for colour-blind readers; ordered so that neighbours differ in grey as well.
LOOKS = (
    Look("#D55E00", "--", "o", False),
    Look("#0B4F8A", "-", "s", True),
    Look("#009E73", "-.", "^", False),
    Look("#8C3C74", ":", "D", True),
    Look("#B07A00", (0, (5, 1, 1, 1, 1, 1)), "v", False),  # type: ignore[arg-type]
    Look("#4A9CC9", "-", "P", True),
)
THEORY: dict[str, Any] = {"color": "#333333", "linestyle": (0, (1, 1.2)), "linewidth": 1.0, "marker": ""}
"""Closed forms: fine dots, always in the same dark grey."""
INK = "#333333"


def look_of(place: int) -> Look:
    """The look of the model at a place in the legend; the first is the plain one."""
    return LOOKS[place % len(LOOKS)]


def model_color(name: str) -> str:
    """The colour of the plain or of the residual net."""
    return look_of(0 if name == "plain" else 1).color


def shared_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend above all panels, each entry once."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=len(entries))


def number_layers(ax: Axes, layers: int) -> None:
    """Ticks at layer 1 and at round numbers up to the last layer."""
    every = next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if layers / step <= 8), 500)
    ax.set_xticks([1, *range(max(every, 2), layers + 1, every)])


def tint(color: str, strength: float = 0.22) -> tuple[float, float, float]:
    """An opaque pale version of a colour, for bands: transparency prints badly."""
    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(color))
    return red, green, blue


@contextmanager
def style() -> Iterator[None]:
    """Draw in gradflow's look inside the block; matplotlib's settings are as before after it."""
    with resources.as_file(resources.files("gradflow.plots") / "gradflow.mplstyle") as path:
        settings = mpl.rc_params_from_file(path, use_default_template=False)
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def new_figure(width_mm: float = SINGLE_MM, height_mm: float = 60.0) -> Figure:
    """An empty figure of an exact size that no window or notebook holds on to."""
    return Figure(figsize=(width_mm / 25.4, height_mm / 25.4))


def axes_or_new(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure that a notebook shows."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    with style():
        _, new = pyplot.subplots(figsize=(SINGLE_MM / 25.4, 60.0 / 25.4))
        shown_at_once = mpl.is_interactive()
    # A notebook switches this on with its first figure; leaving the block must not switch it off again.
    mpl.interactive(shown_at_once)
    return new


def render(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of a pdf, svg or png file; equal numbers give equal bytes with the same matplotlib."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()
