"""The exercises of notebook 05, paths and lesions."""

import numpy as np

from gradflow import theory
from gradflow.teaching.checking import Exercise, Mistake, absolute

_ROW, _PLAIN = 9, 2
"""Units of a row, and how many of them have no shortcut."""

_UNITS, _BRANCH = 54, 0.7
"""Units of ResNet-110, and by how much each branch multiplies the gradient's RMS."""

_DEEP, _REMOVED, _LENGTH = 27, 5, 5
"""Units of ResNet-56, how many are removed, and the length of the paths that are counted."""


def _paths() -> float:
    return float(np.sum(10 ** theory.log10_path_counts(_ROW, _PLAIN)))


def _peak() -> float:
    return float(np.argmax(theory.log10_path_moments(_UNITS, gain=_BRANCH**2)))


def _survivors() -> float:
    before, after = (theory.log10_path_counts(units)[_LENGTH] for units in (_DEEP, _DEEP - _REMOVED))
    return float(10 ** (after - before))


EXERCISES: dict[str, Exercise] = {
    "count": Exercise(
        question=f"A row has {_ROW} units. {_PLAIN} of them have no shortcut. How many paths lead through the row?",
        right=_paths,
        near=absolute(0.5),
        mistakes=(
            Mistake(2.0**_ROW, "That gives every unit a way around its branch. Which units have none?"),
            Mistake(2.0**_PLAIN, "Which units offer a choice: those with a shortcut, or those without?"),
            Mistake(2.0 * (_ROW - _PLAIN), "Choices one after the other do not add up: two units have four paths."),
            Mistake(2.0 * _ROW, "Choices one after the other do not add up: two units have four paths."),
        ),
        otherwise="How many ways does a unit with a shortcut offer, how many one without? Then go through the row.",
        because="A unit without shortcut adds no path. It only makes every path longer by one.",
    ),
    "peak": Exercise(
        question=(
            f"Each of {_UNITS} units has an identity shortcut and a branch that multiplies the RMS of a gradient by "
            f"{_BRANCH}. The net is wide, so different paths are unrelated. For which length is the RMS of all paths "
            "together largest?"
        ),
        right=_peak,
        near=absolute(1),
        mistakes=(
            Mistake(_UNITS / 2, "There are most paths of that length. But each branch makes a path weaker."),
            Mistake(
                _UNITS * _BRANCH / (1 + _BRANCH),
                f"You let the RMS of unrelated paths add up. What adds up is their squares: {_BRANCH} counts twice.",
            ),
            Mistake(0.0, "That path is the strongest one, but it is alone. How many are there of the other lengths?"),
        ),
        otherwise=(
            "Take the number of paths of each length, times the square of what one of them carries; where is the "
            "largest product? theory.log10_path_moments(units, gain=...) has it for all lengths."
        ),
        because="The gradient lives on shorter paths than the typical path.",
    ),
    "survivors": Exercise(
        question=(
            f"From {_DEEP} units {_REMOVED} are removed. Which part of the paths of length {_LENGTH} is left, as a "
            "number between 0 and 1?"
        ),
        right=_survivors,
        mistakes=(
            Mistake(2.0**-_REMOVED, "That is the part of all paths that is left. A short path meets fewer units."),
            Mistake(lambda right: 1 - right, "That is the part that is lost."),
            Mistake(
                1 - _REMOVED / _DEEP,
                f"That is the part of the units that is left. All {_LENGTH} units of a path must be among them.",
            ),
            Mistake(
                (1 - _REMOVED / _DEEP) ** _LENGTH,
                f"Almost: this path may pass the same unit twice. Choose {_LENGTH} different units.",
            ),
            Mistake(lambda right: 100 * right, "The answer is asked as a part between 0 and 1, not in per cent."),
        ),
        otherwise=(
            f"In how many ways can one choose {_LENGTH} units of {_DEEP}? In how many ways of those that are left? "
            "math.comb counts them."
        ),
        because="Short paths survive far more often than paths in general, and short paths carry the gradient.",
    ),
}
