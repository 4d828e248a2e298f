"""The exercises of notebook 02, the product of the shortcuts."""

from __future__ import annotations

import math

from gradflow import theory
from gradflow.teaching.checking import Exercise, Mistake, absolute

UNITS = 50


def _log10_product() -> float:
    return float(theory.log10_shortcut_product(0.9, 2 * UNITS)[0])


def _growth() -> float:
    """The factor per unit of the gradient's RMS for x + W relu(x), Var(W) = 1/width, from its closed form."""
    growth = theory.residual_growth(units=UNITS, width=64, init="normal(0.125)")
    return float(growth.rms[0] ** (1 / UNITS))


def _bias_for_half() -> float:
    """The b for which (1 − σ(b))^UNITS = ½."""
    passes = 0.5 ** (1 / UNITS)
    return math.log((1 - passes) / passes)


EXERCISES: dict[str, Exercise] = {
    "product": Exercise(
        question=(
            "Every shortcut multiplies by λ = 0.9. What is the decimal logarithm of the product ∏λ over 100 units, "
            "so how many decades?"
        ),
        right=_log10_product,
        mistakes=(
            Mistake(lambda right: 10**right, "That is the product. The question is for its decimal logarithm."),
            Mistake(lambda right: -right, "The sign: does the product of numbers below 1 grow or shrink?"),
            Mistake(lambda right: right * math.log(10), "That is the natural logarithm."),
            Mistake(lambda right: right / 2, "That is for half as many units."),
        ),
        otherwise="log10(λ · λ · …) is a sum. How many terms has it, and how large is each?",
        because="The other way round than one source has it: λ < 1 makes the product vanish.",
    ),
    "growth": Exercise(
        question=(
            "With λ = 1 the product is 1. By what factor per unit does the RMS of the whole gradient grow in "
            "x + W relu(x), when every entry of W has variance 1/width?"
        ),
        right=_growth,
        mistakes=(
            Mistake(1, "That is the shortcut part alone. The branch adds to it."),
            Mistake(lambda right: right**2, "That is the mean square. The RMS is its square root."),
            Mistake(2**0.5, "The ReLU lets only half of the elements through."),
            Mistake(2, "Parts that know nothing of each other add as squares, not as sizes; and there is a ReLU."),
        ),
        otherwise="Squares add: 1 from the shortcut, and width · Var(W) · ½ from the branch. Then take the root.",
        because="A product of 1 does not mean that the gradient is steady: the branches make it explode.",
    ),
    "gate": Exercise(
        question=(
            "A shortcut-only gate passes (1 − σ(b))·x at the start. For which bias b does the product over 50 units "
            "come to one half?"
        ),
        right=_bias_for_half,
        near=absolute(0.1),
        mistakes=(
            Mistake(lambda right: -right, "The sign: an open shortcut needs a gate σ(b) near 0."),
            Mistake(
                lambda right: 0.5 ** (1 / UNITS),
                "That may be what one shortcut passes, 1 − σ(b). Which b belongs to it?",
                when=lambda answer: 0.9 < answer < 1,
            ),
            Mistake(
                lambda right: 1 - 0.5 ** (1 / UNITS),
                "That may be the gate, σ(b). Which b belongs to it?",
                when=lambda answer: 0 < answer < 0.1,
            ),
            Mistake(0, "With b = 0 each of the units passes one half."),
        ),
        otherwise="First ask what one shortcut must pass: the 50th root of ½. Then solve 1 − σ(b) = that for b.",
        because="He16 Table 1 starts its best gate at b = −6: then nearly everything passes at first.",
    ),
}
