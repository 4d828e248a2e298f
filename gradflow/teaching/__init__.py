"""What the course notebooks need beside the library: exercises that answer with a hint, and pictures with words."""

from gradflow.teaching.checking import Exercise, Feedback, Mistake, absolute, check, exercises, factor, relative
from gradflow.teaching.pictures import Recorded, Sheet, SideBySide

__all__ = [
    "Exercise",
    "Feedback",
    "Mistake",
    "Recorded",
    "Sheet",
    "SideBySide",
    "absolute",
    "check",
    "exercises",
    "factor",
    "relative",
]
