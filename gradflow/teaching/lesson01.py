"""The exercises of notebook 01, vanishing gradients."""

from __future__ import annotations

import math

from gradflow import theory
from gradflow.teaching.checking import Exercise, Mistake, absolute
from gradflow.verdicts import smallest_normal


def _factor() -> float:
    return theory.gradient_factor("relu", "default", width=256)


def _layers_to_floor(factor: float, dtype: str = "float32") -> float:
    """How many layers that each multiply by ``factor`` lead from 1 to below the dtype's smallest normal number."""
    return math.ceil(math.log(smallest_normal(dtype)) / math.log(factor))


def _larger_batch() -> float:
    """Measured: the same samples four times over, so that the loss is equal and only B differs."""
    from gradflow import compare, data
    from gradflow.models import textbook_fc

    net = textbook_fc()
    x, y = (data.gaussian((8,), batch=32, seed=seed) for seed in (0, 1))
    once, fourfold = (compare(net, net, (x.repeat(n, 1), y.repeat(n, 1))).values("plain")[0] for n in (1, 4))
    return float(fourfold[-1] / once[-1])


EXERCISES: dict[str, Exercise] = {
    "factor": Exercise(
        question=(
            "PyTorch draws the weights of a Linear layer with variance 1/(3·fan_in). By what factor does one such "
            "layer with a ReLU multiply the RMS of the gradient, on its way toward the input?"
        ),
        right=_factor,
        mistakes=(
            Mistake(lambda right: right**2, "That is what happens to the mean square. The RMS is its square root."),
            Mistake(
                3**-0.5, "You have the weights right. Now the ReLU: which share of the elements does it let through?"
            ),
            Mistake(1 / 3, "Two things are missing: the ReLU, and the step from the mean square to the RMS."),
            Mistake(0.5, "That is what the ReLU does to the mean square. What do the weights do?"),
            Mistake(
                lambda right: 1 / right,
                "The direction: is the gradient nearer to the input larger or smaller?",
                when=lambda answer: answer > 1,
            ),
        ),
        otherwise=(
            "Work with the mean square: the weights multiply it by width · Var(w), the ReLU by the share of open "
            "elements. Then take the root."
        ),
        because="fan_in · Var(w) · ½ = ⅓ · ½ for the mean square, and the root of that for the RMS.",
    ),
    "floor": Exercise(
        question=(
            "Take that factor, and a gradient of RMS 1 at the last layer. After how many such layers is it below the "
            "smallest normal number of float32, 1.18·10⁻³⁸?"
        ),
        right=lambda: _layers_to_floor(_factor()),
        near=absolute(1),
        mistakes=(
            Mistake(38, "Each layer takes less than a whole decade: how many decades does it take?"),
            Mistake(
                lambda right: _layers_to_floor(_factor() ** 2),
                "That is with the factor of the mean square, not of the RMS.",
            ),
            Mistake(lambda right: _layers_to_floor(_factor(), "float64"), "That is float64. How far does float32 go?"),
            Mistake(lambda right: -right, "Count layers: the number is positive.", when=lambda answer: answer <= 0),
        ),
        otherwise="Solve factorⁿ = 1.18·10⁻³⁸ for n: a quotient of two logarithms.",
        because="Deeper than that, float32 loses digits first, and then the gradient.",
    ),
    "batch": Exercise(
        question=(
            "The loss is a mean over the batch. You go from B = 32 to B = 128 samples. By what is the RMS of "
            "∂loss/∂output of a layer multiplied?"
        ),
        right=_larger_batch,
        mistakes=(
            Mistake(1, "Does the loss of one sample still count as much in a mean over more samples?"),
            Mistake(lambda right: 1 / right, "The other way round: each sample now has a smaller share in the mean."),
            Mistake(
                0.5,
                "The root belongs to the gradient of the weights, which adds up over samples. "
                "∂loss/∂output is one row for each sample.",
            ),
        ),
        otherwise="The loss is (1/B) Σ of the samples' losses. Differentiate by the output of one sample.",
        because="So never compare RMS values from different batch sizes, unless you say so.",
    ),
}
