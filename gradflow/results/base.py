"""What every result can do: compare, save, draw, become a table. And how numbers become text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from gradflow import storage
from gradflow.files import write_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PICTURES = (".pdf", ".svg", ".png")
ENDINGS = (".json", *PICTURES, ".html")
"""What a result can be saved as: numbers, picture, or a page with both."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result:
    """What every result can do: compare, save, draw, and become a table.

    ``provenance`` tells versions, seed, dtype, device, threads, mode, batch and loss; its ``run`` part (time, machine,
    seconds) is ignored by ``==``.
    """

    provenance: Mapping[str, Any] = field(default_factory=dict)

    kinds: ClassVar[dict[str, type[Result]]] = {}
    has_picture: ClassVar[bool] = True

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
        """Save the numbers (``.json``), the picture (``.pdf``, ``.svg``, ``.png``) or a page with both (``.html``).

        Returns the result itself.
        A JSON file that already holds an equal result is left untouched. Raises ValueError for another ending.
        """
        path = Path(path)
        if path.suffix == ".json":
            if not self._is_saved_in(path):
                write_whole(path, storage.dumps(*self.stored()))
        elif path.suffix in PICTURES:
            write_whole(path, self._picture(path.suffix[1:]))
        elif path.suffix == ".html":
            write_whole(path, self.to_html().encode())
        else:
            raise ValueError(f"path must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}; got {path.name!r}")
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

    def is_drawn(self) -> bool:
        """Whether :meth:`plot` can draw it."""
        return self.has_picture

    def _picture(self, kind: str) -> bytes:
        from gradflow import plots
        from gradflow.plots.panels import clear_legend

        with plots.style():
            figure = plots.new_figure()
            clear_legend(self.plot(ax=figure.subplots()))
        return plots.render(plots.fitted(figure), kind)

    def blocks(self) -> list[list[str | Grid]]:
        """What ``repr`` says, with whole tables: lines and tables, in a list for each part between empty lines."""
        token = _grids.set([])
        try:
            said = repr(self)
            grids = _grids.get() or []
        finally:
            _grids.reset(token)
        return [[_grid_or_line(line, grids) for line in block.split("\n")] for block in said.split("\n\n")]

    def heading(self) -> str:
        """The first line of ``repr``, or the name of the class where that is a table."""
        first = self.blocks()[0][0]
        return first if isinstance(first, str) else type(self).__name__

    def sentences(self) -> list[str]:
        """What is said of the numbers, beside the heading."""
        heading = self.heading()
        return [part for block in self.blocks() for part in block if isinstance(part, str) and part != heading]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from gradflow import plots
        from gradflow.results import pages

        with plots.on_screen():
            return {"text/plain": repr(self), "text/html": pages.for_notebook(self)}

    def to_html(self) -> str:
        """One self-contained page of HTML with figure, whole tables, what they say, and where they come from."""
        from gradflow.results import pages

        return pages.page(self)


def load(path: str | Path) -> Any:
    """Load any saved result; what comes back equals what was saved.

    Raises FileNotFoundError, or ValueError that says what is wrong with the file: truncated, from a later version of
    gradflow, or no gradflow result at all.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"load reads the .json of a result; got {path.name!r}")
    kind, fields = storage.loads(path.read_bytes(), path)
    try:
        return _build(storage.Stored(kind, fields))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} does not hold a whole result: {error}") from error


def _build(value: Any) -> Any:
    """Turn what was read into result objects, from the inside out."""
    if isinstance(value, dict):
        return {key: _build(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_build(item) for item in value)
    if not isinstance(value, storage.Stored):
        return value
    kind = Result.kinds.get(value.kind)
    if kind is None:
        raise ValueError(f"it is a {value.kind!r}, and this gradflow knows only {', '.join(Result.kinds)}")
    return kind(**_build(value.fields))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or (a != a and b != b)


def number(value: float) -> str:
    """A number in three digits, as a power of ten where it is very small or large; whole numbers as they are."""
    if isinstance(value, (int, np.integer)):
        return str(value)
    return f"{value:.3g}" if (np.isfinite(value) and 1e-3 <= abs(value) < 1e4) or value == 0 else f"{value:.2e}"


def power(log10: float) -> str:
    """10^log10 in three digits, also where no float could hold it; 0 for −inf, a dash for NaN."""
    if not np.isfinite(log10):
        return "0" if log10 == -np.inf else "–" if np.isnan(log10) else "inf"
    if abs(log10) < 300:
        return number(float(10.0**log10))
    digits, exponent = f"{10 ** (log10 % 1):.2e}".split("e")
    return f"{digits}e{int(np.floor(log10)) + int(exponent):+d}"


def known(value: float) -> str:
    """A number, or a dash for NaN."""
    return "–" if np.isnan(value) else number(float(value))


def count(many: int, word: str) -> str:
    """A count with its noun: 1 layer, 2 layers."""
    return f"{many} {word}" if many == 1 else f"{many} {word}s"


def unseen_note(names: tuple[str, ...], start: str = "\n") -> str:
    """What to say of layers from which nothing came, or nothing at all."""
    return f"{start}nothing measured for: {', '.join(names)}" if names else ""


class Grid(NamedTuple):
    """A whole table: names of columns, and the columns, of cells with a ``str``."""

    header: Any
    columns: Any


_grids: ContextVar[list[Grid] | None] = ContextVar("grids", default=None)
"""Where :meth:`Result.blocks` gathers tables; None while they are to be text."""


def _grid_or_line(line: str, grids: list[Grid]) -> str | Grid:
    place = re.fullmatch("\0([0-9]+)\0", line)
    return grids[int(place[1])] if place and int(place[1]) < len(grids) else line


def text_table(header: Any, columns: Any, most: int = 24) -> str:
    """Columns of text, first left and others right aligned; the middle of a long table becomes one line of dots."""
    grids = _grids.get()
    if grids is not None:
        grids.append(Grid(header, columns))
        return f"\0{len(grids) - 1}\0"
    rows = [tuple(header), *zip(*columns, strict=True)]
    if len(rows) > most + 1:
        rows = [*rows[: most // 2 + 1], ("…",) * len(rows[0]), *rows[-(most // 2) :]]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (str(cell) for cell in row)
        lines.append(
            "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]).rstrip()
        )
    return "\n".join(lines)
