"""The exercises of notebook 04, where activation and BatchNorm stand."""

from __future__ import annotations

from gradflow import theory
from gradflow.teaching.checking import Exercise, Mistake, absolute

_UNITS = 27
"""Units of ResNet-56."""
_POINTS, _CIFAR_TEST = 6.61 - 6.37, 10_000
"""By how much full pre-activation is better in He16 Table 2 (ResNet-110, %), and the test images of CIFAR-10."""


def _clean() -> float:
    from gradflow.models import PLACEMENTS

    return float(sum(not order.post for order in PLACEMENTS.values()))


def _growth() -> float:
    growth = theory.residual_growth(units=_UNITS, width=64, span=2, norm=True)
    return float(growth.forward[-1] ** 0.5)


def _digits() -> float:
    from gradflow import data

    return _POINTS / 100 * len(data.digits().test[0])


EXERCISES: dict[str, Exercise] = {
    "clean": Exercise(
        question="In how many of the five orders does nothing stand behind the addition, so that an identity shortcut "
        "hands its signal on unchanged?",
        right=_clean,
        near=absolute(0),
        mistakes=(
            Mistake(
                2,
                'You may have counted the orders that begin with an activation. What counts is the column "post".',
            ),
            Mistake(1, 'Full pre-activation is one of them. Look at the column "post" for others.'),
            Mistake(4, 'BatchNorm is not the only thing that changes a signal. Look at the column "post" again.'),
            Mistake(5, 'Look at the column "post": what does a ReLU do to a negative number?'),
        ),
        otherwise='Look at the column "post": what stands there acts on the sum, so on the shortcut as well.',
        because="A clean shortcut is not all: one of them puts a ReLU at the end of the branch.",
    ),
    "walk": Exercise(
        question="Full pre-activation, He's initialisation: every branch adds something of variance 1 that has nothing "
        "to do with the signal, however large that is. The signal starts with RMS 1. What is its RMS behind 27 units?",
        right=_growth,
        mistakes=(
            Mistake(_UNITS + 1, "That is the mean square. The RMS is its root."),
            Mistake(
                2 ** (_UNITS / 2),
                "That is without BatchNorm, where each branch is as large as the signal. Here it always adds 1.",
                when=lambda answer: answer > 1000,
            ),
            Mistake(1, "Each branch adds something. What happens to the mean square?"),
            Mistake(2**0.5, "That is behind one unit."),
        ),
        otherwise="Parts that have nothing to do with each other add as squares. What is the mean square in the end?",
        because="It grows as the root of the depth, like a random walk.",
    ),
    "digits": Exercise(
        question="In He16, Table 2, full pre-activation is better than the original order by 0.24 points (ResNet-110). "
        "How many of our 450 test digits are 0.24 %?",
        right=_digits,
        near=absolute(0.1),
        mistakes=(
            Mistake(_POINTS * 450, "You took 0.24 as a fraction. It is per cent."),
            Mistake(_POINTS / 100 * _CIFAR_TEST, "That is on the 10,000 test images of CIFAR-10. Ours are 450."),
            Mistake(_POINTS / 100 * 1347, "That is on the training digits."),
            Mistake(
                _POINTS / 100, "That is the part of each digit. How many digits are it?", when=lambda a: 0 < a < 0.01
            ),
        ),
        otherwise="How many digits are one per cent of them? You need about a quarter of that.",
        because="On the 10,000 test images of CIFAR-10 it is 24 images. No experiment on 450 digits can show it.",
    ),
}
