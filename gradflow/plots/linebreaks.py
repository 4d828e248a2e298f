"""Words of a figure broken into as few lines as the room they have asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.text import Text

BREAKS = re.compile(r"((?<![ =÷+·−]) (?![ =+·−%])|(?<=[，；：])|(?=（)|(?<=[\u3001-\u9fff])(?=[\u4e00-\u9fff]))")
"""Where a line may end: at single spaces, but not in a formula; in Chinese between characters and at signs."""
_STOPS = tuple(",;:，；：")


def break_up(words: Text, room: float) -> float:
    """Break words into as few lines as fit into ``room`` pixels; the height in pixels that they gain."""
    whole = words.get_text()
    if not whole or length_of(words, whole) <= room:
        words.set_text(whole)
        return 0.0
    one_line = _thickness(words)
    *parts, last = BREAKS.split(whole)
    pieces = [part + space for part, space in zip(parts[::2], parts[1::2], strict=True)] + [last]
    space = length_of(words, "i i") - length_of(words, "ii")
    widths = [length_of(words, piece.rstrip(" ")) + space * piece.endswith(" ") for piece in pieces]
    cuts = [0, *best_cuts(pieces, widths, max(room, *widths)), len(pieces)]
    words.set_text("\n".join("".join(pieces[start:end]).rstrip(" ") for start, end in pairwise(cuts)))
    return _thickness(words) - one_line


def best_cuts(pieces: Sequence[str], widths: Sequence[float], room: float) -> tuple[int, ...]:
    """Before which pieces a new line begins, where one line is too long: few lines, then at brackets and commas, then
    at spaces rather than inside Chinese words, then lines of equal length. A piece that is wider than ``room`` has a
    line of its own.
    """
    costs = [_cost(before, after) for before, after in pairwise(["", *pieces])]
    # For the first pieces, one more each time: number of lines, cost of the cuts, longest line, cuts.
    best: list[tuple[int, int, float, tuple[int, ...]]] = [(0, 0, 0.0, ())]
    for end in range(1, len(pieces) + 1):
        found = []
        for start, (lines, cost, longest, cuts) in enumerate(best):
            width = sum(widths[start:end])
            if end - start == 1 or (width <= room + 1e-6 and end - start < len(pieces)):
                found.append((lines + 1, cost + costs[start], max(longest, width), (*cuts, start)))
        best.append(min(found))
    return best[-1][-1][1:]


def _cost(before: str, after: str) -> int:
    """What a cut between two pieces costs the reader: nothing at a bracket or comma, most inside a Chinese word."""
    if after.startswith(("(", "（")) or before.rstrip()[-1:] in _STOPS:
        return 0
    return 1 if before.endswith(" ") else 2


def length_of(words: Text, line: str) -> float:
    """Pixels along a line of words, which may stand upright."""
    words.set_text(line)
    box = words.get_window_extent()
    return box.height if words.get_rotation() else box.width


def _thickness(words: Text) -> float:
    box = words.get_window_extent()
    return box.width if words.get_rotation() else box.height
