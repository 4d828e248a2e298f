"""Exercises and their typical mistakes: a student's answer comes in, a sentence goes out, never the answer itself."""

import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, TypeAlias

Value: TypeAlias = float | bool | str | tuple[float, ...]
"""What a right answer can be: a number, yes or no, one of some words, or a row of numbers."""

Closeness: TypeAlias = Callable[[float, float], float]
"""From an answer and the right number to their distance, in units of what is still right: right up to 1."""

CLOSE = 4.0  # an answer this many tolerances away deserves to hear that only a little is missing


def relative(tolerance: float) -> Closeness:
    """Accept numbers whose error is at most ``tolerance`` times the right one, for instance 0.05 for five per cent.

    Raises:
        ValueError: ``tolerance`` is negative.
    """
    _not_negative(tolerance)
    return lambda answer, right: _part(abs(answer - right), tolerance * abs(right))


def absolute(tolerance: float) -> Closeness:
    """Accept numbers at most ``tolerance`` away from the right one; 0 accepts the right one only.

    Raises:
        ValueError: ``tolerance`` is negative.
    """
    _not_negative(tolerance)
    return lambda answer, right: _part(abs(answer - right), tolerance)


def factor(ratio: float) -> Closeness:
    """Accept positive numbers at most ``ratio`` times too large or too small: 10 accepts one decade either way.

    Raises:
        ValueError: ``ratio`` is not above 1.
    """
    if not ratio > 1:
        raise ValueError(f"expected a ratio above 1, got {ratio}")
    return lambda answer, right: abs(math.log(answer / right)) / math.log(ratio) if answer > 0 else math.inf


def _not_negative(tolerance: float) -> None:
    if not tolerance >= 0:
        raise ValueError(f"expected a tolerance of at least 0, got {tolerance}")


def _part(error: float, tolerance: float) -> float:
    """``error`` in units of ``tolerance``, where nothing but 0 fits into a tolerance of 0."""
    if tolerance == 0:
        return 0.0 if error == 0 else math.inf
    return error / tolerance


TWO_PER_CENT = relative(0.02)


@dataclass(frozen=True)
class Mistake:
    """One typical wrong answer and the sentence that helps a student out of it.

    Args:
        answer: the wrong answer, or a function that makes it from the right one (``lambda right: 1 / right``).
        hint: what the student reads; it points the way and does not give the answer.
        when: which other answers get the same hint, if not only those as close to ``answer`` as a right one must be.
    """

    answer: Value | Callable[[Any], Value]
    hint: str
    when: Callable[[Any], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One question of a notebook.

    Args:
        question: what the notebook asks, word for word.
        right: the right answer, or a function that computes it (once, when it is first needed).
        near: which numbers count as right: ``relative(0.02)``, ``absolute(0.5)``, ``factor(2)``; the default is 2 %.
        choices: the words to choose from, where the answer is a word.
        mistakes: typical wrong answers, the first that fits is the one that speaks.
        otherwise: the hint for every other wrong answer.
        because: what a student who is right reads beside that.
    """

    question: str
    right: Value | Callable[[], Value]
    near: Closeness = TWO_PER_CENT
    choices: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    otherwise: str
    because: str = ""

    @cached_property
    def solution(self) -> Value:
        """The right answer, computed."""
        return self.right() if callable(self.right) else self.right

    def wrong_answers(self) -> tuple[Value, ...]:
        """The typical wrong answer of each of ``mistakes``, in that order."""
        return tuple(m.answer(self.solution) if callable(m.answer) else m.answer for m in self.mistakes)

    def distance(self, answer: Value, target: Value) -> float:
        """How far a readable answer is from ``target``, in tolerances; words and yes or no fit or do not."""
        if isinstance(target, str | bool) or isinstance(answer, str | bool):
            return 0.0 if answer == target else math.inf
        if isinstance(target, tuple) and isinstance(answer, tuple):
            return max(self.near(a, t) for a, t in zip(answer, target, strict=True))
        return self.near(answer, target)  # type: ignore[arg-type]

    def read(self, answer: object) -> Value:
        """The answer as a value of the solution's kind.

        Raises:
            ValueError: it is of another kind; the message is a sentence for the student.
        """
        solution = self.solution
        if isinstance(solution, bool):
            if answer is not True and answer is not False:
                raise ValueError(f"The answer is True or False, not {_shown(answer)}.")
            return bool(answer)
        if isinstance(solution, str):
            return self._word(answer)
        if isinstance(solution, tuple):
            return _row(answer, len(solution))
        return _number(answer)

    def _word(self, answer: object) -> str:
        words = {choice.casefold(): choice for choice in self.choices}
        if not isinstance(answer, str) or answer.strip().casefold() not in words:
            listed = ", ".join(f'"{choice}"' for choice in self.choices)
            raise ValueError(f"The answer is one of {listed}, not {_shown(answer)}.")
        return words[answer.strip().casefold()]

    def hint(self, answer: Value) -> str:
        """The sentence for a wrong answer: of the first mistake that fits, else that of all others."""
        for mistake, typical in zip(self.mistakes, self.wrong_answers(), strict=True):
            if mistake.when(answer) if mistake.when else self.distance(answer, typical) <= 1:
                return mistake.hint
        return self.otherwise


def _shown(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _number(answer: object) -> float:
    """A number as students have it: Python's, NumPy's, or a tensor of one element."""
    if isinstance(answer, str):
        raise ValueError(f"The answer is a number, written without quotes, not {_shown(answer)}.")
    try:
        if isinstance(answer, bool):
            raise TypeError
        number = float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"The answer is one number, not {_shown(answer)}.") from None
    if not math.isfinite(number):
        raise ValueError(f"The answer is a finite number, not {number}.")
    return number


def _row(answer: object, length: int) -> tuple[float, ...]:
    if isinstance(answer, str | Mapping) or not isinstance(answer, Iterable):
        raise ValueError(f"The answer is a list of {length} numbers, not {_shown(answer)}.")
    try:
        numbers = tuple(_number(item) for item in answer)
    except TypeError:  # a tensor of no dimension says only here that it cannot be walked through
        numbers = ()
    if len(numbers) != length:
        raise ValueError(f"The answer is a list of {length} numbers, not {_shown(answer)}.")
    return numbers


@dataclass(frozen=True, repr=False)
class Feedback:
    """What :func:`check` says about an answer; its ``repr`` is the sentence.

    ``verdict`` is "right", "close", "wrong", "unreadable" (not the kind of answer asked for) or "unanswered".
    """

    name: str
    verdict: str
    message: str

    def __repr__(self) -> str:
        return f"{self.name}: {self.message}"


def check(name: str, answer: object) -> Feedback:
    """Look at an answer to an exercise and say what to think about next; no answer makes it raise.

    Args:
        name: lesson and exercise, ``"01.factor"``.
        answer: the student's; None stands for none yet.

    Returns:
        The feedback: that it is right and why, or a hint. It never holds the right answer of a wrong one.

    Raises:
        ValueError: there is no such exercise.
    """
    exercise = _find(name)
    if answer is None:
        return Feedback(name, "unanswered", "No answer yet: write yours in place of None and run the cell again.")
    try:
        value = exercise.read(answer)
    except ValueError as problem:
        return Feedback(name, "unreadable", str(problem))
    distance = exercise.distance(value, exercise.solution)
    if distance <= 1:
        return Feedback(name, "right", f"Right. {exercise.because}".strip())
    hint = exercise.hint(value)
    if distance <= CLOSE and hint == exercise.otherwise:
        return Feedback(name, "close", f"Close, a little is missing: look at rounding first. {hint}")
    return Feedback(name, "wrong", f"Not yet. {hint}")


def exercises() -> dict[str, Exercise]:
    """Every exercise of every lesson by its full name, ``"01.factor"``, in the order of the course."""
    return {f"{lesson}.{key}": exercise for lesson in _lessons() for key, exercise in _of(lesson).items()}


def _lessons() -> list[str]:
    package = import_module("gradflow.teaching")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name.removeprefix("lesson") for name in names if name.startswith("lesson"))


def _of(lesson: str) -> dict[str, Exercise]:
    """The ``EXERCISES`` of one lesson's module."""
    found: dict[str, Exercise] = import_module(f"gradflow.teaching.lesson{lesson}").EXERCISES
    return found


def _find(name: str) -> Exercise:
    """The exercise of that name; only its own lesson is loaded."""
    lesson, _, key = str(name).partition(".")
    if lesson not in _lessons():
        raise ValueError(f"expected a lesson among {', '.join(_lessons())}, as in '01.factor', got name={name!r}")
    if key not in _of(lesson):
        listed = ", ".join(f"{lesson}.{known}" for known in _of(lesson))
        raise ValueError(f"expected an exercise among {listed}, got name={name!r}")
    return _of(lesson)[key]
