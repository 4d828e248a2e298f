"""The exercises of notebook 03, degradation."""

from __future__ import annotations

from gradflow.teaching.checking import Exercise, Mistake, absolute

_SHALLOW, _DEEP, _STAGES = 20, 56, 3
_LAYERS = 2
"""Weight layers in a unit of a 6n+2 net."""
_SCALE = 100.0


def _test_digit() -> float:
    """How many points of test error one image of the digits is worth."""
    from gradflow import data

    return 100 / len(data.digits().test[0])


def _units_in_each_stage() -> float:
    from gradflow.models import resnet

    units = [len(resnet(depth, width=8).units) for depth in (_SHALLOW, _DEEP)]
    return (units[1] - units[0]) / _STAGES


def _larger_weights() -> float:
    """Measured: the weights of a convolution in front of BatchNorm times ``_SCALE``, everything else as it was."""
    import torch

    from gradflow import compare
    from gradflow.models import duplicate, resnet

    net = resnet(8, width=8, in_channels=1, size=8, residual=False)
    larger = duplicate(net)
    with torch.no_grad():
        larger.get_parameter("units.0.branch.conv1.weight").mul_(_SCALE)
    found = compare(net, larger, quantity="weight_grad", dtype=torch.float64, share_weights=False)
    return found.ratio["residual"]["units.0.branch.conv1"]


EXERCISES: dict[str, Exercise] = {
    "digit": Exercise(
        question="The test set has 450 digits. One more digit is wrong: by how many percentage points does the test "
        "error rise?",
        right=_test_digit,
        near=absolute(0.005),
        mistakes=(
            Mistake(lambda right: right / 100, "That is a fraction. The question is for percentage points."),
            Mistake(100 / 1797, "You counted all digits. The test error counts those of the test set only."),
            Mistake(100 / 1347, "You counted the training digits. How many are in the test set?"),
            Mistake(lambda right: 1 / right, "Upside down: is one digit out of many a large or a small part?"),
        ),
        otherwise="One digit is one part of the test set. Write that part in per cent.",
        because="So on these digits, never rank two nets whose test errors differ by less than a point.",
    ),
    "scale": Exercise(
        question="A convolution stands in front of BatchNorm (training mode). All its weights are multiplied by 100, "
        "nothing else changes. By what is the RMS of ∂loss/∂weight of this convolution multiplied?",
        right=_larger_weights,
        mistakes=(
            Mistake(
                1, "The loss stays the same, that is right. But is the same step still the same change of the weights?"
            ),
            Mistake(_SCALE, "The other way round: a weight that is 100 times as large must move 100 times as far."),
            Mistake(
                _SCALE**-2,
                "That is the gradient ÷ the weight, so the relative step. The question is for the gradient alone.",
            ),
            Mistake(lambda right: -right, "An RMS is never negative.", when=lambda answer: answer <= 0),
        ),
        otherwise="BatchNorm takes the factor out again: loss(100·w) = loss(w). Differentiate both sides by w.",
        because="And the relative step, lr × gradient ÷ weight, falls with the square: 10,000-fold.",
    ),
    "units": Exercise(
        question="Plain-20 is made 56 layers deep with identity units, equally many in each of its three stages. "
        "How many units does each stage get?",
        right=_units_in_each_stage,
        near=absolute(0),
        mistakes=(
            Mistake(lambda right: right * _STAGES, "That is for all stages together."),
            Mistake(lambda right: right * _LAYERS, "You counted layers. How many layers has a unit?"),
            Mistake(_DEEP - _SHALLOW, "That is how many layers are missing. Now units, and for each stage."),
            Mistake(lambda right: 1.5 * right, "That is how many units a stage has in the end. How many come new?"),
        ),
        otherwise="A 6n + 2 net has three stages of n units, each of two layers. What is n before and after?",
        because="n grows from 3 to 9. Plain-20 is inside plain-56.",
    ),
}
